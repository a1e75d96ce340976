"""
JSON bodies are read strictly, and never beyond their bounds.
"""

from __future__ import annotations

from collections.abc import Coroutine

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.web.errors import BadRequest, PayloadTooLarge
from glance_tx.web.jsonbody import parse_json, read_json


@implementer(IBodyReader)
@define
class Pieces:
    """
    A body in given pieces.
    """

    pieces: list[bytes]
    length: int | None = None
    taken: int = field(default=0, init=False)

    async def read(self, at_least: int) -> bytes:
        if self.taken == len(self.pieces):
            return b""
        self.taken += 1
        return self.pieces[self.taken - 1]


async def too_large(reading: Coroutine[object, object, object]) -> PayloadTooLarge:
    try:
        await reading
    except PayloadTooLarge as exc:
        return exc
    raise AssertionError("the body was accepted")


class ParseTests(SynchronousTestCase):
    """
    `parse_json` takes objects and arrays, and nothing that only looks like them.
    """

    def test_documents(self) -> None:
        """
        Objects and arrays are parsed; text beyond ASCII too.
        """
        self.assertEqual(parse_json('{"name": "größe \U0001f600"}'.encode()), {"name": "größe \U0001f600"})
        self.assertEqual(parse_json(b' [1, 2.5, null, true, {"a": []}]\n'), [1, 2.5, None, True, {"a": []}])

    def test_refused(self) -> None:
        """
        Scalars, trailing text, broken encodings, and numbers that JSON does not have are refused.
        """
        for data in (
            b"",
            b"  \r\n",
            b"{",
            b"{} {}",
            b"{}\0",
            b"null",
            b'"text"',
            b"17",
            b"NaN",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": 1e999}',
            b"[" + b"9" * 5000 + b"]",
            b'{"a": "\xff"}',
            b'{"a": "\xed\xa0\x80"}',
            b'["\\ud800"]',
            b"\xef\xbb\xbf{}",
            '{"a": 1}'.encode("utf-16"),
            b"{'a': 1}",
            b'{"a": 1,}',
        ):
            self.assertRaises(BadRequest, parse_json, data)

    def test_nesting(self) -> None:
        """
        A document may be 64 levels deep, and have any number of brackets beside one another.
        """
        self.assertEqual(parse_json(b"[" * 64 + b"]" * 64), parse_json(b"[" * 64 + b"]" * 64))
        self.assertEqual(len(parse_json(b"[" + b"{}," * 5000 + b"{}]")), 5001)
        for depth in (65, 500, 1023, 50_000):
            self.assertRaises(BadRequest, parse_json, b"[" * depth + b"]" * depth)
            self.assertRaises(BadRequest, parse_json, b'{"a":' * depth + b"1" + b"}" * depth)

    def test_brackets_in_text(self) -> None:
        """
        Brackets inside of strings are not levels.
        """
        self.assertEqual(parse_json(b'{"a": "' + b"[" * 100 + b'"}'), {"a": "[" * 100})

    def test_nul(self) -> None:
        """
        A NUL in a text is refused, in a name too; what only looks like one is not.
        """
        for data in (b'{"a": "\\u0000"}', b'{"\\u0000": 1}', b'["x\\\\\\u0000"]', b'{"a": 1, "a": ["\\n\\u0000"]}'):
            self.assertRaises(BadRequest, parse_json, data)
        self.assertEqual(parse_json(b'["\\\\u0000", "u0000"]'), ["\\u0000", "u0000"])

    def test_repeated_name(self) -> None:
        """
        Of a repeated name the last value counts, as in stock Glance.
        """
        self.assertEqual(parse_json(b'{"a": 1, "a": 2}'), {"a": 2})


class ReadTests(TestCase):
    """
    `read_json` takes in a body up to its limit.
    """

    async def test_pieces(self) -> None:
        """
        A body may come in any pieces.
        """
        self.assertEqual(await read_json(Pieces([b'{"a"', b":", b"[1]}"])), {"a": [1]})

    async def test_announced_too_long(self) -> None:
        """
        A body that is announced too long is refused before a byte of it is read.
        """
        body = Pieces([b"[]"], length=114_689)
        exc = await too_large(read_json(body))
        self.assertEqual((exc.limit_bytes, body.taken), (114_688, 0))

    async def test_grows_too_long(self) -> None:
        """
        A body of unannounced length is read up to the limit and no further.
        """
        body = Pieces([b"[1,", b"2,", b"3]", b" ", b" "])
        exc = await too_large(read_json(body, limit_bytes=6))
        self.assertEqual((exc.limit_bytes, body.taken), (6, 3))

    async def test_at_the_limit(self) -> None:
        """
        A body of exactly the limit is read.
        """
        self.assertEqual(await read_json(Pieces([b"[1,2]"], length=5), limit_bytes=5), [1, 2])
