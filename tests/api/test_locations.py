"""
Locations as clients see them and change them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from glance_tx.domain.locations import LocationRules
from glance_tx.stores.errors import StoreUnavailable
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.interfaces import IStore
from tests.api.service import FORMATS, Reply, ServiceTestCase, SqlServiceTestCase
from tests.api.test_change import add, remove, replace
from tests.contracts.store import store
from tests.doubles.pools import inline_lanes

SHA = "ab" * 64
MD5 = "cd" * 16
VALIDATION = {"os_hash_algo": "sha512", "os_hash_value": SHA, "checksum": MD5}


def at(url: object, metadata: object = None, **more: object) -> dict[str, Any]:
    """A location."""
    return {"url": url, "metadata": {} if metadata is None else metadata, **more}


class HiddenTests(ServiceTestCase):
    """
    A service that shows no locations.
    """

    async def test_off(self) -> None:
        """
        Nobody sees a location, and nobody changes one, administrators included.
        """
        image_id = await self.active()
        for token in ("owner", "admin"):
            image = await self.show(image_id, token=token)
            self.assertFalse({"locations", "direct_url"} & image.keys())
            for operation in (
                add("/locations/-", at("memory://main/x")),
                replace("/locations", [at("memory://main/x")]),
                remove("/locations/0"),
            ):
                self.assertEqual((await self.patch(image_id, [operation], token=token)).status, 403)


class DirectTests(ServiceTestCase):
    """
    A service that shows one location.
    """

    location_rules = LocationRules(show_direct_url=True)

    async def test_shown(self) -> None:
        """
        An image with data says where they lie, to those whom policy lets see it; one without data says nothing.
        """
        image_id = await self.active(visibility="community")
        for token, seen in [("owner", True), ("reader", True), ("admin", True), ("stranger", False)]:
            image = await self.show(image_id, token=token)
            self.assertEqual((token, "direct_url" in image), (token, seen))
            self.assertNotIn("locations", image)
        self.assertEqual([(await self.show(image_id))["direct_url"]], list(self.store.objects))
        [listed] = (await self.call("GET", "/v2/images")).json["images"]
        self.assertIn("direct_url", listed)
        self.assertNotIn("direct_url", await self.show(await self.create()))
        self.assertEqual((await self.patch(image_id, [remove("/locations/0")], token="admin")).status, 403)


class LocationsCase:
    """
    A service that shows locations, with objects in its store.
    """

    location_rules = LocationRules(show_multiple=True, quota=3)

    async def put(self: Any, name: str, data: bytes = b"12345") -> str:
        """Put an object into the store, as somebody else would."""
        return await store(self.store, data, key=name)

    async def add(self: Any, image_id: str, location: object, place: str = "-", token: str = "owner") -> Reply:
        """Add a location."""
        return await self.patch(image_id, [add(f"/locations/{place}", location)], token=token)

    async def urls(self: Any, image_id: str) -> list[str]:
        """Where an image's data lie."""
        return [location["url"] for location in (await self.show(image_id))["locations"]]


class LocationTests(LocationsCase, ServiceTestCase):
    """
    ``PATCH`` of ``/locations``.
    """

    async def test_life(self) -> None:
        """
        The first location makes a queued image active; more are added and removed; what is removed is deleted in the
        store.
        """
        one, two, three = [await self.put(name) for name in "abc"]
        image_id = await self.create()
        self.assertEqual(await self.urls(image_id), [])
        reply = await self.add(image_id, at(one, {"k": [1, {"a": "b"}]}))
        self.assertEqual((reply.status, reply.json["status"], reply.json["size"]), (200, "active", 5))
        self.assertEqual(self.told.types[-2:], ["image.update", "image.activate"])
        self.assertEqual(reply.json["locations"], [{"url": one, "metadata": {"k": [1, {"a": "b"}]}}])
        self.assertNotIn("direct_url", reply.json)
        self.assertEqual((await self.call("GET", f"/v2/images/{image_id}/file")).body, b"12345")
        self.assertEqual((await self.add(image_id, at(two), "0")).status, 200)
        self.assertEqual((await self.add(image_id, at(three), "1")).status, 200)
        self.assertEqual(await self.urls(image_id), [two, three, one])
        self.assertEqual((await self.patch(image_id, [remove("/locations/1")], token="owner")).status, 403)
        for place, left in [("1", [two, one]), ("-", [two])]:
            reply = await self.patch(image_id, [remove(f"/locations/{place}")], token="admin")
            self.assertEqual((reply.status, await self.urls(image_id)), (200, left))
            self.assertEqual(sorted(self.store.objects), sorted(left))
        self.assertEqual((await self.patch(image_id, [remove("/locations/0")], token="admin")).status, 403)
        self.assertEqual(list(await self.images.leases()), [])
        self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}")).status, 204)
        self.assertEqual(self.store.objects, {})

    async def test_refused(self) -> None:
        """
        Locations that are none, that lie nowhere or where no client may reach, and places that are not there, are
        refused; the image stays as it is, and no answer repeats a URL.
        """
        there, empty = await self.put("a"), await self.put("e", b"")
        image_id = await self.create()
        secret = "memory://key:hush@main/x"
        await self.add(image_id, at(there))
        before = await self.show(image_id)
        for operation, status in [
            (add("/locations/-", at(there)), 400),
            (add("/locations/-", at(empty)), 400),
            (add("/locations/-", at("memory://main/hush")), 400),
            (add("/locations/-", at(secret)), 400),
            (add("/locations/-", at("file:///etc/hush")), 400),
            (add("/locations/-", at("FILE:///etc/hush")), 400),
            (add("/locations/-", at("filesystem:///etc/hush")), 400),
            (add("/locations/-", at("swift+config://ref/hush/x")), 400),
            (add("/locations/-", at("s3://key:hush@host/x")), 400),
            (add("/locations/-", at("hush")), 400),
            (add("/locations/-", at("")), 400),
            (add("/locations/-", at("http://[hush")), 400),
            (add("/locations/-", at("memory://main/hush\0")), 400),
            (add("/locations/-", at("memory://main/" + "h" * 255)), 400),
            (add("/locations/-", at(1)), 400),
            (add("/locations/-", at(there, "x")), 400),
            (add("/locations/-", at(there, {"a": "x" * 66_000})), 400),
            (add("/locations/-", {"url": there}), 400),
            (add("/locations/-", {"metadata": {}}), 400),
            (add("/locations/-", "hush"), 400),
            (add("/locations/x", at(there)), 400),
            (add("/locations/2", at(there)), 400),
            (add("/locations/-1", at(there)), 400),
            (add("/locations/²", at(there)), 400),
            (add("/locations/" + "9" * 5000, at(there)), 400),
            (add("/locations", [at(there)]), 400),
            (add("/locations/0/url", "hush"), 400),
            (replace("/locations/0", at(there)), 400),
            (replace("/locations", at(there)), 400),
            (replace("/locations", []), 403),
            (replace("/locations", [at("memory://main/hush")]), 400),
            (replace("/locations", [at(there), at(there)]), 400),
            (remove("/locations"), 400),
            (remove("/locations/0"), 403),
            (remove("/locations/0/url"), 400),
        ]:
            reply = await self.patch(image_id, [add("/a", "b"), operation], token="admin")
            self.assertEqual((str(operation)[:80], reply.status), (str(operation)[:80], status))
            self.assertNotIn(b"hush", reply.body)
        self.assertEqual(await self.show(image_id), before)
        self.assertEqual(sorted(self.store.objects), sorted([there, empty]))

    async def test_sizes_and_formats(self) -> None:
        """
        All locations hold as many bytes; without formats there is no first location; they may come in the same patch.
        """
        five, four, none = await self.put("a"), await self.put("b", b"1234"), await self.put("c", b"")
        queued = await self.create()
        for url in (none, "memory://main/missing"):
            self.assertEqual((await self.add(queued, at(url))).status, 400)
        self.assertEqual((await self.show(queued))["status"], "queued")
        image_id = (await self.call("POST", "/v2/images", {})).json["id"]
        self.assertEqual((await self.add(image_id, at(five))).status, 400)
        self.assertEqual((await self.show(image_id))["status"], "queued")
        formats = [replace(f"/{name}", value) for name, value in FORMATS.items()]
        reply = await self.patch(image_id, [add("/locations/-", at(five)), *formats])
        self.assertEqual((reply.status, reply.json["status"]), (200, "active"))
        self.assertEqual((await self.add(image_id, at(four))).status, 400)

    async def test_statuses(self) -> None:
        """
        Locations come to queued and active images only, and go from active ones.
        """
        one, two = await self.put("a"), await self.put("b")
        image_id = await self.create()
        self.assertEqual((await self.patch(image_id, [remove("/locations/0")], token="admin")).status, 409)
        self.assertEqual((await self.patch(image_id, [replace("/locations", [at(one)])])).status, 200)
        await self.call("POST", f"/v2/images/{image_id}/actions/deactivate")
        for operation in (add("/locations/-", at(two)), replace("/locations", [at(one)]), remove("/locations/0")):
            self.assertEqual((await self.patch(image_id, [operation], token="admin")).status, 409)

    async def test_replace(self) -> None:
        """
        A list sets the locations of a queued image, and the order and metadata of those that are there.
        """
        one, two = await self.put("a"), await self.put("b")
        image_id = await self.create()
        reply = await self.patch(image_id, [replace("/locations", [at(one), at(two)])])
        self.assertEqual((reply.status, await self.urls(image_id)), (200, [one, two]))
        reply = await self.patch(image_id, [replace("/locations", [at(two, {"a": 1}), at(one)])])
        self.assertEqual(reply.json["locations"], [at(two, {"a": 1}), at(one)])
        self.assertEqual((await self.patch(image_id, [replace("/locations", [at(one)])])).status, 400)
        self.assertEqual(sorted(self.store.objects), [one, two])

    async def test_quota(self) -> None:
        """
        An image has no more locations than its quota.
        """
        urls = [await self.put(name) for name in "abcd"]
        image_id = await self.create()
        self.assertEqual((await self.patch(image_id, [replace("/locations", [at(url) for url in urls])])).status, 413)
        for url, status in zip(urls, (200, 200, 200, 413), strict=True):
            self.assertEqual((await self.add(image_id, at(url))).status, status)

    async def test_people(self) -> None:
        """
        Members of the owner add, administrators remove too; who merely sees the image sees no locations.
        """
        one, two = await self.put("a"), await self.put("b")
        image_id = await self.create(visibility="community")
        for token, status in [("reader", 403), ("stranger", 403), ("owner", 200)]:
            self.assertEqual((token, (await self.add(image_id, at(one), token=token)).status), (token, status))
        self.assertEqual((await self.add(image_id, at(two), token="admin")).status, 200)
        for token, seen in [("owner", True), ("reader", True), ("stranger", False)]:
            self.assertEqual((token, "locations" in await self.show(image_id, token=token)), (token, seen))

    async def test_validation(self) -> None:
        """
        What is said of the data is written down while the image is queued; later it must be what is there already.
        """
        one, two = await self.put("a"), await self.put("b")
        image_id = await self.create()
        for said, status in [
            ({}, 400),
            ("x", 400),
            ({"os_hash_algo": "sha512"}, 400),
            (VALIDATION | {"more": "x"}, 400),
            (VALIDATION | {"checksum": 1}, 400),
            (VALIDATION | {"os_hash_algo": "md5"}, 409),
            (VALIDATION | {"os_hash_value": "ab"}, 409),
            (VALIDATION | {"os_hash_value": "xy" * 64}, 409),
            (VALIDATION | {"checksum": "xy" * 16}, 409),
            (VALIDATION | {"checksum": "ab"}, 409),
            (VALIDATION, 200),
        ]:
            reply = await self.add(image_id, at(one, validation_data=said))
            self.assertEqual((said, reply.status), (said, status))
        self.assertEqual({name: reply.json[name] for name in VALIDATION}, VALIDATION)
        self.assertEqual(reply.json["locations"], [at(one)])
        other = VALIDATION | {"checksum": "ef" * 16}
        self.assertEqual((await self.add(image_id, at(two, validation_data=other))).status, 409)
        self.assertEqual((await self.add(image_id, at(two, validation_data=VALIDATION))).status, 200)
        late = await self.create()
        await self.add(late, at(await self.put("c")))
        self.assertEqual((await self.add(late, at(await self.put("d"), validation_data=VALIDATION))).status, 409)
        both = [at(await self.put(name), validation_data=said) for name, said in [("e", VALIDATION), ("f", other)]]
        contradicting = await self.create()
        self.assertEqual((await self.patch(contradicting, [replace("/locations", both)])).status, 409)

    async def test_a_store_that_is_away(self) -> None:
        """
        What cannot be looked up now may be tried again; what cannot be deleted now is left to recovery.
        """
        one, two = await self.put("a"), await self.put("b")
        image_id = await self.create()

        async def away(location: str) -> int:
            raise StoreUnavailable("main", "gone")

        self.store.size_bytes = away
        self.assertEqual((await self.add(image_id, at(one))).status, 503)
        del self.store.size_bytes
        await self.add(image_id, at(one))
        await self.add(image_id, at(two))
        self.store.delete = away
        self.assertEqual((await self.patch(image_id, [remove("/locations/0")], token="admin")).status, 200)
        [lease] = await self.images.leases(ended=True)
        self.assertEqual((lease.location.url, await self.urls(image_id)), (one, [two]))


class StorageTests(LocationsCase, ServiceTestCase):
    """
    A project that may keep 12 bytes.
    """

    storage_quota = 12

    async def test_storage(self) -> None:
        """
        An image takes room once for each of its locations, and none is added for which there is no room.
        """
        one, two, three = [await self.put(name) for name in "abc"]
        image_id = await self.create()
        at_once = [add("/locations/-", at(url)) for url in (one, two, three)]
        self.assertEqual((await self.patch(image_id, at_once)).status, 413)
        self.assertEqual((await self.patch(image_id, at_once[:2])).status, 200)
        self.assertEqual((await self.add(image_id, at(three))).status, 413)
        self.assertEqual(await self.urls(image_id), [one, two])
        await self.patch(image_id, [remove("/locations/0")], token="admin")
        self.assertEqual((await self.add(image_id, at(three))).status, 200)


class PolicyTests(LocationsCase, ServiceTestCase):
    """
    An operator who leaves locations to administrators.
    """

    policy_rules = dict.fromkeys(("set_image_location", "get_image_location"), "rule:context_is_admin")

    async def test_policy(self) -> None:
        """
        Whom the rules leave out neither adds nor replaces nor sees locations, own images or not.
        """
        url = await self.put("a")
        image_id = await self.create()
        for operation in (add("/locations/-", at(url)), replace("/locations", [at(url)])):
            self.assertEqual((await self.patch(image_id, [operation])).status, 403)
        self.assertEqual((await self.add(image_id, at(url), token="admin")).status, 200)
        self.assertEqual(await self.urls(image_id), [url])
        self.assertNotIn("locations", await self.show(image_id, token="owner"))


class FileLocationTests(LocationsCase, ServiceTestCase):
    """
    With a store of files.
    """

    def make_store(self) -> IStore:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return FilesystemStore(FilesystemSettings("main", [FolderChoice(str(folder))]), inline_lanes())

    async def test_files_are_not_for_clients(self) -> None:
        """
        Files are shown, and removed with their image; nobody adds one, not even one that the store has.
        """
        image_id = await self.active()
        [url] = await self.urls(image_id)
        other = await self.create()
        for spelling in (url, url.replace("file:", "FILE:")):
            self.assertEqual((await self.add(other, at(spelling), token="admin")).status, 400)
        self.assertEqual((await self.show(other))["status"], "queued")
        reply = await self.patch(image_id, [replace("/locations", [at(url, {"kept": "here"})])])
        self.assertEqual((reply.status, reply.json["locations"]), (200, [at(url, {"kept": "here"})]))


class SqlLocationTests(LocationsCase, SqlServiceTestCase):
    """
    The same in a database.
    """

    async def test_life(self) -> None:
        """
        Locations come with their metadata, go with their data, and of changes at once none is lost.
        """
        one, two, three = [await self.put(name) for name in "abc"]
        image_id = await self.create()
        self.assertEqual((await self.add(image_id, at(one, {"é": ["\U0001f600"]}))).status, 200)
        adding = [Deferred.fromCoroutine(self.add(image_id, at(url))) for url in (two, three)]
        self.assertEqual([(await reply).status for reply in adding], [200, 200])
        self.assertEqual(sorted(await self.urls(image_id)), [one, two, three])
        self.assertEqual((await self.show(image_id))["locations"][0], at(one, {"é": ["\U0001f600"]}))
        self.assertEqual((await self.patch(image_id, [remove("/locations/0")], token="admin")).status, 200)
        self.assertEqual(sorted(self.store.objects), [two, three])
        self.assertEqual(list(await self.images.leases()), [])
