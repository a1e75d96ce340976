"""
What narrows a list of images, in every repository of images.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from glance_tx.domain.filters import Between, OneOf, equal
from glance_tx.domain.images import Image, ImageStatus
from tests.contracts.image_case import EPOCH

SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)
GREATEST = 2**63 - 1


class ImageFiltersContract:
    """
    Filters of `IImageRepository.list`, a part of `ImageRepositoryContract`.
    """

    add: Callable[..., Awaitable[Image]]
    names: Callable[..., Awaitable[list[str | None]]]
    assertEqual: Any

    async def test_values_are_compared_exactly(self) -> None:
        """
        Attributes are compared for equality, null included, case, accents and trailing spaces counting.
        """
        facts = {"checksum": "c", "os_hash_value": "h", "disk_format": "raw", "container_format": "bare"}
        await self.add(name="a", size=5, min_ram=1, min_disk=2, protected=True, status=ImageStatus.ACTIVE, **facts)
        await self.add(name="A", size=5)
        await self.add(name="a ", size=6)
        await self.add(name="я🐧", size=GREATEST)
        await self.add(name=None)
        for filters, expected in (
            ({"name": "a"}, ["a"]),
            ({"name": "A"}, ["A"]),
            ({"name": "á"}, []),
            ({"name": "я🐧"}, ["я🐧"]),
            ({"name": "Я🐧"}, []),
            ({"name": ""}, []),
            ({"name": None}, [None]),
            ({"size": 5}, ["A", "a"]),
            ({"size": 5, "name": "A"}, ["A"]),
            ({"size": GREATEST}, ["я🐧"]),
            ({"size": GREATEST - 1}, []),
            ({"min_ram": 1, "min_disk": 2}, ["a"]),
            ({"min_ram": GREATEST}, []),
            ({"protected": True}, ["a"]),
            ({"protected": False, "size": None}, [None]),
            ({"status": ImageStatus.ACTIVE}, ["a"]),
            ({"status": "active"}, ["a"]),
            ({"status": "no such status"}, []),
            ({"owner": "p1", "size": 6}, ["a "]),
            ({"owner": "p2"}, []),
            (facts, ["a"]),
        ):
            conditions = [equal(name, value) for name, value in filters.items()]
            self.assertEqual(await self.names(filters=conditions), expected, filters)

    async def test_one_of_several_values_is_enough(self) -> None:
        """
        An image whose attribute has any of the values is listed, once; of no values none is any image's.
        """
        for name, size in (("a", 1), ("A", 2), ("a,b", 3), ("ä", None), (None, 2**40)):
            await self.add(name=name, size=size)
        for name, values, expected in (
            ("name", {"a", "ä", "x"}, ["a", "ä"]),
            ("name", {"a,b"}, ["a,b"]),
            ("name", {"x" * 300, "A"}, ["A"]),
            ("name", {None, "A"}, [None, "A"]),
            ("name", set(), []),
            ("size", {1, 2**40, GREATEST, -1}, [None, "a"]),
            ("size", {None, 3}, ["a,b", "ä"]),
            ("status", {"queued", ImageStatus.ACTIVE}, [None, "A", "a", "a,b", "ä"]),
            ("name", {f"{number}" for number in range(2000)}, []),
        ):
            listed = await self.names(filters=[OneOf(name, frozenset(values))])
            self.assertEqual(listed, expected, (name, sorted(map(str, values))[:5]))

    async def test_ids_are_compared_in_any_case(self) -> None:
        """
        Ids in a list of values are meant in any letters.
        """
        one, other = await self.add(name="1"), await self.add(name="2")
        await self.add(name="3")
        ids = frozenset({one.id.upper(), other.id, "no id"})
        self.assertEqual(await self.names(filters=[OneOf("id", ids)]), ["1", "2"])

    async def test_numbers_lie_within_limits(self) -> None:
        """
        The lower limit is within, the upper one is not; a null is neither within nor outside.
        """
        for name, size in (("0", 0), ("5", 5), ("6", 6), ("most", GREATEST), ("null", None)):
            await self.add(name=name, size=size, min_ram=size if size in {5, 6} else 0)
        for condition, expected in (
            (Between("size", 5, 6), ["5"]),
            (Between("size", 5, 7), ["5", "6"]),
            (Between("size", 6), ["6", "most"]),
            (Between("size", None, 6), ["0", "5"]),
            (Between("size"), ["0", "5", "6", "most"]),
            (Between("size", 7, 5), []),
            (Between("size", -GREATEST, 1), ["0"]),
            (Between("size", GREATEST), ["most"]),
            (Between("size", 0, GREATEST), ["0", "5", "6"]),
            (Between("size", 5, 6, outside=True), ["0", "6", "most"]),
            (Between("min_ram", 5, GREATEST), ["5", "6"]),
            (Between("min_ram", GREATEST), []),
            (Between("min_ram", -GREATEST, 5), ["0", "most", "null"]),
        ):
            self.assertEqual(await self.names(filters=[condition]), expected, condition)

    async def test_times_lie_within_limits(self) -> None:
        """
        Times are compared as moments, to the microsecond, whatever zone they are told in.
        """
        for name, moment in (("1", EPOCH - TICK), ("2", EPOCH), ("3", EPOCH + TICK), ("4", EPOCH + SECOND)):
            await self.add(name=name, created_at=moment, updated_at=EPOCH)
        there = EPOCH.astimezone(timezone(timedelta(hours=5, minutes=30)))
        for condition, expected in (
            (Between("created_at", EPOCH, EPOCH + TICK), ["2"]),
            (Between("created_at", there, there + TICK), ["2"]),
            (Between("created_at", there, there + TICK, outside=True), ["1", "3", "4"]),
            (Between("created_at", EPOCH, EPOCH + SECOND), ["2", "3"]),
            (Between("created_at", EPOCH + TICK), ["3", "4"]),
            (Between("created_at", None, EPOCH), ["1"]),
            (Between("created_at", datetime.min.replace(tzinfo=UTC), EPOCH), ["1"]),
            (Between("created_at", None, datetime.max.replace(tzinfo=UTC)), ["1", "2", "3", "4"]),
            (Between("updated_at", EPOCH, EPOCH + TICK), ["1", "2", "3", "4"]),
            (Between("updated_at", EPOCH + TICK), []),
        ):
            self.assertEqual(await self.names(filters=[condition]), expected, condition)

    async def test_conditions_must_all_be_met(self) -> None:
        """
        Several conditions, on one attribute or on several, narrow a list together.
        """
        for n in range(6):
            await self.add(name=f"{n}", size=n, tags=frozenset({"t"}) if n % 2 else frozenset())
        filters = [Between("size", 1), Between("size", None, 5), OneOf("name", frozenset("0134"))]
        self.assertEqual(await self.names(filters=filters), ["1", "3", "4"])
        self.assertEqual(await self.names(filters=filters, tags=frozenset({"t"})), ["1", "3"])
        self.assertEqual(await self.names(filters=filters, sort=(("size", "desc"),), limit=2), ["4", "3"])

    async def test_properties_and_tags_must_all_be_there(self) -> None:
        """
        Each property must have its value, and each tag must be there, exactly.
        """
        await self.add(name="1", properties={"os": "linux", "arch": "x86"}, tags=frozenset({"a", "b"}))
        await self.add(name="2", properties={"os": "linux", "arch": None}, tags=frozenset({"a"}))
        await self.add(name="3", properties={"OS": "linux", "arch": "linux"}, tags=frozenset({"A", "b"}))
        for query, expected in (
            ({"properties": {"os": "linux"}}, ["1", "2"]),
            ({"properties": {"os": "Linux"}}, []),
            ({"properties": {"os": "linux", "arch": "x86"}}, ["1"]),
            ({"properties": {"os": "x86", "arch": "linux"}}, []),
            ({"tags": frozenset({"a"})}, ["1", "2"]),
            ({"tags": frozenset({"a", "b"})}, ["1"]),
            ({"tags": frozenset({"a", "b", "c"})}, []),
            ({"tags": frozenset({"x" * 300})}, []),
            ({"properties": {"os": "linux"}, "tags": frozenset({"b"})}, ["1"]),
            ({"properties": {"p" * 300: "x" * 300}}, []),
        ):
            self.assertEqual(await self.names(**query), expected, query)

    async def test_many_properties_and_tags(self) -> None:
        """
        As many properties and tags as an image can have may be asked for at once.
        """
        properties = {f"p{n}": f"{n}" for n in range(128)}
        tags = frozenset(f"t{n}" for n in range(128))
        await self.add(name="all", properties=properties, tags=tags)
        await self.add(name="less", properties={**properties, "p77": "else"}, tags=tags)
        await self.add(name="few", properties=properties, tags=tags - {"t99"})
        self.assertEqual(await self.names(properties=properties, tags=tags), ["all"])
