"""
What kind of body a request brings.
"""

from __future__ import annotations

from glance_tx.web.request import Request

__all__ = ["media_type"]


def media_type(request: Request) -> str:
    """
    Read the media type of a request's body: in lower case, without parameters, empty where none is named.

    :raises BadRequest: It is named twice.
    """
    return (request.single_header("Content-Type") or "").partition(";")[0].strip().lower()
