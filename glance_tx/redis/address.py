"""
Where a Redis is.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from attrs import field, frozen

__all__ = ["RedisAddress", "Sentinels"]


@frozen
class Sentinels:
    """
    Who knows which Redis is the primary. Its text shows no password.

    :param addresses: Hosts and ports; one that answers is enough.
    :param primary: What they call it.
    """

    addresses: tuple[tuple[str, int], ...]
    primary: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@frozen
class RedisAddress:
    """
    Where a Redis is. Its text shows no password.

    :param sentinels: Tell where it is, instead of ``host`` and ``port``.
    """

    host: str
    port: int = 6379
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    sentinels: Sentinels | None = None

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """
        Read ``redis://[[user]:password@]host[:port][/database]``; ``rediss://`` for TLS.

        :raises ValueError: It is none. The text does not repeat it, as it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("not a Redis URL: host and port cannot be told apart") from None
        database = parts.path.removeprefix("/") or "0"
        problems = (
            (parts.scheme not in {"redis", "rediss"}, "it does not begin with redis:// or rediss://"),
            (not parts.hostname, "it names no host"),
            (port == 0, "its port is 0"),
            (not (database.isascii() and database.isdigit()), "its database is not a number"),
            ("?" in url or "#" in url, "it has a query or a fragment"),
            (not url.isprintable() or " " in url, "it holds blanks or control characters"),
            (parts.username and not parts.password, "it has a user name and no password"),
        )
        for wrong, text in problems:
            if wrong:
                raise ValueError(f"not a Redis URL: {text}")
        return cls(
            host=parts.hostname or "",
            port=port or 6379,
            database=int(database),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=parts.scheme == "rediss",
        )
