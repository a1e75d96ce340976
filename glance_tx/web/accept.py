"""
What a client says it accepts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["accepted_version", "accepts_gzip", "parse_accept", "quality"]

_VERSIONED: Final = re.compile(r"application/vnd\.openstack\.images-(v[0-9]+(?:\.[0-9]+)?)")


def accepted_version(header: str | None) -> str | None:
    """
    Find the version of the Image API that an Accept header names in a media type of it.

    :return: Such as ``v2`` or ``v2.7``.
    """
    for element in (header or "").split(","):
        found = _VERSIONED.fullmatch(element.partition(";")[0].strip())
        if found is not None:
            return found[1]
    return None


def parse_accept(header: str) -> Mapping[str, float]:
    """
    Read an Accept header (RFC 9110 section 12.5.1).

    Parameters other than the weight are ignored, and so is an element that is no media range.

    :return: Media ranges in lower case and their weights, from 0 to 1.
    """
    weights: dict[str, float] = {}
    for element in header.split(","):
        media_range, *parameters = (part.strip().lower() for part in element.split(";"))
        if media_range.count("/") == 1:
            weights[media_range] = max(_weight(parameters), weights.get(media_range, 0.0))
    return weights


def quality(weights: Mapping[str, float], media_type: str) -> float:
    """
    Look up how welcome a media type is, by the most specific range that covers it.

    :return: Its weight; 0 where it is not acceptable.
    """
    kind = media_type.partition("/")[0]
    for media_range in (media_type, f"{kind}/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0.0


def accepts_gzip(header: str | None) -> bool:
    """
    Tell from an Accept-Encoding header whether a body may be compressed (RFC 9110 section 12.5.3).

    gzip has to be welcome by name, or by ``*`` where it is not named.
    """
    weights: dict[str, float] = {}
    for element in (header or "").split(","):
        coding, *parameters = (part.strip().lower() for part in element.split(";"))
        weights[coding] = _weight(parameters)
    return max(weights.get("gzip", 0.0), weights.get("x-gzip", 0.0)) > 0 or (
        "gzip" not in weights and weights.get("*", 0.0) > 0
    )


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            # Written this way round, a NaN becomes 0.
            return min(weight, 1.0) if weight > 0 else 0.0
    return 1.0
