"""
A Keystone behind a socket, and what asks it.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site

from glance_tx.identity.keystone.http import KeystoneHttp
from glance_tx.identity.keystone.options import KeystoneSettings
from glance_tx.identity.keystone.own import OwnToken
from glance_tx.identity.keystone.tokens import KeystoneTokens
from tests.doubles.keystone import KeystoneDouble
from tests.web.raw import until

reactor: Any = global_reactor

NOW = 1_800_000_000.0


class KeystoneTestCase(TestCase):
    """
    Connections are real, and time is the test's own.

    :ivar said: What was logged.
    """

    timeout = 20

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.keystone = KeystoneDouble(self.clock)
        self.port = reactor.listenTCP(0, Site(self.keystone.app.resource()), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)
        self.said: list[str] = []
        globalLogPublisher.addObserver(self._note)
        self.addCleanup(globalLogPublisher.removeObserver, self._note)
        self.settings = KeystoneSettings(
            auth_url=f"http://127.0.0.1:{self.port.getHost().port}",
            username="glance",
            password="glancepw",
            project_name="service",
            retries=0,
        )
        self.use()

    def _note(self, event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("glance"):
            self.said.append(formatEvent(event) or "")

    def use(self, **options: object) -> None:
        """
        Use Keystone with other options.
        """
        self.settings = evolve(self.settings, **options)  # type: ignore[arg-type]
        self.http = KeystoneHttp(Agent(reactor, pool=self.pool), self.clock, self.settings)
        self.own = OwnToken(self.http, self.settings, self.clock)
        self.tokens = KeystoneTokens(self.http, self.own, self.clock)

    def later(self, work: Any) -> Deferred[Any]:
        """
        Begin something.
        """
        return Deferred.fromCoroutine(work)

    async def asked(self, times: int) -> None:
        """
        Wait until Keystone was asked so often.
        """
        await until(lambda: len(self.keystone.requests) >= times)
