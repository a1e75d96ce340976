"""
The nodes that share an index, as they know each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.entries import EntryStore
from glance_cache.errors import IndexUnavailable
from glance_cache.interfaces import Announcement, ICacheIndex
from glance_cache.node_hits import NodeHits
from glance_cache.tally import ITally
from glance_tx import __version__

__all__ = ["ANNOUNCE_SECONDS", "KEPT_SECONDS", "Neighbors", "SelfReport", "neighbor_view"]

ANNOUNCE_SECONDS: Final = 5.0
"""A node says that often that it is there."""

KEPT_SECONDS: Final = 30
"""A node that was not heard of for so long is gone."""

_REPORTED: Final = ("version", "started_at", "entries", "used_bytes", "max_bytes", "hits", "bytes_sent", "rates")


@frozen
class SelfReport:
    """
    What a node says of itself.

    :param started_at: In seconds since the epoch.
    """

    entries: EntryStore
    hits: NodeHits
    tally: ITally
    started_at: float

    def now(self) -> Mapping[str, object]:
        """
        Say it. All that it takes is in memory.
        """
        account, hits = self.entries.account, self.hits.whole()
        return {
            "version": __version__,
            "started_at": self.started_at,
            "entries": len(self.entries.complete_images()),
            "used_bytes": account.used_bytes,
            "max_bytes": account.max_bytes,
            "hits": hits.hits,
            "bytes_sent": hits.bytes_sent,
            "rates": self.tally.rates(),
        }


def neighbor_view(said: Announcement) -> Mapping[str, object]:
    """
    Show what a node said; ``None`` stands for what one of another version does not say.
    """
    return {"node": said.node, "last_seen": said.at, **{name: said.report.get(name) for name in _REPORTED}}


class Neighbors:
    """
    Tells other nodes of this one, and knows them.

    :param node: This node's name.
    :param report: Tells what there is to say of it now.
    """

    _log = Logger()

    def __init__(
        self, index: ICacheIndex, node: str, report: Callable[[], Mapping[str, object]], clock: IReactorTime
    ) -> None:
        self._index = index
        self._node = node
        self._report = report
        self._clock = clock
        # The next announcement waits for the end of the one before.
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._announce()))
        self._loop.clock = clock
        self._announcing: Deferred[LoopingCall | None] | None = None

    async def start(self) -> None:
        """
        Begin to announce this node. It does not matter whether the index can be reached.
        """
        announcing = self._loop.start(ANNOUNCE_SECONDS)
        self._announcing = announcing.addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Announce it no more; waits for an announcement that is under way.
        """
        if self._loop.running:
            self._loop.stop()
        if self._announcing is not None:
            await self._announcing

    async def all(self) -> Sequence[Announcement]:
        """
        List the nodes that are there, this one as it is now among them, in the order of their names.

        :raises IndexUnavailable: Others are not known now.
        """
        nodes = {said.node: said for said in await self._index.announced()}
        nodes[self._node] = Announcement(self._node, self._clock.seconds(), self._report())
        return [nodes[name] for name in sorted(nodes)]

    async def _announce(self) -> None:
        try:
            await self._index.announce(self._node, self._report(), KEPT_SECONDS)
        except IndexUnavailable as error:
            # Whoever counts hits has told operators.
            self._log.debug("this node cannot be announced: {error}", error=error)
