"""
Range and Content-Range, parsed and printed.

The rules are stock Glance's (contract section 3.4), which differ from RFC 9110 section 14 where that would have a
bad Range ignored: one range at a time, and whatever is not a range of bytes within the body is refused.
"""

from __future__ import annotations

import re

from attrs import frozen

from glance_tx.streaming.errors import MultipleRanges, RangeNotSatisfiable

__all__ = ["ByteRange", "ContentRange", "content_range", "parse_content_range", "parse_range", "requested_range"]

# Nobody has more bytes than twenty digits can count; longer numbers only cost time.
_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,20})\s*-\s*([0-9]{0,20})", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes\s+([0-9]{1,20})-([0-9]{1,20})/([0-9]{1,20}|\*)", re.ASCII | re.IGNORECASE)


@frozen
class ByteRange:
    """
    Some bytes of a body, in one piece and at least one.

    :param offset: The first byte, counted from 0.
    :param length: How many.
    """

    offset: int
    length: int

    @property
    def end(self) -> int:
        """
        The offset after the last byte.
        """
        return self.offset + self.length


@frozen
class ContentRange:
    """
    Which bytes of what, as a Content-Range says it.

    :param total: Length of the whole body; ``None`` where it was given as ``*``.
    """

    range: ByteRange
    total: int | None


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """
    Read a Range header.

    The end is clamped to the body's; a suffix longer than the body, and one of no length, mean all of it.

    :param header: The header's value; ``None`` where there is none.
    :param size: Bytes in the whole body.
    :return: ``None`` where there is no header.
    :raises MultipleRanges: More than one range is asked for.
    :raises RangeNotSatisfiable: The header is malformed, counts something other than bytes, ends before it
        begins, or begins after the body's end.
    """
    if header is None:
        return None
    if "," in header:
        raise MultipleRanges(header)
    matched = _RANGE.fullmatch(header.strip())
    if matched is None:
        raise RangeNotSatisfiable(header, size)
    first, last = matched.groups()
    if first:
        return _within(header, int(first), int(last) if last else None, size)
    if not last or size == 0:
        raise RangeNotSatisfiable(header, size)
    # Stock takes "-0" for an offset from the start.
    length = min(int(last) or size, size)
    return ByteRange(size - length, length)


def _within(header: str, first: int, last: int | None, size: int) -> ByteRange:
    if first >= size or (last is not None and last < first):
        raise RangeNotSatisfiable(header, size)
    end = size if last is None else min(last + 1, size)
    return ByteRange(first, end - first)


def requested_range(range_header: str | None, content_range_header: str | None, size: int) -> ByteRange | None:
    """
    Tell which part of a body a request is for.

    Old clients ask by a Content-Range of the form ``bytes a-b/total`` or ``bytes a-b/*``, which has the effect of
    a Range and is looked at only where there is none.

    :param size: Bytes in the whole body.
    :return: ``None`` where all of it is meant.
    :raises MultipleRanges: More than one range is asked for.
    :raises RangeNotSatisfiable: As `parse_range` says.
    """
    if range_header is not None or content_range_header is None:
        return parse_range(range_header, size)
    if "," in content_range_header:
        raise MultipleRanges(content_range_header)
    asked = parse_content_range(content_range_header)
    if asked is None:
        raise RangeNotSatisfiable(content_range_header, size)
    return _within(content_range_header, asked.range.offset, asked.range.end - 1, size)


def parse_content_range(header: str) -> ContentRange | None:
    """
    Read a Content-Range header, of an answer or of an old client's request.

    :return: ``None`` where it is malformed, contradicts itself, or names no range (``bytes */total``).
    """
    matched = _CONTENT_RANGE.fullmatch(header.strip())
    if matched is None:
        return None
    first, last = int(matched[1]), int(matched[2])
    total = None if matched[3] == "*" else int(matched[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(ByteRange(first, last - first + 1), total)


def content_range(part: ByteRange, size: int) -> str:
    """
    Print the Content-Range of an answer.

    :param size: Bytes in the whole body.
    """
    return f"bytes {part.offset}-{part.end - 1}/{size}"
