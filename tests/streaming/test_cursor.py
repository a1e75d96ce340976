"""
A cursor waits once at a time, and a wait that was stopped is heard of no more.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from glance_tx.streaming.cursor import FileCursor
from glance_tx.streaming.interfaces import IGrowth


@implementer(IGrowth)
@define
class HeldGrowth:
    """A growth whose waits end when the test says so; it counts those that were cancelled."""

    limit: int = 0
    cancelled: int = 0
    waits: list[Deferred[None]] = field(factory=list)

    def wait_beyond(self, offset: int) -> Deferred[None]:
        self.waits.append(Deferred(self._cancelled))
        return self.waits[-1]

    def _cancelled(self, _: Deferred[None]) -> None:
        self.cancelled += 1


@define
class Part:
    """As much of a file body as a cursor looks at."""

    growth: IGrowth
    offset: int = 10
    length: int = 20


class FileCursorTests(SynchronousTestCase):
    """
    `FileCursor` over bytes 10 to 30 of a file.
    """

    def setUp(self) -> None:
        self.growth = HeldGrowth()
        self.went_on = 0
        self.reasons: list[Failure] = []
        self.cursor = FileCursor(Part(self.growth), self.go_on, self.reasons.append)

    def go_on(self) -> None:
        self.went_on += 1

    def test_ready(self) -> None:
        """
        What may be sent lies between the position, the growth's limit and the body's end.
        """
        for limit, ready in ((0, 0), (10, 0), (11, 1), (30, 20), (50, 20)):
            self.growth.limit = limit
            self.assertEqual((self.cursor.ready, self.cursor.left), (ready, 20))
        self.cursor.position = 25
        self.assertEqual((self.cursor.ready, self.cursor.left), (5, 5))

    def test_grown(self) -> None:
        """
        A wait that ends well lets the sender go on.
        """
        self.cursor.wait()
        self.assertTrue(self.cursor.waiting)
        self.growth.waits[0].callback(None)
        self.assertEqual((self.cursor.waiting, self.went_on, self.reasons), (False, 1, []))

    def test_failed(self) -> None:
        """
        A wait that fails makes the sender give up with its reason.
        """
        self.cursor.wait()
        self.growth.waits[0].errback(OSError(28, "no room"))
        self.assertEqual((self.cursor.waiting, self.went_on), (False, 0))
        self.assertTrue(self.reasons[0].check(OSError))

    def test_stopped(self) -> None:
        """
        A stopped wait is cancelled, and the sender hears of it no more.
        """
        self.cursor.wait()
        self.cursor.stop()
        self.cursor.stop()
        self.assertEqual((self.growth.cancelled, self.cursor.waiting), (1, False))
        self.assertEqual((self.went_on, self.reasons), (0, []))
