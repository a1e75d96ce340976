"""
Who may read which image, for how long, and what ends it early.

A grant is the upstream's own answer to "may these credentials download this image now?", remembered for a short
while. It lives in the memory of this process only.

Note [Living on]

While no upstream can be reached, a grant whose time is over may be used for a while longer, the grace. It has three
ends before that: something happened to the image (an event, a change by way of this node), the upstream refused it, or
its token ended. A subscription that begins anew is none: what was missed is not known, so the upstream is asked first,
and only where it says nothing the grant lives on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from glance_cache.credential_keys import KEY_BYTES
from glance_cache.errors import ImageUnsteady, UpstreamRefused, UpstreamUnavailable
from glance_cache.grant import Grant, ISeconds, LivingOn, Mark, Marks
from glance_cache.grant_probe import Probe
from glance_cache.holders import Holders
from glance_cache.interfaces import ImageFacts, ISiblings, IUpstream, UpstreamCredentials
from glance_cache.reach import says_nothing
from glance_cache.sealed import SealedGrant

__all__ = ["MOST_GRANTS", "Grant", "Grants"]

MOST_GRANTS: Final = 100_000
"""Grants remembered at once; beyond it the oldest goes. One takes about half a KiB."""

_TRIES: Final = 3
"""How often the upstream is asked for one grant, where each answer was void when it came."""

_CHANGED: Final = "image changed"
_DOUBTED: Final = "image perhaps changed"


class Grants:
    """
    Answers from the upstream, remembered.

    A refusal is never remembered. However many ask for the same at once, the upstream is asked once; whoever asks
    first may leave without taking the answer from the others.

    :param ttl_seconds: How long a grant lives, from when the upstream was asked; 0 asks it each time.
    :param holders: Those who may have grants.
    :param most_grants: Remembered at once; beyond that the oldest goes.
    :param living_on: How grants live on; ``None`` where they do not.
    :param siblings: Other processes of this node, each with grants of its own; ``None`` for none.
    """

    def __init__(
        self,
        upstream: IUpstream,
        clock: ISeconds,
        ttl_seconds: float,
        holders: Holders,
        most_grants: int = MOST_GRANTS,
        living_on: LivingOn | None = None,
        siblings: ISiblings | None = None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._holders = holders
        self._most_grants = most_grants
        self._living_on = living_on
        self._grants: OrderedDict[bytes, Grant] = OrderedDict()
        self._probes: dict[bytes, Probe] = {}
        self._running: set[Probe] = set()
        # Held by grants and probes: what nobody has a grant for is not here.
        self._generations: WeakValueDictionary[str, Mark] = WeakValueDictionary()
        self._era = Mark()
        self._image_eras: WeakValueDictionary[str, Mark] = WeakValueDictionary()
        self._added = 0
        self._ended = 0
        self._siblings = siblings
        if siblings is not None:
            siblings.hear(_CHANGED, lambda image_id: self.revoke(str(image_id)))
            siblings.hear(_DOUBTED, lambda image_id: self.doubt(str(image_id)))

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
        holder = self._holders.key(credentials)
        key = holder + image_id.encode()
        for _ in range(_TRIES):
            grant = self._grants.get(key)
            if grant is not None and not grant.revoked and self.seconds_left(grant) > 0:
                return grant
            if (left := self._left_offline(image_id, key)) is not None:
                return left
            probe = self._probes.get(key)
            if probe is None or probe.marks.void:
                probe = self._ask(key, holder, image_id, credentials)
            grant = await self._outcome(probe, image_id, key)
            if not grant.revoked:
                return grant
            # The answer may be of before: the upstream is asked again.
        raise ImageUnsteady(image_id)

    async def _outcome(self, probe: Probe, image_id: str, key: bytes) -> Grant:
        """
        Wait for the upstream's answer, and give what lives on where there is none.
        """
        lives_on, waiting = self._living_on, probe.wait()
        if lives_on is None or self._kept(image_id, key) is None:
            return probe.grant(await waiting, self._ttl_seconds)
        try:
            return probe.grant(await lives_on.reach.unless_offline(waiting), self._ttl_seconds)
        except (UpstreamUnavailable, UpstreamRefused) as error:
            if says_nothing(error) and await lives_on.reach.is_lost():
                if self._probes.get(key) is probe:  # whoever asks when the upstream is back does not wait for it
                    del self._probes[key]
                grant = self._kept(image_id, key)
                if grant is not None:
                    return grant
            raise

    def seconds_left(self, grant: Grant) -> float:
        """
        Tell for how long a grant counts, if nothing happens; 0 or less for one whose time is over.
        """
        return grant.ends_with_holder(grant.ends_at) - self._clock.seconds()

    def _left_offline(self, image_id: str, key: bytes) -> Grant | None:
        return self._kept(image_id, key) if self._living_on is not None and self._living_on.reach.offline else None

    def _kept(self, image_id: str, key: bytes) -> Grant | None:
        """
        Find a grant that may live on now. See Note [Living on].
        """
        grant, lives_on = self._grants.get(key), self._living_on
        if grant is None or lives_on is None or grant.marks.over:
            return None
        ends_at = grant.ends_with_holder(grant.ends_at + lives_on.grace_seconds)
        if ends_at <= self._clock.seconds():
            return None
        image_era = self._image_eras.setdefault(image_id, Mark())
        marks = evolve(grant.marks, era=self._era, image_era=image_era)
        return evolve(grant, ends_at=ends_at, marks=marks, offline=True)

    @property
    def changes(self) -> tuple[int, int]:
        """
        Count what was added, and what ended before its time.
        """
        return self._added, self._ended

    def seal(self, most: int) -> list[SealedGrant]:
        """
        List what may live on, the latest first.
        """
        now, sealed = self._clock.seconds(), []
        for key, grant in reversed(self._grants.items()):
            expires_at = grant.marks.holder.expires_at
            if grant.facts is not None and grant.facts.size and not grant.marks.over:
                expires_in = None if expires_at is None else expires_at - now
                sealed.append(SealedGrant(key[:KEY_BYTES], grant.facts, grant.ends_at - now, expires_in))
            if len(sealed) == most:
                break
        return sealed

    def restore(self, sealed: Sequence[SealedGrant]) -> None:
        """
        Take up what was listed: to live on only, as the upstream is asked first.
        """
        now, before = self._clock.seconds(), Mark()
        before.ended = True
        for each in reversed(sealed):
            image_id, holder = each.facts.image_id, self._holders.get(each.holder)
            if each.expires_in is not None:
                holder.expires_at = now + each.expires_in
            generation = self._generations.setdefault(image_id, Mark())
            marks = Marks(generation, holder, before, self._image_eras.setdefault(image_id, Mark()))
            self._remember(each.holder + image_id.encode(), Grant(each.facts, now + each.seconds_left, marks))

    def revoke(self, image_id: str) -> None:
        """
        End every grant for an image, and void the answers still under way.

        :param image_id: In lower case.
        """
        generation = self._generations.pop(image_id, None)
        if generation is not None:
            generation.ended = True
            self._ended += 1
        if self._living_on is not None:
            self._living_on.changed(image_id)

    def changed(self, image_id: str) -> None:
        """
        Take note that an image was changed by way of this process: `revoke`, here and in its siblings.

        :param image_id: In lower case.
        """
        self.revoke(image_id)
        if self._siblings is not None:
            self._siblings.tell(_CHANGED, image_id)

    def perhaps_changed(self, image_id: str) -> None:
        """
        Take note that an image may have been changed by way of this process: `doubt`, here and in its siblings.

        :param image_id: In lower case.
        """
        self.doubt(image_id)
        if self._siblings is not None:
            self._siblings.tell(_DOUBTED, image_id)

    def revoke_all(self) -> None:
        """
        End every grant there is, and void the answers still under way.
        """
        for image_id in list(self._generations):
            self.revoke(image_id)
        self._grants.clear()
        if self._living_on is not None:
            self._living_on.changed(None)

    def doubt(self, image_id: str) -> None:
        """
        Have the upstream asked anew for an image, also where an answer is under way: it may have been changed.

        :param image_id: In lower case.
        """
        image_era = self._image_eras.pop(image_id, None)
        if image_era is not None:
            image_era.ended = True

    def doubt_all(self) -> None:
        """
        Have the upstream asked anew for everything, also where an answer is under way: changes may have been missed.
        """
        self._era.ended = True
        self._era = Mark()
        if self._living_on is None:
            self._grants.clear()

    def refused(self, credentials: UpstreamCredentials, status: int, image_id: str | None = None) -> None:
        """
        Take note that the upstream refused something to somebody, whatever it was: 401 ends all grants of these
        credentials, 403 and 404 the one for that image.
        """
        self._refused(self._holders.key(credentials), status, image_id)

    def _refused(self, holder: bytes, status: int, image_id: str | None) -> None:
        self._ended += self._holders.refused(holder, status)
        if image_id is not None:
            self._ended += self._grants.pop(holder + image_id.encode(), None) is not None

    def stop(self) -> None:
        """
        Ask no more; whoever waits for an answer is cancelled.
        """
        for probe in tuple(self._running):
            probe.cancel()

    def _ask(self, key: bytes, holder: bytes, image_id: str, credentials: UpstreamCredentials) -> Probe:
        generation = self._generations.setdefault(image_id, Mark())
        image_era = self._image_eras.setdefault(image_id, Mark())
        marks = Marks(generation, self._holders.get(holder), self._era, image_era)
        asked_at = self._clock.seconds()
        asking = Deferred.fromCoroutine(self._upstream.authorize(image_id, credentials))
        probe = self._probes[key] = Probe(marks, asked_at, asking)
        self._running.add(probe)
        asking.addBoth(self._answered, key, probe, _Question(image_id, holder, credentials))
        return probe

    def _answered(self, answer: ImageFacts | Failure | None, key: bytes, probe: Probe, question: _Question) -> None:
        self._running.discard(probe)
        if self._probes.get(key) is probe:  # and no later one asks for the same
            del self._probes[key]
        if isinstance(answer, Failure):
            error = answer.value
            if isinstance(error, UpstreamRefused) and error.status < 500:
                self._refused(question.holder, error.status, question.image_id)
        elif not probe.marks.void:
            self._remember(key, probe.grant(answer, self._ttl_seconds))
            self._holders.learn(probe.marks.holder, question.credentials)
        probe.answer(answer)

    def _remember(self, key: bytes, grant: Grant) -> None:
        if self._ttl_seconds <= 0 and self._living_on is None:
            return
        self._added += 1
        self._grants[key] = grant
        self._grants.move_to_end(key)
        if len(self._grants) > self._most_grants:
            self._grants.popitem(last=False)


@frozen
class _Question:
    """
    What the upstream was asked.
    """

    image_id: str
    holder: bytes
    credentials: UpstreamCredentials
