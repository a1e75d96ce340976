"""
Those whom the upstream took for somebody, known by keys made of their credentials.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakValueDictionary

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from glance_cache.credential_keys import CredentialKeys
from glance_cache.grant import Expiry, Holder, ISeconds
from glance_cache.interfaces import UpstreamCredentials
from glance_tx.errors import FactualError

__all__ = ["Holders"]

_UNAUTHORIZED: Final = 401


class Holders:
    """
    Knows them for as long as anything is remembered for them, and when their credentials end.

    :param clock: By which that is told.
    :param expiry: Tells it; ``None`` where this node cannot know.
    """

    _log = Logger()

    def __init__(self, keys: CredentialKeys, clock: ISeconds, expiry: Expiry | None = None) -> None:
        self._keys = keys
        self._clock = clock
        self._expiry = expiry
        self._known: WeakValueDictionary[bytes, Holder] = WeakValueDictionary()
        self._learning: set[Deferred[None]] = set()

    def use(self, secret: bytes) -> None:
        """
        Make keys with another secret, before anything is remembered.
        """
        self._keys = CredentialKeys(secret)

    def key(self, credentials: UpstreamCredentials, *more: str) -> bytes:
        """
        Make the key for credentials (see `CredentialKeys`).
        """
        return self._keys.of(credentials, *more)

    def get(self, key: bytes) -> Holder:
        """
        Tell who holds the credentials of a key.
        """
        return self._known.setdefault(key, Holder())

    def refused(self, key: bytes, status: int) -> bool:
        """
        Take note that the upstream refused something: 401 ends all that is remembered for these credentials.

        :return: Whether it ended anything.
        """
        holder = self._known.pop(key, None) if status == _UNAUTHORIZED else None
        if holder is not None:
            holder.ended = True
        return holder is not None

    def learn(self, holder: Holder, credentials: UpstreamCredentials) -> None:
        """
        Begin to find out when credentials end; nobody waits for it.
        """
        if holder.asked or self._expiry is None:
            return
        holder.asked = True
        learning = Deferred.fromCoroutine(self._ask(self._expiry, holder, credentials))
        self._learning.add(learning)
        learning.addErrback(lambda failure: self._log.failure("the end of a token cannot be found out", failure))
        learning.addBoth(lambda _: self._learning.discard(learning))

    def stop(self) -> None:
        """
        Find out no more.
        """
        for learning in tuple(self._learning):
            learning.cancel()

    async def _ask(self, expiry: Expiry, holder: Holder, credentials: UpstreamCredentials) -> None:
        try:
            seconds_left = await expiry(credentials)
        except CancelledError:
            return
        except FactualError:
            holder.asked = False  # perhaps next time
            return
        if seconds_left is not None:
            holder.expires_at = self._clock.seconds() + seconds_left
