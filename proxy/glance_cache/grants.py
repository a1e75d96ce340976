"""
Who may read which image, for how long, and what ends it early.

A grant is the upstream's own answer to "may these credentials download this image now?", remembered for a short
while. It lives in the memory of this process only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from glance_cache.errors import ImageUnsteady
from glance_cache.interfaces import ImageFacts, IUpstream, UpstreamCredentials

MOST_GRANTS: Final = 100_000
"""Grants remembered at once; beyond it the oldest goes. One takes about half a KiB."""

_TRIES: Final = 3
"""How often the upstream is asked for one grant, where each answer was void when it came."""


class _Generation:
    """
    A time in which nothing happened to an image, nor to who may read it.

    :ivar ended: Something did.
    """

    def __init__(self) -> None:
        self.ended = False


@frozen
class Grant:
    """
    The right to read one image.

    :param facts: What its data is; ``None`` where the download is allowed and there is nothing to cache.
    :param ends_at: By the clock of `Grants`.
    """

    facts: ImageFacts | None
    ends_at: float
    _generation: _Generation

    @property
    def revoked(self) -> bool:
        """
        Whether it ended before its time.
        """
        return self._generation.ended


class Grants:
    """
    Answers from the upstream, remembered.

    A refusal is never remembered. However many ask for the same at once, the upstream is asked once; whoever asks
    first may leave without taking the answer from the others.

    :param ttl_seconds: How long a grant lives, from when the upstream was asked; 0 asks it each time.
    :param secret: Keys of the table are made with it, so that they tell nothing of a token.
    :param most_grants: Remembered at once; beyond that the oldest goes.
    """

    def __init__(
        self,
        upstream: IUpstream,
        clock: IReactorTime,
        ttl_seconds: float,
        secret: bytes,
        most_grants: int = MOST_GRANTS,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._secret = secret
        self._most_grants = most_grants
        self._grants: OrderedDict[bytes, Grant] = OrderedDict()
        self._probes: dict[bytes, _Probe] = {}
        self._running: set[_Probe] = set()
        # Held by grants and probes: what nobody has a grant for is not here.
        self._generations: WeakValueDictionary[str, _Generation] = WeakValueDictionary()

    @property
    def count(self) -> int:
        """
        How many are remembered, those that have ended meanwhile included.
        """
        return len(self._grants)

    async def grant(self, image_id: str, credentials: UpstreamCredentials) -> Grant:
        """
        Tell what the holder of these credentials may read.

        Whoever waits for anything before the first byte goes out looks at `Grant.revoked` once more.

        :param image_id: In lower case.
        :raises UpstreamRefused: They may not read it.
        :raises UpstreamUnavailable: Nobody can be asked.
        :raises ImageUnsteady: Something happened to the image each time the upstream was asked.
        """
        key = self._key(image_id, credentials)
        for _ in range(_TRIES):
            grant = self._grants.get(key)
            if grant is not None and not grant.revoked and grant.ends_at > self._clock.seconds():
                return grant
            probe = self._probes.get(key)
            if probe is None or probe.generation.ended:
                probe = self._ask(key, image_id, credentials)
            facts = await probe.wait()
            grant = Grant(facts, probe.asked_at + self._ttl_seconds, probe.generation)
            if not grant.revoked:
                return grant
            # The answer may be of before: the upstream is asked again.
        raise ImageUnsteady(image_id)

    def revoke(self, image_id: str) -> None:
        """
        End every grant for an image, and void the answers still under way.

        :param image_id: In lower case.
        """
        generation = self._generations.pop(image_id, None)
        if generation is not None:
            generation.ended = True

    def revoke_all(self) -> None:
        """
        End every grant there is, and void the answers still under way.
        """
        for image_id in list(self._generations):
            self.revoke(image_id)
        self._grants.clear()

    def stop(self) -> None:
        """
        Ask no more; whoever waits for an answer is cancelled.
        """
        for probe in tuple(self._running):
            probe.cancel()

    def _key(self, image_id: str, credentials: UpstreamCredentials) -> bytes:
        mac = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in (image_id, credentials.auth_token, credentials.storage_token, credentials.service_token):
            text = b"" if part is None else part.encode()
            # The length keeps ("ab", "c") and ("a", "bc") apart, the flag an empty header and none.
            mac.update(b"%d:%d:" % (part is not None, len(text)))
            mac.update(text)
        return mac.digest()

    def _ask(self, key: bytes, image_id: str, credentials: UpstreamCredentials) -> _Probe:
        generation = self._generations.setdefault(image_id, _Generation())
        asked_at = self._clock.seconds()
        asking = Deferred.fromCoroutine(self._upstream.authorize(image_id, credentials))
        probe = self._probes[key] = _Probe(generation, asked_at, asking)
        self._running.add(probe)
        asking.addBoth(self._answered, key, probe)
        return probe

    def _answered(self, answer: ImageFacts | Failure | None, key: bytes, probe: _Probe) -> None:
        self._running.discard(probe)
        if self._probes.get(key) is probe:  # and no later one asks for the same
            del self._probes[key]
        if not isinstance(answer, Failure) and not probe.generation.ended:
            self._remember(key, Grant(answer, probe.asked_at + self._ttl_seconds, probe.generation))
        probe.answer(answer)

    def _remember(self, key: bytes, grant: Grant) -> None:
        if self._ttl_seconds <= 0:
            return
        self._grants[key] = grant
        self._grants.move_to_end(key)
        if len(self._grants) > self._most_grants:
            self._grants.popitem(last=False)


class _Probe:
    """
    One question to the upstream, and everybody who waits for its answer.

    :ivar generation: Of the image when the upstream was asked; once it has ended, the answer may be of before.
    """

    def __init__(self, generation: _Generation, asked_at: float, asking: Deferred[ImageFacts | None]) -> None:
        self.generation = generation
        self.asked_at = asked_at
        self._asking = asking
        self._answer: list[ImageFacts | Failure | None] = []
        self._waiting: list[Deferred[ImageFacts | None]] = []

    def wait(self) -> Deferred[ImageFacts | None]:
        """
        Wait for the answer; cancelling that concerns nobody else.
        """
        waiter: Deferred[ImageFacts | None] = Deferred(self._forget)
        self._waiting.append(waiter)
        self._pass_on()
        return waiter

    def answer(self, answer: ImageFacts | Failure | None) -> None:
        """
        Take the answer, or the failure, for everybody.
        """
        self._answer = [answer]
        self._pass_on()

    def cancel(self) -> None:
        """
        Ask no more.
        """
        self._asking.cancel()

    def _pass_on(self) -> None:
        for answer in self._answer:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if waiter.called:  # cancelled by one before it
                    continue
                if isinstance(answer, Failure):
                    waiter.errback(Failure(answer.value))
                else:
                    waiter.callback(answer)

    def _forget(self, waiter: Deferred[ImageFacts | None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
