"""
The index that nodes share: a Redis.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson
from zope.interface import implementer

from glance_cache.errors import IndexUnavailable
from glance_cache.hit_keys import is_image_key
from glance_cache.index_redis_jobs import (
    ADD_JOBS,
    CLAIM_JOB,
    CLEAR_JOBS,
    LIST_JOBS,
    REMOVE_JOB,
    UPDATE_JOB,
    job_text,
    read_jobs,
)
from glance_cache.interfaces import Announcement, HitTotals, ICacheIndex
from glance_cache.jobs import Job
from glance_tx.redis.client import RedisClient
from glance_tx.redis.errors import RedisUnavailable

__all__ = ["RedisIndex"]

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
_FORGET: Final = "return redis.call('HDEL', KEYS[1], unpack(ARGV))"
_NODES: Final = "return cjson.encode(redis.call('SMEMBERS', KEYS[1]))"
_SOME: Final = "return cjson.encode(redis.call('HMGET', KEYS[1], unpack(ARGV)))"
_PAGE: Final = "return cjson.encode(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))"

# By the clock of Redis alone: those of nodes may differ.
_ANNOUNCE: Final = """
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], now[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
"""
_ANNOUNCED: Final = """
local now, found, known = tonumber(redis.call('TIME')[1]), {}, redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local at, kept, report = string.match(known[i + 1], '^(%d+) (%d+) (.*)$')
  if not at or now > at + kept then
    redis.call('HDEL', KEYS[1], known[i])
  else
    found[#found + 1] = {known[i], tonumber(at), report}
  end
end
return cjson.encode(found)
"""

# Redis does one thing at a time: few enough to keep it from its other callers for some milliseconds at most.
_AT_ONCE: Final = 500


@implementer(ICacheIndex)
class RedisIndex:
    """
    Keeps the index in a Redis, under these keys: ``<prefix>:nodes``, a set of names; ``<prefix>:hits:<node>``, a hash
    of an image's totals each, as text; ``<prefix>:jobs:<node>``, ``<prefix>:queued:<node>`` and
    ``<prefix>:running:<node>``, see `glance_cache.index_redis_jobs`; ``<prefix>:announced``, a hash of what nodes
    say of themselves.

    :param client: Leads to it.
    """

    name = "redis"

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def start(self) -> None:
        """
        See `ICacheIndex`. Begins to connect, and does not wait for it.
        """
        self._client.start()

    async def stop(self) -> None:
        """
        See `ICacheIndex`. Calls under way fail.
        """
        await self._client.stop()

    async def merge_hits(self, node: str, totals: Mapping[str, HitTotals], *, after: str, mark: str) -> bool:
        """
        See `ICacheIndex`. Sent in parts, each of them a link of the chain.
        """
        return await self._within_deadline(self._merge_hits(node, list(totals.items()), after, mark))

    async def forget_hits(self, node: str, keys: Sequence[str]) -> None:
        """
        See `ICacheIndex`. Sent in parts.
        """
        await self._within_deadline(self._forget_hits(node, keys))

    async def all_hits(self) -> Mapping[str, Mapping[str, HitTotals]]:
        """
        See `ICacheIndex`.
        """
        return await self._within_deadline(self._all_hits())

    async def announce(self, node: str, report: Mapping[str, object], kept_seconds: int) -> None:
        """
        See `ICacheIndex`.
        """
        words = [node, str(kept_seconds), orjson.dumps(report).decode()]
        await self._within_deadline(self._eval(_ANNOUNCE, [self._key("announced")], words))

    async def announced(self) -> Sequence[Announcement]:
        """
        See `ICacheIndex`.
        """
        found = await self._within_deadline(self._ask(_ANNOUNCED, self._key("announced")))
        return sorted((Announcement(node, at, orjson.loads(text)) for node, at, text in found), key=lambda a: a.node)

    async def _all_hits(self) -> Mapping[str, Mapping[str, HitTotals]]:
        return {node: await self._node_hits(node) for node in await self._ask(_NODES, self._key("nodes"))}

    async def _forget_hits(self, node: str, keys: Sequence[str]) -> None:
        for part in _parts(keys):
            await self._eval(_FORGET, [self._key("hits", node)], list(part))

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

    async def add_jobs(self, node: str, image_ids: Sequence[str], priority: int, at: float) -> int:
        """
        See `ICacheIndex`. Sent in parts.
        """
        return await self._within_deadline(self._add_jobs(node, image_ids, [str(priority), f"{at:.6f}"]))

    async def claim_job(self, node: str, worker: str, now: float, lease_until: float, most_running: int) -> Job | None:
        """
        See `ICacheIndex`.
        """
        words = [worker, f"{now:.6f}", f"{lease_until:.6f}", str(most_running)]
        answer = await self._within_deadline(self._eval(CLAIM_JOB, self._queue_keys(node), words))
        return read_jobs(orjson.loads(answer))[0] if answer else None

    async def update_job(self, node: str, job: Job) -> bool:
        """
        See `ICacheIndex`.
        """
        words = [job.image_id, job_text(job), f"{job.lease_until:.6f}"]
        return bool(await self._within_deadline(self._eval(UPDATE_JOB, self._queue_keys(node), words)))

    async def remove_job(self, node: str, image_id: str, claim: Job | None = None) -> bool:
        """
        See `ICacheIndex`.
        """
        words = [image_id, "" if claim is None else f"{claim.place}:{claim.fence}"]
        return bool(await self._within_deadline(self._eval(REMOVE_JOB, self._queue_keys(node), words)))

    async def clear_jobs(self, node: str) -> int:
        """
        See `ICacheIndex`.
        """
        return int(await self._within_deadline(self._eval(CLEAR_JOBS, self._queue_keys(node), [])))

    async def jobs(self, node: str) -> Sequence[Job]:
        """
        See `ICacheIndex`.
        """
        return read_jobs(await self._within_deadline(self._ask(LIST_JOBS, self._key("jobs", node))))

    async def _add_jobs(self, node: str, image_ids: Sequence[str], words: list[str]) -> int:
        keys = self._queue_keys(node)
        return sum([int(await self._eval(ADD_JOBS, keys, [*words, *part])) for part in _parts(image_ids)])

    def _queue_keys(self, node: str) -> list[str]:
        return [self._key("jobs", node), self._key("queued", node), self._key("running", node)]

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
                if image_ids is None and not is_image_key(image):
                    continue
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
        return await self._client.eval(script, keys, arguments)

    async def _within_deadline(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await self._client.within_deadline(work)
        except RedisUnavailable as error:
            raise IndexUnavailable(error.reason) from error


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _totals(pairs: Iterable[tuple[str, str | bool]]) -> Iterator[tuple[str, HitTotals]]:
    for image, text in pairs:
        match text.split(" ") if isinstance(text, str) else ():  # the mark, and what is not there, are no totals
            case [hits, bytes_sent, last_at]:
                yield image, HitTotals(int(hits), int(bytes_sent), float(last_at))
