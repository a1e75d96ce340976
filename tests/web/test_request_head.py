"""
Tests for `glance_tx.web.head`.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.errors import BadRequest, ExpectationUnknown, HeadTooLarge, UriTooLong, WebError
from glance_tx.web.head import HeadReader, RequestHead, RequestLine
from glance_tx.web.limits import EdgeLimits

LIMITS = EdgeLimits(max_uri_bytes=100, max_header_line_bytes=200, max_head_bytes=1000, max_header_count=10)


def read(data: bytes, limits: EdgeLimits = LIMITS) -> tuple[RequestHead, bytes] | None:
    return HeadReader(limits).feed(data)


def head_of(*lines: bytes, version: bytes = b"HTTP/1.1", host: bytes = b"Host: there\r\n") -> RequestHead:
    found = read(b"PUT /path?query " + version + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    assert found is not None
    return found[0]


class HeadTests(SynchronousTestCase):
    """
    A good head is read as it stands.
    """

    def test_whole(self) -> None:
        """
        The parts of a head are found, and what comes after it is left alone.
        """
        found = read(
            b"GET /v2/images?limit=1 HTTP/1.1\r\nHost: there:9292\r\nX-Thing:\t one \r\nx-thing:two\r\n\r\nREST"
        )
        assert found is not None
        head, rest = found
        self.assertEqual(head.line, RequestLine(b"GET", b"/v2/images?limit=1", b"HTTP/1.1"))
        self.assertEqual(head.headers.getRawHeaders(b"x-thing"), [b"one", b"two"])
        self.assertEqual((head.length, head.expects_continue, head.persistent), (0, False, True))
        self.assertEqual(rest, b"REST")

    def test_in_pieces(self) -> None:
        """
        A head that comes byte by byte is whole with its last byte, and not before.
        """
        reader = HeadReader(LIMITS)
        text = b"GET / HTTP/1.1\r\nHost: a\r\nX-B: c\r\n\r\n"
        for byte in text[:-1]:
            self.assertIsNone(reader.feed(bytes([byte])))
        found = reader.feed(text[-1:])
        assert found is not None
        self.assertEqual(found[0].headers.getRawHeaders(b"x-b"), [b"c"])
        self.assertEqual(found[1], b"")

    def test_without_headers(self) -> None:
        """
        HTTP/1.0 needs no header at all, and its connection carries one request.
        """
        found = read(b"GET / HTTP/1.0\r\n\r\n")
        assert found is not None
        self.assertFalse(found[0].persistent)

    def test_empty_lines_before(self) -> None:
        """
        Line breaks before the request line are skipped, in whatever pieces they come.
        """
        reader = HeadReader(LIMITS)
        for piece in (b"\r", b"\n\r\n", b"\r"):
            self.assertIsNone(reader.feed(piece))
        found = reader.feed(b"\nGET / HTTP/1.0\r\n\r\n")
        assert found is not None
        self.assertEqual(found[0].line.method, b"GET")

    def test_absolute_form(self) -> None:
        """
        A target with scheme and host is taken apart, and its host replaces the Host header.
        """
        for target, path in (
            (b"http://other:80/a?b=c", b"/a?b=c"),
            (b"HTTPS://other:80", b"/"),
            (b"http://other:80?b", b"/?b"),
        ):
            found = read(b"GET " + target + b" HTTP/1.1\r\nHost: there\r\n\r\n")
            assert found is not None
            self.assertEqual(found[0].line.target, path)
            self.assertEqual(found[0].headers.getRawHeaders(b"host"), [b"other:80"])

    def test_asterisk_form(self) -> None:
        """
        The target ``*`` belongs to OPTIONS alone.
        """
        self.assertIsNotNone(read(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"))
        self.assertRaises(BadRequest, read, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n")

    def test_length(self) -> None:
        """
        The length of a body is the announced one, unknown for a chunked one, and 0 where there is none.
        """
        self.assertEqual(head_of(b"Content-Length: 0012").length, 12)
        self.assertIsNone(head_of(b"Transfer-Encoding: Chunked").length)
        self.assertEqual(head_of().length, 0)

    def test_expectation(self) -> None:
        """
        100-continue is understood in any case of letters, and means nothing to HTTP/1.0.
        """
        self.assertTrue(head_of(b"Expect: 100-Continue", b"Content-Length: 1").expects_continue)
        self.assertFalse(head_of(b"Expect: 100-continue", b"Content-Length: 1", version=b"HTTP/1.0").expects_continue)
        self.assertFalse(head_of(b"Expect: magic", version=b"HTTP/1.0").expects_continue)

    def test_persistence(self) -> None:
        """
        A connection is kept unless one of the Connection options, in whatever list they stand, is close.
        """
        self.assertTrue(head_of(b"Connection: keep-alive").persistent)
        self.assertFalse(head_of(b"Connection: TE, Close").persistent)
        self.assertFalse(head_of(b"Connection: te", b"Connection: close").persistent)
        self.assertFalse(head_of(b"Connection: keep-alive", version=b"HTTP/1.0").persistent)


class RefusalTests(SynchronousTestCase):
    """
    What could be understood in two ways is refused.
    """

    def test_reasons(self) -> None:
        """
        A bad header line is refused with word of what is bad about it.
        """
        for line, reason in {
            b" folded: 1": "folded header lines are not accepted",
            b"\tfolded": "folded header lines are not accepted",
            b"no colon": "malformed header line",
            b"X : 1": "malformed header line",
            b": 1": "malformed header line",
            b"X: \x00": "a header value has a forbidden character",
            b"X: \x7f": "a header value has a forbidden character",
        }.items():
            reader = HeadReader(EdgeLimits())
            error = self.assertRaises(BadRequest, reader.feed, b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")
            self.assertEqual(str(error), reason)

    def assert_refused(self, *lines: bytes, version: bytes = b"HTTP/1.1", host: bytes = b"Host: there\r\n") -> None:
        with self.assertRaises(BadRequest, msg=repr(lines)):
            head_of(*lines, version=version, host=host)

    def test_request_line(self) -> None:
        """
        A request line has a method, a target and a version this server speaks, with one space between them.
        """
        for line in (
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET /\tHTTP/1.1",
            b"GET / HTTP/2.0",
            b"GET / http/1.1",
            b"GET / HTTP/1.10",
            b"G(T / HTTP/1.1",
            b"GET path HTTP/1.1",
            b"GET /a#b HTTP/1.1",
            b"GET /\xc3\xa4 HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"CONNECT there:443 HTTP/1.1",
            b"GET http:///a HTTP/1.1",
            b"GET http://user@there/ HTTP/1.1",
            b"GET ftp://there/ HTTP/1.1",
            b"X" * 33 + b" / HTTP/1.1",
        ):
            with self.assertRaises(BadRequest, msg=repr(line)):
                read(line + b"\r\nHost: there\r\n\r\n")

    def test_no_http_at_all(self) -> None:
        """
        A client that speaks something else is told at its first byte, not when its time is up.
        """
        self.assertRaises(BadRequest, read, b"\x16\x03\x01")

    def test_lone_line_feed(self) -> None:
        """
        A line that ends without a carriage return is refused at once, wherever it is.
        """
        for text in (
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\nHost: a\nX-B: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a\rX-B: c\r\n\r\n",
            b"\n",
        ):
            with self.assertRaises(BadRequest, msg=repr(text)):
                read(text)
            reader = HeadReader(LIMITS)
            with self.assertRaises(BadRequest, msg=repr(text)):
                for byte in text:
                    reader.feed(bytes([byte]))

    def test_body_is_not_looked_at(self) -> None:
        """
        Line feeds after the head are the body's business.
        """
        found = read(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na\nb\r")
        assert found is not None
        self.assertEqual(found[1], b"a\nb\r")

    def test_folding(self) -> None:
        """
        A header line that continues the one before is refused.
        """
        self.assert_refused(b"X-A: b", b" c")
        self.assert_refused(b"X-A: b", b"\tTransfer-Encoding: chunked")
        self.assert_refused(b" X-A: b", host=b"")

    def test_header_names(self) -> None:
        """
        A header name is a token right before its colon.
        """
        for line in (b"Content-Length : 1", b"X A: b", b": b", b"nothing", b"X\xe4: b", b"X\x00: b"):
            self.assert_refused(line)

    def test_header_values(self) -> None:
        """
        A header value has no control characters but tabs.
        """
        for byte in (0x00, 0x01, 0x0B, 0x1F, 0x7F):
            self.assert_refused(b"X-A: b" + bytes([byte]) + b"c")
        self.assertEqual(head_of(b"X-A: b\tc\xff").headers.getRawHeaders(b"x-a"), [b"b\tc\xff"])

    def test_host(self) -> None:
        """
        HTTP/1.1 has exactly one Host, and it looks like one.
        """
        self.assert_refused(host=b"")
        self.assert_refused(b"Host: there")
        self.assert_refused(b"Host: there", version=b"HTTP/1.0")
        for host in (b"a/b", b"user@a", b"a b", b"a,b", b"\xe4"):
            self.assert_refused(host=b"Host: " + host + b"\r\n")

    def test_content_length(self) -> None:
        """
        A Content-Length is one plain number, given once.
        """
        for value in (b"", b"-1", b"+1", b"1.0", b"0x1", b"1_0", b"1, 1", b"\xb2", b"9" * 20):
            self.assert_refused(b"Content-Length: " + value)
        self.assert_refused(b"Content-Length: 1", b"Content-Length: 1")
        self.assert_refused(b"Content-Length: 1", b"Content-Length: 2")

    def test_transfer_encoding(self) -> None:
        """
        The only coding is chunked, named once, without a Content-Length beside it, and not in HTTP/1.0.
        """
        for value in (b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"chunked;a=b"):
            self.assert_refused(b"Transfer-Encoding: " + value)
        chunked = b"Transfer-Encoding: chunked"
        self.assert_refused(chunked, chunked)
        self.assert_refused(chunked, b"Content-Length: 1")
        self.assert_refused(b"Content-Length: 1", chunked)
        self.assert_refused(chunked, version=b"HTTP/1.0")

    def test_expectation(self) -> None:
        """
        An expectation other than 100-continue is not met, even where it is one of several.
        """
        for lines in ((b"Expect: magic",), (b"Expect: 100-continue", b"Expect: x"), (b"Expect: 100-continue, x",)):
            with self.assertRaises(ExpectationUnknown):
                head_of(*lines)

    @given(st.binary(max_size=300), st.integers(0, 300))
    def test_anything(self, data: bytes, cut: int) -> None:
        """
        Whatever comes is a head, or part of one, or refused as such; and pieces make no difference.
        """

        def outcome(*pieces: bytes) -> object:
            reader = HeadReader(LIMITS)
            found = None
            try:
                for piece in pieces:
                    found = reader.feed(piece)
            except WebError as error:
                return type(error)
            return found is None

        text = b"GET / HTTP/1.1\r\nHost: a\r\n" + data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
        text = text[: text.index(b"\r\n\r\n") + 4]
        self.assertEqual(outcome(text), outcome(text[:cut], text[cut:]) if cut < len(text) else outcome(text))


class LimitTests(SynchronousTestCase):
    """
    A head that is too large is refused as soon as that is certain, and says what of it was.
    """

    def assert_refused_early(self, kind: type[Exception], text: bytes, line: RequestLine | None = None) -> None:
        for pieces in ([text], [bytes([byte]) for byte in text]):
            reader = HeadReader(LIMITS)
            with self.assertRaises(kind):
                for piece in pieces:
                    reader.feed(piece)
            self.assertEqual(reader.line, line)

    def test_uri(self) -> None:
        """
        A target may have its greatest length, and not a byte more.
        """
        self.assertIsNotNone(read(b"GET /" + b"a" * 99 + b" HTTP/1.1\r\nHost: a\r\n\r\n"))
        self.assertRaises(UriTooLong, read, b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n")

    def test_uri_that_does_not_end(self) -> None:
        """
        A target that is too long is refused before it ends.
        """
        self.assert_refused_early(UriTooLong, b"GET /" + b"a" * 100)

    def test_method_that_does_not_end(self) -> None:
        """
        A method that is too long is refused before it ends.
        """
        self.assert_refused_early(BadRequest, b"A" * 33)

    def test_request_line_that_does_not_end(self) -> None:
        """
        A request line with a version that is too long is refused before it ends.
        """
        self.assert_refused_early(BadRequest, b"GET / " + b"A" * 200)

    def test_header_line(self) -> None:
        """
        A header line may have its greatest length, and is refused before its end when it has more.
        """
        self.assertEqual(head_of(b"X: " + b"a" * 197).headers.getRawHeaders(b"x"), [b"a" * 197])
        self.assertRaises(HeadTooLarge, head_of, b"X: " + b"a" * 198)
        line = RequestLine(b"GET", b"/", b"HTTP/1.1")
        self.assert_refused_early(HeadTooLarge, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 198, line)

    def test_head(self) -> None:
        """
        A head that is too long in all is refused before its end.
        """
        lines = b"".join(b"X-%d: " % number + b"a" * 150 + b"\r\n" for number in range(7))
        line = RequestLine(b"GET", b"/", b"HTTP/1.1")
        self.assert_refused_early(HeadTooLarge, b"GET / HTTP/1.1\r\nHost: a\r\n" + lines, line)
        reader = HeadReader(LIMITS)
        self.assertRaises(HeadTooLarge, reader.feed, b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        self.assertEqual(reader.line, line)

    def test_count(self) -> None:
        """
        A head may have the greatest number of lines, and not one more.
        """
        self.assertIsNotNone(head_of(*[b"X: a"] * 9))
        self.assertRaises(HeadTooLarge, head_of, *[b"X: a"] * 10)

    def test_limits_that_contradict_each_other(self) -> None:
        """
        Limits that would stop every transfer are refused.
        """
        self.assertRaises(ValueError, EdgeLimits, low_water_bytes=5 << 20)
        self.assertRaises(ValueError, EdgeLimits, small_body_bytes=5 << 20)
        self.assertRaises(ValueError, EdgeLimits, stall_seconds=0)
