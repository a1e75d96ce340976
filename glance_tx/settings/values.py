"""
Kinds of values that oslo.config lacks. Each says in words what it allows, for messages and for the reference.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from oslo_config import types

__all__ = [
    "AbsolutePath",
    "BindAddress",
    "ByteCount",
    "DatabaseUrl",
    "Described",
    "HostAndPort",
    "HttpUrl",
    "Network",
    "RedisUrl",
    "Word",
    "Words",
]

_BYTE_COUNT: Final = re.compile(r"([0-9]{1,18})\s*([KMGT]?B)?", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

_DATABASES: Final = re.compile(r"(sqlite|postgresql|mysql|mariadb)(\+[a-z0-9_]+)?://.*", re.DOTALL)


class Described(types.ConfigType):
    """
    A kind of value with a description of its own.
    """

    description: str

    def __init__(self, type_name: str = "string value") -> None:
        super().__init__(type_name=type_name)

    def __repr__(self) -> str:
        return self.description

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Described) and other.description == self.description

    def __hash__(self) -> int:
        return hash(self.description)

    def _formatter(self, value: object) -> str:
        return str(value)


class AbsolutePath(Described):
    """
    A path from the root: a daemon's working folder is nobody's business.
    """

    description = "an absolute path"

    def __call__(self, value: object) -> Path:
        """
        Convert text.
        """
        text = str(value).strip()
        path = Path(text)
        if not path.is_absolute() or "\0" in text:
            raise ValueError("not an absolute path")
        return path


class ByteCount(Described):
    """
    A number of bytes, as stock Glance has it written; the value is an integer.
    """

    description = "an integer, with B, KB, MB, GB or TB behind it if wanted (multiples of 1024 bytes)"

    def __call__(self, value: object) -> int:
        """
        Convert text.
        """
        matched = _BYTE_COUNT.fullmatch(str(value).strip())
        if matched is None:
            raise ValueError("not a number of bytes")
        return int(matched[1]) * _UNITS[(matched[2] or "B").upper()]


class BindAddress(types.HostAddress):
    """
    An address or a name to listen at. An IPv6 address may stand in brackets, as it does in a URL.
    """

    def __call__(self, value: object) -> str:
        """
        Check text, and drop brackets.
        """
        text = str(value).strip()
        if text.startswith("[") and text.endswith("]"):
            return str(IPv6Address(text[1:-1]))
        address: str = super().__call__(text)
        return address


class Network(Described):
    """
    Addresses of the Internet that have their first bits in common.
    """

    description = "an IP address, or a network such as 10.0.0.0/8 or fd00::/8"

    def __call__(self, value: object) -> IPv4Network | IPv6Network:
        """
        Convert text.
        """
        return ip_network(str(value).strip())


class Word(Described):
    """
    A short text of few characters, such as a name that becomes part of a file name or a key.

    :param description: What matches, in words.
    """

    def __init__(self, pattern: str, description: str) -> None:
        super().__init__()
        self._pattern = re.compile(pattern)
        self.description = description

    def __call__(self, value: object) -> str:
        """
        Check text.
        """
        text = str(value)
        if not self._pattern.fullmatch(text):
            raise ValueError("does not match")
        return text


class Words(Described):
    """
    Any number of words with commas between them, none included; the value is a tuple.
    """

    def __init__(self, word: Word) -> None:
        super().__init__()
        self._word = word
        self.description = f"a list, which may be empty, with commas between its items, each {word.description}"

    def __call__(self, value: object) -> tuple[str, ...]:
        """
        Take text apart, and check each of its words.
        """
        items = value if isinstance(value, list | tuple) else str(value).split(",")
        stripped = [str(item).strip() for item in items]
        return tuple(self._word(item) for item in stripped) if any(stripped) else ()

    def _formatter(self, value: object) -> str:
        return ",".join(self(value))


def _split(text: str) -> SplitResult:
    """
    Take a URL apart.

    :raises ValueError: It is none, or its port is none.
    """
    if not text.isprintable() or " " in text:
        raise ValueError("not a URL")
    parts = urlsplit(text)
    if parts.port == 0:
        raise ValueError("not a port to connect to")
    return parts


class HttpUrl(Described):
    """
    The address of an HTTP service, without a slash at its end. Credentials have no place in it.
    """

    description = "an http:// or https:// URL without user name, query and fragment"

    def __call__(self, value: object) -> str:
        """
        Check text, and drop slashes at its end.
        """
        text = str(value).strip()
        parts = _split(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not an HTTP URL")
        if "@" in parts.netloc or "?" in text or "#" in text:
            raise ValueError("more than an address")
        return text.rstrip("/")


class HostAndPort(Described):
    """
    Where a server listens; the value is a pair of host and port.

    :param default_port: Where none is named.
    """

    description = "host or host:port, an IPv6 address in brackets"

    def __init__(self, default_port: int) -> None:
        super().__init__()
        self._default_port = default_port

    def __call__(self, value: object) -> tuple[str, int]:
        """
        Convert text.
        """
        text = str(value).strip()
        parts = _split(f"//{text}")
        if not parts.hostname or parts.netloc != text or "@" in text:
            raise ValueError("not a host and a port")
        return parts.hostname, parts.port or self._default_port


class RedisUrl(Described):
    """
    The address of a Redis database. May carry a password.
    """

    description = "redis://[:password@]host[:port][/database], or rediss:// for TLS"

    def __call__(self, value: object) -> str:
        """
        Check text.
        """
        text = str(value).strip()
        parts = _split(text)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("not a Redis URL")
        if parts.username and not parts.password:
            raise ValueError("a user name and no password")
        if not re.fullmatch(r"(/[0-9]{0,4})?", parts.path):
            raise ValueError("not a Redis database")
        return text


class DatabaseUrl(Described):
    """
    The address of a database, as SQLAlchemy writes it. May carry a password.
    """

    description = "a sqlite:///, postgresql://, mysql:// or mariadb:// URL, with +driver after the scheme if wanted"

    def __call__(self, value: object) -> str:
        """
        Check text.
        """
        text = str(value).strip()
        if not _DATABASES.fullmatch(text):
            raise ValueError("not a database URL")
        return text
