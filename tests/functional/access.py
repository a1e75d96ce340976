"""
The table of who may do what, ``docs/access-matrix.csv``, and images to try it on.
"""

from __future__ import annotations

import csv
import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.functional.keystone import PEOPLE, Keystone

__all__ = ["METHODS", "PERSONAS", "VISIBILITIES", "Gallery", "Persona", "Row", "Service", "body_of", "read_table"]

TABLE = Path(__file__).parent.parent.parent / "docs" / "access-matrix.csv"
_IDLE_SECONDS = 5.0
VISIBILITIES = ("private", "shared", "community", "public")
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")

# Projects that nobody of these people is in; nobody checks with Keystone that they exist.
GUESTS = "a" * 32
"""Every image that is not shared with the other project is shared with this one."""
PROJECT = "b" * 32
"""The ``{project}`` of the table: no image belongs to it or is shared with it."""

OCTETS = "application/octet-stream"
PATCH = "application/openstack-images-v2.1-json-patch"
DATA = bytes(range(256))


@frozen
class Persona:
    """
    Somebody who asks.

    :param user: Their name in Keystone; ``None`` is nobody, without a token.
    :param member_status: What their project has said to the images being shared with it; ``None`` where they are not.
    """

    user: str | None
    member_status: str | None = None


PERSONAS = {
    "owner": Persona("alice"),
    "reader": Persona("rita"),
    "member": Persona("bob", "accepted"),
    "invited": Persona("bob", "pending"),
    "other": Persona("bob"),
    "admin": Persona("admin"),
    "nobody": Persona(None),
}
"""The columns of the table."""


@frozen
class Row:
    """
    One request, and what it comes to.

    :param sends: As the table has it, see `body_of`.
    :param status: Status of the images that it is asked about; empty where it is about none.
    :param visibilities: Of these images.
    :param expected: By persona: a status code, or ``listed`` or ``absent``.
    """

    method: str
    path: str
    sends: str
    status: str
    visibilities: tuple[str, ...]
    expected: Mapping[str, str]


def read_table() -> list[Row]:
    """
    Read it.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = [[cell.strip() for cell in line] for line in csv.reader(file, strict=True)]
    names, *cells = lines
    rows = [dict(zip(names, line, strict=True)) for line in cells]
    return [
        Row(
            row["method"],
            row["path"],
            row["sends"],
            row["image"],
            tuple(row["visibility"].split()),
            {name: row[name] for name in PERSONAS if row[name]},
        )
        for row in rows
    ]


def body_of(row: Row) -> tuple[str, bytes]:
    """
    Make the body of a request, and its media type: ``data``, or a property and its value.
    """
    if not row.sends:
        return "", b""
    if row.sends == "data":
        return OCTETS, DATA
    name, _, value = row.sends.replace("{project}", PROJECT).partition("=")
    if row.method == "PATCH":
        return PATCH, json.dumps([{"op": "replace", "path": f"/{name}", "value": value}]).encode()
    return "application/json", json.dumps({name: value}).encode()


@define
class Service:
    """
    An image service, asked by people one after the other on one connection.
    """

    keystone: Keystone
    port: int
    _connection: http.client.HTTPConnection = field(init=False)
    _tokens: dict[str, str] = field(init=False, factory=dict)
    _used_at: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def close(self) -> None:
        """
        Hang up.
        """
        self._connection.close()

    def ask(self, user: str | None, method: str, path: str, media: str = "", body: bytes = b"") -> tuple[int, bytes]:
        """
        Send one request; return the status and the body of its answer.
        """
        headers = {"Content-Type": media} if media else {}
        if user is not None:
            if user not in self._tokens:
                self._tokens[user] = self.keystone.token(user)
            headers["X-Auth-Token"] = self._tokens[user]
        # A server ends a connection that idles, and may do so just when the next request is on its way.
        if time.monotonic() - self._used_at > _IDLE_SECONDS:
            self._connection.close()
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        answer = response.status, response.read()
        self._used_at = time.monotonic()
        return answer

    def tell(self, user: str, method: str, path: str, document: object = None) -> Any:
        """
        Send a request that has to succeed.
        """
        media = PATCH if method == "PATCH" else "application/json"
        sent = ("", b"") if document is None else (media, json.dumps(document).encode())
        status, body = self.ask(user, method, path, *sent)
        if status >= 300:
            raise AssertionError(f"{user}: {method} {path}: {status} {body!r}")
        return json.loads(body) if body else None


@define
class Gallery:
    """
    Images of alice's, of every kind the table speaks of; made when first asked for, and kept until they are used up.
    """

    _service: Service
    _other: str = field(init=False)
    _ids: dict[tuple[str, str, str | None], str] = field(init=False, factory=dict)
    _records: dict[str, object] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._other = self._service.keystone.id_of("projects", PEOPLE["bob"][0])

    def member_id(self, persona: Persona) -> str:
        """
        Tell which project the images that a persona is shown are shared with.
        """
        return GUESTS if persona.member_status is None else self._other

    def find(self, status: str, visibility: str, persona: Persona) -> str:
        """
        Return the id of an image.
        """
        key = (status, visibility, persona.member_status)
        if key not in self._ids:
            self._ids[key] = image_id = self._make(status, visibility, persona)
            self._records[image_id] = self._look(image_id, visibility)
        return self._ids[key]

    def use_up(self, status: str, visibility: str, persona: Persona) -> None:
        """
        Have another one made the next time.
        """
        del self._ids[status, visibility, persona.member_status]

    def altered(self, image_id: str, visibility: str) -> bool:
        """
        Tell whether an image is other than it was made.
        """
        return self._look(image_id, visibility) != self._records[image_id]

    def _look(self, image_id: str, visibility: str) -> object:
        path = f"/v2/images/{image_id}"
        members = self._service.tell("admin", "GET", f"{path}/members") if visibility == "shared" else None
        return self._service.tell("admin", "GET", path), members

    def _make(self, status: str, visibility: str, persona: Persona) -> str:
        tell = self._service.tell
        document = {"disk_format": "raw", "container_format": "bare", "tags": ["old"], "visibility": "shared"}
        image_id: str = tell("alice", "POST", "/v2/images", document)["id"]
        path = f"/v2/images/{image_id}"
        # Members stay with an image that is shared no longer, and must not count then.
        member_id = self.member_id(persona)
        tell("alice", "POST", f"{path}/members", {"member": member_id})
        tell("admin", "PUT", f"{path}/members/{member_id}", {"status": persona.member_status or "accepted"})
        if status != "queued":
            answered, body = self._service.ask("alice", "PUT", f"{path}/file", OCTETS, DATA)
            assert answered == 204, body
        if status == "deactivated":
            tell("admin", "POST", f"{path}/actions/deactivate")
        if visibility != "shared":
            tell("admin", "PATCH", path, [{"op": "replace", "path": "/visibility", "value": visibility}])
        return image_id
