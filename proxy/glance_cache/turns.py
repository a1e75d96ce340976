"""
Which of several upstreams is asked, and which is left alone for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_tx.telemetry.redact import redact_url

__all__ = ["UpstreamTurns"]

_FIRST_REST_SECONDS: Final = 1.0

_FORGET_RESTS: Final = 2.0
"""An upstream that was well for so many of the longest rests begins anew with the first one."""


@define
class _State:
    """
    How an upstream is doing.

    :param failures: In a row, a rest between each two.
    :param failed_at: When the last of them was counted.
    :param rests_until: Others are asked first until then; 0 where it is well.
    :param stays_until: Before that no answer makes it well.
    """

    failures: int = 0
    failed_at: float = 0.0
    rests_until: float = 0.0
    stays_until: float = 0.0


class UpstreamTurns:
    """
    The order in which upstreams are asked: as they are configured, but for those that failed. These rest, for a second
    at first and for twice as long after each further failure, and are asked last meanwhile, where all others failed.
    At the end of a rest one request tries, and the others wait for what comes of it.

    :param bases: URLs, without a slash at their end.
    :param longest_seconds: The longest rest.
    :param told: Called with a URL, and whether that upstream is well from now on.
    """

    _log = Logger()

    def __init__(
        self,
        bases: Sequence[str],
        clock: IReactorTime,
        longest_seconds: float = 60.0,
        told: Callable[[str, bool], object] = lambda _base, _well: None,
    ) -> None:
        self._states = {base: _State() for base in bases}
        self._clock = clock
        self._longest_seconds = longest_seconds
        self._told = told

    @property
    def first(self) -> str:
        """
        The upstream that would be asked first.
        """
        return self._sorted()[0]

    def order(self, *, trial: bool) -> tuple[str, ...]:
        """
        List all upstreams as they are to be asked.

        :param trial: One whose rest is over may be tried with this: it can be asked of the next one all the same.
        """
        now = self._clock.seconds()
        order = self._sorted()
        for base, state in self._states.items():
            if trial and state.rests_until and state.rests_until <= now:
                state.rests_until = now + self._rest_seconds(state)
                return (base, *(other for other in order if other != base))
        return tuple(order)

    def _sorted(self) -> list[str]:
        # Python sorts in a stable way: those that are well stay as they were configured.
        return sorted(self._states, key=lambda base: self._states[base].rests_until)

    def _rest_seconds(self, state: _State) -> float:
        return min(_FIRST_REST_SECONDS * 2.0 ** (state.failures - 1), self._longest_seconds)

    def answered(self, base: str) -> None:
        """
        Note that an upstream works.
        """
        state = self._states.get(base)
        # What was asked before may be answered well, and say nothing of what is wrong with it.
        if state is not None and state.rests_until and self._clock.seconds() >= state.stays_until:
            state.rests_until = 0.0
            self._log.info("upstream {base} answers again", base=redact_url(base))
            self._told(base, True)  # noqa: FBT003  (what became of it)

    def failed(self, base: str, seconds: float = 0.0) -> None:
        """
        Note that an upstream failed.

        :param seconds: For how long it is to be left alone, whatever it answers meanwhile.
        """
        state = self._states[base]
        now = self._clock.seconds()
        if now - state.failed_at >= _FORGET_RESTS * self._longest_seconds:
            state.failures = 0
        # Many requests may fail at once; that counts as one failure.
        if not state.failures or now - state.failed_at >= self._rest_seconds(state):
            state.failures = min(state.failures + 1, 32)
            state.failed_at = now
        asked = min(seconds, self._longest_seconds)
        state.stays_until = max(state.stays_until, now + asked)
        rest = max(self._rest_seconds(state), asked)
        was_well = not state.rests_until
        state.rests_until = max(state.rests_until, now + rest)
        if was_well:
            self._told(base, False)  # noqa: FBT003  (what became of it)
            if len(self._states) > 1:
                self._log.warn("upstream {base} is asked last for {rest:g} seconds", base=redact_url(base), rest=rest)
