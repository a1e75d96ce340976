"""
A caching node on a real port, before upstreams on real ports: everything but the process.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IListeningPort
from twisted.web.client import HTTPConnectionPool
from twisted.web.server import Site

from glance_cache.agent import UpstreamAgent
from glance_cache.cache import Cache
from glance_cache.client import UpstreamClient, UpstreamTimes
from glance_cache.credential_keys import CredentialKeys
from glance_cache.entries import EntryStore
from glance_cache.errors import EntryCorrupt
from glance_cache.eviction import LeastFrequentlyUsed
from glance_cache.faults import cache_faults
from glance_cache.fills import Fills, FillTools
from glance_cache.folder import CacheFolder
from glance_cache.grant import LivingOn
from glance_cache.grants import Grants
from glance_cache.holders import Holders
from glance_cache.interfaces import IOwnCredentials
from glance_cache.links import Links
from glance_cache.passthrough import IRelay, PassThrough
from glance_cache.projects import Projects
from glance_cache.routes import ClientRoutes, without_minor_version
from glance_cache.space import SpaceAccount
from glance_cache.upstream import GlanceUpstream
from glance_tx.streaming.lanes import Lanes
from glance_tx.streaming.units import GiB
from glance_tx.tls.client import ClientTls
from glance_tx.web.app import App
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.faults import FaultTable
from tests.doubles.pools import InlinePool
from tests.doubles.stock_glance import StockGlance
from tests.doubles.told import Told
from tests.doubles.upstreams import RawUpstream, reactor
from tests.proxy.folders import UnsyncedFiles, absolute, open_files
from tests.web.raw import RawClient, until
from tests.web.serving import ServingTestCase


class NodeTestCase(ServingTestCase):
    """
    One node. A test says which upstreams it has, by `upstream_urls`.

    :ivar counted: Data answers, by their state.
    :ivar hits: What was counted as a hit: image, and bytes.
    """

    timeout = 20
    public_endpoint: str | None = None
    grant_seconds = 60.0
    max_bytes = GiB
    own_credentials: IOwnCredentials | None = None

    async def setUp(self) -> None:
        self.counted: Counter[str] = Counter()
        self.upstream_ports: list[IListeningPort] = []
        self.hits: list[tuple[str, int]] = []
        self.projects: list[str | None] = []
        self.corrupt: list[EntryCorrupt] = []
        self.path = absolute(self.mktemp())
        self.clients: list[RawClient] = []
        self.sockets_at_first = open_sockets()
        self.addCleanup(self._check_sockets)
        urls = self.upstream_urls()
        super().setUp()
        self.lanes = Lanes(reactor, InlinePool())  # type: ignore[arg-type]
        self.pool = HTTPConnectionPool(reactor)
        agent = UpstreamAgent(reactor, self.pool, 5, ClientTls())
        self.client = UpstreamClient(agent, reactor, urls, self.times(), answered=self.answered)
        self.upstream = GlanceUpstream(self.client, reactor)
        self.entries = EntryStore(
            CacheFolder(self.path, UnsyncedFiles()),
            SpaceAccount(self.max_bytes),
            LeastFrequentlyUsed(),
            self.lanes,
            reactor,
            self.corrupt.append,
        )
        self.holders = Holders(CredentialKeys(b"secret"), reactor)
        living_on = self.make_living_on()
        self.grants = Grants(self.upstream, reactor, self.grant_seconds, self.holders, living_on=living_on)
        self.fills = Fills(FillTools(self.upstream, self.entries, self.lanes, reactor, 60, self.own_credentials))
        self.cache = Cache(self.entries, self.fills)
        passthrough = self.make_relay(PassThrough(self.client, Links(PublicEndpoint(self.public_endpoint), urls)))
        self.told = Told()
        projects = self.make_projects()
        routes = ClientRoutes(
            self.cache, self.entries, self.grants, self, passthrough, self._count, self.told, projects
        )
        if projects is not None:
            self.addCleanup(projects.stop)
        self.mount(self.app)
        routes.mount(self.app)
        await self.entries.start()
        await self.entries.scan()
        self.addCleanup(self._end)

    def make_living_on(self) -> LivingOn | None:
        """
        Say how grants live on; not at all by default.
        """
        return None

    def make_relay(self, passthrough: PassThrough) -> IRelay:
        """
        Say what passes requests on.
        """
        return passthrough

    def answered(self) -> None:
        """
        Take note of an answer of an upstream.
        """

    def make_projects(self) -> Projects | None:
        """
        Say how callers' projects are found out; not at all by default.
        """
        return None

    def upstream_urls(self) -> list[str]:
        """
        Start upstreams, and tell where they are.
        """
        self.raw = RawUpstream()
        self.addCleanup(self.raw.stop)
        return [self.raw.url]

    def serve(self, double: StockGlance) -> str:
        """
        Put a double on a port.
        """
        port = reactor.listenTCP(0, Site(double.app.resource()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.upstream_ports.append(port)
        return f"http://127.0.0.1:{port.getHost().port}"

    async def stop_upstreams(self) -> None:
        """
        Have the doubles listen no more, and nobody connected to them.
        """
        for port in self.upstream_ports:
            await maybeDeferred(port.stopListening)
        await self.pool.closeCachedConnections()

    def times(self) -> UpstreamTimes:
        return UpstreamTimes()

    def mount(self, app: App) -> None:
        """
        Add further routes.
        """

    def make_app(self, **options: Any) -> App:
        return super().make_app(rewrite=without_minor_version, **options)

    def make_faults(self) -> FaultTable:
        return cache_faults()

    def record(  # type: ignore[override]
        self, image_id: str = "", bytes_sent: int = 0, project: str | None = None
    ) -> Any:
        """
        Count a hit, as the routes want it; without arguments, wait for the first access record.
        """
        if not image_id:
            return super().record()
        self.hits.append((image_id, bytes_sent))
        self.projects.append(project)
        return None

    def _count(self, state: str) -> None:
        self.counted[state] += 1

    async def raw_client(self) -> RawClient:
        """
        Open a connection to the node.
        """
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)  # type: ignore[attr-defined]
        client = await connectProtocol(endpoint, RawClient())
        self.clients.append(client)
        return client

    async def request(self, method: str, target: str, *lines: str, body: bytes = b"") -> RawClient:
        """
        Send a request by a connection of its own.
        """
        client = await self.raw_client()
        head = [f"{method} {target} HTTP/1.1", "Host: node.example.com", *lines, "", ""]
        client.send("\r\n".join(head).encode("latin-1") + body)
        return client

    async def _end(self) -> None:
        for client in self.clients:
            if client.lost is None:
                client.close()
                await client.gone()
        await until(lambda: not self.app.in_progress)
        self.grants.stop()
        await self.fills.stop()
        await self.pool.closeCachedConnections()
        await self.entries.stop()
        self.assertEqual(open_files(self.path), [])

    async def _check_sockets(self) -> None:
        # Cleanups run in reverse: by now everything has been closed.
        await until(lambda: open_sockets() <= self.sockets_at_first)


def later(work: Any) -> Deferred[Any]:
    """
    Begin something, to be waited for later.
    """
    return Deferred.fromCoroutine(work)


def open_sockets() -> set[str]:
    """
    Find out which sockets this process has.
    """
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one with which the folder is read
            found.add(str(link.readlink()))
    return {name for name in found if name.startswith("socket:")}
