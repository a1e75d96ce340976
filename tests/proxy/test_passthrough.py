"""
Tests of requests that are passed on, byte by byte, over real sockets.
"""

from __future__ import annotations

import gzip
import json

from glance_cache.client import UpstreamTimes
from glance_tx.streaming.units import KiB, MiB
from tests.doubles.upstreams import RawConnection, RawRequest, RawUpstream, turns
from tests.proxy.nodes import NodeTestCase, later
from tests.web.raw import RawAnswer, RawClient, until

PIECE = bytes(range(256)) * 256
LONG = 48 * MiB
"""More than all the buffers on the way hold."""


async def unsent_at_rest(sender: RawClient) -> int:
    """
    How much is left to be sent when nothing moves any more.
    """
    transport = sender.transport
    left = -1
    while left != (now := len(transport.dataBuffer) - transport.offset + transport._tempDataLen):
        left = now
        await turns(300)
    return left


class RelayTestCase(NodeTestCase):
    async def exchange(
        self, method: str, target: str, *lines: str, body: bytes = b""
    ) -> tuple[RawClient, RawConnection, RawRequest]:
        """
        Send a request, and take it at the other end.
        """
        client = await self.request(method, target, *lines, body=body)
        connection, request = await self.raw.exchange()
        return client, connection, request

    async def answer_to(self, method: str, *head: str, body: bytes = b"", target: str = "/v2/x") -> RawAnswer:
        """
        What a client gets of an answer.
        """
        client, connection, _ = await self.exchange(method, target)
        connection.head(*head)
        connection.send(body)
        answer = await client.answer(to_head=method == "HEAD")
        connection.close()
        return answer


class RequestTests(RelayTestCase):
    """
    Requests reach the upstream as they are.
    """

    async def test_methods(self) -> None:
        """
        Every method goes through, known or not.
        """
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get"):
            client, connection, request = await self.exchange(method, "/v2/images")
            self.assertEqual((request.method, request.target), (method, "/v2/images"))
            connection.reply(405)
            self.assertEqual((await client.answer(to_head=True)).status, 405)
            connection.close()

    async def test_targets(self) -> None:
        """
        Paths and queries arrive as they were written.
        """
        for target in (
            "/v2/images?name=in:%22a%2Cb%22&limit=3&&marker",
            "/v2/images/%2f%2F/%C3%A9/..%2e/./a;b?",
            "//v2//images//",
            "/v2/metadefs/namespaces/OS::Compute::Hypervisor/a%20b+c",
            "/v2.99/%zz",
            "/v2/images/%61%62/file/",
            "/?",
        ):
            client, connection, request = await self.exchange("GET", target)
            self.assertEqual(request.target, target)
            connection.reply(200)
            await client.answer()
            connection.close()

    async def test_headers(self) -> None:
        """
        Headers arrive as they are, but for those of the connection; Host is the upstream's.
        """
        lines = ("X-Auth-Token: t", "X-A: 1", "X-A: 2", "Accept-Encoding: gzip", "Cookie: a=b", "Range: bytes=0-1")
        _, _, request = await self.exchange(
            "GET", "/v2/images", *lines, "Connection: X-Hop, keep-alive", "X-Hop: 1", "TE: trailers", "Keep-Alive: 5"
        )
        for line in lines:
            name, _, value = line.partition(": ")
            self.assertIn(value, (request.header(name) or "").split(", "))
        self.assertEqual(request.header("X-A"), "1, 2")
        self.assertEqual(request.header("Host"), self.raw.url.removeprefix("http://"))
        for name in ("X-Hop", "TE", "Keep-Alive", "Connection", "Content-Length", "Transfer-Encoding"):
            self.assertIsNone(request.header(name), name)

    async def test_proxies_are_not_believed(self) -> None:
        """
        What a client says of proxies before it does not get to an upstream, which may trust this node.
        """
        lies = ("X-Forwarded-For: 1.1.1.1", "x-forwarded-proto: https", "X_Forwarded_Host: a", "FORWARDED: for=a")
        _, _, request = await self.exchange("GET", "/v2/images", *lies)
        for line in lies:
            self.assertIsNone(request.header(line.partition(":")[0]), line)

    async def test_identity_is_not_believed(self) -> None:
        """
        What only a token filter may say does not get through, in either spelling.
        """
        lies = ("X-Roles: admin", "X_Roles: admin", "x-project-id: p", "X_USER_ID: u", "X-Identity_Status: Confirmed")
        _, _, request = await self.exchange("GET", "/v2/images", *lies)
        for line in lies:
            self.assertIsNone(request.header(line.partition(":")[0]), line)

    async def test_other_spellings(self) -> None:
        """
        Neither does what a server that takes underscores for dashes could take for another token, or another length.
        """
        lies = ("X_Auth_Token: b", "x_storage-token: b", "X_SERVICE_TOKEN: b", "Content_Length: 5")
        _, _, request = await self.exchange("GET", "/v2/images", "X-Auth-Token: a", *lies)
        for line in lies:
            self.assertIsNone(request.header(line.partition(":")[0]), line)
        self.assertEqual(request.header("X-Auth-Token"), "a")

    async def test_request_id(self) -> None:
        """
        The upstream, the client and the log know a request by one name: the client's, if it has one.
        """
        for sent in ("req-11111111-1111-4111-8111-111111111111", None):
            lines = () if sent is None else (f"X-OpenStack-Request-ID: {sent}",)
            client, connection, request = await self.exchange("GET", "/v2/images", *lines)
            name = request.header("X-OpenStack-Request-ID")
            self.assertEqual(name if sent is None else sent, name)
            connection.reply(200, b"", "X-OpenStack-Request-ID: req-of-the-upstream")
            self.assertEqual((await client.answer()).headers["x-openstack-request-id"], name)
            self.assertEqual(self.records[-1].request_id, name)
            connection.close()

    async def test_bad_host(self) -> None:
        """
        A request for a host that is none is refused before anything has happened: its answer might name that host.
        """
        client = await self.raw_client()
        client.send(b"DELETE /v2/images/1 HTTP/1.1\r\nHost: a%20b\r\n\r\n")
        self.assertEqual((await client.answer()).status, 400)
        self.assertEqual(self.raw.connections, [])

    async def test_token_is_not_logged(self) -> None:
        """
        No record of a request has a token in it, whatever goes wrong.
        """
        client, connection, _ = await self.exchange("GET", "/v2/images", "X-Auth-Token: hush")
        connection.close()
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.assertNotIn("hush", repr(self.records))
        self.assertNotIn("127.0.0.1", answer.body.decode())


class AnswerTests(RelayTestCase):
    """
    Answers reach the client as they are.
    """

    async def test_plain(self) -> None:
        """
        Status, headers and body come as they are, but for the headers of the connection.
        """
        answer = await self.answer_to(
            "GET",
            "HTTP/1.1 418 Teapot",
            "Content-Length: 3",
            "X-A: 1",
            "Set-Cookie: a=b",
            "Connection: X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            body=b"tea",
        )
        self.assertEqual((answer.status, answer.body), (418, b"tea"))
        self.assertEqual((answer.headers["x-a"], answer.headers["set-cookie"]), ("1", "a=b"))
        for name in ("x-hop", "keep-alive", "proxy-authenticate", "connection", "x-cache"):
            self.assertNotIn(name, answer.headers)

    async def test_head(self) -> None:
        """
        An answer to HEAD keeps its length, and has no body.
        """
        answer = await self.answer_to("HEAD", "HTTP/1.1 200 OK", "Content-Length: 12345")
        self.assertEqual(answer.headers["content-length"], "12345")
        answer = await self.answer_to("HEAD", "HTTP/1.1 200 OK")
        self.assertNotIn("content-length", answer.headers)

    async def test_bodiless(self) -> None:
        """
        204 and 304 have no body, and the connection goes on.
        """
        for status in (204, 304):
            client, connection, _ = await self.exchange("GET", "/v2/x")
            connection.head(f"HTTP/1.1 {status} Whatever", "X-A: 1")
            answer = await client.answer()
            self.assertEqual((answer.status, answer.headers["x-a"]), (status, "1"))
            self.assertFalse({"transfer-encoding", "content-length"} & answer.headers.keys())
            client.send(b"GET /v2/y HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual((await connection.request()).target, "/v2/y")
            connection.reply(200)
            await client.answer()
            connection.close()

    async def test_unknown_length(self) -> None:
        """
        An answer of unknown length goes out in chunks, as it comes.
        """
        client, connection, _ = await self.exchange("GET", "/v2/x")
        connection.head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        connection.send(b"5\r\nfirst\r\n")
        head = await client.bytes_until(b"\r\n\r\n")
        self.assertIn(b"transfer-encoding: chunked", head.lower())
        self.assertEqual(await client.bytes_until(b"first\r\n"), b"5\r\nfirst\r\n")
        connection.send(b"0\r\n\r\n")
        self.assertEqual(await client.bytes_until(b"0\r\n\r\n"), b"0\r\n\r\n")

    async def test_compressed(self) -> None:
        """
        What the upstream compressed stays so.
        """
        body = gzip.compress(b"x" * 1000)
        answer = await self.answer_to(
            "GET", "HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Content-Encoding: gzip", body=body
        )
        self.assertEqual((answer.body, answer.headers["content-encoding"]), (body, "gzip"))

    async def test_cookies_are_not_kept(self) -> None:
        """
        One client's cookie is not another's.
        """
        await self.answer_to("GET", "HTTP/1.1 200 OK", "Content-Length: 0", "Set-Cookie: session=1; Path=/")
        _, _, request = await self.exchange("GET", "/v2/x")
        self.assertIsNone(request.header("Cookie"))

    async def test_redirects_are_not_followed(self) -> None:
        """
        A redirect is the client's to follow; one to the upstream itself leads back here.
        """
        for status in (301, 302, 303, 307, 308):
            for location, expected in (
                ("https://elsewhere/v2/x", "https://elsewhere/v2/x"),
                (f"{self.raw.url}/v2/", "http://node.example.com/v2/"),
                ("/v2/", "/v2/"),
            ):
                answer = await self.answer_to(
                    "GET", f"HTTP/1.1 {status} Moved", "Content-Length: 0", f"Location: {location}"
                )
                self.assertEqual((answer.status, answer.headers["location"]), (status, expected))

    async def test_created(self) -> None:
        """
        What was made has its address here, whatever the upstream takes for its own.
        """
        for location in ("https://images.example.com/v2/images/1", f"{self.raw.url}/v2/images/1"):
            answer = await self.answer_to("POST", "HTTP/1.1 201 Created", "Content-Length: 0", f"Location: {location}")
            self.assertEqual(answer.headers["location"], "http://node.example.com/v2/images/1")

    async def test_interim(self) -> None:
        """
        What comes before the answer is passed over.
        """
        answer = await self.answer_to("GET", "HTTP/1.1 103 Hints", "", "HTTP/1.1 200 OK", "Content-Length: 0")
        self.assertEqual(answer.status, 200)

    async def test_breaks_off(self) -> None:
        """
        An answer that breaks off never ends well for the client, announced length or not.
        """
        for head in (("Content-Length: 1000",), ("Transfer-Encoding: chunked",)):
            client, connection, _ = await self.exchange("GET", "/v2/x")
            connection.head("HTTP/1.1 200 OK", *head)
            connection.send(b"5\r\nfirst\r\n")
            await client.bytes_until(b"first")
            connection.close()
            await client.gone()
            self.assertNotIn(b"0\r\n\r\n", client.received)

    async def test_breaks_off_at_once(self) -> None:
        """
        One that breaks off before its first byte is an upstream that is not available.
        """
        client, connection, _ = await self.exchange("GET", "/v2/x")
        connection.head("HTTP/1.1 200 OK", "Content-Length: 1000")
        await turns(20)
        connection.close()
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))

    async def test_leaving(self) -> None:
        """
        A client that leaves takes the upstream's connection along.
        """
        client, connection, _ = await self.exchange("GET", "/v2/x")
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {100 * MiB}")
        connection.send(b"some")
        await client.bytes_until(b"some")
        client.close()
        await connection.end()

    async def test_slow_client(self) -> None:
        """
        A client that takes nothing holds the upstream back, and no memory fills up.
        """
        client, connection, _ = await self.exchange("GET", "/v2/x")
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {LONG}")
        client.transport.pauseProducing()
        connection.send(bytes(LONG))
        self.assertGreater(await unsent_at_rest(connection), LONG // 2)


class VersionTests(RelayTestCase):
    """
    Clients that look around do not leave the cache.
    """

    DOCUMENT = {
        "versions": [{"id": "v2.17", "status": "CURRENT", "links": [{"rel": "self", "href": "http://far/v2/"}]}]
    }

    async def test_documents(self) -> None:
        """
        Version documents lead here, at whatever path they are found, and know of the cache's own versions.
        """
        for target, status in (("/", 300), ("/versions", 200), ("/v1/images", 300), ("/v3", 300)):
            client, connection, request = await self.exchange("GET", target, "Accept-Encoding: gzip")
            self.assertEqual(request.header("Accept-Encoding"), "identity")
            connection.reply(status, json.dumps(self.DOCUMENT).encode(), "Content-Type: application/json", "ETag: x")
            answer = await client.answer()
            versions = json.loads(answer.body)["versions"]
            self.assertEqual(answer.status, status)
            self.assertEqual([version["id"] for version in versions], ["v2.17", "v2.18", "v2.16", "v2.14"])
            self.assertEqual(
                {link["href"] for each in versions for link in each["links"]}, {"http://node.example.com/v2/"}
            )
            self.assertEqual(answer.headers["content-type"], "application/json")
            self.assertNotIn("etag", answer.headers)
            connection.close()

    async def test_other_answers(self) -> None:
        """
        Other answers at those paths stay as they are.
        """
        for status, body in ((401, b"{}"), (200, b"not JSON"), (500, b"")):
            client, connection, _ = await self.exchange("GET", "/versions")
            connection.reply(status, body)
            answer = await client.answer()
            self.assertEqual((answer.status, answer.body), (status, body))
            connection.close()

    async def test_endless(self) -> None:
        """
        A document that is none is not taken into memory, and not cut short either.
        """
        client, connection, _ = await self.exchange("GET", "/")
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {8 * MiB}")
        connection.send(bytes(8 * MiB))
        self.assertEqual((await client.answer()).status, 503)


class PublicTests(RelayTestCase):
    """
    The operator may say where clients reach the node.
    """

    public_endpoint = "https://cache.example.com/images"

    async def test_links(self) -> None:
        """
        Links begin with that, whatever Host says.
        """
        answer = await self.answer_to("POST", "HTTP/1.1 201 Created", "Content-Length: 0", "Location: http://x/v2/a")
        self.assertEqual(answer.headers["location"], "https://cache.example.com/images/v2/a")


class PrefixTests(RelayTestCase):
    """
    The upstream's address may have a path.
    """

    def upstream_urls(self) -> list[str]:
        return [f"{url}/image" for url in super().upstream_urls()]

    async def test_prefix(self) -> None:
        """
        It stands before every path, and no link shows it.
        """
        client, connection, request = await self.exchange("GET", "/v2")
        self.assertEqual(request.target, "/image/v2")
        connection.reply(302, b"", f"Location: {self.raw.url}/image/v2/")
        self.assertEqual((await client.answer()).headers["location"], "http://node.example.com/v2/")


class UploadTests(RelayTestCase):
    """
    Uploads stream through.
    """

    async def test_fixed(self) -> None:
        """
        A body of known length arrives as such, byte by byte while it comes.
        """
        client, connection, request = await self.exchange(
            "PUT", "/v2/images/1/file", f"Content-Length: {MiB}", body=PIECE
        )
        self.assertEqual(request.header("Content-Length"), str(MiB))
        self.assertIsNone(request.header("Transfer-Encoding"))
        self.assertEqual(await connection.body(len(PIECE)), PIECE)
        client.send(bytes(MiB - len(PIECE)))
        self.assertEqual(len(await connection.body(MiB - len(PIECE))), MiB - len(PIECE))
        connection.reply(204)
        self.assertEqual((await client.answer()).status, 204)

    async def test_chunked(self) -> None:
        """
        A chunked one arrives chunked.
        """
        client, connection, request = await self.exchange(
            "PUT", "/v2/images/1/file", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"
        )
        self.assertEqual(request.header("Transfer-Encoding"), "chunked")
        taking = later(connection.chunked_body())
        client.send(b"4\r\ndefg\r\n0\r\n\r\n")
        self.assertEqual(await taking, b"abcdefg")
        connection.reply(204)
        self.assertEqual((await client.answer()).status, 204)

    async def test_small(self) -> None:
        """
        So does a short one, and one of no bytes at all.
        """
        for body in (b"{}", b""):
            client, connection, request = await self.exchange(
                "POST", "/v2/images", f"Content-Length: {len(body)}", body=body
            )
            self.assertEqual(request.header("Content-Length"), str(len(body)))
            self.assertEqual(await connection.body(len(body)), body)
            connection.reply(201)
            self.assertEqual((await client.answer()).status, 201)

    async def test_expect(self) -> None:
        """
        A client that waits to be asked for its body is asked by the node, when the upstream has been reached.
        """
        client, connection, request = await self.exchange(
            "PUT", "/v2/images/1/file", "Content-Length: 3", "Expect: 100-continue"
        )
        self.assertIsNone(request.header("Expect"))
        await client.bytes_until(b"100 Continue\r\n\r\n")
        client.send(b"abc")
        self.assertEqual(await connection.body(3), b"abc")
        connection.reply(204)
        self.assertEqual((await client.answer()).status, 204)

    async def test_slow_upstream(self) -> None:
        """
        An upstream that takes nothing holds the client back, who is told when it is gone.
        """
        client, connection, _ = await self.exchange("PUT", "/v2/images/1/file", f"Content-Length: {LONG}")
        connection.transport.pauseProducing()
        client.send(bytes(LONG))
        self.assertGreater(await unsent_at_rest(client), LONG // 2)
        connection.close()
        self.assertEqual((await client.answer()).status, 503)

    async def test_early_answer(self) -> None:
        """
        An answer that comes before the upload is through reaches a client that is still sending, and ends both
        connections; nothing is logged.
        """
        for status, head in (
            (413, (f"Content-Length: {100 * MiB}",)),
            (409, ("Transfer-Encoding: chunked",)),
        ):
            body = PIECE if status == 413 else b"10\r\n0123456789abcdef\r\n"
            client, connection, _ = await self.exchange("PUT", "/v2/images/1/file", *head, body=body)
            connection.head(f"HTTP/1.1 {status} No", "Content-Length: 9")
            await turns(10)
            connection.send(b"no")
            client.send(body)
            await turns(10)
            connection.send(b", thanks")
            answer = await client.answer()
            self.assertEqual((answer.status, answer.body), (status, b"no, thank"))
            self.assertEqual(answer.headers["connection"], "close")
            client.send(body)
            await connection.gone()
            client.close()

    async def test_leaving(self) -> None:
        """
        A client that leaves in the middle takes the upstream's connection along, which never sees a tidy end.
        """
        for line in ("Transfer-Encoding: chunked", f"Content-Length: {MiB}"):
            client, connection, _ = await self.exchange("PUT", "/v2/images/1/file", line, body=b"3\r\nabc\r\n")
            await connection.bytes_until(b"abc")
            client.close()
            await connection.gone()
            self.assertNotIn(b"0\r\n\r\n", connection.received)

    async def test_malformed(self) -> None:
        """
        A body that is malformed is the client's fault, and told so.
        """
        client, connection, _ = await self.exchange(
            "PUT", "/v2/images/1/file", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"
        )
        await connection.bytes_until(b"abc\r\n")
        client.send(b"nonsense\r\n")
        self.assertEqual((await client.answer()).status, 400)
        await connection.gone()
        self.assertNotIn(b"0\r\n\r\n", connection.received)

    async def test_upstream_dies(self) -> None:
        """
        An upstream that dies in the middle is not available; the upload is not sent to another one.
        """
        client, connection, _ = await self.exchange("PUT", "/v2/images/1/file", f"Content-Length: {MiB}", body=PIECE)
        await connection.body(len(PIECE))
        connection.close()
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        self.assertEqual(len(self.raw.connections), 1)


class ManyUpstreamsTests(RelayTestCase):
    """
    Where there are several upstreams, one that is away costs nothing.
    """

    def upstream_urls(self) -> list[str]:
        self.away = RawUpstream()
        return [self.away.url, *super().upstream_urls()]

    async def test_next(self) -> None:
        """
        The next one is asked, uploads included.
        """
        await self.away.stop()
        client, connection, request = await self.exchange("POST", "/v2/images", "Content-Length: 2", body=b"{}")
        self.assertEqual((request.method, await connection.body(2)), ("POST", b"{}"))
        connection.reply(201)
        self.assertEqual((await client.answer()).status, 201)


class TimesTests(RelayTestCase):
    """
    An upstream has its time.
    """

    def times(self) -> UpstreamTimes:
        return UpstreamTimes(head=0.5, stall=0.5)

    async def test_silent(self) -> None:
        """
        One that says nothing is not available.
        """
        client, connection, _ = await self.exchange("GET", "/v2/x")
        self.assertEqual((await client.answer()).status, 503)
        await connection.gone()

    async def test_stalled(self) -> None:
        """
        One that stops in the middle of an answer breaks it off.
        """
        client, connection, _ = await self.exchange("GET", "/v2/x")
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {64 * KiB}")
        connection.send(b"some")
        await client.bytes_until(b"some")
        await client.gone()
        await until(lambda: connection.at_end or connection.lost)
