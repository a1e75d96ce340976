"""
A stall is noticed when nothing moves for long enough, and never while something does.
"""

from __future__ import annotations

import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.stall import StallWatch, unaccepted_bytes


class StallWatchTests(SynchronousTestCase):
    """
    `StallWatch` by a clock the test turns.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.moved = 0
        self.stalls = 0
        self.watch = StallWatch(self.clock, 60, lambda: self.moved, self.stall)

    def stall(self) -> None:
        self.stalls += 1

    def pass_time(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)

    def test_stalled(self) -> None:
        """
        It tells once, after the time and at most a quarter more, and then looks no more.
        """
        self.watch.start()
        self.pass_time(59)
        self.assertEqual(self.stalls, 0)
        self.pass_time(16)
        self.assertEqual(self.stalls, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moving(self) -> None:
        """
        As long as something moves within the time, however little, there is no stall.
        """
        self.watch.start()
        for _ in range(10):
            self.pass_time(55)
            self.moved += 1
        self.assertEqual(self.stalls, 0)
        self.pass_time(90)
        self.assertEqual(self.stalls, 1)

    def test_stopped(self) -> None:
        """
        Stopped, it does not count; started again, it counts from zero.
        """
        self.watch.start()
        self.pass_time(50)
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pass_time(100)
        self.watch.start()
        self.pass_time(50)
        self.assertEqual(self.stalls, 0)
        self.watch.start()
        self.pass_time(50)
        self.assertEqual((self.stalls, len(self.clock.getDelayedCalls())), (0, 1))

    def test_stop_unstarted(self) -> None:
        """
        Stopping what does not run does nothing.
        """
        self.watch.stop()


class UnacceptedBytesTests(SynchronousTestCase):
    """
    `unaccepted_bytes` of a socket.
    """

    def test_socket(self) -> None:
        """
        What the other side has not taken is counted, and no longer when it has.
        """
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.assertEqual(unaccepted_bytes(ours.fileno()), 0)
        ours.send(b"x" * 1000)
        self.assertGreaterEqual(unaccepted_bytes(ours.fileno()), 1000)
        theirs.recv(1000)
        self.assertEqual(unaccepted_bytes(ours.fileno()), 0)

    def test_closed(self) -> None:
        """
        Of a closed socket nothing is known.
        """
        self.assertEqual(unaccepted_bytes(-1), 0)
