"""
Tests for `glance_tx.web.deadlines`.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.deadlines import StallTimer


class StallTimerTests(SynchronousTestCase):
    """
    `StallTimer` counts only while it is told to.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.stalls: list[float] = []
        self.timer = StallTimer(self.clock, 10, lambda: self.stalls.append(self.clock.seconds()))

    def test_made_stopped(self) -> None:
        """
        Nothing counts before the start.
        """
        self.clock.advance(100)
        self.assertEqual((self.timer.running, self.stalls), (False, []))

    def test_stall(self) -> None:
        """
        After the given time without movement the stall is reported, once.
        """
        self.timer.start()
        self.clock.advance(9.9)
        self.assertEqual((self.timer.running, self.stalls), (True, []))
        self.clock.advance(0.2)
        self.clock.advance(100)
        self.assertEqual((self.timer.running, len(self.stalls)), (False, 1))

    def test_movement(self) -> None:
        """
        Movement starts the count anew.
        """
        self.timer.start()
        self.clock.pump([6, 0])
        self.timer.moved()
        self.clock.advance(9)
        self.assertEqual(self.stalls, [])
        self.clock.advance(1)
        self.assertEqual(self.stalls, [16])

    def test_movement_while_stopped(self) -> None:
        """
        Movement does not start a timer that is stopped.
        """
        self.timer.moved()
        self.clock.advance(100)
        self.assertEqual(self.stalls, [])

    def test_restart(self) -> None:
        """
        Starting a running timer counts from zero.
        """
        self.timer.start()
        self.clock.advance(9)
        self.timer.start()
        self.clock.advance(9)
        self.assertEqual(self.stalls, [])

    def test_one_call(self) -> None:
        """
        However often it is started, moved and rested, the clock has one call for it, and time counts from the last.
        """
        for _ in range(3):
            self.timer.start()
            self.clock.advance(4)
            self.timer.moved()
            self.timer.rest()
        self.timer.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([9.9, 0])
        self.assertEqual((self.stalls, len(self.clock.getDelayedCalls())), ([], 1))
        self.clock.advance(0.1)
        self.assertEqual((self.stalls, self.clock.getDelayedCalls()), ([22], []))

    def test_rest(self) -> None:
        """
        A rested timer reports nothing, and is at rest in the clock, too, after one call in vain.
        """
        self.timer.start()
        self.timer.rest()
        self.timer.moved()
        self.clock.advance(10)
        self.clock.advance(100)
        self.assertEqual((self.timer.running, self.stalls, self.clock.getDelayedCalls()), (False, [], []))
        self.timer.start()
        self.clock.advance(10)
        self.assertEqual(self.stalls, [120])

    def test_stop(self) -> None:
        """
        A stopped timer reports nothing, leaves nothing in the clock, and may be stopped again and restarted.
        """
        self.timer.start()
        self.timer.stop()
        self.timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timer.start()
        self.clock.advance(10)
        self.assertEqual(self.stalls, [10])

    def test_restart_from_the_report(self) -> None:
        """
        The report may start the timer again.
        """
        timer = StallTimer(self.clock, 5, lambda: (self.stalls.append(self.clock.seconds()), timer.start()))
        timer.start()
        self.clock.pump([5, 5, 0])
        self.assertEqual(self.stalls, [5, 10])
        timer.stop()
