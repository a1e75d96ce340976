"""
Tests of a worker's end of the pipes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.telemetry.metrics import Metrics
from glance_tx.workers.child import ParentLink
from glance_tx.workers.messages import Frames, pack, unpack


@define
class Reactor:
    """
    The real one, which cannot be stopped.
    """

    stopped: int = 0

    def stop(self) -> None:
        self.stopped += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class ParentLinkTests(TestCase):
    """
    `ParentLink` tells the parent what there is to tell, and obeys.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.frames = Frames()
        self.heard: list[dict[str, Any]] = []
        self.obeyed: list[str] = []
        orders, self.parent_writes = os.pipe()
        self.parent_reads, reports = os.pipe()
        os.set_blocking(self.parent_reads, False)
        self.metrics = Metrics("daemon")
        self.counter = self.metrics.counter("requests", "Requests.")
        self.link = ParentLink(
            self.reactor,
            self.metrics,
            {"dance": lambda: self.obeyed.append("dance")},
            descriptors=(orders, reports),
        )
        self.link.obey("sing", lambda: self.obeyed.append("sing"))
        # Twisted leaves those of its own end open, as a process's standard streams.
        for descriptor in (self.parent_reads, orders, reports):
            self.addCleanup(self.close, descriptor)

    def close(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def close_orders(self) -> None:
        os.close(self.parent_writes)

    def hear(self) -> list[dict[str, Any]]:
        """
        Tell what was said so far.
        """
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.parent_reads, 65536):
                self.heard.extend(unpack(frame) for frame in self.frames.feed(data))
        return self.heard

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            turned: Deferred[None] = Deferred()
            reactor.callLater(0.005, turned.callback, None)  # type: ignore[attr-defined]
            await turned

    def counted(self) -> list[float]:
        """
        Tell the count in each report so far.
        """
        return [
            value
            for message in self.hear()
            for *_, samples in message.get("metrics", ())
            for name, _, value in samples
            if name == "daemon_requests_total"
        ]

    async def test_reports(self) -> None:
        """
        It reports at once, now and then, and for the last time when it stops.
        """
        self.addCleanup(self.close_orders)
        await self.link.start()
        self.counter.inc()
        await self.until(lambda: len(self.counted()) >= 2)
        self.assertEqual(self.counted()[:2], [0, 1])
        self.counter.inc()
        await self.link.stop()
        await self.until(lambda: self.counted()[-1] == 2)
        self.assertEqual(self.reactor.stopped, 0)

    async def test_ready(self) -> None:
        """
        It says that the worker is ready when that is so.
        """
        self.addCleanup(self.close_orders)
        await self.link.start()
        self.assertNotIn({"ready": True}, self.hear())
        self.link.say_ready()
        await self.until(lambda: {"ready": True} in self.hear())
        await self.link.stop()

    async def test_orders(self) -> None:
        """
        It does what it is told, and passes over what it does not know.
        """
        self.addCleanup(self.close_orders)
        await self.link.start()
        os.write(self.parent_writes, pack({"order": "fly"}) + pack({"order": "sing"}) + pack({"order": "dance"}))
        await self.until(lambda: len(self.obeyed) == 2)
        self.assertEqual(self.obeyed, ["sing", "dance"])
        await self.link.stop()

    async def test_parent_gone(self) -> None:
        """
        A parent that is gone has the worker end, once, and ending then works as ever.
        """
        await self.link.start()
        self.close_orders()
        await self.until(lambda: self.reactor.stopped > 0)
        self.link.say_ready()
        await self.link.stop()
        self.assertEqual(self.reactor.stopped, 1)
