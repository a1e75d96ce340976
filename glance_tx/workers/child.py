"""
The worker's end of the pipes to its parent.
"""

# Twisted left the methods of its protocols untyped.
# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from glance_tx.telemetry.metrics import Metrics
from glance_tx.telemetry.totals import snapshot
from glance_tx.workers.messages import ORDERS, REPORTS, Frames, pack, unpack

__all__ = ["ParentLink"]

_log = Logger()

_REPORT_SECONDS: Final = 1.0


class ParentLink(Protocol):
    """
    Reports to the parent, and does what it orders. An `IPart`, which starts first and stops last.

    A parent that is gone has its workers end as they would by its order: nobody else would ever end them.

    :param orders: What to do, by the names of orders; see also `obey`.
    :param descriptors: Of the pipe that orders come from, and of the one that reports go to.
    """

    def __init__(
        self,
        reactor: Any,
        metrics: Metrics,
        orders: Mapping[str, Callable[[], object]],
        *,
        descriptors: tuple[int, int] = (ORDERS, REPORTS),
    ) -> None:
        self._reactor = reactor
        self._descriptors = descriptors
        self._metrics = metrics
        self._orders = dict(orders)
        self._listeners: dict[str, Callable[[object], object]] = {}
        self._frames = Frames()
        self._closed: Deferred[None] | None = None
        self._loop = LoopingCall(self._report)
        self._loop.clock = reactor

    def obey(self, name: str, do: Callable[[], object]) -> None:
        """
        Do this when the parent orders it.
        """
        self._orders[name] = do

    def tell(self, subject: str, value: object) -> None:
        """
        Have the parent tell all other workers something that JSON can say. Returns at once.
        """
        self._say({"tell": [subject, value]})

    def hear(self, subject: str, listener: Callable[[object], object]) -> None:
        """
        Be told what other workers say of a subject, from now on. Its last listener counts.
        """
        self._listeners[subject] = listener

    async def start(self) -> None:
        """
        Begin to listen to the parent.
        """
        self._closed = Deferred()
        connect: Any = StandardIO  # mypy reads that of Windows
        connect(self, stdin=self._descriptors[0], stdout=self._descriptors[1], reactor=self._reactor)
        self._loop.start(_REPORT_SECONDS)

    def say_ready(self) -> None:
        """
        Tell the parent that this worker serves.
        """
        self._say({"ready": True})

    async def stop(self) -> None:
        """
        Report for the last time.
        """
        if self._loop.running:
            self._loop.stop()
        self._report()
        if self.transport is not None and self._closed is not None:
            self.transport.loseConnection()
            await self._closed

    def dataReceived(self, data: bytes) -> None:
        """
        Carry orders out.
        """
        for frame in self._frames.feed(data):
            match unpack(frame):
                case {"order": str(name)} if name in self._orders:
                    self._orders[name]()
                case {"told": [str(subject), value]} if subject in self._listeners:
                    self._listeners[subject](value)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        End this process, unless that is what it is doing.
        """
        self.transport = None
        if self._closed is not None:
            closed, self._closed = self._closed, None
            closed.callback(None)
        if self._loop.running:
            self._loop.stop()
            _log.error("the parent process is gone, and so this worker ends")
            self._reactor.stop()

    def _report(self) -> None:
        self._say({"metrics": snapshot(self._metrics)})

    def _say(self, message: Mapping[str, object]) -> None:
        if self.transport is not None:
            self.transport.write(pack(message))
