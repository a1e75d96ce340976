"""
In whose name a fill asks the upstream, and in whose when that one is no longer let in.
"""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from glance_cache.errors import UpstreamRefused
from glance_cache.interfaces import IOwnCredentials, UpstreamCredentials
from glance_tx.identity.errors import IdentityUnavailable

__all__ = ["Sponsors"]

_MOST_CALLERS: Final = 16
"""Credentials of clients that are remembered: those that began, and others' to go on with."""

_OWN_TRIES: Final = 2
"""The node's own token may have ended as well, and is renewed once then."""


class Sponsors:
    """
    Credentials to show to an upstream, one after the other: those that it refuses in the middle are taken out.

    A token that ended in the middle of a long transfer (401) is followed by the node's own, where it has any. Who may
    not read the image any more (403, 404) is followed by another client who may, and never by the node itself, which
    may read more than its clients.

    :param first: Of whoever caused the fill.
    :param own: The node's own; ``None`` where it has none.
    :ivar current: What to show now.
    """

    _log = Logger()

    def __init__(self, first: UpstreamCredentials, own: IOwnCredentials | None = None) -> None:
        self.current = first
        self._callers = [first]
        self._own = own
        self._own_tries = 0

    def add(self, credentials: UpstreamCredentials) -> None:
        """
        Remember somebody else who may read the image.
        """
        if len(self._callers) < _MOST_CALLERS and credentials not in self._callers:
            self._callers.append(credentials)

    def accepted(self) -> None:
        """
        Note that the upstream took what it was shown.
        """
        self._own_tries = 0

    async def replace(self, refusal: UpstreamRefused) -> None:
        """
        Go on with others than those that were refused.

        :raises UpstreamRefused: There are none; the refusal that was given.
        """
        refused = self.current
        if refused in self._callers:
            self._callers.remove(refused)
        own = await self._own_after(refused) if refusal.status == 401 else None
        if own is not None:
            self.current = own
        elif self._callers:
            self.current = self._callers[0]
        else:
            raise refusal

    async def _own_after(self, refused: UpstreamCredentials) -> UpstreamCredentials | None:
        if self._own is None or self._own_tries == _OWN_TRIES:
            return None
        self._own_tries += 1
        self._own.reject(refused)  # which says nothing to it where these were a client's
        try:
            own = await self._own.get()
        except IdentityUnavailable as error:
            self._log.warn("a fill cannot go on in this node's own name: {error}", error=str(error))
            return None
        return None if own == refused else own
