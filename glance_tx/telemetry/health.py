"""
Whether a daemon is fit to be sent requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["HealthCheck", "HealthChecks", "HealthReport"]

HealthCheck = Callable[[], Awaitable[None]]
"""Returns when all is well, raises when not."""


@frozen
class HealthReport:
    """
    What the checks found.

    :param results: By name of the check, whether it passed.
    """

    results: Mapping[str, bool]

    @property
    def healthy(self) -> bool:
        """
        Whether every check passed.
        """
        return all(self.results.values())

    @property
    def status(self) -> int:
        """
        Status code for ``/healthcheck``.
        """
        return 200 if self.healthy else 503

    @property
    def text(self) -> str:
        """
        Body for ``/healthcheck``: ``OK``, or which checks failed. The reasons are in the log only.
        """
        if self.healthy:
            return "OK"
        return "FAILED: " + ", ".join(sorted(name for name, passed in self.results.items() if not passed))


class HealthChecks:
    """
    Named checks, run together when asked.

    :param timeout_seconds: A check that takes longer has failed.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, timeout_seconds: float = 5.0) -> None:
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._checks: dict[str, HealthCheck] = {}

    def add(self, name: str, check: HealthCheck) -> None:
        """
        Add a check.

        :raises ValueError: The name is taken.
        """
        if name in self._checks:
            raise ValueError(f"there is a health check {name!r} already")
        self._checks[name] = check

    async def run(self) -> HealthReport:
        """
        Run all checks at once and wait for them.
        """
        running = {name: Deferred.fromCoroutine(self._passes(name, check)) for name, check in self._checks.items()}
        try:
            return HealthReport({name: await passed for name, passed in running.items()})
        finally:
            # Whoever asked may have left; the checks end with the question.
            for passed in running.values():
                passed.addErrback(lambda failure: failure.trap(CancelledError))
                passed.cancel()

    async def _passes(self, name: str, check: HealthCheck) -> bool:
        async def run() -> None:
            await check()

        try:
            await Deferred.fromCoroutine(run()).addTimeout(self._timeout_seconds, self._clock)
        except CancelledError:
            raise
        except DeferredTimeout:
            self.log.warn(
                "health check {name} did not end within {seconds} s", name=name, seconds=self._timeout_seconds
            )
            return False
        except Exception as problem:
            self.log.warn("health check {name} failed: {problem}", name=name, problem=problem)
            return False
        return True
