"""
A whole image service in memory, with a clock that the test moves, and ways to make its parts fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface import directlyProvides, implementer, providedBy

from glance_tx.db.memory import MemoryImages
from glance_tx.domain.access import Access
from glance_tx.domain.catalog import Catalog, CatalogSettings
from glance_tx.domain.events import Events
from glance_tx.domain.images import Image
from glance_tx.domain.inspection import FormatRules
from glance_tx.domain.interfaces import IPresence, LeaseOwner
from glance_tx.domain.leases import Reclaimer
from glance_tx.domain.quotas import StorageQuota
from glance_tx.domain.recovery import Recovery, RecoverySettings
from glance_tx.domain.transfers import Transfers
from glance_tx.domain.uploads import UploadRules, UploadTools
from glance_tx.identity.caller import Caller
from glance_tx.inspection.detector import FormatDetector
from glance_tx.inspection.interfaces import IFormatDetector
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.policy.interfaces import IPolicy
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.streaming.errors import BodyLost
from glance_tx.streaming.interfaces import IBodyReader
from glance_tx.streaming.memory import BytesReader
from tests.contracts.store import collect
from tests.doubles.pools import ThreadClock, inline_lanes
from tests.doubles.told import Told

EPOCH = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
ID = "3f6a1c9e-5f0b-4f8e-9d51-0c2f6f6f7a10"

OWNER = Caller("u1", "p1", {"member", "reader"})
READER = Caller("u2", "p1", {"reader"})
STRANGER = Caller("u3", "p2", {"member", "reader"})
ADMIN = Caller("u4", "p0", {"admin", "member", "reader"})
NOBODY = Caller("u5", None, {"member", "reader"})

FORMATS = {"disk_format": "raw", "container_format": "bare"}
LEASE_SECONDS = 60.0
HERE = LeaseOwner("node-1", "boot-1")
THERE = LeaseOwner("node-2", "boot-2")


@implementer(IPresence)
class KnownDead:
    """
    Processes of which the test says that they died.
    """

    def __init__(self) -> None:
        self.dead: set[LeaseOwner] = set()

    def is_dead(self, owner: LeaseOwner) -> bool:
        return owner in self.dead


@implementer(IBodyReader)
class HeldReader:
    """
    A body that arrives when the test says.
    """

    length: int | None = None

    def __init__(self) -> None:
        self._arrived: deque[bytes | Exception] = deque()
        self._waiting: Deferred[None] | None = None
        self.cancelled = 0

    async def read(self, at_least: int) -> bytes:
        if not self._arrived:
            self._waiting = Deferred(self._count)
            await self._waiting
        arrived = self._arrived.popleft() if self._arrived[0] else b""
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    def _count(self, _: Deferred[None]) -> None:
        self.cancelled += 1

    def arrive(self, piece: bytes | Exception) -> None:
        """Let a piece come, the end (``b""``), or an error."""
        self._arrived.append(piece)
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    def lose(self) -> None:
        """Let the sender go away."""
        self.arrive(BodyLost(0, "gone"))


class Trouble:
    """
    What goes wrong, and where: steps are named ``before store.commit``, ``after finish_upload`` and so on.
    """

    def __init__(self) -> None:
        self._plans: dict[str, Callable[[], Awaitable[None]]] = {}
        self._lasting: set[str] = set()
        self.passed: list[str] = []

    def fail(self, step: str, error: Exception, *, lasting: bool = False) -> None:
        """Raise an error at a step, the first time or each time."""

        async def fail() -> None:
            raise error

        self._plan(step, fail, lasting=lasting)

    def hold(self, step: str) -> Deferred[None]:
        """Stop at a step until the result is fired; for ever, if it never is."""
        held: Deferred[None] = Deferred()

        async def hold() -> None:
            await held

        self._plan(step, hold, lasting=False)
        return held

    def act(self, step: str, act: Callable[[], Awaitable[object]]) -> None:
        """Do something else at a step."""

        async def once() -> None:
            await act()

        self._plan(step, once, lasting=False)

    def _plan(self, step: str, plan: Callable[[], Awaitable[None]], *, lasting: bool) -> None:
        self._plans[step] = plan
        if lasting:
            self._lasting.add(step)

    def end(self) -> None:
        """Let everything work again."""
        self._plans.clear()

    async def at(self, step: str) -> None:
        """Reach a step."""
        self.passed.append(step)
        plan = self._plans.get(step) if step in self._lasting else self._plans.pop(step, None)
        if plan is not None:
            await plan()


class Troubled:
    """
    A real collaborator, each of whose steps may meet trouble.

    :param prefix: Stands before the names of its steps.
    """

    def __init__(self, inner: Any, trouble: Trouble, prefix: str = "") -> None:
        self._inner = inner
        self._trouble = trouble
        self._prefix = prefix
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._trouble.at(f"before {self._prefix}{name}")
            result = await found(*args, **kwargs)
            await self._trouble.at(f"after {self._prefix}{name}")
            return Troubled(result, self._trouble, self._prefix) if name == "open_writer" else result

        return call


class World:
    """
    One database and one store, and any number of processes that work with them.

    :param store: The store; one in memory by default.
    """

    def __init__(self, store: IStore | None = None) -> None:
        self.clock = ThreadClock()
        self.store: Any = store or MemoryStore(MemorySettings("main"))
        self.repository = MemoryImages(self.now)
        self.presence = KnownDead()
        self.lanes = inline_lanes()
        self.access = Access(PolicyEnforcer())
        self.told = Told()
        self.events = Events(self.told)
        self.catalog = self.make_catalog()

    def now(self) -> datetime:
        """The time on everybody's wall."""
        return EPOCH + timedelta(seconds=self.clock.seconds())

    def parts(self, trouble: Trouble | None) -> tuple[Any, Any, Reclaimer]:
        """Hand out the database, the store and a reclaimer, as they are or with trouble."""
        repository: Any = self.repository
        store: Any = self.store
        if trouble is not None:
            repository, store = Troubled(repository, trouble), Troubled(store, trouble, "store.")
        return repository, store, Reclaimer(repository, {store.name: store})

    def make_catalog(
        self, trouble: Trouble | None = None, policy: IPolicy | None = None, settings: CatalogSettings | None = None
    ) -> Catalog:
        """Make a process's catalog."""
        repository, _, reclaimer = self.parts(trouble)
        access = self.access if policy is None else Access(policy)
        return Catalog(repository, access, reclaimer, self.events, self.now, settings or CatalogSettings())

    def tools(
        self,
        trouble: Trouble | None = None,
        owner: LeaseOwner = HERE,
        clock: ThreadClock | None = None,
        image_size_cap: int = 1 << 40,
        hashing_algorithm: str = "sha512",
        max_uploads: int = 100,
        formats: FormatRules | None = None,
        storage_quota: int = 0,
        make_detector: Callable[[], IFormatDetector] = FormatDetector,
    ) -> UploadTools:
        """
        Make what a process's uploads work with.

        :param clock: The process's own; one that nobody moves is that of a process that was stopped.
        """
        repository, store, reclaimer = self.parts(trouble)
        return UploadTools(
            repository=repository,
            reclaimer=reclaimer,
            store=store,
            lanes=self.lanes,
            make_detector=make_detector,
            owner=owner,
            clock=clock or self.clock,
            now=self.now,
            rules=UploadRules(image_size_cap, hashing_algorithm, LEASE_SECONDS, max_uploads, formats or FormatRules()),
            quota=StorageQuota(repository, storage_quota),
        )

    def transfers(self, trouble: Trouble | None = None, **tools: Any) -> Transfers:
        """Make a process's transfers; see `tools`."""
        made = self.tools(trouble, **tools)
        return Transfers(self.access, {made.store.name: made.store}, made, self.events)

    def recovery(self, trouble: Trouble | None = None, most_per_pass: int = 100) -> Recovery:
        """Make a process's recovery."""
        repository, _, reclaimer = self.parts(trouble)
        settings = RecoverySettings(LEASE_SECONDS, 15.0, most_per_pass)
        lane = self.lanes.lane("presence")
        return Recovery(repository, self.presence, lane, reclaimer, self.clock, self.now, settings)

    async def create(self, caller: Caller = OWNER, **values: object) -> Image:
        """Create an image that is ready for data."""
        return await self.catalog.create(caller, {**FORMATS, **values})

    async def upload(self, data: bytes, image_id: str) -> Image:
        """Bring data in, without trouble."""
        return await self.transfers(owner=THERE).upload(OWNER, image_id, BytesReader(data))

    async def data(self, image_id: str) -> bytes:
        """Read an image's data back."""
        download = await self.transfers().download(ADMIN, image_id, lambda size: None)
        return await collect(download.body)

    async def as_before(self, image: Image) -> bool:
        """Tell whether an image is what it was, but for the time of its last change."""
        now = await self.repository.get(image.id)
        return evolve(now, updated_at=image.updated_at) == image

    def settle(self, work: Deferred[Any], seconds: float = 10.0) -> None:
        """Let time go by until something is done, but no longer than that."""
        for _ in range(int(seconds * 10)):
            if work.called:
                return
            self.clock.advance(0.1)
