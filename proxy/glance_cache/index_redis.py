"""
The index that nodes share: a Redis.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import orjson
from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.python.failure import Failure
from txredisapi import ConnectionError as RedisConnectionError
from txredisapi import RedisError, RedisFactory
from zope.interface import implementer

from glance_cache.errors import IndexUnavailable
from glance_cache.interfaces import HitTotals, ICacheIndex

__all__ = ["RedisAddress", "RedisIndex"]

T = TypeVar("T")

# A script's answer is one text: the client library takes a turn of the reactor, and a copy of all that is still to
# be read, for each element of an array.
#
# A node's totals and its mark lie in one key, so that they are lost together or not at all. Numbers stay the texts
# they came as; Lua only compares them, as its own way to write a large one down is not exact.
_MERGE: Final = """
local mark = redis.call('HGET', KEYS[1], ':mark')
redis.call('SADD', KEYS[2], ARGV[3])
for i = 4, #ARGV, 4 do
  local hits, bytes, last = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if known then
    local h, b, l = string.match(known, '^(%S+) (%S+) (%S+)$')
    if h and tonumber(h) > tonumber(hits) then hits = h end
    if b and tonumber(b) > tonumber(bytes) then bytes = b end
    if l and tonumber(l) > tonumber(last) then last = l end
  end
  redis.call('HSET', KEYS[1], ARGV[i], hits .. ' ' .. bytes .. ' ' .. last)
end
redis.call('HSET', KEYS[1], ':mark', ARGV[2])
return mark == ARGV[1] and 1 or 0
"""
_NODES: Final = "return cjson.encode(redis.call('SMEMBERS', KEYS[1]))"
_SOME: Final = "return cjson.encode(redis.call('HMGET', KEYS[1], unpack(ARGV)))"
_PAGE: Final = "return cjson.encode(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))"
_QUEUE: Final = "return cjson.encode(redis.call('ZRANGE', KEYS[1], 0, -1))"

# Redis does one thing at a time: few enough to keep it from its other callers for some milliseconds at most.
_AT_ONCE: Final = 500


@frozen
class RedisAddress:
    """
    Where a Redis is. Its text shows no password.
    """

    host: str
    port: int = 6379
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """
        Read ``redis://[[user]:password@]host[:port][/database]``.

        :raises ValueError: It is none. The text does not repeat it, as it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("not a Redis URL: host and port cannot be told apart") from None
        database = parts.path.removeprefix("/") or "0"
        problems = (
            (parts.scheme != "redis", "it does not begin with redis://"),
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
        )


class _Server:
    """
    A connection to a Redis that is made again whenever it is lost, until the server refuses us or we `close` it.

    :param timeout_seconds: For an attempt to connect, and for the greeting.
    """

    def __init__(self, reactor: Any, address: RedisAddress, timeout_seconds: float) -> None:
        self.refusal: str | None = None
        self._waiting: list[Deferred[Any]] = []
        self._asking = False
        self._factory = RedisFactory(
            uuid=f"{address.host}:{address.port}",
            dbid=address.database,
            poolsize=1,
            password=address.password,
            username=address.username,
            replyTimeout=timeout_seconds,
        )
        # A node asks every second anyway, and the server is a near one.
        self._factory.initialDelay, self._factory.maxDelay = 0.1, 2.0
        self._factory.deferred.addErrback(self._refused)
        self._factory.startConnecting(HostnameEndpoint(reactor, address.host, address.port, timeout_seconds))

    @property
    def given_up(self) -> bool:
        """
        Whether no attempt is made any more: the library stops for good when a server refuses password or database,
        or does not answer its greeting.
        """
        return bool(self._factory.stopped)

    def connection(self) -> Deferred[Any]:
        """
        Wait for the connection.

        The library would keep a Deferred for every call that waits, cancelled or not, until there is a connection:
        an outage of a day would fill the memory. So only one of them waits there, for all.
        """
        waiting: Deferred[Any] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if not self._asking:
            self._asking = True
            self._factory.getConnection(peek=True).addBoth(self._tell)
        return waiting

    def abort(self) -> None:
        """
        Drop the connection as it is; a new one is made.
        """
        for protocol in list(self._factory.pool):
            protocol.transport.abortConnection()

    def close(self) -> Deferred[Any]:
        """
        Drop the connection, and make no other.
        """
        self.abort()
        self._tell(Failure(RedisConnectionError("it was stopped")))
        return self._factory.disconnect()  # type: ignore[no-any-return]

    def _tell(self, connection_or_failure: object) -> None:
        self._asking = False
        told, self._waiting = self._waiting, []
        for waiting in told:
            waiting.callback(connection_or_failure)

    def _refused(self, reason: Failure) -> None:
        self.refusal = reason.getErrorMessage()
        self._tell(Failure(RedisConnectionError(self.refusal)))


@implementer(ICacheIndex)
class RedisIndex:
    """
    Keeps the index in a Redis, under these keys: ``<prefix>:nodes``, a set of names; ``<prefix>:hits:<node>``, a hash
    of an image's totals each, as text; ``<prefix>:queue:<node>``, a sorted set of image ids by time.

    :param reactor: Connects, and measures the deadline.
    :param url: See `RedisAddress.parse`.
    :param timeout_seconds: For each call as a whole.
    :param retry_seconds: After a refusal (a wrong password, say), before the next attempt.
    :raises ValueError: The URL is none.
    """

    name = "redis"

    def __init__(
        self, reactor: Any, url: str, prefix: str, *, timeout_seconds: float = 5.0, retry_seconds: float = 10.0
    ) -> None:
        self._reactor = reactor
        self._address = RedisAddress.parse(url)
        self._prefix = prefix
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._current: _Server | None = None
        self._retry_at = 0.0
        self._stopped = False

    async def start(self) -> None:
        """
        See `ICacheIndex`. Begins to connect, and does not wait for it.
        """
        self._server()

    async def stop(self) -> None:
        """
        See `ICacheIndex`. Calls under way fail.
        """
        self._stopped = True
        server, self._current = self._current, None
        if server is not None:
            await server.close()

    async def merge_hits(self, node: str, totals: Mapping[str, HitTotals], *, after: str, mark: str) -> bool:
        """
        See `ICacheIndex`. Sent in parts, each of them a link of the chain.
        """
        return await self._within_deadline(self._merge_hits(node, list(totals.items()), after, mark))

    async def hits(self, image_ids: Sequence[str] | None = None) -> Mapping[str, HitTotals]:
        """
        See `ICacheIndex`.
        """
        return await self._within_deadline(self._hits(image_ids))

    async def node_hits(self, node: str) -> Mapping[str, HitTotals]:
        """
        See `ICacheIndex`.
        """
        return await self._within_deadline(self._node_hits(node))

    async def enqueue(self, node: str, image_id: str, at: float) -> bool:
        """
        See `ICacheIndex`.
        """
        added = self._count("ZADD", self._key("queue", node), "NX", f"{at:.6f}", image_id)
        return await self._within_deadline(added) > 0

    async def dequeue(self, node: str, image_id: str) -> bool:
        """
        See `ICacheIndex`.
        """
        return await self._within_deadline(self._count("ZREM", self._key("queue", node), image_id)) > 0

    async def clear_queue(self, node: str) -> int:
        """
        See `ICacheIndex`.
        """
        return await self._within_deadline(self._count("ZREMRANGEBYRANK", self._key("queue", node), "0", "-1"))

    async def queue(self, node: str) -> Sequence[str]:
        """
        See `ICacheIndex`.
        """
        return await self._within_deadline(self._ask(_QUEUE, self._key("queue", node)))

    async def _merge_hits(self, node: str, totals: list[tuple[str, HitTotals]], after: str, mark: str) -> bool:
        keys = [self._key("hits", node), self._key("nodes")]
        kept = True
        for part in list(_parts(totals)) or [[]]:
            words = [word for image, t in part for word in (image, str(t.hits), str(t.bytes_sent), f"{t.last_at:.6f}")]
            kept = await self._eval(_MERGE, keys, [after, mark, node, *words]) == 1 and kept
            after = mark
        return kept

    async def _hits(self, image_ids: Sequence[str] | None) -> Mapping[str, HitTotals]:
        sums: dict[str, HitTotals] = {}
        for node in await self._ask(_NODES, self._key("nodes")):
            counted = await (self._node_hits(node) if image_ids is None else self._some_hits(node, image_ids))
            for image, totals in counted.items():
                sums[image] = totals.plus(sums.get(image, HitTotals()))
        return sums

    async def _some_hits(self, node: str, image_ids: Sequence[str]) -> Mapping[str, HitTotals]:
        found: dict[str, HitTotals] = {}
        for part in _parts(image_ids):
            values = await self._ask(_SOME, self._key("hits", node), *part)
            found.update(_totals(zip(part, values, strict=True)))
        return found

    async def _node_hits(self, node: str) -> Mapping[str, HitTotals]:
        found: dict[str, HitTotals] = {}
        cursor = "0"
        while True:
            cursor, flat = await self._ask(_PAGE, self._key("hits", node), cursor, str(_AT_ONCE))
            found.update(_totals(zip(flat[::2], flat[1::2], strict=True) if flat else ()))
            if cursor == "0":
                return found

    def _key(self, *words: str) -> str:
        return ":".join((self._prefix, *words))

    async def _ask(self, script: str, key: str, *arguments: str) -> Any:
        # Lua has one kind of table: an empty array comes as an empty object.
        return orjson.loads(await self._eval(script, [key], list(arguments))) or []

    async def _eval(self, script: str, keys: list[str], arguments: list[str]) -> Any:
        connection = await self._server().connection()
        return await connection.eval(script, keys, arguments)

    async def _count(self, *command: str) -> int:
        connection = await self._server().connection()
        return int(await connection.execute_command(*command))

    def _server(self) -> _Server:
        if self._stopped:
            raise IndexUnavailable("it was stopped")
        server, now = self._current, self._reactor.seconds()
        if server is not None and server.given_up and now < self._retry_at:
            raise IndexUnavailable(server.refusal or "the server refused the connection")
        if server is None or server.given_up:
            server = self._current = _Server(self._reactor, self._address, self._timeout_seconds)
            self._retry_at = now + self._retry_seconds
        return server

    async def _within_deadline(self, work: Coroutine[Any, Any, T]) -> T:
        # Without a connection the library lets a command wait for ever. A silent one it gives up by itself.
        try:
            return await Deferred.fromCoroutine(work).addTimeout(self._timeout_seconds, self._reactor)
        except DeadlinePassed as error:
            raise IndexUnavailable(f"no answer within {self._timeout_seconds:g} seconds") from error
        except RedisError as error:
            if str(error).startswith("READONLY"):  # it was the primary once: the name may lead to another one now
                self._server().abort()
            raise IndexUnavailable(str(error)) from error


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _totals(pairs: Iterable[tuple[str, str | bool]]) -> Iterator[tuple[str, HitTotals]]:
    for image, text in pairs:
        match text.split(" ") if isinstance(text, str) else ():  # the mark, and what is not there, are no totals
            case [hits, bytes_sent, last_at]:
                yield image, HitTotals(int(hits), int(bytes_sent), float(last_at))
