"""
Images as records.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.domain.catalog import Catalog, CatalogSettings
from glance_tx.domain.changes import Add, Operation, Remove, Replace
from glance_tx.domain.errors import (
    Forbidden,
    ImageExists,
    ImageNotFound,
    InvalidImage,
    InvalidQuery,
    PropertyConflict,
    QuotaExceeded,
    StatusConflict,
)
from glance_tx.domain.filters import Between, OneOf, equal
from glance_tx.domain.images import Image, ImageStatus
from glance_tx.domain.interfaces import ImageQuery
from glance_tx.domain.listing import EQUALS, NUMBERS, SORT_KEYS, TIMES
from glance_tx.domain.values import ImageRules
from glance_tx.identity.caller import Caller
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.policy.interfaces import IPolicy
from glance_tx.stores.errors import StoreUnavailable
from tests.domain.world import ADMIN, EPOCH, ID, NOBODY, OWNER, READER, STRANGER, Trouble, World

# caller, values, outcome: an error type, or what the image then has (contract section 2.4)
CREATIONS: list[tuple[Caller, dict[str, object], type[Exception] | dict[str, object]]] = [
    (OWNER, {}, {"name": None, "owner": "p1", "visibility": "shared", "status": "queued", "disk_format": None}),
    (OWNER, {"id": ID, "name": "n", "k": "v"}, {"id": ID, "name": "n", "properties": {"k": "v"}}),
    (OWNER, {"name": 5}, InvalidImage),
    (OWNER, {"k": 5}, InvalidImage),
    (OWNER, {"id": "x"}, InvalidImage),
    (OWNER, {"status": "active"}, Forbidden),
    (OWNER, {"os_glance_x": "y"}, Forbidden),
    (OWNER, {"owner": "p1"}, {"owner": "p1"}),
    (OWNER, {"owner": "p2"}, Forbidden),
    (OWNER, {"owner": None}, Forbidden),
    (ADMIN, {"owner": "p2"}, {"owner": "p2"}),
    (ADMIN, {"owner": None}, {"owner": None}),
    (OWNER, {"visibility": "public"}, Forbidden),
    (ADMIN, {"visibility": "public"}, {"visibility": "public"}),
    (OWNER, {"visibility": "community"}, {"visibility": "community"}),
    (OWNER, {"visibility": "private"}, {"visibility": "private"}),
    (READER, {}, Forbidden),
    (NOBODY, {}, Forbidden),
    (OWNER, {"a": "", "b": "", "c": ""}, QuotaExceeded),
    (OWNER, {"tags": ["a", "b", "c"]}, QuotaExceeded),
    (OWNER, {"os_hash_algo": "md5", "os_hash_value": "0"}, {"os_hash_algo": None, "os_hash_value": None}),
]

# caller, operation, outcome, for an image of p1 (contract section 2.5)
CHANGES: list[tuple[Caller, str, Operation, type[Exception] | dict[str, object]]] = [
    (OWNER, "shared", Replace(("name",), "m"), {"name": "m"}),
    (ADMIN, "private", Replace(("name",), "m"), {"name": "m"}),
    (READER, "shared", Replace(("name",), "m"), Forbidden),
    (STRANGER, "shared", Replace(("name",), "m"), ImageNotFound),
    (STRANGER, "private", Replace(("name",), "m"), ImageNotFound),
    (STRANGER, "public", Replace(("name",), "m"), Forbidden),
    (STRANGER, "community", Replace(("name",), "m"), Forbidden),
    (OWNER, "shared", Replace(("owner",), "p2"), Forbidden),
    (OWNER, "shared", Replace(("owner",), "p1"), Forbidden),
    (ADMIN, "shared", Replace(("owner",), "p2"), {"owner": "p2"}),
    (OWNER, "shared", Replace(("visibility",), "public"), Forbidden),
    (ADMIN, "shared", Replace(("visibility",), "public"), {"visibility": "public"}),
    (OWNER, "shared", Replace(("visibility",), "community"), {"visibility": "community"}),
    (OWNER, "public", Replace(("visibility",), "private"), {"visibility": "private"}),
    (OWNER, "shared", Replace(("visibility",), "secret"), InvalidImage),
    (OWNER, "shared", Replace(("absent",), "x"), PropertyConflict),
    (OWNER, "shared", Remove(("name",)), Forbidden),
    (OWNER, "shared", Replace(("status",), "active"), Forbidden),
    (OWNER, "shared", Add(("tags",), ["a", "b", "c"]), QuotaExceeded),
]


class _CatalogCase(TestCase):
    def setUp(self) -> None:
        self.world = World()
        self.catalog = self.make_catalog()

    def make_catalog(
        self, trouble: Trouble | None = None, policy: IPolicy | None = None, page_limit_max: int = 3
    ) -> Catalog:
        settings = CatalogSettings(ImageRules(property_quota=2, tag_quota=2), page_limit_max)
        return self.world.make_catalog(trouble, policy, settings)

    async def outcome(self, work: Any, expected: Any) -> None:
        if isinstance(expected, dict):
            image = await work
            self.assertEqual({name: getattr(image, name) for name in expected}, expected)
            return
        with self.assertRaises(expected):
            await work


class CreateTests(_CatalogCase):
    """
    `Catalog.create`.
    """

    async def test_outcomes(self) -> None:
        """
        Each kind of request has the outcome of contract section 2.4.
        """
        for caller, values, expected in CREATIONS:
            with self.subTest(caller=caller, values=values):
                await self.outcome(self.catalog.create(caller, values), expected)

    async def test_kept(self) -> None:
        """
        The image is kept, with the time of its creation.
        """
        created = await self.catalog.create(OWNER, {"k": "v"})
        self.assertEqual(await self.catalog.show(OWNER, created.id), created)
        self.assertEqual((created.created_at, created.updated_at), (EPOCH, EPOCH))

    async def test_duplicate(self) -> None:
        """
        An id that is in use, or was once, is refused.
        """
        await self.catalog.create(OWNER, {"id": ID})
        with self.assertRaises(ImageExists):
            await self.catalog.create(STRANGER, {"id": ID})
        await self.catalog.delete(OWNER, ID)
        with self.assertRaises(ImageExists):
            await self.catalog.create(OWNER, {"id": ID})

    async def test_refused_before_it_is_kept(self) -> None:
        """
        Nothing is kept of an image that is refused.
        """
        with self.assertRaises(Forbidden):
            await self.catalog.create(OWNER, {"id": ID, "visibility": "public"})
        await self.catalog.create(OWNER, {"id": ID})

    async def test_lenient_policy(self) -> None:
        """
        Even where policy lets everybody create, only administrators set another owner.
        """
        catalog = self.make_catalog(policy=PolicyEnforcer({"add_image": "@"}))
        with self.assertRaises(Forbidden):
            await catalog.create(OWNER, {"owner": "p2"})


class ListTests(_CatalogCase):
    """
    `Catalog.list`.
    """

    async def fill(self, count: int, **values: object) -> list[str]:
        ids = []
        for _ in range(count):
            self.world.clock.advance(1)
            ids.insert(0, (await self.catalog.create(OWNER, dict(values))).id)
        return ids

    async def test_pages(self) -> None:
        """
        Pages follow one another by their markers until the last, which has none.
        """
        ids = await self.fill(5)
        first = await self.catalog.list(OWNER, ImageQuery(limit=3))
        self.assertEqual([image.id for image in first.images], ids[:3])
        self.assertEqual(first.next_marker, ids[2])
        second = await self.catalog.list(OWNER, ImageQuery(limit=3, marker=first.next_marker))
        self.assertEqual([image.id for image in second.images], ids[3:])
        self.assertIsNone(second.next_marker)

    async def test_limit(self) -> None:
        """
        A limit beyond the longest page is cut to it, and 0 lists nothing.
        """
        await self.fill(4)
        page = await self.catalog.list(OWNER, ImageQuery(limit=100))
        self.assertEqual(len(page.images), 3)
        page = await self.catalog.list(OWNER, ImageQuery(limit=0))
        self.assertEqual((list(page.images), page.next_marker), ([], None))

    async def test_viewer(self) -> None:
        """
        Whatever viewer a query names, it covers the caller's images.
        """
        ids = await self.fill(1, visibility="private")
        query = ImageQuery(viewer=self.world.access.viewer(ADMIN))
        self.assertEqual(list((await self.catalog.list(STRANGER, query)).images), [])
        page = await self.catalog.list(ADMIN, ImageQuery())
        self.assertEqual([image.id for image in page.images], ids)

    async def test_rows_filtered_by_policy(self) -> None:
        """
        Rows that policy hides are left out, and a page that it empties still leads on to the next.
        """
        ids = await self.fill(4, name="hidden")
        policy = PolicyEnforcer({"get_image": "not 'v':%(k)s"})
        catalog = self.make_catalog(policy=policy, page_limit_max=2)
        shown = await self.catalog.change(OWNER, ids[3], [Replace(("name",), "shown"), Add(("k",), "w")])
        for hidden in ids[:3]:
            await self.catalog.change(OWNER, hidden, [Add(("k",), "v")])
        first = await catalog.list(OWNER, ImageQuery())
        self.assertEqual((list(first.images), first.next_marker), ([], ids[1]))
        second = await catalog.list(OWNER, ImageQuery(marker=first.next_marker))
        self.assertEqual(list(second.images), [shown])

    async def test_forbidden(self) -> None:
        """
        Listing is for those whom policy lets.
        """
        with self.assertRaises(Forbidden):
            await self.catalog.list(Caller("u", "p1", set()), ImageQuery())

    async def test_bad_queries(self) -> None:
        """
        A query that means nothing is refused before it is made.
        """
        queries = [
            ImageQuery(limit=-1),
            ImageQuery(filters=[equal("colour", "red")]),
            ImageQuery(filters=[equal("created_at", "2024-01-01")]),
            ImageQuery(filters=[Between("name", 1, 2)]),
            ImageQuery(filters=[OneOf("name", frozenset({"a", "\0"}))]),
            ImageQuery(sort=(("checksum", "asc"),)),
            ImageQuery(filters=[equal("name", "\0")]),
            ImageQuery(properties={"k": "\ud800"}),
            ImageQuery(properties={"\0": "v"}),
            ImageQuery(tags=frozenset({"\0"})),
            ImageQuery(marker="\0"),
            ImageQuery(marker=ID),
        ]
        for query in queries:
            with self.subTest(query=query), self.assertRaises(InvalidQuery) as caught:
                await self.catalog.list(OWNER, query)
            str(caught.exception).encode()

    async def test_good_queries(self) -> None:
        """
        Every legal filter and sort key passes.
        """
        for name in EQUALS:
            await self.catalog.list(OWNER, ImageQuery(filters=[equal(name, "\U0001f600")]))
        for name in NUMBERS:
            await self.catalog.list(OWNER, ImageQuery(filters=[Between(name, 1, 2)]))
        for name in TIMES:
            await self.catalog.list(OWNER, ImageQuery(filters=[Between(name, EPOCH)]))
        for name in SORT_KEYS:
            await self.catalog.list(OWNER, ImageQuery(sort=((name, "asc"),)))


class ChangeTests(_CatalogCase):
    """
    `Catalog.change`.
    """

    async def test_outcomes(self) -> None:
        """
        Each kind of change has the outcome of contract section 2.5.
        """
        for caller, visibility, operation, expected in CHANGES:
            with self.subTest(caller=caller, visibility=visibility, operation=operation):
                created = await self.catalog.create(ADMIN, {"owner": "p1", "visibility": visibility, "name": "n"})
                await self.outcome(self.catalog.change(caller, created.id, [operation]), expected)

    async def test_strict_add(self) -> None:
        """
        The older media type does not overwrite.
        """
        created = await self.catalog.create(OWNER, {"k": "v"})
        with self.assertRaises(PropertyConflict):
            await self.catalog.change(OWNER, created.id, [Add(("k",), "w")], strict_add=True)
        changed = await self.catalog.change(OWNER, created.id, [Add(("k",), "w")])
        self.assertEqual(changed.properties, {"k": "w"})

    async def test_all_or_nothing(self) -> None:
        """
        One bad operation undoes those before it.
        """
        created = await self.catalog.create(OWNER, {"name": "n"})
        with self.assertRaises(PropertyConflict):
            await self.catalog.change(OWNER, created.id, [Replace(("name",), "m"), Remove(("absent",))])
        self.assertEqual(await self.catalog.show(OWNER, created.id), created)

    async def test_nothing_changed(self) -> None:
        """
        A change that changes nothing leaves the time of the last change.
        """
        created = await self.catalog.create(OWNER, {"name": "n"})
        self.world.clock.advance(5)
        self.assertEqual(await self.catalog.change(OWNER, created.id, []), created)
        self.assertEqual(await self.catalog.change(OWNER, created.id, [Replace(("name",), "n")]), created)
        changed = await self.catalog.change(OWNER, created.id, [Replace(("name",), "m")])
        self.assertGreater(changed.updated_at, created.updated_at)

    async def test_status_changed_meanwhile(self) -> None:
        """
        A change that meets another status begins again, with what holds then.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.act("before save", lambda: self.world.upload(b"data", created.id))
        catalog = self.make_catalog(trouble)
        changed = await catalog.change(OWNER, created.id, [Replace(("name",), "m")])
        self.assertEqual((changed.name, changed.status, changed.size), ("m", ImageStatus.ACTIVE, 4))

    async def test_formats_after_data_came_meanwhile(self) -> None:
        """
        A change that was right while the image was queued is refused once data came.
        """
        created = await self.world.create()
        trouble = Trouble()
        trouble.act("before save", lambda: self.world.upload(b"data", created.id))
        catalog = self.make_catalog(trouble)
        with self.assertRaises(Forbidden):
            await catalog.change(OWNER, created.id, [Replace(("disk_format",), "iso")])

    async def test_never_settles(self) -> None:
        """
        An image whose status never holds still is given up on.
        """
        created = await self.catalog.create(OWNER, {})
        trouble = Trouble()
        trouble.fail("before save", StatusConflict(created.id, "saving", "changed"), lasting=True)
        catalog = self.make_catalog(trouble)
        with self.assertRaises(StatusConflict):
            await catalog.change(OWNER, created.id, [Replace(("name",), "m")])


class DeleteTests(_CatalogCase):
    """
    `Catalog.delete`.
    """

    async def test_permission(self) -> None:
        """
        Owners and administrators delete; others are refused, or see no image.
        """
        created = await self.catalog.create(ADMIN, {"owner": "p1", "visibility": "public"})
        for caller in (READER, STRANGER):
            with self.assertRaises(Forbidden):
                await self.catalog.delete(caller, created.id)
        hidden = await self.catalog.create(OWNER, {"visibility": "private"})
        with self.assertRaises(ImageNotFound):
            await self.catalog.delete(STRANGER, hidden.id)
        await self.catalog.delete(OWNER, created.id)
        await self.catalog.delete(ADMIN, hidden.id)

    async def test_twice(self) -> None:
        """
        A deleted image is not found, not even by an administrator.
        """
        created = await self.catalog.create(OWNER, {})
        await self.catalog.delete(OWNER, created.id)
        for work in (self.catalog.delete(ADMIN, created.id), self.catalog.show(ADMIN, created.id)):
            with self.assertRaises(ImageNotFound):
                await work

    async def test_protected(self) -> None:
        """
        A protected image is deleted by nobody until it is not protected any more.
        """
        created = await self.catalog.create(OWNER, {"protected": True})
        for caller in (OWNER, ADMIN):
            with self.assertRaises(Forbidden):
                await self.catalog.delete(caller, created.id)
        await self.catalog.change(OWNER, created.id, [Replace(("protected",), value=False)])
        await self.catalog.delete(OWNER, created.id)

    async def test_protected_meanwhile(self) -> None:
        """
        Protection that comes before the record is gone counts.
        """
        created = await self.world.create()

        async def meanwhile() -> None:
            await self.world.upload(b"data", created.id)
            await self.catalog.change(OWNER, created.id, [Replace(("protected",), value=True)])

        trouble = Trouble()
        trouble.act("before delete", meanwhile)
        catalog = self.make_catalog(trouble)
        with self.assertRaises(Forbidden):
            await catalog.delete(OWNER, created.id)
        self.assertEqual(await self.world.data(created.id), b"data")

    async def test_data(self) -> None:
        """
        The data go with the image, and nothing is left to clear.
        """
        created = await self.world.create()
        await self.world.upload(b"data", created.id)
        self.assertEqual(len(self.world.store.objects), 1)
        await self.catalog.delete(OWNER, created.id)
        self.assertEqual(self.world.store.objects, {})
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_data_already_gone(self) -> None:
        """
        Data that are missing already are no obstacle.
        """
        created = await self.world.create()
        await self.world.upload(b"data", created.id)
        self.world.store.objects.clear()
        await self.catalog.delete(OWNER, created.id)
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_store_away(self) -> None:
        """
        A store that cannot be reached does not keep the image; recovery removes the data later.
        """
        created = await self.world.create()
        await self.world.upload(b"data", created.id)
        trouble = Trouble()
        trouble.fail("before store.delete", StoreUnavailable("main", "away"))
        await self.make_catalog(trouble).delete(OWNER, created.id)
        with self.assertRaises(ImageNotFound):
            await self.catalog.show(OWNER, created.id)
        self.assertEqual(len(self.world.store.objects), 1)
        await self.world.recovery().sweep()
        self.assertEqual(self.world.store.objects, {})
        self.assertEqual(list(await self.world.repository.leases()), [])

    async def test_killed_before_the_data_are_removed(self) -> None:
        """
        A crash between the record and the data leaves the data on record, for recovery to remove.
        """
        created = await self.world.create()
        await self.world.upload(b"data", created.id)
        trouble = Trouble()
        trouble.hold("before store.delete")
        hanging = Deferred.fromCoroutine(self.make_catalog(trouble).delete(OWNER, created.id))
        self.assertNoResult(hanging)
        await self.world.recovery().sweep()
        self.assertEqual(self.world.store.objects, {})

    async def test_every_status(self) -> None:
        """
        An image can be deleted whatever its status.
        """
        for status in set(ImageStatus) - {ImageStatus.DELETED}:
            image = Image(
                id=str(uuid4()), created_at=EPOCH, updated_at=EPOCH, owner="p1", status=status, protected=False
            )
            await self.world.repository.add(image)
            await self.catalog.delete(OWNER, image.id)
            with self.assertRaises(ImageNotFound):
                await self.catalog.show(OWNER, image.id)
