"""
Range and Content-Range as stock Glance reads them.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.errors import MultipleRanges, RangeNotSatisfiable
from glance_tx.streaming.ranges import (
    ByteRange,
    ContentRange,
    content_range,
    parse_content_range,
    parse_range,
    requested_range,
)


class ParseRangeTests(SynchronousTestCase):
    """
    `parse_range` of a body of ten bytes, where nothing else is said.
    """

    def test_served(self) -> None:
        """
        Satisfiable ranges give the bytes meant: clamped at the end, a suffix counted from it, ``-0`` all of it.
        """
        for header, expected in {
            "bytes=0-0": ByteRange(0, 1),
            "bytes=2-4": ByteRange(2, 3),
            "bytes=9-9": ByteRange(9, 1),
            "bytes=2-10": ByteRange(2, 8),
            "bytes=0-99999999999999999999": ByteRange(0, 10),
            "bytes=3-": ByteRange(3, 7),
            "bytes=-3": ByteRange(7, 3),
            "bytes=-10": ByteRange(0, 10),
            "bytes=-11": ByteRange(0, 10),
            "bytes=-0": ByteRange(0, 10),
            "Bytes=2-4": ByteRange(2, 3),
            " bytes = 2 - 4 ": ByteRange(2, 3),
            "bytes=02-04": ByteRange(2, 3),
        }.items():
            self.assertEqual(parse_range(header, 10), expected, header)

    def test_no_header(self) -> None:
        """
        No header is no range.
        """
        self.assertIsNone(parse_range(None, 10))

    def test_refused(self) -> None:
        """
        What begins after the end, ends before it begins, is not numeric or does not count bytes is refused.
        """
        for header in (
            "bytes=10-",
            "bytes=10-12",
            "bytes=4-2",
            "bytes=-",
            "bytes=",
            "bytes",
            "",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=1.0-2",
            "bytes=--3",
            "bytes=1-2-3",
            "items=1-2",
            "1-2",
            "bytes=\u0660-\u0663",
            "bytes=0-" + "9" * 5000,
        ):
            error = self.assertRaises(RangeNotSatisfiable, parse_range, header, 10)
            self.assertEqual((error.header, error.size), (header, 10))

    def test_empty_body(self) -> None:
        """
        No range can be served from an empty body.
        """
        for header in ("bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0"):
            self.assertRaises(RangeNotSatisfiable, parse_range, header, 0)

    def test_several(self) -> None:
        """
        More than one range is refused as such, whatever they are.
        """
        for header in ("bytes=0-1,3-4", "bytes=0-1,", "items=0-1,4-5"):
            self.assertRaises(MultipleRanges, parse_range, header, 10)

    @given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
    def test_always_within(self, first: int, last: int, size: int) -> None:
        """
        Whatever is served lies within the body and begins where it was asked to.
        """
        try:
            part = parse_range(f"bytes={first}-{last}", size)
        except RangeNotSatisfiable:
            self.assertTrue(first >= size or last < first)
        else:
            assert part is not None
            self.assertEqual((part.offset, part.end), (first, min(last + 1, size)))


class RequestedRangeTests(SynchronousTestCase):
    """
    `requested_range`: Range, or the old form of it.
    """

    def test_old_form(self) -> None:
        """
        A request's Content-Range has the effect of a Range.
        """
        for header in ("bytes 2-4/10", "bytes 2-4/*"):
            self.assertEqual(requested_range(None, header, 10), ByteRange(2, 3))
        self.assertEqual(requested_range(None, "bytes 2-40/*", 10), ByteRange(2, 8))

    def test_range_wins(self) -> None:
        """
        Where both are given, Range counts and the other is not even looked at.
        """
        self.assertEqual(requested_range("bytes=0-1", "nonsense", 10), ByteRange(0, 2))

    def test_neither(self) -> None:
        """
        Without either, all of the body is meant.
        """
        self.assertIsNone(requested_range(None, None, 10))

    def test_old_form_refused(self) -> None:
        """
        An old form that is malformed, or lies outside the body, is refused; two of them are too many.
        """
        for header in ("bytes=2-4", "bytes */10", "bytes 4-2/*", "bytes 10-11/*", "bytes 2-4/3", "x 2-4/10"):
            self.assertRaises(RangeNotSatisfiable, requested_range, None, header, 10)
        self.assertRaises(MultipleRanges, requested_range, None, "bytes 0-1/10,2-3/10", 10)


class ContentRangeTests(SynchronousTestCase):
    """
    Content-Range, printed and read back.
    """

    @given(st.integers(0, 10**13), st.integers(1, 10**13), st.integers(0, 10**13))
    def test_round_trip(self, offset: int, length: int, rest: int) -> None:
        """
        What is printed is read back as the same.
        """
        part, size = ByteRange(offset, length), offset + length + rest
        self.assertEqual(parse_content_range(content_range(part, size)), ContentRange(part, size))

    def test_printed(self) -> None:
        """
        The last byte is counted in.
        """
        self.assertEqual(content_range(ByteRange(2, 3), 10), "bytes 2-4/10")

    def test_malformed(self) -> None:
        """
        What names no range is none.
        """
        for header in ("", "bytes */10", "bytes 0-1", "bytes 1-0/10", "bytes 0-10/10", "bytes a-b/c", "bytes 0-1/-1"):
            self.assertIsNone(parse_content_range(header), header)
