"""
Requests that two servers could understand in two ways, as they stand on the wire.

In each of them ``/here`` is the path of the request itself, and ``/smuggled`` one that must never be served: it stands
where a server that reads the request in another way would find one more request.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["CASES", "END", "Case", "Seen"]

END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""Comes after every case, so that the connection ends in any case."""

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@frozen
class Seen:
    """
    One request, as it is to be understood.
    """

    method: str
    path: str = "/here"
    body: bytes = b""


@frozen
class Case:
    """
    What is sent.

    :param served: What it means; nothing, where it is refused.
    :param status: Of the refusal.
    """

    name: str
    raw: bytes
    served: tuple[Seen, ...] = ()
    status: int = 400


def _get(name: str, *lines: bytes, status: int = 400) -> Case:
    """
    A GET with these lines is refused.
    """
    head = b"".join(line + b"\r\n" for line in (b"GET /here HTTP/1.1", b"Host: a", *lines))
    return Case(name, head + b"\r\n" + SMUGGLED, status=status)


def _line(name: str, line: bytes, status: int = 400) -> Case:
    """
    This request line is refused.
    """
    return Case(name, line + b"\r\nHost: a\r\n\r\n" + SMUGGLED, status=status)


def _host(name: str, *lines: bytes) -> Case:
    """
    These lines in place of the Host are refused.
    """
    head = b"".join(line + b"\r\n" for line in (b"GET /here HTTP/1.1", *lines))
    return Case(name, head + b"\r\n" + SMUGGLED)


def _framed(name: str, *lines: bytes, body: bytes = b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED) -> Case:
    """
    A POST whose length is said in this way is refused.
    """
    head = b"".join(line + b"\r\n" for line in (b"POST /here HTTP/1.1", b"Host: a", *lines))
    return Case(name, head + b"\r\n" + body)


def _chunked(name: str, body: bytes) -> Case:
    """
    A POST with this chunked body is refused.
    """
    return _framed(name, b"Transfer-Encoding: chunked", body=body + SMUGGLED)


def _fine(name: str, *lines: bytes, body: bytes = b"", means: bytes = b"") -> Case:
    """
    A POST with these lines has this meaning, and no other.
    """
    head = b"".join(line + b"\r\n" for line in (b"POST /here HTTP/1.1", b"Host: a", *lines))
    return Case(name, head + b"\r\n" + body, (Seen("POST", body=means),))


_TE = b"Transfer-Encoding: chunked"
_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

_LENGTHS = (
    _framed("length and chunks", b"Content-Length: 4", _TE),
    _framed("chunks and length", _TE, b"Content-Length: 4"),
    _framed("no length and chunks", b"Content-Length: 0", _TE),
    _framed("length of all chunks", b"Content-Length: 15", _TE),
    _framed("two lengths", b"Content-Length: 5", b"Content-Length: 50"),
    _framed("the same length twice", b"Content-Length: 5", b"Content-Length: 5"),
    _framed("two lengths in one", b"Content-Length: 5, 5"),
    _framed("two different lengths in one", b"Content-Length: 5, 50"),
    _framed("length and a comma", b"Content-Length: 5,"),
    _framed("positive length", b"Content-Length: +5"),
    _framed("negative length", b"Content-Length: -5"),
    _framed("length in hex", b"Content-Length: 0x5"),
    _framed("length with a blank", b"Content-Length: 1 5"),
    _framed("length with a semicolon", b"Content-Length: 5;"),
    _framed("empty length", b"Content-Length:"),
    _framed("length in other digits", "Content-Length: \uff15".encode()),
    _framed("length in superscript", b"Content-Length: \xb2"),
    _framed("length beyond 64 bits", b"Content-Length: 18446744073709551621"),
    _framed("length with NUL", b"Content-Length: 5\x00"),
    _framed("length with an exponent", b"Content-Length: 1e1"),
    _framed("length with a point", b"Content-Length: 5.0"),
    _framed("length with an underscore", b"Content-Length: 1_0"),
    _framed("quoted length", b'Content-Length: "5"'),
    _framed("blank before the colon of a length", b"Content-Length : 5"),
    _framed("tab before the colon of a length", b"Content-Length\t: 5"),
    _framed("NUL before the colon of a length", b"Content-Length\x00: 5"),
    _framed("length in a folded line", b"X-A: b", b" Content-Length: 5"),
    _framed("folded length", b"Content-Length:", b" 5"),
)

_CODINGS = (
    _framed("identity", b"Transfer-Encoding: identity", b"Content-Length: 5"),
    _framed("compressed chunks", b"Transfer-Encoding: gzip, chunked"),
    _framed("chunks of chunks", b"Transfer-Encoding: chunked, chunked"),
    _framed("chunks, then identity", b"Transfer-Encoding: chunked, identity"),
    _framed("an unknown coding", b"Transfer-Encoding: xchunked"),
    _framed("half a coding", b"Transfer-Encoding: chunk"),
    _framed("chunks with a parameter", b"Transfer-Encoding: chunked;q=1"),
    _framed("chunked and identity in two lines", _TE, b"Transfer-Encoding: identity"),
    _framed("identity and chunked in two lines", b"Transfer-Encoding: identity", _TE),
    _framed("chunked twice", _TE, _TE),
    _framed("vertical tab before the coding", b"Transfer-Encoding: \x0bchunked"),
    _framed("vertical tab after the coding", b"Transfer-Encoding: chunked\x0b"),
    _framed("form feed before the coding", b"Transfer-Encoding: \x0cchunked"),
    _framed("no-break space before the coding", b"Transfer-Encoding: \xa0chunked"),
    _framed("NUL after the coding", b"Transfer-Encoding: chunked\x00"),
    _framed("empty coding", b"Transfer-Encoding:", b"Content-Length: 5"),
    _framed("comma before the coding", b"Transfer-Encoding: ,chunked"),
    _framed("comma after the coding", b"Transfer-Encoding: chunked,"),
    _framed("quoted coding", b'Transfer-Encoding: "chunked"'),
    _framed("blank before the colon of a coding", b"Transfer-Encoding : chunked"),
    _framed("tab before the colon of a coding", b"Transfer-Encoding\t: chunked"),
    _framed("folded coding", b"Transfer-Encoding:", b" chunked"),
    _framed("coding in a folded line", b"X-A: b", b"\tTransfer-Encoding: chunked"),
    _framed("blank before a coding's name", b" Transfer-Encoding: chunked"),
    _framed("line feed before the coding", b"X-A: b\nTransfer-Encoding: chunked"),
    _framed("carriage return before the coding", b"X-A: b\rTransfer-Encoding: chunked"),
    Case(
        "chunks in HTTP/1.0",
        b"POST /here HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    ),
    Case(
        "chunks and length in HTTP/1.0",
        b"POST /here HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
        + SMUGGLED,
    ),
)

_CHUNK_LINES = (
    _chunked("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunked("positive size", b"+5\r\nhello\r\n0\r\n\r\n"),
    _chunked("negative size", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunked("blank before the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    _chunked("tab after the size", b"5\t\r\nhello\r\n0\r\n\r\n"),
    _chunked("empty size", b"\r\nhello\r\n0\r\n\r\n"),
    _chunked("size that is none", b"g\r\nhello\r\n0\r\n\r\n"),
    _chunked("size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    _chunked("size beyond 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunked("size beyond 63 bits", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    _chunked("line feed after the size", b"5\nhello\r\n0\r\n\r\n"),
    _chunked("line feed after the last size", b"5\r\nhello\r\n0\n\r\n"),
    _chunked("line feed in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
    _chunked("carriage return in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    _chunked("NUL in an extension", b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    _chunked("long extension", b"5;" + b"a" * 70_000 + b"\r\nhello\r\n0\r\n\r\n"),
    _chunked("more than the size says", b"4\r\nhello\r\n0\r\n\r\n"),
    _chunked("less than the size says", b"6\r\nhello\r\n0\r\n\r\n"),
    _chunked("no end of a chunk", b"5\r\nhello0\r\n\r\n"),
    _chunked("other end of a chunk", b"5\r\nhelloXX0\r\n\r\n"),
    _chunked("line feed at the end of a chunk", b"5\r\nhello\n0\r\n\r\n"),
    _chunked("line feed in a trailer", b"0\r\nX-A: b\nX-C: d\r\n\r\n"),
    _chunked("line feed after a trailer", b"0\r\nX-A: b\n\r\n"),
    _chunked("trailer that is none", b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    _chunked("folded trailer", b"0\r\nX-A: b\r\n c\r\n\r\n"),
    _chunked("NUL in a trailer", b"0\r\nX-A: \x00\r\n\r\n"),
    _chunked("blank before the colon of a trailer", b"0\r\nX-A : b\r\n\r\n"),
    _chunked("long trailers", b"0\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n"),
)

_LINES = (
    _get("line feed after a line", b"X-A: b\nX-C: d"),
    _get("two line feeds", b"X-A: b\n\nX-C: d"),
    Case("line feeds alone", b"GET /here HTTP/1.1\nHost: a\n\n" + SMUGGLED),
    Case("line feed at the end", b"GET /here HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED),
    Case("line feed before the request", b"\n" + b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n" + SMUGGLED),
    _get("carriage return in a value", b"X-A: b\rc"),
    _get("two carriage returns", b"X-A: b\r"),
    _get("folded with a blank", b"X-A: b", b" c"),
    _get("folded with a tab", b"X-A: b", b"\tc"),
    Case("folded first line", b"GET /here HTTP/1.1\r\n X-A: b\r\nHost: a\r\n\r\n" + SMUGGLED),
    _get("no colon", b"X-A"),
    _get("no name", b": b"),
    _get("blank in a name", b"X A: b"),
    _get("tab in a name", b"X\tA: b"),
    _get("blank before the colon", b"X-A : b"),
    _get("brackets in a name", b"X(A): b"),
    _get("slash in a name", b"X/A: b"),
    _get("NUL in a name", b"X\x00A: b"),
    _get("name that is not ASCII", b"X-\xc4: b"),
    _get("NUL in a value", b"X-A: b\x00c"),
    _get("control character in a value", b"X-A: b\x01c"),
    _get("backspace in a value", b"X-A: b\x08c"),
    _get("DEL in a value", b"X-A: b\x7fc"),
    _get("too many lines", *[b"X-A: b"] * 500, status=431),
    _get("too long a line", b"X-A: " + b"b" * 70_000, status=431),
    _get("unknown expectation", b"Expect: 200-maybe", status=417),
)

_REQUEST_LINES = (
    _line("two blanks before the path", b"GET  /here HTTP/1.1"),
    _line("two blanks after the path", b"GET /here  HTTP/1.1"),
    _line("tabs", b"GET\t/here\tHTTP/1.1"),
    _line("blank at the end", b"GET /here HTTP/1.1 "),
    _line("blank at the beginning", b" GET /here HTTP/1.1"),
    _line("no version", b"GET /here"),
    _line("version 2.0", b"GET /here HTTP/2.0"),
    _line("version 1.2", b"GET /here HTTP/1.2"),
    _line("version 0.9", b"GET /here HTTP/0.9"),
    _line("version in lower case", b"GET /here http/1.1"),
    _line("version with a zero", b"GET /here HTTP/01.1"),
    _line("version with more", b"GET /here HTTP/1.1x"),
    _line("version of something else", b"GET /here ICAP/1.0"),
    _line("blank in the path", b"GET /here /smuggled HTTP/1.1"),
    _line("no slash", b"GET here HTTP/1.1"),
    _line("fragment", b"GET /here#/smuggled HTTP/1.1"),
    _line("NUL in the path", b"GET /here\x00 HTTP/1.1"),
    _line("path that is not ASCII", b"GET /here\xff HTTP/1.1"),
    _line("carriage return in the path", b"GET /here\r/smuggled HTTP/1.1"),
    _line("brackets in the method", b"G(T /here HTTP/1.1"),
    _line("no method", b" /here HTTP/1.1"),
    _line("endless method", b"G" * 100 + b" /here HTTP/1.1"),
    _line("asterisk", b"GET * HTTP/1.1"),
    _line("CONNECT", b"CONNECT a:80 HTTP/1.1"),
    _line("too long a path", b"GET /here" + b"e" * 70_000 + b" HTTP/1.1", status=414),
    Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SMUGGLED),
    Case("proxy protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + SMUGGLED),
    _line("absolute, of another scheme", b"GET ftp://a/here HTTP/1.1"),
    _line("absolute, with a user", b"GET http://u@a/here HTTP/1.1"),
    _line("absolute, without a host", b"GET http:///here HTTP/1.1"),
    _line("absolute, with a backslash", b"GET http://a\\@b/here HTTP/1.1"),
)

_HOSTS = (
    _host("no Host"),
    _host("two Hosts", b"Host: a", b"Host: b"),
    _host("the same Host twice", b"Host: a", b"Host: a"),
    _host("Host in two spellings", b"Host: a", b"hOST: b"),
    _host("blank in Host", b"Host: a b"),
    _host("user in Host", b"Host: u@a"),
    _host("path in Host", b"Host: a/b"),
    _host("NUL in Host", b"Host: a\x00"),
    _host("folded Host", b"Host: a", b" b"),
    _host("blank before the colon of Host", b"Host : a"),
    Case("absolute, and two Hosts", b"GET http://a/here HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + SMUGGLED),
)

_PLAIN = b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n"

_SERVED = (
    Case("plain", _PLAIN, (Seen("GET"),)),
    Case("two at once", _PLAIN + _PLAIN, (Seen("GET"), Seen("GET"))),
    Case("empty lines before", b"\r\n\r\n" + _PLAIN, (Seen("GET"),)),
    Case("absolute", b"GET http://a/here HTTP/1.1\r\nHost: a\r\n\r\n", (Seen("GET"),)),
    Case("absolute, in capitals", b"GET HTTP://A/here HTTP/1.1\r\nHost: a\r\n\r\n", (Seen("GET"),)),
    Case("absolute, and another Host", b"GET http://a/here HTTP/1.1\r\nHost: b\r\n\r\n", (Seen("GET"),)),
    Case("a request as a path", b"GET /here?http://b/smuggled HTTP/1.1\r\nHost: a\r\n\r\n", (Seen("GET"),)),
    _fine("no body"),
    _fine("length", b"Content-Length: 5", body=b"hello", means=b"hello"),
    _fine("length in lower case", b"content-length: 5", body=b"hello", means=b"hello"),
    _fine("length with zeros", b"Content-Length: 005", body=b"hello", means=b"hello"),
    _fine("length between blanks", b"Content-Length: \t 5 \t", body=b"hello", means=b"hello"),
    _fine("a request as a body", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED, means=SMUGGLED),
    _fine("chunks", _TE, body=_CHUNKS, means=b"hello"),
    _fine("chunks in capitals", b"TRANSFER-ENCODING: CHUNKED", body=_CHUNKS, means=b"hello"),
    _fine("chunks between blanks", b"Transfer-Encoding: \tchunked ", body=_CHUNKS, means=b"hello"),
    _fine("chunk with an extension", _TE, body=b'5;a="b c"\r\nhello\r\n0;d\r\n\r\n', means=b"hello"),
    _fine("sizes with zeros", _TE, body=b"0005\r\nhello\r\n000\r\n\r\n", means=b"hello"),
    _fine("sizes in both cases", _TE, body=b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", means=b"0123456789" * 2),
    _fine("a request in a chunk", _TE, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED), means=SMUGGLED),
    _fine("trailers", _TE, body=b"5\r\nhello\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n", means=b"hello"),
    _fine("length as a trailer", _TE, body=b"0\r\nContent-Length: 50\r\n\r\n"),
    _fine("coding as a trailer", _TE, body=b"0\r\nTransfer-Encoding: gzip\r\n\r\n"),
    _fine("length in an underscore's name", b"Content_Length: 50", body=b""),
    _fine(
        "coding in an underscore's name",
        b"Transfer_Encoding: chunked",
        b"Content-Length: 5",
        body=b"hello",
        means=b"hello",
    ),
    _fine(
        "a length that is for the connection",
        b"Connection: Content-Length",
        b"Content-Length: 5",
        body=b"hello",
        means=b"hello",
    ),
    _fine("a coding that is for the connection", b"Connection: Transfer-Encoding", _TE, body=_CHUNKS, means=b"hello"),
    _fine("what the client takes", b"TE: trailers, chunked", b"Connection: TE"),
    _fine("another protocol", b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk"),
    _fine("an override of the method", b"X-HTTP-Method-Override: DELETE"),
    _fine("an override of the path", b"X-Original-URL: /smuggled", b"X-Rewrite-URL: /smuggled"),
    Case(
        "GET with a body",
        b"GET /here HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        (Seen("GET", body=SMUGGLED),),
    ),
    Case(
        "GET with chunks",
        b"GET /here HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
        (Seen("GET", body=b"hello"),),
    ),
)

CASES = (*_LENGTHS, *_CODINGS, *_CHUNK_LINES, *_LINES, *_REQUEST_LINES, *_HOSTS, *_SERVED)
"""Every one of them, by unique names."""
