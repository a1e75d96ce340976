"""
Long work in pieces.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.api.v2.turns import in_turns


class TurningClock(Clock):
    """
    A clock that can be moved by one turn: what is called in it begins no other, as in a reactor.
    """

    def turn(self) -> None:
        due, self.calls = self.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)


class TurnTests(SynchronousTestCase):
    """
    `in_turns`.
    """

    def setUp(self) -> None:
        self.clock = TurningClock()
        self.seen: list[int] = []

    def start(self, count: int) -> Deferred[None]:
        async def go() -> None:
            async for item in in_turns(self.clock, range(count), 2):
                self.seen.append(item)

        return Deferred.fromCoroutine(go())

    def test_a_short_sequence_is_one_piece(self) -> None:
        """
        What fits one turn is done in the present one.
        """
        for count in (0, 1, 2):
            self.seen.clear()
            self.successResultOf(self.start(count))
            self.assertEqual(self.seen, list(range(count)))

    def test_a_long_sequence_takes_turns(self) -> None:
        """
        What does not is done in the following ones, all of it and in order.
        """
        going = self.start(5)
        for expected in ([], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
            self.assertEqual(self.seen, expected)
            self.clock.turn()
        self.successResultOf(going)

    def test_one_who_leaves_is_not_worked_for(self) -> None:
        """
        Cancelled between two pieces, it goes on no further.
        """
        going = self.start(5)
        self.clock.turn()
        going.cancel()
        self.failureResultOf(going)
        self.clock.turn()
        self.assertEqual((self.seen, self.clock.getDelayedCalls()), ([0, 1], []))
