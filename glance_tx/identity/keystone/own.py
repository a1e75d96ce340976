"""
The service's own token.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.identity.flights import Flights
from glance_tx.identity.keystone.documents import expiry_of, read_token, token_request
from glance_tx.identity.keystone.errors import KeystoneGarbage, KeystoneSilent
from glance_tx.identity.keystone.http import KeystoneHttp
from glance_tx.identity.keystone.options import CredentialSettings

__all__ = ["OwnToken"]

EARLY_SECONDS: Final = 60.0
"""A token is renewed that long before its end: what is asked with it may take a while to be checked."""

REFUSED_SECONDS: Final = 30.0
"""Credentials that Keystone refused are not shown again for so long: some lock an account after a few."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")


@frozen
class _Token:
    text: str = field(repr=False)
    renew_at: float


class OwnToken:
    """
    A token of the service's own account: fetched when it is first needed, kept, renewed before it ends and when it
    was not taken. However many need it at once, it is fetched once.
    """

    _log = Logger()

    def __init__(self, http: KeystoneHttp, settings: CredentialSettings, clock: IReactorTime) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock
        self._token: _Token | None = None
        self._refused_until = 0.0
        self._fetching: Flights[None, str] = Flights()

    async def get(self) -> str:
        """
        Tell the token.

        :raises IdentityUnavailable: There is none to be had now.
        """
        if self._token is not None and self._clock.seconds() < self._token.renew_at:
            return self._token.text
        fetching = self._fetching.join(None)
        if fetching is None:
            fetching = self._fetching.begin(None, self._fetch())
        return await fetching

    def reject(self, token: str) -> None:
        """
        Say that a token was not taken: another one is fetched when one is next needed. Harmless if that has been
        done by now.
        """
        if self._token is not None and self._token.text == token:
            self._token = None

    def stop(self) -> None:
        """
        Fetch no more; whoever waits for it is cancelled.
        """
        self._fetching.stop()

    async def _fetch(self) -> str:
        if self._clock.seconds() < self._refused_until:
            raise IdentityUnavailable("Keystone refuses this service's own credentials")
        asked_at = self._clock.seconds()
        try:
            answer = await self._http.ask("POST", "/auth/tokens?nocatalog", {}, token_request(self._settings))
        except (KeystoneSilent, KeystoneGarbage) as error:
            raise self._unavailable(f"no token of its own from Keystone: {error}") from error
        if answer.status != 201:
            if answer.status < 500:
                self._refused_until = self._clock.seconds() + REFUSED_SECONDS
            raise self._unavailable(
                f"Keystone refuses the credentials of [{self._settings.GROUP}]: it answered {answer.status}"
            )
        try:
            token = _read(answer.headers.getRawHeaders("X-Subject-Token"))
            ends_at = expiry_of(read_token(answer.body))
        except KeystoneGarbage as error:
            raise self._unavailable(f"no token of its own from Keystone: {error}") from error
        # Half of its life for one that is short-lived: renewing it for each request would help nobody.
        early_seconds = min(EARLY_SECONDS, (ends_at - asked_at) / 2)
        self._token = _Token(token, ends_at - early_seconds)
        return token

    def _unavailable(self, reason: str) -> IdentityUnavailable:
        self._log.error("{reason}", reason=reason)
        return IdentityUnavailable("Keystone gives this service no token of its own")


def _read(lines: Any) -> str:
    if not lines or len(lines) != 1 or not _TOKEN.fullmatch(lines[0]):
        raise KeystoneGarbage("it answered without X-Subject-Token")
    return str(lines[0])
