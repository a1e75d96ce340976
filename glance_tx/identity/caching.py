"""
What is known of tokens, remembered for a while.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from typing import Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.flights import Flights
from glance_tx.identity.interfaces import ITokens

__all__ = ["MOST_TOKENS", "REFUSAL_SECONDS", "RememberedTokens"]

MOST_TOKENS: Final = 10_000
"""Tokens remembered at once, and as many that were refused; the one not used for longest goes first. One takes about
a KiB."""

REFUSAL_SECONDS: Final = 10.0
"""How long a token that is not valid is remembered: so that somebody who sends it again and again costs one question,
and briefly, as a token may reach one server of the identity service sooner than another."""


@frozen
class _Refusal:
    reason: str


@frozen
class _Entry:
    answer: Caller | _Refusal
    ends_at: float


class _Memory:
    """
    A bounded number of answers, each until its time is over.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def find(self, key: bytes, now: float) -> Caller | _Refusal | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.ends_at <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def keep(self, key: bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)


@implementer(ITokens)
class RememberedTokens:
    """
    Other tokens, remembered: who holds one, for a while and never past its end; and briefly that one is not valid.
    That nobody could be asked is not remembered.

    However many ask about a token at once, it is looked up once; who asks first may leave without taking the answer
    from the others. A token is known here by a keyed digest alone.

    :param clock: Its seconds count from the epoch.
    :param seconds: How long a holder is remembered, from when the question was asked; 0 asks each time.
    :param secret: The key of the digests.
    :param most: Holders remembered at once, and refusals apart from them: guesses do not drive out what is known.
    """

    def __init__(
        self, tokens: ITokens, clock: IReactorTime, seconds: float, secret: bytes, most: int = MOST_TOKENS
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._seconds = seconds
        self._secret = secret
        self._holders = _Memory(most)
        self._refusals = _Memory(most)
        self._questions: Flights[bytes, Caller] = Flights()

    async def find(self, token: str, *, allow_expired: bool = False) -> Caller:
        """
        See `ITokens.find`.
        """
        key = self._key(token, allow_expired)
        now = self._clock.seconds()
        known = self._holders.find(key, now) or self._refusals.find(key, now)
        if isinstance(known, Caller):
            return known
        if known is not None:
            raise NotAuthenticated(known.reason)
        question = self._questions.join(key)
        if question is None:
            question = self._questions.begin(key, self._ask(key, token, allow_expired))
        return await question

    def stop(self) -> None:
        """
        Ask no more; whoever waits for an answer is cancelled.
        """
        self._questions.stop()

    def _key(self, token: str, allow_expired: bool) -> bytes:
        text = b"%d" % allow_expired + token.encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, text, hashlib.sha256)

    async def _ask(self, key: bytes, token: str, allow_expired: bool) -> Caller:
        asked_at = self._clock.seconds()
        try:
            caller = await self._tokens.find(token, allow_expired=allow_expired)
        except NotAuthenticated as error:
            if self._seconds > 0:
                ends_at = asked_at + min(REFUSAL_SECONDS, self._seconds)
                self._refusals.keep(key, _Entry(_Refusal(error.reason), ends_at))
            raise
        ends_at = asked_at + self._seconds
        if caller.expires_at is not None and not allow_expired:
            ends_at = min(ends_at, caller.expires_at)
        if ends_at > self._clock.seconds():
            self._holders.keep(key, _Entry(caller, ends_at))
        return caller
