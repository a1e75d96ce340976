"""
Keystone, asked about tokens.
"""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from glance_tx.identity.interfaces import ITokens
from glance_tx.identity.keystone.documents import read_caller
from glance_tx.identity.keystone.errors import KeystoneGarbage, KeystoneSilent
from glance_tx.identity.keystone.exchange import Answer
from glance_tx.identity.keystone.http import KeystoneHttp
from glance_tx.identity.keystone.own import OwnToken

__all__ = ["KeystoneTokens"]

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,8192}")


@implementer(ITokens)
class KeystoneTokens:
    """
    Tokens as Keystone knows them at this moment (contract section 5.1).

    Tokens of application credentials with access rules are unknown to it: whoever asks without announcing that it
    keeps these rules is told so by Keystone, and it does not announce it.
    """

    _log = Logger()

    def __init__(self, http: KeystoneHttp, own: OwnToken, clock: IReactorTime) -> None:
        self._http = http
        self._own = own
        self._clock = clock

    async def find(self, token: str, *, allow_expired: bool = False) -> Caller:
        """
        See `ITokens.find`.
        """
        if not _TOKEN.fullmatch(token):
            raise NotAuthenticated("it is malformed")
        answer = await self._validate(token, allow_expired)
        # Keystone answers 404, not 401, for a token that it does not know, or knows to be over.
        if answer.status == 404:
            raise NotAuthenticated("it is not known")
        if answer.status != 200:
            raise self._unavailable(f"Keystone answered {answer.status} when it was asked about a token")
        try:
            caller = read_caller(answer.body)
        except KeystoneGarbage as error:
            raise self._unavailable(f"Keystone was asked about a token: {error}") from error
        if not allow_expired and caller.expires_at is not None and caller.expires_at <= self._clock.seconds():
            raise NotAuthenticated("it has expired")
        return caller

    async def _validate(self, token: str, allow_expired: bool) -> Answer:
        own = await self._own.get()
        answer = await self._ask(own, token, allow_expired)
        if answer.status == 401:
            self._own.reject(own)
            answer = await self._ask(await self._own.get(), token, allow_expired)
        return answer

    async def _ask(self, own: str, token: str, allow_expired: bool) -> Answer:
        path = "/auth/tokens?nocatalog" + ("&allow_expired=1" if allow_expired else "")
        try:
            return await self._http.ask("GET", path, {"X-Auth-Token": own, "X-Subject-Token": token})
        except (KeystoneSilent, KeystoneGarbage) as error:
            raise self._unavailable(f"Keystone was asked about a token: {error}") from error

    def _unavailable(self, reason: str) -> IdentityUnavailable:
        self._log.error("{reason}", reason=reason)
        return IdentityUnavailable("tokens cannot be validated now")
