"""
Questions to Keystone, and its answers: one at a time, each within its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Final, cast

import orjson
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from glance_tx.identity.keystone.errors import KeystoneGarbage, KeystoneSilent
from glance_tx.identity.keystone.exchange import Answer, Exchange
from glance_tx.identity.keystone.options import CredentialSettings

__all__ = ["FIRST_PAUSE_SECONDS", "PATIENCE_SECONDS", "KeystoneHttp"]

PATIENCE_SECONDS: Final = 30.0
"""How long a question is repeated, and waits for its turn. Clients wait for a minute, most of them."""

FIRST_PAUSE_SECONDS: Final = 0.5
"""Before a question is repeated; the next pause is twice as long. As Keystone's own clients do."""

_AT_ONCE: Final = 32
"""Questions under way at once: a flood of unknown tokens is not to become a flood of requests to Keystone."""

_IN_TROUBLE: Final = frozenset({408, 425, 429, *range(500, 600)})


@implementer(IAgent)
class _PlainAgent:
    """
    Another agent, without compression: what is received is what a limit counts.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        """
        See ``IAgent.request``.
        """
        headers = Headers() if headers is None else headers.copy()
        headers.removeHeader(b"accept-encoding")
        sending = self._agent.request(method, uri, headers, bodyProducer)
        return sending.addCallback(_undecoded)


def _undecoded(response: IResponse) -> IResponse:
    # Whoever compresses all the same is taken at his word: those bytes are no JSON.
    response.headers.removeHeader(b"content-encoding")
    return response


class KeystoneHttp:
    """
    Asks one Keystone. Redirects are not followed, and cookies not kept.
    """

    def __init__(self, agent: IAgent, clock: IReactorTime, settings: CredentialSettings) -> None:
        self._clock = clock
        self._base = _base(settings)
        self._timeout_seconds = settings.timeout_seconds
        self._retries = settings.retries
        nothing = IndexableCookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = HTTPClient(_PlainAgent(agent), nothing)
        self._turns = DeferredSemaphore(_AT_ONCE)

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], document: Mapping[str, object] | None = None
    ) -> Answer:
        """
        Put a question, again and again where Keystone is in trouble. Both questions there are change nothing that
        it could harm to ask for twice.

        :param path: Below ``/v3``.
        :param document: The body, to be sent as JSON.
        :raises KeystoneSilent: There is no answer.
        :raises KeystoneGarbage: The answer is longer than any that makes sense.
        """
        asking = Deferred.fromCoroutine(self._ask_patiently(method, path, headers, document))
        asking.addTimeout(PATIENCE_SECONDS, self._clock)
        try:
            return await asking
        except DeferredTimeout as error:
            raise KeystoneSilent(f"{self._base} gave no answer within {PATIENCE_SECONDS:g} seconds") from error

    async def _ask_patiently(
        self, method: str, path: str, headers: Mapping[str, str], document: Mapping[str, object] | None
    ) -> Answer:
        pause_seconds = FIRST_PAUSE_SECONDS
        for _ in range(self._retries):
            try:
                return await self._ask_in_turn(method, path, headers, document)
            except KeystoneSilent:
                await deferLater(self._clock, pause_seconds)
                pause_seconds *= 2
        return await self._ask_in_turn(method, path, headers, document)

    async def _ask_in_turn(
        self, method: str, path: str, headers: Mapping[str, str], document: Mapping[str, object] | None
    ) -> Answer:
        await self._turns.acquire()
        try:
            asking = Deferred.fromCoroutine(self._ask_once(method, path, headers, document))
            asking.addTimeout(self._timeout_seconds, self._clock)
            answer = await asking
        except DeferredTimeout as error:
            raise KeystoneSilent(f"{self._base} gave no answer within {self._timeout_seconds:g} seconds") from error
        finally:
            self._turns.release()
        if answer.status in _IN_TROUBLE:
            raise KeystoneSilent(f"{self._base} answered {answer.status}")
        return answer

    async def _ask_once(
        self, method: str, path: str, headers: Mapping[str, str], document: Mapping[str, object] | None
    ) -> Answer:
        sent = {"Accept": "application/json", **headers}
        if document is not None:
            sent["Content-Type"] = "application/json"
        sending = self._client.request(
            method,
            self._base + path,
            headers=Headers({name: [value] for name, value in sent.items()}),
            data=None if document is None else orjson.dumps(document),
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,  # type: ignore[arg-type]  # for a time limit, of which there is none here
        )
        try:
            return await Exchange(cast("Deferred[IResponse]", sending)).answer
        except (CancelledError, KeystoneGarbage):
            raise
        except Exception as error:  # refused, reset, unknown host, no TLS, broken off: each is another type
            raise KeystoneSilent(f"{self._base} {_reason(error)}") from error


def _base(settings: CredentialSettings) -> str:
    url = settings.auth_url or ""
    return url.removesuffix("/v3") + "/v3"


def _reason(error: BaseException) -> str:
    # Twisted wraps what happened once or twice. The text of a failure may quote what came; its type does not.
    for failure in getattr(error, "reasons", ()):
        return _reason(failure.value)
    return f"cannot be reached ({type(error).__name__})"
