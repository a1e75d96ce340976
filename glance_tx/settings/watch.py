"""
Files that are read anew when they change, while the daemon serves.

Note [Changed files]

A file is looked at (by ``stat``) at an interval. It counts as changed when it looks other than when it was last read,
and is read once two looks in a row agree, so that one in the middle of being written is left alone. What it says is
then put in force at once, as a whole. Where it says something wrong nothing changes: what was in force stays, the log
says once what is wrong, and whoever watches the daemon is told until the file is right again. Everything that touches
a disk is done in a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from glance_tx.errors import FactualError

__all__ = ["FileWatch", "Source", "Stamp", "stamp_of"]

T = TypeVar("T")

Stamp = tuple[object, ...]
"""How files look from outside. Two that are equal mean that nothing was written between them."""


def stamp_of(paths: Iterable[Path]) -> Stamp:
    """
    Look at files without reading them. Blocks.

    One that is missing, or cannot be looked at, has its place in the stamp too.
    """
    return tuple(_look(path) for path in paths)


def _look(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError as error:
        return str(path), error.errno
    # The time of change alone cannot be set back, as copying tools do with the time of modification.
    return str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@frozen
class Source(Generic[T]):
    """
    Files, and what is made of them.

    :param name: What is in them, for the log and for metrics: one word of a small, fixed set.
    :param stamp: How they looked before they were read last.
    :param look: Takes their stamp. Blocks.
    :param read: Makes something of them, or raises a `FactualError` that says what is wrong. Blocks.
    :param use: Puts that in force, in the reactor. Returns what is to be said of it in the log.
    """

    name: str
    stamp: Stamp
    look: Callable[[], Stamp]
    read: Callable[[], T]
    use: Callable[[T], Iterable[object]]


class InThread(Protocol):
    """
    Runs blocking work beside the reactor.
    """

    def __call__(self, job: Callable[[], T], /) -> Awaitable[T]:
        """
        Do a job and return what it does.
        """


Report = Callable[[str, bool], object]
"""Told of a source, by its name, whether its files are wrong now, and older content is in force."""


@define
class _Watched:
    source: Source[Any]
    stamp: Stamp
    seen: Stamp


@frozen
class _Finding:
    """
    What a look came to.

    :param settled: Whether the files changed and have been read, which came to ``made`` or to ``error``.
    """

    stamp: Stamp
    settled: bool = False
    made: Any = None
    error: FactualError | None = None


def _examine(source: Source[Any], stamp: Stamp, seen: Stamp) -> _Finding:
    """
    Look at files, and read them where that is due. Blocks.
    """
    now = source.look()
    if now == stamp or now != seen:
        return _Finding(now)
    try:
        finding = _Finding(now, True, made=source.read())  # noqa: FBT003
    except FactualError as error:
        finding = _Finding(now, True, error=error)  # noqa: FBT003
    # Written to meanwhile, it may have been read by halves.
    return finding if source.look() == now else _Finding(now)


class FileWatch:
    """
    Keeps what was read from files as new as they are. See Note [Changed files].

    :param sources: What to watch.
    :param run: A thread to look and to read in.
    :param seconds: Between two looks; 0 for never.
    :param report: See `Report`. Told of every source at start.
    """

    _log = Logger()

    def __init__(
        self, sources: Sequence[Source[Any]], run: InThread, clock: IReactorTime, seconds: float, report: Report
    ) -> None:
        self._watched = [_Watched(source, source.stamp, source.stamp) for source in sources]
        self._run = run
        self._clock = clock
        self._seconds = seconds
        self._report = report
        self._timer: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None

    async def start(self) -> None:
        """
        Begin to watch.
        """
        for watched in self._watched:
            self._report(watched.source.name, False)  # noqa: FBT003
        self._schedule()

    async def stop(self) -> None:
        """
        Look no more. A look under way comes to nothing.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._looking is not None:
            self._looking.cancel()

    def _schedule(self) -> None:
        if self._watched and self._seconds:
            self._timer = self._clock.callLater(self._seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._looking = Deferred.fromCoroutine(self._look_at_all())
        self._looking.addCallbacks(lambda _: self._schedule(), lambda failure: failure.trap(CancelledError))

    async def _look_at_all(self) -> None:
        for watched in self._watched:
            try:
                await self._look_at(watched)
            except CancelledError:
                raise
            except Exception:  # the other files are to be watched all the same, and these again
                self._log.failure("{name}: the files cannot be watched", name=watched.source.name)

    async def _look_at(self, watched: _Watched) -> None:
        source = watched.source
        finding = await self._run(partial(_examine, source, watched.stamp, watched.seen))
        watched.seen = finding.stamp
        if not finding.settled:
            return
        watched.stamp = finding.stamp
        if finding.error is not None:
            text = "{name}: changed, and cannot be used; what was read before stays in force: {reason}"
            self._log.error(text, name=source.name, reason=str(finding.error))
        else:
            self._put_in_force(source, finding.made)
        self._report(source.name, finding.error is not None)

    def _put_in_force(self, source: Source[Any], made: Any) -> None:
        warnings = list(source.use(made))
        self._log.info("{name}: changed, read anew, and in force", name=source.name)
        for warning in warnings:
            self._log.warn("{name}: {problem}", name=source.name, problem=str(warning))
