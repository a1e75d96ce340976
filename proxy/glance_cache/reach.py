"""
Whether the upstream can be reached.

Note [Offline]

A request that fails says little: perhaps this one cannot be answered, and whoever sent it wants just that. So it only
makes the node ask by itself. The node is offline when its own question is not answered either, and nothing else was
meanwhile. While it is, it asks again and again, one question at a time, and the first answer to anything, 502, 503
and 504 excepted, ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from glance_cache.client import IN_TROUBLE
from glance_cache.errors import UpstreamRefused, UpstreamUnavailable

__all__ = ["PROBE_SECONDS", "Reach", "says_nothing"]

PROBE_SECONDS: Final = 3.0
"""How long an answer to the node's own question may take."""

_PAUSE_SECONDS: Final = 1.0
"""Between two such questions, for as long as none is answered."""

_PATIENCE_SECONDS: Final = 3.0
"""A client that could be answered in another way waits so long before the node asks by itself."""

T = TypeVar("T")


def says_nothing(error: Exception) -> bool:
    """
    Tell whether a failure leaves open what the upstream would have said.
    """
    if isinstance(error, UpstreamRefused):
        return error.status in IN_TROUBLE
    return isinstance(error, UpstreamUnavailable)


class Reach:
    """
    Knows whether any upstream answers. See Note [Offline].

    :param probe: Asks all upstreams, within `PROBE_SECONDS`; `answered` is called when one answers.
    :param told: Called when it changes, with whether the node is offline.
    :ivar offline_since: By the clock; ``None`` where the upstream can be reached, as far as is known.
    :ivar times: How often it was lost.
    """

    _log = Logger()

    def __init__(
        self,
        probe: Callable[[], Coroutine[Any, Any, object]],
        clock: IReactorTime,
        told: Callable[[bool], object] = lambda _offline: None,
    ) -> None:
        self.offline_since: float | None = None
        self.times = 0
        self._probe = probe
        self._clock = clock
        self._told = told
        self._answers = 0
        self._asking: Deferred[None] | None = None
        self._wanting: list[Deferred[None]] = []
        self._again: IDelayedCall | None = None
        self._waiting: set[Deferred[Any]] = set()
        self._stopped = False

    @property
    def offline(self) -> bool:
        """
        Whether no upstream can be reached.
        """
        return self.offline_since is not None

    def answered(self) -> None:
        """
        Take note of an answer of an upstream.
        """
        self._answers += 1
        if self.offline_since is not None:
            seconds = self._clock.seconds() - self.offline_since
            self.offline_since = None
            self._pause_no_more()
            self._log.info("the upstream is back after {seconds:.0f} seconds", seconds=seconds)
            self._told(False)  # noqa: FBT003  (what became of it)

    async def is_lost(self) -> bool:
        """
        Find out whether the upstream can be reached, after a request that could not be answered.
        """
        if not self.offline and not self._stopped:
            wanting: Deferred[None] = Deferred(lambda _: None)
            self._wanting.append(wanting)
            self._ask()
            await wanting
        return self.offline

    async def unless_offline(self, waiting: Deferred[T]) -> T:
        """
        Wait for something of the upstream for as long as that can be reached.

        :param waiting: Cancelled when it cannot.
        :raises UpstreamUnavailable: It turned out that it cannot.
        """
        self._waiting.add(waiting)
        call: IDelayedCall

        def impatient() -> None:
            nonlocal call
            call = self._clock.callLater(_PATIENCE_SECONDS, impatient)
            self._ask()

        call = self._clock.callLater(_PATIENCE_SECONDS, impatient)
        try:
            return await waiting
        except CancelledError:
            if waiting in self._waiting:
                raise
            raise UpstreamUnavailable("none answers this node") from None
        finally:
            self._waiting.discard(waiting)
            call.cancel()

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._stopped = True
        self._pause_no_more()
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self) -> None:
        if self._asking is not None or self._again is not None or self._stopped:
            return
        answers = self._answers
        asking = self._asking = Deferred.fromCoroutine(self._ask_once())
        asking.addErrback(lambda failure: self._log.failure("asking the upstream met an unexpected condition", failure))
        asking.addBoth(lambda _: self._asked(answered=self._answers != answers))

    async def _ask_once(self) -> None:
        with suppress(CancelledError):  # by `stop`
            await self._probe()

    def _asked(self, *, answered: bool) -> None:
        self._asking = None
        if not answered and not self._stopped:
            if self.offline_since is None:
                self._lose()
            self._again = self._clock.callLater(_PAUSE_SECONDS, self._ask_again)
        wanting, self._wanting = self._wanting, []
        for each in wanting:
            if not each.called:  # the one who wanted it has left
                each.callback(None)

    def _pause_no_more(self) -> None:
        again, self._again = self._again, None
        if again is not None:
            again.cancel()

    def _ask_again(self) -> None:
        self._again = None
        if self.offline:
            self._ask()

    def _lose(self) -> None:
        self.offline_since = self._clock.seconds()
        self.times += 1
        self._log.warn("no upstream can be reached: this node is offline")
        self._told(True)  # noqa: FBT003  (what became of it)
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            each.cancel()
