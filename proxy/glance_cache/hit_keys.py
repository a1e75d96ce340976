"""
What hits are counted by, besides images: keys that no image id can be.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["HOUR", "NO_PROJECT", "PROJECT", "hour_key", "is_before", "is_image_key", "project_key"]

PROJECT: Final = "project:"
HOUR: Final = "hour:"

NO_PROJECT: Final = "-"
"""Whoever is not known to belong to one."""

_MOST_CHARACTERS: Final = 64


def project_key(project: str) -> str:
    """
    Make the key for a caller's project.
    """
    return f"{PROJECT}{project[:_MOST_CHARACTERS]}"


def hour_key(at: float) -> str:
    """
    Make the key for the hour, in UTC, of a time in seconds since the epoch.
    """
    return time.strftime(f"{HOUR}%Y-%m-%dT%H", time.gmtime(at))


def is_before(key: str, first: str) -> bool:
    """
    Tell whether a key is one of an hour, and of an earlier one.
    """
    return key.startswith(HOUR) and key < first


def is_image_key(key: str) -> bool:
    """
    Tell whether a key is an image's.
    """
    return ":" not in key
