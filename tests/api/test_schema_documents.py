"""
Schemas of everything that is no image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema

from tests.api.service import PROJECTS_AND_ROLES, ServiceTestCase

TASK_IN_LISTS = {
    "id",
    "type",
    "status",
    "owner",
    "expires_at",
    "created_at",
    "updated_at",
    "image_id",
    "request_id",
    "user_id",
    "self",
    "schema",
}
METADEFS = ("namespace", "object", "property", "tag", "resource_type")
METADEF_LISTS = ("namespaces", "objects", "properties", "tags", "resource_types")
PAGED = [("first", "{first}"), ("next", "{next}"), ("describedby", "{schema}")]
NAMESPACE = {
    "namespace": "OS::Test",
    "visibility": "public",
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}],
    "properties": {"cpus": {"title": "CPUs", "type": "integer", "minimum": 1, "maxLength": 3}},
    "objects": [{"name": "o", "required": ["cpus"], "properties": {"cpus": {"title": "CPUs", "type": "integer"}}}],
    "tags": [{"name": "t"}],
}


def references(document: Any) -> Iterator[str]:
    """
    Find all references within a schema.
    """
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


class SchemaDocumentTests(ServiceTestCase):
    """
    ``GET /v2/schemas/...``.
    """

    async def schema(self, name: str, token: str = "owner") -> dict[str, Any]:
        """
        Fetch a schema, which is one.
        """
        reply = await self.call("GET", f"/v2/schemas/{name}", token=token)
        assert reply.status == 200, (name, reply)
        document: dict[str, Any] = reply.json
        jsonschema.Draft4Validator.check_schema(document)
        return document

    async def test_member(self) -> None:
        """
        A member has its name and properties, and no more.
        """
        schema = await self.schema("member")
        self.assertEqual(set(schema), {"name", "properties"})
        self.assertEqual(schema["name"], "member")
        expected = {"member_id", "image_id", "status", "created_at", "updated_at", "schema"}
        self.assertEqual(set(schema["properties"]), expected)
        self.assertEqual(schema["properties"]["status"]["enum"], ["pending", "accepted", "rejected"])

    async def test_members(self) -> None:
        """
        The list of members comes in one piece.
        """
        schema = await self.schema("members")
        self.assertEqual((schema["name"], set(schema["properties"])), ("members", {"members", "schema"}))
        self.assertEqual(schema["properties"]["members"], {"type": "array", "items": await self.schema("member")})
        self.assertEqual(schema["links"], [{"rel": "describedby", "href": "{schema}"}])

    async def test_tasks(self) -> None:
        """
        Input, result and message are in the schema of a task, and not in that of a list.
        """
        schema, listed = await self.schema("task"), await self.schema("tasks")
        self.assertEqual(set(schema), {"name", "properties"})
        self.assertEqual(set(schema["properties"]), TASK_IN_LISTS | {"input", "result", "message"})
        self.assertEqual((listed["name"], set(listed["properties"])), ("tasks", {"tasks", "schema"}))
        self.assertEqual(set(listed["properties"]["tasks"]["items"]["properties"]), TASK_IN_LISTS)
        self.assertEqual(listed["links"], [{"rel": "describedby", "href": "{schema}"}])

    async def test_metadefs(self) -> None:
        """
        Metadata definitions take no other properties than those that are there, and insist on some.
        """
        required = {"namespace": ["namespace"], "property": ["name", "title", "type"]}
        for name in METADEFS:
            schema = await self.schema(f"metadefs/{name}")
            self.assertEqual(schema["name"], "resource_type_association" if name == "resource_type" else name)
            self.assertFalse(schema["additionalProperties"])
            self.assertEqual((name, schema["required"]), (name, required.get(name, ["name"])))
            self.assertEqual((name, "definitions" in schema), (name, name not in {"tag", "resource_type"}))

    async def test_metadef_lists(self) -> None:
        """
        Lists of them come in pages, with the definitions that their items refer to.
        """
        for one, many in zip(METADEFS, METADEF_LISTS, strict=True):
            schema, item = await self.schema(f"metadefs/{many}"), await self.schema(f"metadefs/{one}")
            name = "resource_type_associations" if one == "resource_type" else many
            self.assertEqual((schema["name"], set(schema["properties"])), (name, {name, "first", "next", "schema"}))
            self.assertEqual([(link["rel"], link["href"]) for link in schema["links"]], PAGED)
            self.assertEqual(schema.get("definitions"), item.pop("definitions", None))
            where = "additionalProperties" if one == "property" else "items"
            self.assertEqual(schema["properties"][name][where], item)

    async def test_references(self) -> None:
        """
        Every reference leads to a definition of its own document.
        """
        for name in (*METADEFS, *METADEF_LISTS):
            schema = await self.schema(f"metadefs/{name}")
            there = {f"#/definitions/{definition}" for definition in schema.get("definitions", {})}
            self.assertEqual(set(references(schema)) - there, set())

    async def test_a_namespace(self) -> None:
        """
        A namespace of everything fits its schema; one with something else in it does not.
        """
        schema = await self.schema("metadefs/namespace")
        jsonschema.validate(NAMESPACE, schema, jsonschema.Draft4Validator)
        wrong = (
            {"other": 1},
            {"namespace": "x" * 81},
            {"properties": {"cpus": {"title": "CPUs"}}},
            {"objects": [{}]},
            {"resource_type_associations": [{"prefix": "hw_"}]},
            {"tags": [{"name": "x" * 81}]},
        )
        for change in wrong:
            with self.assertRaises(jsonschema.ValidationError, msg=str(change)):
                jsonschema.validate({**NAMESPACE, **change}, schema, jsonschema.Draft4Validator)

    async def test_people(self) -> None:
        """
        Anybody with a token may read all sixteen, and nobody else.
        """
        names = ("image", "images", "member", "members", "task", "tasks")
        paths = [*names, *(f"metadefs/{name}" for name in (*METADEFS, *METADEF_LISTS))]
        self.assertEqual(len(paths), 16)
        for path in paths:
            for token in PROJECTS_AND_ROLES:
                await self.schema(path, token)
            self.assertEqual((path, (await self.call("GET", f"/v2/schemas/{path}", token=None)).status), (path, 401))
            self.assertEqual((path, (await self.call("GET", f"/v2/schemas/{path}", body=b"x")).status), (path, 400))
