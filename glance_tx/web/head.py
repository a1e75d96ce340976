"""
The head of a request, read strictly: what two servers could understand in two ways is refused.

Everything here comes from RFC 9112 (messages, their framing) and RFC 9110 (fields, Host, Expect).
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen
from twisted.web.http_headers import Headers

from glance_tx.web.errors import BadRequest, ExpectationUnknown, HeadTooLarge, UriTooLong
from glance_tx.web.limits import EdgeLimits

__all__ = ["HeadReader", "RequestHead", "RequestLine", "parse_field"]

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[\x21-\x22\x24-\x7e]+")  # printable, and no "#": a fragment is never sent
_FIELD_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_FIELD: Final = re.compile(rb"(%b):(%b)" % (_TOKEN.pattern, _FIELD_VALUE.pattern))
_HOST: Final = re.compile(rb"[0-9A-Za-z\-._~%!$&'()*+;=:\[\]]*")
_ABSOLUTE_FORM: Final = re.compile(rb"https?://([^/?]+)(/?.*)", re.IGNORECASE)
_LONE_CR_OR_LF: Final = re.compile(rb"(?<!\r)\n|\r[^\n]")

_END_OF_LINE: Final = b"\r\n"
_END_OF_HEAD: Final = b"\r\n\r\n"

_LONGEST_METHOD: Final = 32
_LONGEST_LENGTH: Final = 19
"""Digits of a Content-Length; more would not fit a file."""


@frozen
class RequestLine:
    """
    The first line of a request.

    :param target: In origin form (path and query), or ``*``.
    :param version: ``HTTP/1.0`` or ``HTTP/1.1``.
    :param authority: The host named in the target itself, if one was.
    """

    method: bytes
    target: bytes
    version: bytes
    authority: bytes | None = None


@frozen
class RequestHead:
    """
    A request up to its body.

    :param length: Bytes of the body; ``None`` where it comes in chunks.
    :param expects_continue: The client waits for ``100 Continue`` before it sends the body.
    :param persistent: The connection may carry another request.
    """

    line: RequestLine
    headers: Headers
    length: int | None
    expects_continue: bool
    persistent: bool


class HeadReader:
    """
    Collects one head, and refuses a bad one as soon as that is certain.

    :ivar line: The request line, once it is known; kept when a later line is refused.
    """

    def __init__(self, limits: EdgeLimits) -> None:
        self.line: RequestLine | None = None
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        """How much of the buffer is known to hold no end of the head."""

    @property
    def begun(self) -> bool:
        """
        Whether any byte of the head has come.
        """
        return bool(self._buffer)

    def feed(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """
        Take in what came.

        :return: The head, and the bytes after it; ``None`` while it is not whole.
        :raises WebError: The head is malformed or too large. The connection cannot carry another request.
        """
        self._buffer += data
        self._skip_empty_lines()
        start = max(0, self._searched - len(_END_OF_HEAD) + 1)
        end = self._buffer.find(_END_OF_HEAD, start)
        self._check_bytes(start, end)
        if end < 0:
            self._check_unfinished()
            self._searched = len(self._buffer)
            return None
        rest = bytes(memoryview(self._buffer)[end + len(_END_OF_HEAD) :])
        return self._parse(bytes(memoryview(self._buffer)[:end])), rest

    def _skip_empty_lines(self) -> None:
        # Some clients end a body with a line break that no length counts (RFC 9112 section 2.2).
        while self._buffer.startswith(_END_OF_LINE):
            del self._buffer[: len(_END_OF_LINE)]
            self._searched = 0

    def _check_bytes(self, start: int, end: int) -> None:
        if self._buffer and self._buffer != b"\r" and not _TOKEN.match(self._buffer):
            raise BadRequest("the request does not begin with a method")
        # A line break that another server may see, or not see, is how requests are smuggled.
        if _LONE_CR_OR_LF.search(self._buffer, start, len(self._buffer) if end < 0 else end + len(_END_OF_HEAD)):
            raise BadRequest("lines must end with CR LF")

    def _check_unfinished(self) -> None:
        if len(self._buffer) > self._limits.max_head_bytes:
            raise self._too_large()
        start = self._buffer.rfind(_END_OF_LINE)
        if start < 0:
            self._check_request_line(self._buffer)
        elif len(self._buffer) - start - len(_END_OF_LINE) > self._limits.max_header_line_bytes:
            self._parse_request_line(bytes(self._buffer[: self._buffer.find(_END_OF_LINE)]))
            raise HeadTooLarge("the bytes of a header line", self._limits.max_header_line_bytes)

    def _too_large(self) -> HeadTooLarge:
        end = self._buffer.find(_END_OF_LINE)
        if end >= 0:
            self._parse_request_line(bytes(self._buffer[:end]))
        return HeadTooLarge("the bytes of the request head", self._limits.max_head_bytes)

    def _check_request_line(self, line: bytes | bytearray) -> None:
        method, _, rest = line.partition(b" ")
        if len(method) > _LONGEST_METHOD:
            raise BadRequest("the method is too long")
        if len(rest.partition(b" ")[0]) > self._limits.max_uri_bytes:
            raise UriTooLong(self._limits.max_uri_bytes)
        if len(line) > self._limits.max_uri_bytes + 2 * _LONGEST_METHOD:
            raise BadRequest("malformed request line")

    def _parse_request_line(self, text: bytes) -> RequestLine:
        self._check_request_line(text)
        self.line = _parse_request_line(text)
        return self.line

    def _parse(self, block: bytes) -> RequestHead:
        if len(block) > self._limits.max_head_bytes:
            raise self._too_large()
        first, *lines = block.split(_END_OF_LINE)
        line = self._parse_request_line(first)
        if len(lines) > self._limits.max_header_count:
            raise HeadTooLarge("the header lines", self._limits.max_header_count)
        headers = Headers()
        for text in lines:
            if len(text) > self._limits.max_header_line_bytes:
                raise HeadTooLarge("the bytes of a header line", self._limits.max_header_line_bytes)
            headers.addRawHeader(*parse_field(text))
        _check_host(line, headers)
        return RequestHead(
            line=line,
            headers=headers,
            length=_body_length(line, headers),
            expects_continue=_expects_continue(line, headers),
            persistent=_is_persistent(line, headers),
        )


def _parse_request_line(text: bytes) -> RequestLine:
    parts = text.split(b" ")
    if len(parts) != 3 or parts[2] not in {b"HTTP/1.0", b"HTTP/1.1"}:
        raise BadRequest("malformed request line")
    method, target, version = parts
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise BadRequest("malformed request line")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return RequestLine(method, target, version)
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is None or not _HOST.fullmatch(absolute[1]):
        raise BadRequest("malformed request target")
    path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    return RequestLine(method, path, version, authority=absolute[1])


def parse_field(text: bytes) -> tuple[bytes, bytes]:
    """
    Take a header line apart, or a trailer: name and value.

    :raises BadRequest: It is none.
    """
    field = _FIELD.fullmatch(text)
    if field is None:
        raise _malformed_field(text)
    return field[1], field[2].strip(b" \t")


def _malformed_field(text: bytes) -> BadRequest:
    if text[:1] in {b" ", b"\t"}:
        return BadRequest("folded header lines are not accepted")
    name, colon, _ = text.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        return BadRequest("malformed header line")
    return BadRequest("a header value has a forbidden character")


def _check_host(line: RequestLine, headers: Headers) -> None:
    hosts = headers.getRawHeaders(b"Host", [])
    if len(hosts) > 1 or (not hosts and line.version == b"HTTP/1.1"):
        raise BadRequest("exactly one Host header is required")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise BadRequest("malformed Host header")
    if line.authority is not None:
        # RFC 9112 section 3.2.2: the target's own authority counts, whatever Host says.
        headers.setRawHeaders(b"Host", [line.authority])


def _body_length(line: RequestLine, headers: Headers) -> int | None:
    lengths = headers.getRawHeaders(b"Content-Length", [])
    codings = headers.getRawHeaders(b"Transfer-Encoding", [])
    if codings:
        if lengths:
            raise BadRequest("Content-Length and Transfer-Encoding exclude each other")
        if line.version == b"HTTP/1.0":
            raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadRequest("the only Transfer-Encoding accepted is chunked")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _LONGEST_LENGTH:
        raise BadRequest("malformed Content-Length header")
    return int(lengths[0])


def _expects_continue(line: RequestLine, headers: Headers) -> bool:
    expectations = headers.getRawHeaders(b"Expect", [])
    if not expectations or line.version == b"HTTP/1.0":  # which has no expectations: RFC 9110 section 10.1.1
        return False
    for expectation in expectations:
        if expectation.lower() != b"100-continue":
            raise ExpectationUnknown(expectation.decode("latin-1"))
    return True


def _is_persistent(line: RequestLine, headers: Headers) -> bool:
    options = {
        option.strip(b" \t").lower()
        for value in headers.getRawHeaders(b"Connection", [])
        for option in value.split(b",")
    }
    return line.version == b"HTTP/1.1" and b"close" not in options
