"""
Who may read which image, for how long, and what ends it early.

A grant is the upstream's own answer to "may these credentials download this image now?", remembered for a short
while. It lives in the memory of this process only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from glance_cache.interfaces import ImageFacts, IUpstream, UpstreamCredentials

MOST_GRANTS: Final = 100_000
"""Grants remembered at once; beyond it the oldest goes. One takes about half a KiB."""


@frozen
class Grant:
    """
    The right to read one image.

    :param facts: What its data is; ``None`` where the download is allowed and there is nothing to cache.
    :param ends_at: By the clock of `Grants`.
    """

    image_id: str
    facts: ImageFacts | None
    ends_at: float


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
        self._keys: dict[str, set[bytes]] = {}
        self._probes: dict[bytes, _Probe] = {}

    async def facts(self, image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        """
        Tell what the holder of these credentials may read.

        :param image_id: In lower case.
        :return: See `IUpstream.authorize`.
        :raises UpstreamRefused: They may not read it.
        :raises UpstreamUnavailable: Nobody can be asked.
        """
        key = self._key(image_id, credentials)
        while True:
            grant = self._grants.get(key)
            if grant is not None and grant.ends_at > self._clock.seconds():
                return grant.facts
            probe = self._probes.get(key) or self._ask(key, image_id, credentials)
            facts = await probe.wait()
            if not probe.void:
                return facts
            # Something happened to the image while the upstream was asked: the answer may be of before.

    def revoke(self, image_id: str) -> None:
        """
        End every grant for an image, and void the answers still under way.
        """
        for key in self._keys.pop(image_id, ()):
            del self._grants[key]
        self._void(key for key, probe in self._probes.items() if probe.image_id == image_id)

    def revoke_all(self) -> None:
        """
        End every grant there is, and void the answers still under way.
        """
        self._grants.clear()
        self._keys.clear()
        self._void(self._probes)

    def stop(self) -> None:
        """
        Ask no more; whoever waits for an answer is cancelled.
        """
        for probe in tuple(self._probes.values()):
            probe.cancel()

    def _void(self, keys: Iterable[bytes]) -> None:
        for key in tuple(keys):
            self._probes.pop(key).void = True

    def _key(self, image_id: str, credentials: UpstreamCredentials) -> bytes:
        mac = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in (image_id, credentials.auth_token, credentials.storage_token, credentials.service_token):
            text = b"" if part is None else part.encode()
            # The length keeps ("ab", "c") and ("a", "bc") apart, the flag an empty header and none.
            mac.update(b"%d:%d:" % (part is not None, len(text)))
            mac.update(text)
        return mac.digest()

    def _ask(self, key: bytes, image_id: str, credentials: UpstreamCredentials) -> _Probe:
        asking = Deferred.fromCoroutine(self._upstream.authorize(image_id, credentials))
        probe = _Probe(image_id, self._clock.seconds(), asking)
        self._probes[key] = probe
        asking.addBoth(self._answered, key, probe)
        return probe

    def _answered(self, answer: ImageFacts | Failure | None, key: bytes, probe: _Probe) -> None:
        if not probe.void:
            del self._probes[key]
            if not isinstance(answer, Failure):
                self._remember(key, Grant(probe.image_id, answer, probe.asked_at + self._ttl_seconds))
        probe.answer(answer)

    def _remember(self, key: bytes, grant: Grant) -> None:
        if self._ttl_seconds <= 0:
            return
        self._grants[key] = grant
        self._grants.move_to_end(key)
        self._keys.setdefault(grant.image_id, set()).add(key)
        if len(self._grants) > self._most_grants:
            oldest, forgotten = self._grants.popitem(last=False)
            keys = self._keys[forgotten.image_id]
            keys.discard(oldest)
            if not keys:
                del self._keys[forgotten.image_id]


class _Probe:
    """
    One question to the upstream, and everybody who waits for its answer.

    :ivar void: What the answer says may be out of date.
    """

    def __init__(self, image_id: str, asked_at: float, asking: Deferred[ImageFacts | None]) -> None:
        self.image_id = image_id
        self.asked_at = asked_at
        self.void = False
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
