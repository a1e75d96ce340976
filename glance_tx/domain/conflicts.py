"""
Beginning again where somebody else was quicker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from glance_tx.domain.errors import StatusConflict

__all__ = ["despite_conflicts"]

T = TypeVar("T")

# Each try begins with the image as somebody else just left it, so even a second one is rare.
_FURTHER_TRIES: Final = 3


async def despite_conflicts(attempt: Callable[[], Awaitable[T]]) -> T:
    """
    Begin again, with the image as it is then, where its status changed under an attempt.

    :param attempt: Reads the image each time.
    :raises StatusConflict: The status changed again and again.
    """
    for _ in range(_FURTHER_TRIES):
        with suppress(StatusConflict):
            return await attempt()
    return await attempt()
