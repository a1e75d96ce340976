"""
Tests of whether a node is offline.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.errors import ImageUnsteady, UpstreamBrokeOff, UpstreamRefused, UpstreamUnavailable
from glance_cache.reach import Reach, says_nothing


class ReachTests(SynchronousTestCase):
    """
    `Reach` believes its own questions.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.probes: list[Deferred[None]] = []
        self.told: list[bool] = []
        self.reach = Reach(self.probe, self.clock, self.told.append)

    async def probe(self) -> None:
        self.probes.append(Deferred())
        await self.probes[-1]

    def ask(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.reach.is_lost())

    def lose(self) -> None:
        asking = self.ask()
        self.probes[-1].callback(None)
        self.assertTrue(self.successResultOf(asking))

    def test_own_question_is_answered(self) -> None:
        """
        A request that failed makes no node offline whose own question is answered.
        """
        asking = self.ask()
        self.reach.answered()
        self.probes[0].callback(None)
        self.assertFalse(self.successResultOf(asking))
        self.assertEqual((self.reach.offline, self.told), (False, []))

    def test_lost(self) -> None:
        """
        A node whose own question is not answered is offline, and knows since when. One question is asked for all.
        """
        self.clock.advance(100)
        asking = [self.ask() for _ in range(3)]
        self.assertEqual(len(self.probes), 1)
        self.probes[0].callback(None)
        self.assertEqual([self.successResultOf(each) for each in asking], [True] * 3)
        self.assertEqual((self.reach.offline_since, self.reach.times, self.told), (100, 1, [True]))
        self.assertTrue(self.successResultOf(self.ask()))
        self.assertEqual(len(self.probes), 1)

    def test_one_question_at_a_time(self) -> None:
        """
        While it is offline it asks again, a second after each question that was not answered, one at a time.
        """
        self.lose()
        for count in range(2, 6):
            self.clock.advance(0.9)
            self.assertEqual(len(self.probes), count - 1)
            self.clock.advance(0.2)
            self.assertEqual(len(self.probes), count)
            self.clock.advance(50)
            self.assertEqual(len(self.probes), count)
            self.probes[-1].callback(None)

    def test_back(self) -> None:
        """
        The first answer ends it, be it to its own question or to anybody else's; then it asks no more.
        """
        for own in (True, False):
            self.lose()
            if own:
                self.clock.advance(1)
            self.reach.answered()
            self.assertFalse(self.reach.offline)
            for probe in self.probes:
                if not probe.called:
                    probe.callback(None)
            asked = len(self.probes)
            self.clock.advance(100)
            self.assertEqual(len(self.probes), asked)
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told, [True, False] * 2)

    def test_lost_again(self) -> None:
        """
        After it was back it can be lost again, at once.
        """
        self.lose()
        self.reach.answered()
        self.lose()
        self.assertEqual(self.reach.times, 2)

    def test_waiting_ends_when_it_is_lost(self) -> None:
        """
        Whoever waits for an upstream that says nothing has the node ask after three seconds, again and again; when
        that is in vain, he waits no more.
        """
        waiting: Deferred[str] = Deferred()
        result = Deferred.fromCoroutine(self.reach.unless_offline(waiting))
        self.clock.advance(2.9)
        self.assertEqual(self.probes, [])
        self.clock.advance(0.2)
        self.reach.answered()
        self.probes[0].callback(None)
        self.assertNoResult(result)
        self.clock.advance(3)
        self.probes[1].callback(None)
        self.failureResultOf(result, UpstreamUnavailable)
        self.assertTrue(waiting.called)

    def test_waiting_in_good_time(self) -> None:
        """
        What comes in time is passed on, and so is a failure, and being cancelled; nothing is left behind.
        """
        for outcome in ("answer", ValueError(), None):
            waiting: Deferred[object] = Deferred()
            result = Deferred.fromCoroutine(self.reach.unless_offline(waiting))
            if outcome is None:
                result.cancel()
                self.failureResultOf(result, CancelledError)
            elif isinstance(outcome, ValueError):
                waiting.errback(outcome)
                self.failureResultOf(result, ValueError)
            else:
                waiting.callback(outcome)
                self.assertEqual(self.successResultOf(result), "answer")
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.probes, [])

    def test_stop(self) -> None:
        """
        It can be stopped in every state, and asks nothing then.
        """
        asking = self.ask()
        self.reach.stop()
        self.assertFalse(self.successResultOf(asking))
        self.assertFalse(self.successResultOf(self.ask()))
        self.reach = Reach(self.probe, self.clock)
        self.lose()
        self.reach.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_leaver(self) -> None:
        """
        One who leaves while the node asks takes nothing from the others.
        """
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.probes[0].callback(None)
        self.assertTrue(self.successResultOf(second))

    def test_what_says_nothing(self) -> None:
        """
        No connection, and a gateway's 502, 503 and 504, leave the answer open; a refusal is one.
        """
        for error in (UpstreamUnavailable("x"), UpstreamBrokeOff("x")):
            self.assertTrue(says_nothing(error))
        for status in (502, 503, 504):
            self.assertTrue(says_nothing(UpstreamRefused(status, (), b"")))
        for status in (400, 401, 403, 404, 409, 410, 413, 429, 500, 501):
            self.assertFalse(says_nothing(UpstreamRefused(status, (), b"")))
        self.assertFalse(says_nothing(ImageUnsteady("x")))
