"""
Lists of images: what is in them, in which order, and how they are paged.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.api.v2.filters import parse_filter
from glance_tx.api.v2.query import parse_image_query, query_pairs
from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.filters import Between
from glance_tx.domain.images import Image
from glance_tx.web.errors import BadRequest
from tests.api.service import UNKNOWN_ID, SqlServiceTestCase

REFUSED = [
    "limit=-1",
    "limit=x",
    "limit=",
    "limit=1.5",
    "limit=%D9%A3",
    "marker=x",
    "marker=",
    f"marker={UNKNOWN_ID}",
    "marker=%00",
    "marker=%F0%9F%98%80",
    "sort_key=owner",
    "sort_key=",
    "sort_key=name;drop",
    "sort_dir=up",
    "sort_dir=ASC",
    "sort_key=name&sort_dir=asc&sort_dir=desc",
    "sort_key=name&sort_key=size&sort_key=id&sort_dir=asc&sort_dir=desc",
    "sort_dir=asc&sort_dir=desc",
    "sort=",
    "sort=name:up",
    "sort=tags",
    "sort=name,,size",
    "sort=name&sort_key=size",
    "sort=name&sort_dir=asc",
    "visibility=secret",
    "visibility=",
    "visibility=Public",
    "member_status=maybe",
    "os_hidden=maybe",
    "os_hidden=",
    "protected=1",
    "size=x",
    "size=-1",
    "size=99999999999999999999",
    "min_ram=1.0",
    "min_disk=",
    "changes-since=2024-01-01T00:00:00Z",
    "created_at=",
    "created_at=yesterday",
    "created_at=2024-13-01",
    "created_at=2024-01-01T25:00:00Z",
    "created_at=2024-01-01T00:00:00+05:00",
    "created_at=%D9%A2024-01-01",
    "created_at=in:2024-01-01",
    "created_at=after:2024-01-01",
    "created_at=gt",
    "created_at=gt:",
    "created_at=gt:lt:2024-01-01",
    "updated_at=0001-01-01T00:00:00%2B14:00",
    "updated_at=lt:2024-01-01%00",
    "size_min=",
    "size_min=1.5",
    "size_max=x",
    "min_ram_min=0x1",
    "min_disk_max=1_0",
    "size_min=%D9%A3",
    "name_min=1",
    "anything_max=x",
    "_min=1",
    "name=neq:a",
    "name=gt:a",
    "name=ubuntu:22.04",
    "status=:queued",
    "disk_format=like:raw",
    'id=in:"a',
    'name=in:a"b',
    'name=in:"a"b',
    'name=in:a,"b',
    'name=in:"a\\"',
    'name=in:a,b"',
    'name=in:"a%00"',
    "name=%00",
    "custom=a%00",
    "%00=a",
    "tag=a%00",
    "name=%FF",
    "tag=%C3",
    "a=%ED%A0%80",
    "&".join(f"p{number}=v" for number in range(129)),
    "&".join(f"tag={number}" for number in range(129)),
    "&".join("a" for _ in range(1001)),
]
"""Queries that cannot be."""

HARMLESS = [
    "limit=99999999999999999999",
    "limit=" + "9" * 6000,
    "tag=" + "x" * 300,
    "name=" + "x" * 7000,
    "name=%F0%9F%98%80",
    "%F0%9F%98%80=%F0%9F%98%80",
    "name='%22%3B--%5C",
    "name=no%zz",
    "size=9223372036854775807",
    "min_ram=9223372036854775807",
    "status=nonsense",
    "id=nonsense",
    "owner=",
    "checksum=x",
    "os_hash_value=" + "0" * 1000,
    "is_public=true&deleted=true",
    "=",
    "a&b=&c==",
    "member_status=pending&name=none",
    "&".join("sort_key=name" for _ in range(400)) + "&name=none",
    "sort=" + ",".join("name:asc" for _ in range(700)) + "&name=none",
    "&".join(f"p{number}=v&tag={number}" for number in range(128)),
    "size_min=" + "9" * 6000,
    "size_max=-" + "9" * 6000,
    "min_ram_min=9223372036854775807",
    "min_disk_max=-9223372036854775809",
    "name=in:",
    "name=in:,",
    "id=in:" + ",".join(f"{number}" for number in range(1500)),
    "name=in:" + "%22" * 2,
    "name=2024-01-01T00:00:00",
    "created_at=gt:9999-12-31T23:59:59.999999Z",
    "updated_at=gt:9999-12-31",
    "created_at=lt:0001-01-01",
    "&".join("tag=same" for _ in range(900)),
]
"""Queries without a fault."""


class ListTests(SqlServiceTestCase):
    """
    ``GET /v2/images``, out of a database.
    """

    async def names(self, query: str, token: str = "owner") -> list[str]:
        """
        List images and tell their names.
        """
        reply = await self.call("GET", f"/v2/images?{query}" if query else "/v2/images", token=token)
        assert reply.status == 200, reply
        return [image["name"] for image in reply.json["images"]]

    async def test_empty(self) -> None:
        """
        A list without images has its links, and no next page.
        """
        reply = await self.call("GET", "/v2/images")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.json, {"images": [], "first": "/v2/images", "schema": "/v2/schemas/images"})

    async def test_refused(self) -> None:
        """
        A query that cannot be is refused; one that means nothing here is not passed over.
        """
        for query in REFUSED:
            reply = await self.call("GET", f"/v2/images?{query}")
            self.assertEqual((query[:80], reply.status), (query[:80], 400))

    async def test_harmless(self) -> None:
        """
        Values that no image has, of whatever length and characters, find none.
        """
        await self.create(name="one")
        for query in HARMLESS:
            reply = await self.call("GET", f"/v2/images?{query}")
            self.assertEqual((query[:80], reply.status), (query[:80], 200))
            found = 1 if query.startswith("limit") else 0
            self.assertEqual((query[:80], len(reply.json["images"])), (query[:80], found))

    async def test_order(self) -> None:
        """
        The newest comes first, unless the query says otherwise: by one key or several, each in its direction.
        """
        for name, min_ram, disk_format in [("b", 1, "raw"), ("a", 2, "iso"), ("c", 1, "raw"), ("a", 3, "raw")]:
            await self.create(name=name, min_ram=min_ram, disk_format=disk_format, label=f"{name}{min_ram}")
        for query, expected in [
            ("", ["a3", "c1", "a2", "b1"]),
            ("sort_dir=asc", ["b1", "a2", "c1", "a3"]),
            ("sort_key=name", ["c1", "b1", "a3", "a2"]),
            ("sort_key=name&sort_dir=asc", ["a2", "a3", "b1", "c1"]),
            ("sort_key=disk_format&sort_key=name&sort_dir=asc", ["a2", "a3", "b1", "c1"]),
            ("sort_key=disk_format&sort_dir=desc&sort_key=name&sort_dir=asc", ["a3", "b1", "c1", "a2"]),
            ("sort=disk_format,name:asc", ["a3", "b1", "c1", "a2"]),
            ("sort=disk_format:asc,%20created_at", ["a2", "a3", "c1", "b1"]),
            ("sort=created_at:asc,created_at:desc", ["b1", "a2", "c1", "a3"]),
        ]:
            reply = await self.call("GET", f"/v2/images?{query}")
            self.assertEqual((query, [image["label"] for image in reply.json["images"]]), (query, expected))

    async def test_filters(self) -> None:
        """
        Attributes, properties and tags narrow a list, all of them together.
        """
        one = await self.create(name="one", min_ram=5, tags=["a", "b"], os_distro="debian", protected=True)
        await self.create(name="two", min_disk=7, tags=["a"], os_distro="debian", disk_format="iso")
        await self.create(name="eq:odd", min_ram=5, os_distro="Debian", container_format="ovf")
        await self.active(b"data", name="full")
        full = (await self.call("GET", "/v2/images?name=full")).json["images"][0]
        for query, expected in [
            ("name=one", ["one"]),
            ("name=ONE", []),
            ("name=eq:one", ["one"]),
            ("name=eq:eq:odd", ["eq:odd"]),
            ("name=one&name=two", ["two"]),
            ("name=in:one", ["one"]),
            ("name=in:full,two,x", ["full", "two"]),
            ("name=in:full,two,", ["full", "two"]),
            ('name=in:"one",two', ["two", "one"]),
            ("name=in:one,eq:odd", ["eq:odd", "one"]),
            ("status=in:active,saving", ["full"]),
            (f"id=in:{one.upper()},x", ["one"]),
            ("disk_format=in:iso,qcow2&name=in:one,two", ["two"]),
            ("container_format=in:ovf", ["eq:odd"]),
            ("size_min=4", ["full"]),
            ("size_min=5", []),
            ("size_max=4", ["full"]),
            ("size_max=3", []),
            ("size_min=-1&size_max=%2B4", ["full"]),
            ("size_min=%204%20", ["full"]),
            ("min_ram_min=5", ["eq:odd", "one"]),
            ("min_ram_min=1&min_ram_max=4", []),
            ("min_disk_max=6", ["full", "eq:odd", "one"]),
            ("min_disk_max=99999999999999999999", ["full", "eq:odd", "two", "one"]),
            ("min_disk_min=99999999999999999999", []),
            ("virtual_size_min=0", ["full"]),
            ("virtual_size_min=5", []),
            (f"id={one}", ["one"]),
            (f"id=eq:{one.upper()}", ["one"]),
            ("min_ram=5", ["eq:odd", "one"]),
            ("min_ram=005&min_disk=0", ["eq:odd", "one"]),
            ("min_disk=7", ["two"]),
            ("disk_format=iso", ["two"]),
            ("container_format=eq:ovf", ["eq:odd"]),
            ("status=active", ["full"]),
            ("status=queued&limit=2", ["eq:odd", "two"]),
            ("size=4", ["full"]),
            (f"checksum={full['checksum']}", ["full"]),
            (f"os_hash_value={full['os_hash_value']}", ["full"]),
            ("owner=p1&protected=true", ["one"]),
            ("owner=p2", []),
            ("protected=TRUE", ["one"]),
            ("protected=false", ["full", "eq:odd", "two"]),
            ("os_distro=debian", ["two", "one"]),
            ("os_distro=debian&os_distro=Debian", ["eq:odd"]),
            ("os_distro=debian&min_ram=5", ["one"]),
            ("os_distro=", []),
            ("tag=a", ["two", "one"]),
            ("tag=a&tag=b", ["one"]),
            ("tag=a&tag=b&tag=c", []),
        ]:
            self.assertEqual((query, await self.names(query)), (query, expected))

    async def test_quotes(self) -> None:
        """
        Quotes hold values with commas together, and a backslash keeps a quote from ending them.
        """
        for name in ("a", "a,b", 'a"b', "a\\b", "", "c:d"):
            await self.create(name=name)
        for value, expected in [
            ('"a,b"', {"a,b"}),
            ('"a,b",a', {"a,b", "a"}),
            ("a,b", {"a"}),
            (r'"a\"b"', {'a"b'}),
            (r"a\"b", {'a"b'}),
            (r'"a\\b",x', {"a\\b"}),
            ('""', {""}),
            ("x,,y", {""}),
            ("", set()),
            ("c:d", {"c:d"}),
        ]:
            self.assertEqual((value, set(await self.names(f"name=in:{quote(value)}"))), (value, expected))

    async def test_times(self) -> None:
        """
        Times are compared by every operator, in any form of ISO 8601; one without a fraction means a whole second.
        """
        await self.create(name="early")
        await self.create(name="late")
        early, late, both = "2024-05-06T07:08:09Z", "2024-05-06T07:08:10Z", ["late", "early"]
        for value, expected in [
            (early, ["early"]),
            (f"eq:{early}", ["early"]),
            (f"neq:{early}", ["late"]),
            (f"gt:{early}", ["late"]),
            (f"gte:{early}", both),
            (f"lt:{late}", ["early"]),
            (f"lt:{early}", []),
            (f"lte:{early}", ["early"]),
            (f"lte:{late}", both),
            (f"gt:{late}", []),
            ("2024-05-06T12:38:09+05:30", ["early"]),
            ("gt:2024-05-06T00:08:09-07:00", ["late"]),
            ("20240506T070810", ["late"]),
            ("2024-05-06 07:08:10", ["late"]),
            ("2024-05-06t07:08:10z", ["late"]),
            ("lt:2024-05-06T07:08:09.5Z", ["early"]),
            ("gt:2024-05-06T07:08:09,000000Z", ["late"]),
            ("lte:2024-05-06T07:08:09.999999Z", ["early"]),
            ("gt:2024-05-06", both),
            ("lt:2024-05", []),
            ("gt:2024", both),
            ("lt:2025", both),
        ]:
            for name in ("created_at", "updated_at"):
                query = f"{name}={quote(value)}"
                self.assertEqual((query, await self.names(query)), (query, expected))

    async def test_visibility(self) -> None:
        """
        Who asks, and for which visibility, decides what a list is about.
        """
        for project in ("p1", "p2"):
            for visibility in ("community", "private", "public", "shared"):
                await self.create(token="admin", name=f"{project} {visibility}", visibility=visibility, owner=project)
        own = {"p1 community", "p1 private", "p1 public", "p1 shared"}
        for token, query, expected in [
            ("owner", "", own | {"p2 public"}),
            ("reader", "", own | {"p2 public"}),
            ("owner", "visibility=public", {"p1 public", "p2 public"}),
            ("owner", "visibility=private", {"p1 private"}),
            ("owner", "visibility=shared", {"p1 shared"}),
            ("owner", "visibility=community", {"p1 community", "p2 community"}),
            ("owner", "visibility=all", own | {"p2 public", "p2 community"}),
            ("owner", "owner=p2", {"p2 public"}),
            ("owner", "visibility=community&owner=p2", {"p2 community"}),
            ("admin", "", {"p1 private", "p1 public", "p1 shared", "p2 private", "p2 public", "p2 shared"}),
            ("admin", "visibility=all", own | {"p2 community", "p2 private", "p2 public", "p2 shared"}),
            ("admin", "visibility=private", {"p1 private", "p2 private"}),
            ("admin", "visibility=shared", {"p1 shared", "p2 shared"}),
            ("admin", "visibility=community", {"p1 community", "p2 community"}),
        ]:
            self.assertEqual((token, query, set(await self.names(query, token))), (token, query, expected))

    async def test_hidden(self) -> None:
        """
        Hidden images are in a list of their own.
        """
        await self.create(name="shown")
        await self.create(name="hidden", os_hidden=True)
        for query, expected in [
            ("", ["shown"]),
            ("os_hidden=false", ["shown"]),
            ("os_hidden=true", ["hidden"]),
            ("os_hidden=True&name=shown", []),
        ]:
            self.assertEqual((query, await self.names(query)), (query, expected))

    async def test_people(self) -> None:
        """
        Whoever is no reader lists nothing, and neither does the unknown.
        """
        for token, status in [("reader", 200), ("roleless", 403), ("garbage", 401), (None, 401)]:
            self.assertEqual((token, (await self.call("GET", "/v2/images", token=token)).status), (token, status))

    async def test_pages(self) -> None:
        """
        Following ``next`` shows each image once, in order; repeated parameters stay in the links.
        """
        for number in range(5):
            await self.create(name=f"{number}", tags=["a", "b/&="])
            await self.create(name="other", tags=["a"])
        query = "tag=a&tag=b%2F%26%3D&limit=2&sort_key=name&sort_key=id&sort_dir=asc&sort_dir=desc"
        link: str | None = f"/v2/images?{query}"
        pages: list[list[str]] = []
        while link is not None:
            reply = await self.call("GET", link)
            self.assertEqual(reply.status, 200)
            pages.append([image["name"] for image in reply.json["images"]])
            self.assertEqual(parse_qsl(reply.json["first"].partition("?")[2]), parse_qsl(query))
            link = reply.json.get("next")
            if link is not None:
                pairs = parse_qsl(link.removeprefix("/v2/images?"))
                self.assertEqual(pairs, [*parse_qsl(query), ("marker", reply.json["images"][-1]["id"])])
        self.assertEqual(pages, [["0", "1"], ["2", "3"], ["4"]])

    async def test_page_sizes(self) -> None:
        """
        A page has 25 images unless the client says otherwise; a page of none says nothing of a next one.
        """
        for _ in range(26):
            await self.create()
        for query, found, more in [
            ("", 25, True),
            ("limit=25", 25, True),
            ("limit=27", 26, False),
            ("limit=0", 0, False),
        ]:
            reply = await self.call("GET", f"/v2/images?{query}")
            shown: dict[str, Any] = reply.json
            self.assertEqual((query, len(shown["images"]), "next" in shown), (query, found, more))

    async def test_long_pages(self) -> None:
        """
        A page that is made in several turns has all of its images, in order.
        """
        now = self.now()
        for number in range(600):
            await self.images.add(Image(f"{number:08}-0000-4000-8000-{0:012}", now, now, owner="p1"))
        for limit in (249, 250, 251, 500, 600, 1000):
            reply = await self.call("GET", f"/v2/images?limit={limit}&sort=id:asc")
            numbers = [int(image["id"][:8]) for image in reply.json["images"]]
            self.assertEqual(numbers, list(range(min(limit, 600))))

    async def test_markers(self) -> None:
        """
        A page begins after an image that the caller can see, in whatever letters its id is; after no other.
        """
        public = await self.create(token="admin", visibility="public", owner="p2")
        private = await self.create(token="admin", visibility="private", owner="p2")
        mine = await self.create()
        gone = await self.create()
        await self.call("DELETE", f"/v2/images/{gone}")
        for marker, status in [(public, 200), (mine.upper(), 200), (private, 400), (gone, 400)]:
            reply = await self.call("GET", f"/v2/images?marker={marker}")
            self.assertEqual((marker, reply.status), (marker, status))


class QueryTests(SynchronousTestCase):
    """
    `query_pairs` and `parse_image_query` read queries.
    """

    def test_pairs(self) -> None:
        """
        Names and values come decoded, in order, with their repetitions.
        """
        self.assertEqual(
            query_pairs(b"tag=a+b&tag=%C3%B6&empty=&bare&tag=a+b"),
            [("tag", "a b"), ("tag", "ö"), ("empty", ""), ("bare", ""), ("tag", "a b")],
        )
        self.assertEqual(query_pairs(b""), [])

    def test_not_text(self) -> None:
        """
        What is not UTF-8, or endless, is refused.
        """
        for query in (b"a=%ff", b"\xff=a", b"&".join([b"a"] * 1001)):
            self.assertRaises(BadRequest, query_pairs, query)

    def test_sort_keys_once(self) -> None:
        """
        A key that comes again changes nothing, and does not make the query longer.
        """
        query = parse_image_query([("sort", "name:asc,size,name:desc,size:asc")], 25)
        self.assertEqual(query.sort, (("name", "asc"), ("size", "desc")))

    def test_whole_seconds(self) -> None:
        """
        A time without a fraction stands for the second that clients are shown, one with a fraction for itself.
        """
        moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
        for value, since, until in [
            ("2024-05-06T07:08:09Z", moment, moment + timedelta(seconds=1)),
            ("eq:2024-05-06T07:08:09.0Z", moment, moment + timedelta(microseconds=1)),
            ("gt:2024-05-06T07:08:09Z", moment + timedelta(seconds=1), None),
            ("gt:2024-05-06T07:08:09.000000Z", moment + timedelta(microseconds=1), None),
            ("gte:2024-05-06T07:08:09Z", moment, None),
            ("lt:2024-05-06T07:08:09Z", None, moment),
            ("lte:2024-05-06T07:08:09Z", None, moment + timedelta(seconds=1)),
            ("lte:2024-05-06T07:08:09.000000Z", None, moment + timedelta(microseconds=1)),
        ]:
            self.assertEqual((value, parse_filter("created_at", value)), (value, Between("created_at", since, until)))

    def test_bad_repetition(self) -> None:
        """
        A key that comes again has to be right all the same.
        """
        self.assertRaises(InvalidQuery, parse_image_query, [("sort", "name:asc,name:up")], 25)
