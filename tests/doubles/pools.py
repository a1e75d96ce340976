"""
Stand-ins for a thread pool and for the reactor it reports to: work is done in the test's own thread, when it says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from glance_tx.streaming.lanes import Lanes


class ThreadClock(Clock):
    """
    A `Clock` that also takes calls from threads, which it makes at once.
    """

    def callFromThread(self, function: Callable[..., object], *args: object, **kwargs: object) -> None:
        function(*args, **kwargs)


class SteppedPool:
    """
    A pool whose jobs run one at a time, when the test says `step`.
    """

    max = 8

    def __init__(self) -> None:
        self.joined = False
        self.jobs_done = 0
        self._jobs: deque[Callable[[], None]] = deque()

    @property
    def waiting(self) -> int:
        """How many jobs the pool was given and has not run."""
        return len(self._jobs)

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], object] | None, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        if self.joined:  # as the real one does: silently
            return
        self._jobs.append(lambda: self._run(on_result, lambda: function(*args, **kwargs)))

    def _run(self, on_result: Callable[[bool, Any], object] | None, call: Callable[[], Any]) -> None:
        self.jobs_done += 1
        succeeded, result = True, None
        try:
            result = call()
        except BaseException:
            succeeded, result = False, Failure()
        if on_result is not None:
            on_result(succeeded, result)

    def step(self) -> None:
        """Run the oldest job."""
        self._jobs.popleft()()

    def run_all(self) -> None:
        """Run jobs, and those they lead to, until none is left."""
        while self._jobs:
            self.step()

    def stop(self) -> None:
        """Take no more jobs; those already taken are done, as in the real one."""
        self.joined = True
        self.run_all()


class InlinePool(SteppedPool):
    """
    A pool that runs each job before it returns.
    """

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], object] | None, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        super().callInThreadWithCallback(on_result, function, *args, **kwargs)
        self.run_all()


def inline_lanes() -> Lanes:
    """Make lanes whose jobs are done before `run` returns."""
    return Lanes(ThreadClock(), InlinePool())  # type: ignore[arg-type]
