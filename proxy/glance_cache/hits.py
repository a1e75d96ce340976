"""
Hits, counted exactly.

A hit goes three ways, none of which anybody waits for: into memory; into the journal, which survives the process;
and, once a second, into the index, where the totals of all nodes meet. What travels are absolute totals, of which the
greater one counts, so that nothing is lost or counted twice by sending, writing or reading it again.
"""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glance_cache.chores import Chores
from glance_cache.errors import FolderUnusable, IndexUnavailable
from glance_cache.hit_journal import HitJournal
from glance_cache.hit_keys import hour_key, is_before, is_image_key, project_key
from glance_cache.interfaces import HitTotals, ICacheIndex
from glance_tx.streaming.interfaces import ILane

__all__ = ["HitCounter"]

_AT_ONCE: Final = 1000
_SYNC_SECONDS: Final = 1.0
_WARN_SECONDS: Final = 60.0


class HitCounter:
    """
    Counts the hits of this node, or of one of its processes (see Note [Seats]).

    The index is told every ``flush_seconds``. All totals go again after a failed call, and as soon as the index turns
    out not to know the last merge it confirmed, as one does that came back empty or from an old copy (see
    `ICacheIndex.merge_hits`). On the first contact after a start the counter takes over what the index knows of this
    node: it is more than the journal has, where the journal was lost with its disk.

    :param journal: Opened by `start`, closed by `stop`.
    :param lane: For all work on the journal; the journal's own.
    :param index: Started and stopped by its owner, who stops this counter first.
    :param node: The name to count under; no other counter may have it.
    :param kept_hours: For how many hours hits are counted by the hour, this one included; 0 for not at all.
    :param clock: For the times of hits, in seconds since the epoch, and for the pace of flushes.
    """

    _log = Logger()

    def __init__(
        self,
        journal: HitJournal,
        lane: ILane,
        index: ICacheIndex,
        node: str,
        clock: IReactorTime,
        *,
        flush_seconds: float = 1.0,
        kept_hours: int = 0,
    ) -> None:
        self._journal = journal
        self._lane = lane
        self._index = index
        self._node = node
        self._clock = clock
        self._kept_hours = kept_hours
        self._old_hours: set[str] = set()
        self._forgotten_before = ""
        self._totals: dict[str, HitTotals] = {}
        # Hits since the start, by themselves, until everything from before it is known.
        self._recent: dict[str, HitTotals] | None = {}

        self._unwritten: set[str] = set()
        self._open = False
        self._writing = False
        self._unsynced = False
        self._chores = Chores()

        self._unsent: set[str] = set()
        self._mark = _new_mark()
        self._chain_is_new = True
        self._flushing = DeferredLock()
        self._warned_at = -_WARN_SECONDS

        self._loops = (
            (self._loop(self.flush), flush_seconds),
            (self._loop(self._keep_journal), _SYNC_SECONDS),
        )
        self.index_reachable = True
        self.journal_writable = True

    @property
    def unsent(self) -> int:
        """
        How many images have hits that the index has not confirmed yet.
        """
        return sum(map(is_image_key, self._unsent))

    def totals(self, image_id: str) -> HitTotals:
        """
        Tell what this node counted for an image, itself and before.
        """
        return self._totals.get(image_id, HitTotals())

    def whole(self) -> HitTotals:
        """
        Tell what this node counted for all images together, itself and before.
        """
        images = [self._totals[image] for image in self.images()]
        return HitTotals(
            sum(totals.hits for totals in images),
            sum(totals.bytes_sent for totals in images),
            max((totals.last_at for totals in images), default=0.0),
        )

    def images(self) -> Iterator[str]:
        """
        Go through the images that have hits.
        """
        return filter(is_image_key, self._totals)

    def top(self, most: int) -> Mapping[str, HitTotals]:
        """
        Tell the images with most hits on this node, so many of them.
        """
        images = ((image, self._totals[image]) for image in self.images())
        return dict(heapq.nlargest(most, images, key=lambda item: item[1].hits))

    def record(self, image_id: str, bytes_sent: int, project: str | None = None) -> None:
        """
        Count a hit that has just ended. Returns at once, whatever state disk and index are in.

        :param image_id: In lower case.
        :param project: The caller's; ``None`` where hits are not counted by project.
        """
        now = self._clock.seconds()
        hit = HitTotals(1, bytes_sent, now)
        self._add(image_id, hit)
        if project is not None:
            self._add(project_key(project), hit)
        if self._kept_hours:
            self._add(hour_key(now), hit)
        # While the disk fails, one attempt a second is enough.
        if self.journal_writable:
            self._write_soon()

    def _add(self, key: str, hit: HitTotals) -> None:
        self._totals[key] = self.totals(key).plus(hit)
        if self._recent is not None:
            self._recent[key] = self._recent.get(key, HitTotals()).plus(hit)
        self._changed(key)

    async def start(self) -> None:
        """
        Read the journal, and begin to tell the index.

        :raises FolderUnusable: The journal cannot be read or written.
        """
        try:
            content = await self._lane.run(self._journal.open)
        except OSError as error:
            raise FolderUnusable(str(self._journal.path), error.strerror or type(error).__name__) from error
        if content.damaged_lines:
            self._log.warn("{count} lines of the journal of hits cannot be read", count=content.damaged_lines)
        if content.other_node is not None:
            self._log.warn(
                "the journal of hits was written by node {other}; {node} begins a new one",
                other=content.other_node,
                node=self._node,
            )
        self._learn(content.totals)
        # Of what the journal itself had, nothing is news to it.
        self._unwritten.difference_update(image for image, t in content.totals.items() if self._totals.get(image) == t)
        self._open = True
        if self._old_hours:
            await self._with_journal(lambda: self._lane.run(self._journal.compact, dict(self._totals)))
        self._write_soon()
        for loop, seconds in self._loops:
            loop.start(seconds, now=False).addErrback(lambda f: self._log.failure("a loop broke", f))

    async def stop(self) -> None:
        """
        Tell the index for the last time, and close the journal. Takes as long as two calls of the index may.
        """
        for loop, _ in self._loops:
            if loop.running:
                loop.stop()
        await self.flush()
        await self._keep_journal()
        await self._chores.done()
        if self._open:
            self._open = False
            await self._with_journal(lambda: self._lane.run(self._journal.close))

    async def flush(self) -> bool:
        """
        Tell the index what it does not know.

        :return: Whether it could be reached.
        """
        await self._flushing.acquire()
        try:
            await self._send()
        except IndexUnavailable as error:
            if self.index_reachable:
                self._log.warn("hits are kept until the index is back: {error}", error=error)
            self.index_reachable = False
        else:
            if not self.index_reachable:
                self._log.info("the index is back and has all hits")
            self.index_reachable = True
        finally:
            self._flushing.release()
        return self.index_reachable

    def _changed(self, image_id: str) -> None:
        self._unwritten.add(image_id)
        self._unsent.add(image_id)

    def _learn(self, known: Mapping[str, HitTotals]) -> None:
        """
        Take over totals from before this start, to which what was counted since is to be added.
        """
        recent = self._recent or {}
        first = self._first_hour()
        for image, before in known.items():
            if is_before(image, first):
                self._old_hours.add(image)
                continue
            totals = before.plus(recent.get(image, HitTotals())).at_least(self.totals(image))
            if totals != self._totals.get(image):
                self._totals[image] = totals
                self._changed(image)

    def _first_hour(self) -> str:
        return hour_key(self._clock.seconds() - 3600 * (self._kept_hours - 1))

    def _forget_old_hours(self) -> None:
        first = self._first_hour()
        if first == self._forgotten_before:
            return
        self._forgotten_before = first
        old = {key for key in self._totals if is_before(key, first)}
        for key in old:
            del self._totals[key]
        self._unsent -= old
        self._unwritten -= old
        self._old_hours |= old

    # The index.

    async def _send(self) -> None:
        self._forget_old_hours()
        if self._recent is not None:
            self._learn(await self._index.node_hits(self._node))
            self._recent = None
        todo, self._unsent = self._unsent, set()
        await self._merge(todo)
        old = frozenset(self._old_hours)
        if old:
            await self._index.forget_hits(self._node, sorted(old))
            self._old_hours -= old

    async def _merge(self, todo: set[str]) -> None:
        complete = False
        while True:
            part = set(islice(todo, _AT_ONCE))
            todo -= part
            try:
                kept = await self._merge_part(part)
            except BaseException:
                self._unsent |= part | todo
                raise
            if not kept:
                self._tell_loss()
                missing = self._totals.keys() - part
                if complete:  # it loses again what it is just being sent: not in this flush, or it never ends
                    self._unsent |= missing
                else:
                    complete, todo = True, missing
            if not todo:
                return

    async def _merge_part(self, part: set[str]) -> bool:
        totals = {image: self._totals[image] for image in part}
        mark = _new_mark() if totals else self._mark
        try:
            kept = await self._index.merge_hits(self._node, totals, after=self._mark, mark=mark)
        except BaseException:
            # Nobody knows whether it arrived: a chain begun anew makes the index ask for everything.
            self._mark, self._chain_is_new = _new_mark(), True
            raise
        self._mark = mark
        return kept

    def _tell_loss(self) -> None:
        expected, self._chain_is_new = self._chain_is_new, False
        now = self._clock.seconds()
        if not expected and now - self._warned_at >= _WARN_SECONDS:
            self._warned_at = now
            self._log.warn(
                "the index had lost hits of this node, which are sent again; if this is said often, another node is "
                "called {node} too",
                node=self._node,
            )

    # The journal.

    def _write_soon(self) -> None:
        if self._open and self._unwritten and not self._writing:
            self._writing = True
            self._chores.start(self._write())

    async def _write(self) -> None:
        try:
            while self._unwritten and await self._with_journal(self._write_some):
                continue
        finally:
            self._writing = False

    async def _write_some(self) -> None:
        images, self._unwritten = self._unwritten, set()
        if self.journal_writable:
            await self._lane.run(self._journal.append, [(image, self._totals[image]) for image in images])
            self._unsynced = True
        # After a failure nobody knows what the file has; and it grows with every hit.
        if not self.journal_writable or self._journal.wants_compaction:
            await self._lane.run(self._journal.compact, dict(self._totals))

    async def _keep_journal(self) -> None:
        if self._unsynced and self.journal_writable:
            self._unsynced = False
            await self._with_journal(lambda: self._lane.run(self._journal.sync))
        self._write_soon()

    async def _with_journal(self, work: Callable[[], Awaitable[object]]) -> bool:
        try:
            await work()
        except OSError as error:
            if self.journal_writable:
                self._log.error("hits cannot be written to disk: {error}", error=error)
            self.journal_writable = False
            # Lines that were written may be gone with those that were not.
            self._unwritten |= self._totals.keys()
        else:
            if not self.journal_writable:
                self._log.info("hits are written to disk again")
            self.journal_writable = True
        return self.journal_writable

    def _loop(self, work: Callable[[], Awaitable[object]]) -> LoopingCall:
        async def guarded() -> None:
            try:
                await work()
            except Exception:
                self._log.failure("counting hits failed")

        loop = LoopingCall(lambda: Deferred.fromCoroutine(guarded()))
        loop.clock = self._clock
        return loop


def _new_mark() -> str:
    return secrets.token_hex(8)
