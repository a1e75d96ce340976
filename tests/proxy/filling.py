"""
Fills over a real cache folder, from an upstream that does what the test says.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.files import FileOps
from glance_cache.fills import Fill, Fills, FillTools
from glance_cache.interfaces import ImageFacts, UpstreamCredentials
from glance_tx.streaming.interfaces import IFileBody
from tests.doubles.pools import SteppedPool
from tests.doubles.upstreams import ScriptedSource, ScriptedUpstream
from tests.proxy.folders import DATA, IMAGE, World, facts_of, open_files

T = TypeVar("T")

OWNER, FRIEND = UpstreamCredentials(auth_token="owner"), UpstreamCredentials(auth_token="friend")
PATIENCE_SECONDS = 60.0


class Reader(StringTransport):
    """
    A client that takes everything as it comes.

    :ivar ended: Fires at the end of the body, and fails as that does.
    """

    def __init__(self, body: IFileBody) -> None:
        super().__init__()
        self.body = body
        self.ended: Deferred[None] = body.startProducing(self)

    @property
    def data(self) -> bytes:
        return self.value()


class FillTestCase(SynchronousTestCase):
    """
    A cache folder, an upstream, and fills between them. Threads do their work at once.

    :cvar options: Of `FillTools`.
    :cvar most: Of `Fills`.
    """

    options: ClassVar[dict[str, Any]] = {}
    most = 0

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.facts = facts_of(DATA)
        self.upstream = ScriptedUpstream({IMAGE: self.facts})
        self.warnings: list[str] = []
        globalLogPublisher.addObserver(self._observe)
        self.addCleanup(globalLogPublisher.removeObserver, self._observe)
        self.begin()
        self.addCleanup(self.end)

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn and event.get("log_format"):
            self.warnings.append(event["log_format"].format_map(event))

    def begin(self, files: FileOps | None = None, pool: SteppedPool | None = None, **options: Any) -> None:
        """
        Start a daemon.
        """
        self.world = World(self.path, files, pool=pool, **options)
        world = self.world
        tools = FillTools(self.upstream, world.store, world.lanes, world.clock, PATIENCE_SECONDS, **self.options)
        self.fills = Fills(tools, self.most)
        self.started()
        starting = Deferred.fromCoroutine(self.world.start())
        self.world.pool.run_all()
        self.successResultOf(starting)

    def started(self) -> None:
        """
        Make what else belongs to a daemon.
        """

    def end(self) -> None:
        """
        Stop the daemon, in good order, and see that nothing stays behind.
        """
        stopping = [Deferred.fromCoroutine(self.fills.stop()), Deferred.fromCoroutine(self.world.stop())]
        self.world.pool.run_all()
        for stopped in stopping:
            self.successResultOf(stopped)
        self.assertEqual(open_files(self.path), [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def restart(self, files: FileOps | None = None, **options: Any) -> None:
        self.end()
        self.begin(files, **options)

    def now(self, work: Coroutine[Any, Any, T]) -> T:
        """
        The result of what does not have to wait.
        """
        return self.successResultOf(Deferred.fromCoroutine(work))

    def start(self, facts: ImageFacts | None = None, credentials: UpstreamCredentials = OWNER) -> Fill:
        return self.fills.start(facts or self.facts, credentials)

    @property
    def source(self) -> ScriptedSource:
        """
        The upstream's side of the fill.
        """
        return self.upstream.sources[-1]

    def send(self, data: bytes = DATA) -> None:
        """
        Let the upstream send all of the data, or what is left of it, and end.
        """
        self.source.send(data)
        self.source.end()

    def reader(self, fill: Fill) -> Reader:
        body = fill.open_body(None)
        assert body is not None
        return Reader(body)

    def cached(self, facts: ImageFacts | None = None) -> bytes | None:
        """
        What a hit would bring.
        """
        return self.now(self.world.read(facts or self.facts))
