"""
Which of several upstreams is asked, and which is left alone for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_tx.telemetry.redact import redact_url

__all__ = ["UpstreamState", "UpstreamTurns"]

_FIRST_REST_SECONDS: Final = 1.0

_FORGET_RESTS: Final = 2.0
"""An upstream that was well for so many of the longest rests begins anew with the first one."""


@frozen(kw_only=True)
class UpstreamState:
    """
    What is known of an upstream.

    :param well: Whether it worked when last asked; one counts as well until it is asked.
    :param failures: How often it began to fail.
    :param rests_until: Others are asked first until then, in seconds since the epoch; ``None`` where it is well.
    :param last_error: What was wrong with it the last time; ``None`` where nothing ever was.
    :param last_error_at: When that was, in seconds since the epoch.
    """

    base: str
    well: bool
    failures: int
    rests_until: float | None
    last_error: str | None
    last_error_at: float | None


@define
class _State:
    """
    How an upstream is doing.

    :param failures: In a row, a rest between each two.
    :param failed_at: When the last of them was counted.
    :param rests_until: Others are asked first until then; 0 where it is well.
    :param stays_until: Before that no answer makes it well.
    :param times: How often it began to fail, at all.
    :param last_error: What was wrong the last time.
    """

    failures: int = 0
    failed_at: float = 0.0
    rests_until: float = 0.0
    stays_until: float = 0.0
    times: int = 0
    last_error: str | None = None
    last_error_at: float | None = None


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

    def states(self) -> Sequence[UpstreamState]:
        """
        Tell what is known of each, in the order in which they are configured.
        """
        return [
            UpstreamState(
                base=base,
                well=not state.rests_until,
                failures=state.times,
                rests_until=state.rests_until or None,
                last_error=state.last_error,
                last_error_at=state.last_error_at,
            )
            for base, state in self._states.items()
        ]

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

    def failed(self, base: str, reason: str, seconds: float = 0.0) -> None:
        """
        Note that an upstream failed.

        :param reason: What was wrong, without credentials.
        :param seconds: For how long it is to be left alone, whatever it answers meanwhile.
        """
        state = self._states[base]
        now = self._clock.seconds()
        state.last_error, state.last_error_at = reason, now
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
            state.times += 1
            self._told(base, False)  # noqa: FBT003  (what became of it)
            if len(self._states) > 1:
                self._log.warn("upstream {base} is asked last for {rest:g} seconds", base=redact_url(base), rest=rest)
