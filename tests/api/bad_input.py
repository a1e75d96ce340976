"""
Requests that are wrong, each with the answer it gets: from every database, with and without a cache before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import field, frozen

from glance_tx.streaming.units import KiB, MiB
from tests.api.service import OCTETS, OLDER_PATCH_TYPE, PATCH_TYPE, UNKNOWN_ID

__all__ = ["MANY", "Attempt", "Lie", "attempts", "lies"]

MANY: Final = 100_000
"""How many tags, or properties, are far too many."""

_JSON: Final = {"Content-Type": "application/json"}
_PATCH: Final = {"Content-Type": PATCH_TYPE}
_OLDER_PATCH: Final = {"Content-Type": OLDER_PATCH_TYPE}
_EMOJI: Final = "\U0001f600"
_BROKEN: Final = re.compile("%(?:00|ff|ED|$)")
_TOO_LONG: Final = "114688 bytes"


@frozen
class Attempt:
    """
    One wrong request.

    :param method: Of the request, sent by the owner of the image that ``path`` is about.
    :param path: With the id of an image, which is shared and has no data, for ``{id}``.
    :param status: Of the answer.
    :param says: What the answer names, among other things.
    """

    method: str
    path: str
    status: int
    says: str = ""
    body: bytes = field(default=b"", repr=lambda body: f"{body[:60]!r} ({len(body)} bytes)")
    headers: Mapping[str, str] = field(factory=dict, repr=lambda headers: repr(headers)[:60])


def attempts() -> Iterator[Attempt]:
    """
    Give all of them.
    """
    yield from _long_documents()
    yield from _odd_documents()
    yield from _odd_patches()
    yield from _odd_values()
    yield from _odd_paths()
    yield from _odd_queries()
    yield from _odd_members_and_tags()
    yield from _odd_headers()


def _post(body: bytes | str, status: int, says: str = "") -> Attempt:
    return Attempt("POST", "/v2/images", status, says, body.encode() if isinstance(body, str) else body, _JSON)


def _patch(body: bytes | str, status: int, says: str = "", kind: Mapping[str, str] = _PATCH) -> Attempt:
    return Attempt("PATCH", "/v2/images/{id}", status, says, body.encode() if isinstance(body, str) else body, kind)


def _set(name: str, value: str, status: int, says: str = "") -> Iterator[Attempt]:
    """
    Give an image a value, in the text of JSON, in each of the ways there are.
    """
    text = json.dumps(name)
    pointer = json.dumps("/" + name.replace("~", "~0").replace("/", "~1"))
    yield _post(f"{{{text}: {value}}}", status, says)
    yield _patch(f'[{{"op": "add", "path": {pointer}, "value": {value}}}]', status, says)


def _long_documents() -> Iterator[Attempt]:
    tags = json.dumps([f"tag-{number}" for number in range(MANY)])
    yield from _set("tags", tags, 413, _TOO_LONG)
    fewer = json.dumps([f"tag-{number}" for number in range(8000)])
    yield from _set("tags", fewer, 413, "8000")
    yield _post(json.dumps({f"property-{number}": "" for number in range(MANY)}), 413, _TOO_LONG)
    yield _post(json.dumps({f"p{number}": "" for number in range(8000)}), 413, "8000")
    added = [{"op": "add", "path": f"/p{number}", "value": ""} for number in range(MANY)]
    yield _patch(json.dumps(added), 413, _TOO_LONG)
    yield _patch(json.dumps(added[:2000]), 413, "properties")
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for size in (1 * MiB, 100 * KiB):
            depth = size // len(opening)
            status, says = (413, _TOO_LONG) if size == MiB else (400, "JSON")
            yield _post(opening * depth, status, says)
            yield _patch(opening * depth, status, says)
            depth = size // (len(opening) + len(closing) + 1)
            whole = opening * depth + b"1" + closing * depth
            yield _post(whole, status, says)
            yield _patch(b'[{"op": "add", "path": "/a", "value": ' + whole + b"}]", status, says)
    yield _post(b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "64 levels")
    yield _post(b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", 400, "must be a string")


def _odd_documents() -> Iterator[Attempt]:
    for body in (
        b"",
        b"nonsense",
        b"{",
        b'{"name": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"1",
        b'"x"',
        b"null",
    ):
        yield _post(body, 400, "JSON")
        yield _patch(body, 400, "JSON")
    yield _post(b"[]", 400, "must be a JSON object")
    for number in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "+1", ".5", "0x10"):
        yield from _set("min_ram", number, 400, "JSON")
    for number in (str(10**400), str(2**64), str(2**31), "-1", "1.5", "1e3", "true", "null", '"1"', "[1]"):
        yield from _set("min_ram", number, 400)
    for lone in ("\\ud800", "\\udc00", "x\\ud83dx"):
        yield _post(f'{{"name": "{lone}"}}', 400, "JSON")
        yield _post(f'{{"{lone}": "x"}}', 400, "JSON")
        yield _patch(f'[{{"op": "add", "path": "/name", "value": "{lone}"}}]', 400, "JSON")
    yield _post(b'{"name": "\xed\xa0\x80"}', 400, "JSON")
    yield _post('{"name": "a\\u0000b"}', 400, "NUL")


def _odd_patches() -> Iterator[Attempt]:
    long = "x" * 64 * KiB
    for document, status, says in (
        ({}, 400, "must be a list"),
        ([1], 400, "must be an object"),
        ([[]], 400, "must be an object"),
        ([{}], 400, "'op'"),
        ([{"op": ["add"], "path": "/name", "value": "x"}], 400, "'op'"),
        ([{"op": {}, "path": "/name", "value": "x"}], 400, "'op'"),
        ([{"op": long, "path": "/name"}], 400, "'op'"),
        ([{"op": "move", "from": "/name", "path": "/x"}], 400, "'op'"),
        ([{"op": "add", "value": "x"}], 400, "'path'"),
        ([{"op": "add", "path": "/name"}], 400, "'value'"),
        ([{"op": "add", "path": 1, "value": "x"}], 400, "must be a text"),
        ([{"op": "add", "path": ["/name"], "value": "x"}], 400, "must be a text"),
        ([{"op": "add", "path": "", "value": {}}], 400, "slash"),
        ([{"op": "add", "path": "/", "value": {}}], 400, "empty part"),
        ([{"op": "add", "path": "//", "value": {}}], 400, "empty part"),
        ([{"op": "add", "path": "/~2", "value": "x"}], 400, "tilde"),
        ([{"op": "add", "path": "/tags/-", "value": "x"}], 400, "no parts"),
        ([{"op": "add", "path": "/" + long, "value": "x"}], 400, "255"),
        ([{"op": "replace", "path": "/" + long, "value": "x"}], 409, "no property"),
        ([{"op": "remove", "path": "/" + long}], 409, "no property"),
        ([{"op": "add", "path": "/a" * (32 * KiB), "value": "x"}], 400, "no parts"),
        ([{"op": "add", "path": "/" + "~1" * (32 * KiB), "value": "x"}], 400, "255"),
        ([{"op": "add", "path": "/" * (64 * KiB), "value": "x"}], 400, "empty part"),
        ([{"op": "add", "path": long, "value": "x"}], 400, "slash"),
        ([{"op": "replace", "path": f"/{_EMOJI}", "value": "x"}], 409, "no property"),
        ([{"op": "replace", "path": "/id", "value": UNKNOWN_ID}], 403, "read-only"),
        ([{"op": "remove", "path": "/name"}], 403, "name"),
    ):
        yield _patch(json.dumps(document), status, says)
    for older, says in (
        ([{"add": 1, "value": 1}], "must be a text"),
        ([{"add": "/x", "remove": "/x", "value": "x"}], "exactly one"),
        ([{"add": "/" + long, "value": "x"}], "255"),
    ):
        yield _patch(json.dumps(older), 400, says, _OLDER_PATCH)
    yield Attempt("PATCH", "/v2/images/{id}", 415, "json-patch", b"[]", _JSON)


def _odd_values() -> Iterator[Attempt]:
    emoji, long = json.dumps(_EMOJI), json.dumps("x" * 70_000)
    for name in ("name", "custom"):
        for value in ("1", "true", "[]", "{}", '["x"]', '{"x": "y"}'):
            yield from _set(name, value, 400, name)
        yield from _set(name, emoji, 400, "Multilingual")
        yield from _set(name, long, 400, "longer")
    for name, status, says in ((_EMOJI, 400, "Multilingual"), ("x" * 256, 400, "255"), ("x" * 70_000, 400, "255")):
        yield from _set(name, '"x"', status, says)
    yield _post('{"": "x"}', 400, "name")
    for value in ("1", '"x"', "{}", "null", "[1]", "[null]", "[[]]", "[{}]"):
        yield from _set("tags", value, 400, "tag")
    yield from _set("tags", f"[{emoji}]", 400, "Multilingual")
    yield from _set("tags", f"[{long}]", 400, "longer")
    for name in ("visibility", "protected", "os_hidden", "disk_format", "container_format"):
        for value in ("1", "[]", "{}", '""', emoji, long):
            yield from _set(name, value, 400, name)
    for name in ("status", "checksum", "size", "created_at", "self", "os_glance_x", "deleted"):
        for value in ("1", "null", emoji):
            yield from _set(name, value, 403, name)
    for value in ("1", "null", '"x"', '["x"]', '[{"url": 1}]', '[{"url": "file:///etc/passwd", "metadata": {}}]'):
        yield from _set("locations", value, 403, "locations")
    for value in ("1", "null", "[]", '""', '"x"', emoji, json.dumps("x" * 36), json.dumps("../../etc/passwd")):
        yield _post(f'{{"id": {value}}}', 400, "UUID")


def _odd_paths() -> Iterator[Attempt]:
    for text in (
        "a%2fb", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "a%00b", "x" * 2000, "x" * 36, "%F0%9F%98%80", "%", "'--",
        "%C3%A9", "%ff", "%ED%A0%80", "\\", "{id}%00", "{id}%20", "%20{id}", "{id}x",
    ):  # fmt: skip
        status = 400 if _BROKEN.search(text) else 404
        for method, rest, body, headers in (
            ("GET", "", b"", {}),
            ("DELETE", "", b"", {}),
            ("PATCH", "", b"[]", _PATCH),
            ("GET", "/file", b"", {}),
            ("PUT", "/file", b"data", {"Content-Type": OCTETS}),
            ("GET", "/members", b"", {}),
            ("POST", "/members", b'{"member": "x"}', _JSON),
            ("PUT", "/tags/x", b"", {}),
            ("POST", "/actions/deactivate", b"", {}),
            ("GET", "/locations", b"", {}),
        ):
            yield Attempt(method, f"/v2/images/{text}{rest}", status, "", body, headers)
    yield Attempt("GET", "/v2/images/../../etc/passwd", 404)


def _odd_queries() -> Iterator[Attempt]:
    for query, says in (
        ("limit=" + "9" * 5000 + "x", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e400", "limit"),
        ("limit=%D9%A1", "limit"),
        ("min_ram=" + "9" * 5000, "min_ram"),
        ("size_min=1e400", "size_min"),
        ("min_disk=NaN", "min_disk"),
        ("created_at=gt:nonsense", "created_at"),
        ("created_at=gt:99999-01-01T00:00:00Z", "created_at"),
        ("created_at=gte:9999-12-31T23:59:59-23:59", ""),
        ("updated_at=lt:" + "9" * 5000, "updated_at"),
        ("status=in:" + "%22" * 1001, "status"),
        ("sort=" + ",".join(["x"] * 3000), "sort"),
        ("sort_key=name&sort_key=id&sort_dir=asc&sort_dir=asc&sort_dir=asc", "sort_dir"),
        ("visibility=everything", "visibility"),
        ("member_status=x", "member_status"),
        ("os_hidden=perhaps", "os_hidden"),
        ("protected=perhaps", "protected"),
        ("marker=nowhere", "marker"),
        ("marker=%00", "cannot be kept"),
        ("marker=%F0%9F%98%80", "marker"),
        ("name=%ff", "UTF-8"),
        ("name=%ED%A0%80", "UTF-8"),
        ("&".join(f"a{number}=" for number in range(1100)), "too many"),
        ("&".join(f"a{number}=" for number in range(200)), "128 properties"),
        ("&".join(f"tag=a{number}" for number in range(200)), "128 tags"),
    ):
        yield Attempt("GET", f"/v2/images?{query}", 400, says)
    for name in ("name", "tag", "owner", "custom", "id", "checksum", "status", "%F0%9F%98%80", "disk_format"):
        yield Attempt("GET", f"/v2/images?{name}=%00", 400, "cannot be kept")
        for value in ("%F0%9F%98%80", "x" * 2000, "..%2f", "in:%F0%9F%98%80"):
            yield Attempt("GET", f"/v2/images?{name}={value}", 200, '"images":[]')
    yield Attempt("GET", "/v2/images?name=" + "x" * 9000, 414)


def _odd_members_and_tags() -> Iterator[Attempt]:
    members = "/v2/images/{id}/members"
    for body in (b"", b"x", b"[]", b'["member"]', b'"member"', b"{}", b'{"status": "x"}'):
        yield Attempt("POST", members, 400, "", body, _JSON)
        yield Attempt("PUT", f"{members}/p2", 400, "", body.replace(b"status", b"stat"), _JSON)
    for value in ("1", "null", "true", "[]", "{}", '["p2"]', '""', json.dumps("x" * 256)):
        yield Attempt("POST", members, 400, "member", f'{{"member": {value}}}'.encode(), _JSON)
        yield Attempt("PUT", f"{members}/p2", 400, "status", f'{{"status": {value}}}'.encode(), _JSON)
    yield Attempt("POST", members, 413, _TOO_LONG, b'{"member": "' + b"x" * MiB + b'"}', _JSON)
    for text in ("%F0%9F%98%80", "x" * 2000, "%2e%2e", "a%2fb", "%00"):
        status = 400 if _BROKEN.search(text) else 404
        yield Attempt("GET", f"{members}/{text}", status)
        yield Attempt("DELETE", f"{members}/{text}", status)
        yield Attempt("PUT", f"{members}/{text}", status, "", b'{"status": "accepted"}', _JSON)
        yield Attempt("DELETE", "/v2/images/{id}/tags/" + text, status)
    for text, status in (("%F0%9F%98%80", 400), ("x" * 256, 400), ("%00", 400), ("%ff", 400), ("", 404)):
        yield Attempt("PUT", "/v2/images/{id}/tags/" + text, status)
    yield Attempt("PUT", "/v2/images/{id}/tags/x", 400, "body", b'{"tag": 1}', _JSON)
    for action in ("deactivate", "reactivate"):
        yield Attempt("POST", f"/v2/images/{{id}}/actions/{action}", 400, "body", b'{"a": 1}', _JSON)
    yield Attempt("POST", "/v2/images/{id}/actions/explode", 404)


def _odd_headers() -> Iterator[Attempt]:
    data = "/v2/images/{id}/file"
    for size in ("-1", "x", "1e400", "9" * 5000):
        yield Attempt("PUT", data, 400, "", b"data", {"Content-Type": OCTETS, "x-openstack-image-size": size})
    for name in ("X-Long", "Range", "Accept", "Content-Type", "X-OpenStack-Request-ID"):
        yield Attempt("GET", "/v2/images", 431, "", b"", {name: "x" * 64 * KiB})


@frozen
class Lie:
    """
    A request whose body is not what its head says.

    :param method: Of the request.
    :param path: With the id of an image for ``{id}``.
    :param kind: What its body would be.
    :param framing: The header lines that say how long the body is, each with its end.
    :param body: What is sent after the head.
    :param statuses: Of the answers, after which the server closes the connection.
    :param leaves: The client ends the connection when it has sent that.
    """

    method: str
    path: str
    kind: str
    framing: str
    body: bytes
    statuses: Sequence[int] = (400,)
    leaves: bool = False

    def request(self, image_id: str, token: str) -> bytes:
        """
        Make the bytes of the request.
        """
        head = f"{self.method} {self.path.replace('{id}', image_id)} HTTP/1.1\r\nHost: localhost\r\n"
        head += f"X-Auth-Token: {token}\r\nContent-Type: {self.kind}\r\n{self.framing}\r\n"
        return head.encode() + self.body


def lies() -> Iterator[Lie]:
    """
    Give all of them.
    """
    for method, path, kind, body in (
        ("POST", "/v2/images", "application/json", b'{"name": "lie"}'),
        ("PATCH", "/v2/images/{id}", PATCH_TYPE, b'[{"op": "replace", "path": "/name", "value": "lie"}]'),
        ("PUT", "/v2/images/{id}/file", OCTETS, b"some data that are never whole"),
    ):
        length, chunked = f"Content-Length: {len(body)}\r\n", "Transfer-Encoding: chunked\r\n"
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        for framing, sent in (
            (length + f"Content-Length: {len(body) + 1}\r\n", body),
            (length + chunked, chunk + b"0\r\n\r\n"),
            ("Content-Length: " + "9" * 5000 + "\r\n", body),
            (f"Content-Length: {len(body)}, {len(body)}\r\n", body),
            (f"Content-Length: +{len(body)}\r\n", body),
            (chunked, body + b"\r\n"),
            (chunked, body * 100),
            (chunked, chunk + b"zz\r\nxx\r\n0\r\n\r\n"),
            (chunked, b"-1\r\n" + chunk + b"0\r\n\r\n"),
            (chunked, b"1\r\n" + body + b"\r\n0\r\n\r\n"),
            (chunked, b"f" * 20 + b"\r\n" + body + b"\r\n0\r\n\r\n"),
            (chunked, chunk + b"0;" + b"x" * 64 * KiB + b"\r\n\r\n"),
        ):
            yield Lie(method, path, kind, framing, sent)
        for framing, sent in (
            (f"Content-Length: {len(body) + 1}\r\n", body),
            (chunked, chunk),
            (chunked, chunk + b"0\r\n"),
            (chunked, chunk.replace(b"\r\n", b"\n") + b"0\n\n"),
        ):
            yield Lie(method, path, kind, framing, sent, (), leaves=True)
        if method == "PUT":
            yield Lie(method, path, kind, f"Content-Length: {2**39}\r\n", body, (), leaves=True)
        else:
            yield Lie(method, path, kind, f"Content-Length: {len(body) - 2}\r\n", body, (400, 400))
