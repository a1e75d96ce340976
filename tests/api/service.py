"""
A whole image service on a real port, and clients of several kinds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from glance_tx.api.faults import api_faults
from glance_tx.api.root import VersionRoutes, without_version
from glance_tx.api.v2.actions import ActionRoutes
from glance_tx.api.v2.image_data import ImageDataRoutes
from glance_tx.api.v2.images import ImageRoutes
from glance_tx.api.v2.info import InfoRoutes, StoreInfo
from glance_tx.api.v2.members import MemberRoutes
from glance_tx.api.v2.schemas import SchemaRoutes
from glance_tx.api.v2.tags import TagRoutes
from glance_tx.db.engine import Database
from glance_tx.db.images import SqlImages
from glance_tx.db.members import SqlMembers
from glance_tx.db.memory import MemoryImages
from glance_tx.db.memory_members import MemoryMembers
from glance_tx.domain.access import Access
from glance_tx.domain.activation import Activation
from glance_tx.domain.catalog import Catalog, CatalogSettings
from glance_tx.domain.events import Events
from glance_tx.domain.interfaces import IImageRepository, IMemberRepository, LeaseOwner
from glance_tx.domain.leases import Reclaimer
from glance_tx.domain.locations import LocationRules, Locations
from glance_tx.domain.protections import Protections
from glance_tx.domain.quotas import StorageQuota
from glance_tx.domain.sharing import Sharing
from glance_tx.domain.tags import Tags
from glance_tx.domain.transfers import Transfers
from glance_tx.domain.uploads import UploadRules, UploadTools
from glance_tx.domain.values import ImageRules, Values
from glance_tx.identity.tokens import TokensIdentity, read_tokens
from glance_tx.inspection.detector import FormatDetector
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.web.app import App
from glance_tx.web.callers import Callers
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.faults import FaultTable
from tests.db.databases import OnSqlite
from tests.doubles.pools import inline_lanes
from tests.doubles.told import Told
from tests.web.serving import Answer, ServingTestCase, reactor

EPOCH = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
OCTETS = "application/octet-stream"
PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
OLDER_PATCH_TYPE = "application/openstack-images-v2.0-json-patch"

ACTIONS = ("show", "download", "facts", "change", "upload", "delete")
"""What can be tried on an image."""

PROJECTS_AND_ROLES: Mapping[str, tuple[str, list[str]]] = {
    "owner": ("p1", ["member", "reader"]),
    "reader": ("p1", ["reader"]),
    "stranger": ("p2", ["member", "reader"]),
    "foreign-reader": ("p2", ["reader"]),
    "third": ("p3", ["member", "reader"]),
    "roleless": ("p1", ["auditor"]),
    "admin": ("p0", ["admin"]),
}
"""Who there is: token to project and roles."""


@frozen
class Reply:
    """
    One answer of the service.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """
        The document in the body.
        """
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)


class ServiceTestCase(ServingTestCase):
    """
    A test of the whole service: real routes, domain, identity and policy over images and data in memory.

    :ivar rules: What its operator allows of images.
    :ivar policy_rules: Rules of its operator's own.
    :ivar location_rules: What its operator lets clients know of locations.
    :ivar protections: Which custom properties its operator protects.
    """

    rules = ImageRules()
    protections = Protections()
    location_rules = LocationRules()
    image_size_cap = 1 << 40
    storage_quota = 0
    member_quota = 128
    policy_rules: Mapping[str, str] = {}
    public_endpoint: str | None = None
    _asked = -1

    def make_faults(self) -> FaultTable:
        return api_faults()

    def make_app(self, **options: Any) -> App:
        app = super().make_app(rewrite=without_version, **options)
        self.images, self.store = self.make_images(), self.make_store()
        self.members_repository = self.make_members()
        access = Access(PolicyEnforcer(self.policy_rules))
        reclaimer = Reclaimer(self.images, {self.store.name: self.store})
        settings = CatalogSettings(self.rules, page_limit_max=1000, protections=self.protections)
        quota = StorageQuota(self.images, self.storage_quota)
        tools = UploadTools(
            repository=self.images,
            reclaimer=reclaimer,
            store=self.store,
            lanes=inline_lanes(),
            make_detector=FormatDetector,
            owner=LeaseOwner("node-1", "boot-1"),
            clock=reactor,
            now=self.now,
            rules=UploadRules(self.image_size_cap),
            quota=quota,
        )
        self.told = Told()
        events = Events(self.told)
        self.transfers = Transfers(access, {self.store.name: self.store}, tools, events)
        callers = Callers(self.make_identity())
        endpoint = PublicEndpoint(self.public_endpoint)
        stores = {self.store.name: self.store}
        locations = Locations(access, stores, self.location_rules, "sha512", quota)
        catalog = Catalog(self.images, access, reclaimer, events, self.now, settings, locations=locations)
        for routes in (
            VersionRoutes(endpoint),
            ImageRoutes(catalog, callers, endpoint, reactor, 25),
            ImageDataRoutes(self.transfers, callers),
            SchemaRoutes(callers, self.rules),
            ActionRoutes(Activation(self.images, access, events), callers),
            TagRoutes(Tags(self.images, access, Values(self.rules), events), callers),
            MemberRoutes(Sharing(self.images, self.members_repository, access, events, self.member_quota), callers),
            InfoRoutes(callers, access, [StoreInfo(self.store.name, "memory", {"room": 5}, default=True)]),
        ):
            routes.mount(app)
        return app

    def make_images(self) -> IImageRepository:
        return MemoryImages(self.now)

    def make_members(self) -> IMemberRepository:
        return MemoryMembers(self.images, self.now)

    def make_store(self) -> IStore:
        return MemoryStore(MemorySettings("main"))

    def make_identity(self) -> TokensIdentity:
        entries = [
            {"token": token, "user_id": f"u-{token}", "project_id": project, "roles": roles}
            for token, (project, roles) in PROJECTS_AND_ROLES.items()
        ]
        path = Path(self.mktemp())
        path.write_text(json.dumps(entries))
        return TokensIdentity(read_tokens(path))

    def now(self) -> datetime:
        """
        The time, which goes on by a second whenever somebody asks.
        """
        self._asked += 1
        return EPOCH + timedelta(seconds=self._asked)

    async def call(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        token: str | None = "owner",
        body: bytes = b"",
        **headers: str,
    ) -> Reply:
        """
        Send one request.

        :param document: A body of JSON.
        :param body: Another body.
        :param headers: With underscores for dashes.
        """
        if document is not None:
            body = json.dumps(document).encode()
        lines = {} if token is None else {"X-Auth-Token": token}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        answer: Answer = await self.ask(method, path, text, body)
        return Reply(answer.status, answer.headers, answer.body)

    async def create(self, *, token: str = "owner", **values: object) -> str:
        """
        Create an image that is ready for data, and tell its id.
        """
        reply = await self.call("POST", "/v2/images", {**FORMATS, **values}, token=token)
        assert reply.status == 201, reply
        return str(reply.json["id"])

    async def upload(self, image_id: str, data: bytes = b"some data", *, token: str = "owner") -> Reply:
        """
        Bring data in.
        """
        return await self.call("PUT", f"/v2/images/{image_id}/file", token=token, body=data, Content_Type=OCTETS)

    async def active(self, data: bytes = b"some data", **values: object) -> str:
        """
        Create an image with data, and tell its id.
        """
        image_id = await self.create(**values)
        reply = await self.upload(image_id, data, token="admin")
        assert reply.status == 204, reply
        return image_id

    async def patch(self, image_id: str, operations: object, *, token: str = "owner", kind: str = PATCH_TYPE) -> Reply:
        """
        Change an image.
        """
        return await self.call("PATCH", f"/v2/images/{image_id}", operations, token=token, Content_Type=kind)

    async def show(self, image_id: str, *, token: str = "admin") -> dict[str, Any]:
        """
        Look an image up.
        """
        reply = await self.call("GET", f"/v2/images/{image_id}", token=token)
        assert reply.status == 200, reply
        image: dict[str, Any] = reply.json
        return image

    async def attempt(self, action: str, image_id: str, token: str | None) -> int:
        """
        Try one of `ACTIONS` on an image and tell the status of the answer. A refusal has nothing of the data.
        """
        path = f"/v2/images/{image_id}"
        match action:
            case "show":
                reply = await self.call("GET", path, token=token)
            case "download":
                reply = await self.call("GET", f"{path}/file", token=token)
            case "facts":
                reply = await self.call("HEAD", f"{path}/file", token=token)
            case "change":
                patch = [{"op": "add", "path": "/changed_by", "value": "somebody"}]
                reply = await self.call("PATCH", path, patch, token=token, Content_Type=PATCH_TYPE)
            case "upload":
                reply = await self.call("PUT", f"{path}/file", token=token, body=b"x", Content_Type=OCTETS)
            case _:
                reply = await self.call("DELETE", path, token=token)
        if reply.status >= 400:
            self.assertNotIn(b"some data", reply.body)
        return reply.status


class SqlServiceTestCase(OnSqlite, ServiceTestCase):
    """
    The same over images in a SQLite database.
    """

    def make_images(self) -> IImageRepository:
        self.database = Database(reactor, self.make_migrated_url(), size=2)
        return SqlImages(self.database, self.now)

    def make_members(self) -> IMemberRepository:
        return SqlMembers(self.database, self.now)

    async def setUp(self) -> None:
        super().setUp()
        await self.database.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.database.stop()))
