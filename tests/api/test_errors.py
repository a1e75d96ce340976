"""
What clients see of errors: their forms, and that nothing they send makes another kind.
"""

from __future__ import annotations

import json

from tests.api.service import OCTETS, PATCH_TYPE, UNKNOWN_ID, SqlServiceTestCase

SDK_ACCEPT = "application/json, */*;q=0.1"
FLOOD = "x" * 16_000


class FormTests(SqlServiceTestCase):
    """
    Errors come in the form that the client asks for.
    """

    async def test_forms(self) -> None:
        """
        JSON where it is asked for by name, HTML where anything goes, else plain text: for each kind of refusal.
        """
        image_id = await self.create(visibility="private")
        for method, path, token, status in [
            ("GET", f"/v2/images/{UNKNOWN_ID}", "owner", "404 Not Found"),
            ("GET", f"/v2/images/{image_id}", "stranger", "404 Not Found"),
            ("GET", f"/v2/images/{image_id}/file", "reader", "403 Forbidden"),
            ("GET", "/v2/images?limit=x", "owner", "400 Bad Request"),
            ("GET", "/v2/images", None, "401 Unauthorized"),
            ("GET", "/nowhere", "owner", "404 Not Found"),
            ("PUT", "/v2/images", "owner", "405 Method Not Allowed"),
            ("PUT", f"/v2/images/{image_id}/file", "owner", "415 Unsupported Media Type"),
            ("PATCH", f"/v2/images/{image_id}", "owner", "415 Unsupported Media Type"),
        ]:
            for accept, kind in [
                ("application/json", "application/json"),
                (SDK_ACCEPT, "application/json"),
                ("*/*", "text/html; charset=UTF-8"),
                ("text/html", "text/html; charset=UTF-8"),
                ("image/png", "text/plain; charset=UTF-8"),
                ("", "text/html; charset=UTF-8"),
            ]:
                reply = await self.call(method, path, token=token, Accept=accept)
                self.assertEqual((path, accept, reply.status), (path, accept, int(status[:3])))
                self.assertEqual((path, accept, reply.headers["content-type"]), (path, accept, kind))
                self.assertEqual(reply.headers["content-length"], str(len(reply.body)))
                text = reply.body.decode()
                if kind == "application/json":
                    self.assertEqual(set(reply.json), {"message", "code", "title"})
                    self.assertEqual((reply.json["code"], reply.json["title"]), (status, status[4:]))
                elif kind.startswith("text/html"):
                    self.assertIn(f"<title>{status}</title>", text)
                    self.assertIn(f"<h1>{status}</h1>", text)
                else:
                    self.assertTrue(text.startswith(f"{status}\n\n"), text)

    async def test_nothing_is_reflected_as_markup(self) -> None:
        """
        What a client sent is quoted as text.
        """
        reply = await self.call("GET", "/v2/images?sort_key=%3Cscript%3Ealert(1)%3C/script%3E", Accept="*/*")
        self.assertEqual(reply.status, 400)
        self.assertNotIn(b"<script>", reply.body)
        reply = await self.call("GET", "/v2/images/%3Cscript%3E", Accept="*/*")
        self.assertEqual(reply.status, 404)
        self.assertNotIn(b"<script>", reply.body)

    async def test_tokens_are_not_quoted(self) -> None:
        """
        A refused token is not in the answer.
        """
        for token in ("secret-token", "secret token", "secret-tok\u00e9n"):
            reply = await self.call("GET", "/v2/images", token=token)
            self.assertEqual(reply.status, 401)
            self.assertNotIn(b"secret", reply.body)

    async def test_request_ids(self) -> None:
        """
        Every answer has a request id: the client's own, cleaned, or a new one.
        """
        for sent, expected in [
            ("req-6f1d5e1c-9a5c-4f0e-8f0a-0d9d2a3b4c5d", "req-6f1d5e1c-9a5c-4f0e-8f0a-0d9d2a3b4c5d"),
            ("6f1d5e1c-9a5c-4f0e-8f0a-0d9d2a3b4c5d", "req-6f1d5e1c-9a5c-4f0e-8f0a-0d9d2a3b4c5d"),
        ]:
            reply = await self.call("GET", "/v2/images", X_OpenStack_Request_ID=sent)
            self.assertEqual(reply.headers["x-openstack-request-id"], expected)
        for sent in ("x" * 10_000, "<script>", "", "a b\tc", "\u00e9"):
            for token in ("owner", "garbage"):
                reply = await self.call("GET", "/v2/images", token=token, X_OpenStack_Request_ID=sent)
                self.assertIn(reply.status, (200, 401))
                self.assertRegex(reply.headers["x-openstack-request-id"], r"\Areq-[0-9A-Za-z._-]{1,64}\Z")


class MethodTests(SqlServiceTestCase):
    """
    What each path can be asked.
    """

    async def test_methods(self) -> None:
        """
        Methods that a path has not are refused with those it has; no token is needed to be told.
        """
        image_id = await self.create()
        for path, allowed in [
            ("/versions", {"GET"}),
            ("/v2/images", {"GET", "POST"}),
            (f"/v2/images/{image_id}", {"DELETE", "GET", "PATCH"}),
            (f"/v2/images/{image_id}/file", {"GET", "HEAD", "PUT"}),
            ("/v2/schemas/image", {"GET"}),
            ("/v2/schemas/images", {"GET"}),
        ]:
            methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get", "PROPFIND"}
            for method in methods - allowed:
                reply = await self.call(method, path, token=None)
                self.assertEqual((method, path, reply.status), (method, path, 405))
                self.assertEqual(set(reply.headers["allow"].split(", ")), allowed)
        self.assertEqual((await self.show(image_id))["status"], "queued")

    async def test_bodies_where_there_are_none(self) -> None:
        """
        A route that takes no body refuses one, announced or in chunks, and does nothing; an empty one is none.
        """
        image_id = await self.create()
        for method, path in [
            ("GET", "/v2/images"),
            ("GET", f"/v2/images/{image_id}"),
            ("GET", f"/v2/images/{image_id}/file"),
            ("GET", "/v2/schemas/image"),
            ("GET", "/versions"),
            ("DELETE", f"/v2/images/{image_id}"),
        ]:
            self.assertEqual((path, (await self.call(method, path, body=b"x")).status), (path, 400))
            self.assertEqual((path, await self.chunked(method, path, b"1\r\nx\r\n0\r\n\r\n")), (path, 400))
            if method == "GET":
                self.assertNotEqual((path, await self.chunked(method, path, b"0\r\n\r\n")), (path, 400))
        self.assertEqual((await self.show(image_id))["status"], "queued")

    async def chunked(self, method: str, path: str, chunks: bytes) -> int:
        """
        Send a request with a body in chunks and tell the status of the answer.
        """
        wire = await self.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: owner\r\nConnection: close\r\n"
        wire.send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        return int((await wire.ended()).split(b" ", 2)[1])

    async def test_what_is_not_there_yet(self) -> None:
        """
        Routes of the API that this service does not have are unknown paths.
        """
        image_id = await self.create()
        for method, path in [
            ("GET", "/v2/tasks"),
            ("PUT", f"/v2/images/{image_id}/stage"),
            ("GET", "/v2/cache"),
            ("GET", "/v2/images/"),
            ("GET", "/v2/"),
        ]:
            self.assertEqual((method, path, (await self.call(method, path)).status), (method, path, 404))


class BadInputTests(SqlServiceTestCase):
    """
    Nothing that a client sends is answered by an error of the server.
    """

    async def test_texts(self) -> None:
        """
        Odd characters are refused or looked for in vain, wherever they stand.
        """
        image_id = await self.create()
        for text in (
            "%00",
            "%F0%9F%98%80",
            "%ff",
            "%ED%A0%80",
            "%0d%0aX-Evil:%201",
            "..%2f..%2fetc%2fpasswd",
            "%",
            "%2e%2e",
            "'--",
        ):
            for method, path in [
                ("GET", f"/v2/images/{text}"),
                ("DELETE", f"/v2/images/{text}"),
                ("GET", f"/v2/images/{text}/file"),
                ("HEAD", f"/v2/images/{text}/file"),
                ("GET", f"/v2/images/{image_id}/{text}"),
                ("GET", f"/{text}/images"),
                ("GET", f"/v2/schemas/{text}"),
                ("GET", f"/v2/images?name={text}"),
                ("GET", f"/v2/images?tag={text}"),
                ("GET", f"/v2/images?{text}={text}"),
                ("GET", f"/v2/images?marker={text}"),
                ("GET", f"/v2/images?limit={text}"),
                ("GET", f"/v2/images?sort={text}"),
            ]:
                reply = await self.call(method, path)
                allowed = (200, 400) if "?" in path else (400, 404)
                self.assertTrue(reply.status in allowed, (method, path, reply))
                self.assertNotIn("x-evil", reply.headers)

    async def test_headers(self) -> None:
        """
        Headers that are too many, too long or malformed are refused, and tell what was wrong.
        """
        for headers, status in [
            (f"X-Long: {FLOOD}x{FLOOD}\r\n", 431),
            ("".join(f"X-{number}: {FLOOD}\r\n" for number in range(5)), 431),
            ("".join(f"X-{number}: a\r\n" for number in range(300)), 431),
            (f"X-Auth-Token: {'x' * 9000}\r\n", 401),
            (f"X-Auth-Token: {'x' * 17_000}\r\n", 431),
            ("X-Auth-Token: ow\0ner\r\n", 400),
            ("X-Auth-Token owner\r\n", 400),
            ("X-Auth-Token : owner\r\n", 400),
            (" X-Auth-Token: owner\r\n", 400),
            ("X-Auth-Token: owner\n", 400),
            ("Host: elsewhere\r\n", 400),
            ("Content-Length: x\r\n", 400),
            ("Content-Length: -1\r\n", 400),
            ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: gzip\r\n", 400),
            ("Expect: miracles\r\n", 417),
        ]:
            answer = await self.ask("GET", "/v2/images", headers)
            self.assertEqual((headers[:40], answer.status), (headers[:40], status))
            self.assertIn("x-openstack-request-id", answer.headers)
            self.assertEqual(answer.headers["content-type"], "text/plain; charset=UTF-8")

    async def test_targets(self) -> None:
        """
        Request targets that are too long or malformed are refused.
        """
        for target, status in [
            ("/v2/images?name=" + "x" * 9000, 414),
            ("/v2/images/" + "x" * 70_000, 414),
            ("/v2/images#fragment", 400),
            ("images", 400),
            ("*", 400),
            ("ftp://h/v2/images", 400),
        ]:
            answer = await self.ask("GET", target, "X-Auth-Token: owner\r\n")
            self.assertEqual((target[:30], answer.status), (target[:30], status))

    async def test_documents(self) -> None:
        """
        Whatever is in a document, a new image or a patch is made of it or refused.
        """
        image_id = await self.create()
        odd: list[object] = [
            None, True, False, 0, -1, 1.5, 2**63, -(2**63), 10**40, 1e308, "", "\0", "\ud83d\ude00", "\U0001f600",
            "x" * 70_000, [], {}, [[]], [{}], {"": ""}, [None], ["\0"], {"\0": 1}, ["a"] * 10_000, "\u202e", "\uffff",
        ]  # fmt: skip
        names = [
            "id", "name", "visibility", "protected", "os_hidden", "owner", "disk_format", "container_format", "min_ram",
            "min_disk", "tags", "status", "locations", "custom", "kernel_id", "os_hash_algo", "", "\0", "a/b", "~",
        ]  # fmt: skip
        for name in names:
            for value in odd:
                reply = await self.call("POST", "/v2/images", {name: value})
                self.assertTrue(reply.status in (201, 400, 403, 413), (name, str(value)[:20], reply))
                patch = [{"op": "replace", "path": f"/{name}", "value": value}]
                reply = await self.patch(image_id, patch)
                self.assertTrue(reply.status in (200, 400, 403, 409, 413), (name, str(value)[:20], reply))

    async def test_answers_stay_small(self) -> None:
        """
        However long the thing that is wrong, the explanation is not.
        """
        for reply in (
            await self.call("POST", "/v2/images", {"x" * 100_000: "y"}),
            await self.call("GET", "/v2/images?sort_key=" + "x" * 8000),
            await self.call("GET", "/v2/images/" + "x" * 8000),
            await self.call("GET", "/v2/images/x/file", Content_Type="x" * 15_000, Range="x" * 15_000),
        ):
            self.assertTrue(400 <= reply.status < 500)
            self.assertLess(len(reply.body), 4096)

    async def test_mixed_up(self) -> None:
        """
        One kind of body where another belongs is refused in the form of the place.
        """
        image_id = await self.create()
        document = json.dumps({"name": "x"}).encode()
        for method, path, kind, body, status in [
            ("POST", "/v2/images", OCTETS, bytes(1000), 400),
            ("POST", "/v2/images", "application/json", bytes(range(256)), 400),
            ("PATCH", f"/v2/images/{image_id}", PATCH_TYPE, document, 400),
            ("PATCH", f"/v2/images/{image_id}", PATCH_TYPE, bytes(1000), 400),
            ("PATCH", f"/v2/images/{image_id}", OCTETS, b"[]", 415),
            ("PUT", f"/v2/images/{image_id}/file", PATCH_TYPE, b"[]", 415),
        ]:
            reply = await self.call(method, path, body=body, Content_Type=kind)
            self.assertEqual((method, path, kind, reply.status), (method, path, kind, status))
