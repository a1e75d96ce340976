"""
Work that goes on when whoever asked for it leaves.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.chores import Chores


class ChoresTests(SynchronousTestCase):
    """
    `Chores`.
    """

    def setUp(self) -> None:
        self.chores = Chores()
        self.outcome: Deferred[str] = Deferred()

    async def work(self) -> str:
        return await self.outcome

    def test_whoever_waits_gets_the_outcome(self) -> None:
        """The result, or the failure, goes to who asked for the work."""
        waiting = self.chores.run(self.work())
        self.outcome.callback("done")
        self.assertEqual(self.successResultOf(waiting), "done")
        self.outcome = Deferred()
        waiting = self.chores.run(self.work())
        self.outcome.errback(ZeroDivisionError())
        self.failureResultOf(waiting, ZeroDivisionError)

    def test_who_leaves_does_not_stop_it(self) -> None:
        """Work whose waiter was cancelled goes on; its result goes where unwanted results go."""
        unwanted: list[str] = []
        waiting = self.chores.run(self.work(), unwanted.append)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.outcome.callback("done")
        self.assertEqual(unwanted, ["done"])

    def test_failures_that_nobody_waits_for_are_logged(self) -> None:
        """A failure is never lost, whether nobody waited from the start or the one who did has left."""
        self.chores.start(self.work())
        self.outcome.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.outcome = Deferred()
        leaving = self.chores.run(self.work())
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.outcome.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_waiting_for_all_of_it(self) -> None:
        """`done` waits for what is under way, and for what that leads to."""
        later: Deferred[None] = Deferred()

        async def more() -> None:
            await later

        async def lead_on() -> None:
            await self.outcome
            self.chores.start(more())

        self.chores.start(lead_on())
        done = Deferred.fromCoroutine(self.chores.done())
        self.outcome.callback("go on")
        self.assertNoResult(done)
        later.callback(None)
        self.successResultOf(done)
        self.successResultOf(Deferred.fromCoroutine(self.chores.done()))
