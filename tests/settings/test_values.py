"""
Kinds of values, and how options are declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

from attrs import exceptions, frozen
from oslo_config import cfg, types
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.settings import Section, option
from glance_tx.settings.declare import declared, describe, is_required
from glance_tx.settings.values import (
    AbsolutePath,
    BindAddress,
    ByteCount,
    DatabaseUrl,
    HostAndPort,
    HttpUrl,
    Network,
    RedisUrl,
    Word,
)

WORD = Word(r"[a-z]+", "small letters")

GOOD: Mapping[types.ConfigType, Mapping[str, object]] = {
    AbsolutePath(): {"/": Path("/"), " /var/lib ": Path("/var/lib")},
    HttpUrl(): {
        "http://a": "http://a",
        "https://a.example:9292/image/": "https://a.example:9292/image",
        "http://[::1]:9292": "http://[::1]:9292",
    },
    HostAndPort(7): {"a": ("a", 7), "a:8": ("a", 8), "[::1]:8": ("::1", 8), "[::1]": ("::1", 7)},
    RedisUrl(): {text: text for text in ("redis://a", "redis://:p@a:6379/0", "redis://u:p@a/15", "redis://[::1]/")},
    DatabaseUrl(): {
        text: text
        for text in ("sqlite:////x.db", "postgresql+psycopg://u:p@h/d", "mysql://u@h/d?charset=utf8", "mariadb://h/d")
    },
    ByteCount(): {"0": 0, "7": 7, "7B": 7, "1KB": 1 << 10, "2 mb": 2 << 20, " 10GB ": 10 << 30, "3TB": 3 << 40},
    WORD: {"abc": "abc"},
    Network(): {"10.0.0.0/8": ip_network("10.0.0.0/8"), "::1": ip_network("::1")},
}

BAD: Mapping[types.ConfigType, Sequence[str]] = {
    AbsolutePath(): ["", "relative", "./x", "~/x", "/a\0b"],
    HttpUrl(): [
        "",
        "a",
        "ftp://a",
        "http://",
        "http:///x",
        "http://u:p@a",
        "http://a?x",
        "http://a#x",
        "http://a b",
        "http://a:0",
        "http://a:99999",
        "http://a:x",
        "http://[a",
        "http://a\x7f",
    ],
    HostAndPort(7): ["", ":8", "a:0", "a:x", "a:99999", "a/b", "u@a", "a b", "a?x", "http://a"],
    RedisUrl(): [
        "",
        "redis://",
        "redisss://a",
        "redis://a/x",
        "redis://a/0?x=1",
        "a:6379",
        "redis://a:x",
        "redis://u@a",
        "redis://a/\u0663",
        "redis://a/0/1",
    ],
    DatabaseUrl(): ["", "sqlite", "sqlite:/x", "oracle://h/d", "postgres://h/d", "mysql+://h"],
    ByteCount(): ["", "B", "-1", "1.5GB", "1 EB", "1KiB", "1 0", "0x1", "\u0663", "9" * 19],
    WORD: ["", "a1", "a\n"],
    Network(): ["", "a", "10.0.0.1/8", "10.0.0.0/33", "::1%lo/x"],
}


class ValueTests(SynchronousTestCase):
    """
    The kinds of values of our own.
    """

    def test_good(self) -> None:
        """
        What is allowed is converted.
        """
        for kind, texts in GOOD.items():
            self.assertEqual({text: kind(text) for text in texts}, texts, repr(kind))

    def test_address(self) -> None:
        """
        An address to listen at may be an IPv6 one in brackets, and nothing else may be in them.
        """
        kind = BindAddress()
        for text, address in {"::": "::", "[::1]": "::1", "0.0.0.0": "0.0.0.0", "localhost": "localhost"}.items():
            self.assertEqual(kind(text), address)
        for text in ("", "[10.0.0.1]", "[::1", "[]", "[a]", "a b"):
            self.assertRaises(ValueError, kind, text)

    def test_bad(self) -> None:
        """
        What is not allowed is refused.
        """
        for kind, texts in BAD.items():
            for text in texts:
                self.assertRaises(ValueError, kind, text)


@frozen(kw_only=True)
class Example(Section):
    """
    A section.
    """

    GROUP: ClassVar[str] = "example"

    name: str = option(cfg.StrOpt("name"), required=True)
    count: int = option(cfg.IntOpt("how_many", default=3))
    password: str | None = option(cfg.StrOpt("password", secret=True))
    items: tuple[str, ...] = option(cfg.ListOpt("items", default=["a", "b"]))
    place: str = option(cfg.StrOpt("place", sample_default="<here>"), default=lambda: "here")
    plain: int = 7


class DeclarationTests(SynchronousTestCase):
    """
    `option` and what is read off it.
    """

    def test_defaults(self) -> None:
        """
        A section can be made without a file: fields are their options' defaults, lists as tuples.
        """
        example = Example(name="n")
        self.assertEqual((example.count, example.password, example.items, example.place), (3, None, ("a", "b"), "here"))

    def test_required(self) -> None:
        """
        A required field has no default.
        """
        self.assertRaises(TypeError, Example)
        self.assertTrue(is_required(Example, "name"))
        self.assertFalse(is_required(Example, "count"))

    def test_frozen(self) -> None:
        """
        Settings do not change.
        """
        with self.assertRaises(exceptions.FrozenInstanceError):
            Example(name="n").count = 4  # type: ignore[misc]

    def test_secret(self) -> None:
        """
        A secret does not show in a section's text.
        """
        self.assertNotIn("hush", repr(Example(name="n", password="hush")))

    def test_declared(self) -> None:
        """
        Options are found by their fields, in order; other fields are none.
        """
        self.assertEqual(
            [(name, opt.name) for name, opt in declared(Example).items()],
            [
                ("name", "name"),
                ("count", "how_many"),
                ("password", "password"),
                ("items", "items"),
                ("place", "place"),
            ],
        )

    def test_described(self) -> None:
        """
        Every kind of option says what it allows.
        """
        self.assertEqual(
            [
                describe(opt)
                for opt in (
                    cfg.IntOpt("x"),
                    cfg.IntOpt("x", min=1),
                    cfg.IntOpt("x", max=9),
                    cfg.FloatOpt("x", min=0, max=1.5),
                    cfg.PortOpt("x"),
                    cfg.BoolOpt("x"),
                    cfg.StrOpt("x"),
                    cfg.StrOpt("x", choices=["a", "b"]),
                    cfg.HostAddressOpt("x"),
                    cfg.ListOpt("x", item_type=WORD),
                )
            ],
            [
                "an integer",
                "an integer, at least 1",
                "an integer, at most 9",
                "a number from 0 to 1.5",
                "an integer from 0 to 65535",
                "true or false",
                "a text",
                "one of a, b",
                "an IP address or a host name",
                "a list with commas between its items, each small letters",
            ],
        )
