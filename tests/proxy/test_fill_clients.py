"""
Tests of fills as clients see them, before an upstream whose every byte is the test's.
"""

from __future__ import annotations

import hashlib

from glance_cache.catalog import CHUNK_BYTES
from glance_cache.client import UpstreamTimes
from tests.doubles.upstreams import RawConnection, RawRequest, RawUpstream, byte_range, turns
from tests.proxy.folders import DATA, IMAGE
from tests.proxy.nodes import NodeTestCase
from tests.web.raw import RawClient, until

PATH = f"/v2/images/{IMAGE}/file"
OWNER = "X-Auth-Token: owner"


class ScriptedTestCase(NodeTestCase):
    """
    A node before an upstream whose every byte is the test's.
    """

    async def begin(self, client_count: int = 1, data: bytes = DATA) -> tuple[list[RawClient], RawConnection]:
        """
        Let clients ask for a cold image, up to where its data is to be sent.

        :return: The clients, and the connection by which the data is wanted.
        """
        clients = [await self.request("GET", PATH, OWNER) for _ in range(client_count)]
        connection, request = await self.raw.exchange()
        self.allow(connection, request, data)
        connection, request = await self.next_request(connection)
        self.assertEqual((request.method, request.header("Range")), ("GET", None))
        return clients, connection

    def allow(self, connection: RawConnection, request: RawRequest, data: bytes = DATA) -> None:
        self.assertEqual(request.method, "HEAD")
        connection.head(
            "HTTP/1.1 200 OK",
            f"Content-Length: {len(data)}",
            "X-Openstack-Image-Hash-Algo: sha512",
            f"X-Openstack-Image-Hash-Value: {hashlib.sha512(data).hexdigest()}",
        )

    async def next_request(self, connection: RawConnection) -> tuple[RawConnection, RawRequest]:
        """
        Take the next request, which comes by the same connection.
        """
        return connection, await connection.request()

    def send(self, connection: RawConnection, data: bytes = DATA, length: int | None = None) -> None:
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {len(DATA) if length is None else length}")
        connection.send(data)

    async def settled(self) -> None:
        await until(lambda: not self.fills._running)


class FillTests(ScriptedTestCase):
    """
    Clients of a fill, and what an upstream may do to them.
    """

    async def test_streams(self) -> None:
        """
        Every client gets what has come, at once, with the length of the whole; the last chunk comes when all is.
        """
        clients, connection = await self.begin(3)
        self.send(connection, DATA[: CHUNK_BYTES + 5])
        states = []
        for client in clients:
            head = (await client.bytes_until(b"\r\n\r\n")).decode()
            self.assertIn(f"Content-Length: {len(DATA)}\r\n", head)
            states.append(head.partition("X-Cache: ")[2].partition("\r\n")[0])
            await until(lambda client=client: len(client.received) == CHUNK_BYTES + 5)
        self.assertEqual(sorted(states), ["fill", "follow", "follow"])
        connection.send(DATA[CHUNK_BYTES + 5 : -1])
        for client in clients:
            await until(lambda client=client: len(client.received) == 2 * CHUNK_BYTES)
        await turns(50)
        self.assertEqual({len(client.received) for client in clients}, {2 * CHUNK_BYTES})
        connection.send(DATA[-1:])
        for client in clients:
            await until(lambda client=client: len(client.received) == len(DATA))
            self.assertEqual(client.received, DATA)
        await self.settled()
        self.assertEqual(self.hits, [])

    async def test_wrong_bytes(self) -> None:
        """
        Nobody completes a wrong image; the next client gets the right one.
        """
        clients, connection = await self.begin(3)
        self.send(connection, DATA[:-1] + b"?")
        for client in clients:
            await client.gone()
            self.assertLess(len(client.received.partition(b"\r\n\r\n")[2]), len(DATA))
        await self.settled()
        client = await self.request("GET", PATH, OWNER)
        _, request = await self.next_request(connection)
        self.assertEqual(request.header("Range"), None)
        self.send(connection)
        self.assertEqual((await client.answer()).body, DATA)

    async def test_small_wrong_image(self) -> None:
        """
        Of an image of one chunk nothing has been sent when it turns out to be wrong: the client is asked to try again.
        """
        data = DATA[:1000]
        (client,), connection = await self.begin(1, data)
        self.send(connection, b"?" * 1000, 1000)
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
        await self.settled()

    async def test_starter_leaves(self) -> None:
        """
        The client that caused a fill leaves: the fill goes on, for others and for the cache.
        """
        clients, connection = await self.begin(2)
        self.send(connection, DATA[:1000])
        heads = [(await client.bytes_until(b"\r\n\r\n")) for client in clients]
        starter = next(client for client, head in zip(clients, heads, strict=True) if b"X-Cache: fill" in head)
        starter.close()
        await turns(20)
        connection.send(DATA[1000:])
        other = next(client for client in clients if client is not starter)
        await until(lambda: len(other.received) == len(DATA))
        await self.settled()
        again = await self.request("GET", PATH, OWNER)
        self.assertEqual((await again.answer()).headers["x-cache"], "hit")

    async def test_cut(self) -> None:
        """
        A connection that is cut is resumed by Range; no client notices.
        """
        clients, connection = await self.begin(2)
        self.send(connection, DATA[:5000])
        for client in clients:
            await client.bytes_until(b"\r\n\r\n")
            await until(lambda client=client: len(client.received) == 5000)
        connection.close()
        connection, request = await self.raw.exchange()
        self.assertEqual(byte_range(request), (5000, None))
        connection.head(
            "HTTP/1.1 206 Partial",
            f"Content-Length: {len(DATA) - 5000}",
            f"Content-Range: bytes 5000-{len(DATA) - 1}/{len(DATA)}",
        )
        connection.send(DATA[5000:])
        for client in clients:
            await until(lambda client=client: len(client.received) == len(DATA))
            self.assertEqual(client.received, DATA)
        await self.settled()

    async def test_resumed_by_skipping(self) -> None:
        """
        Where the upstream cannot seek, what is there already is passed over.
        """
        (client,), connection = await self.begin()
        self.send(connection, DATA[:5000])
        await client.bytes_until(b"\r\n\r\n")
        await until(lambda: len(client.received) == 5000)
        connection.close()
        connection, _ = await self.raw.exchange()
        connection.reply(400, b"cannot seek")
        connection, request = await self.raw.exchange()
        self.assertIsNone(request.header("Range"))
        self.send(connection)
        await until(lambda: len(client.received) == len(DATA))
        self.assertEqual(client.received, DATA)
        await self.settled()

    async def test_chunked(self) -> None:
        """
        Data of unknown length comes with the length that the grant names; an early end is no end.
        """
        (client,), connection = await self.begin()
        connection.head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (5000, DATA[:5000]))
        head = await client.bytes_until(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(DATA), head)
        await until(lambda: len(client.received) == 5000)
        _, request = await self.next_request(connection)
        self.assertEqual(byte_range(request), (5000, None))
        connection.head(
            "HTTP/1.1 206 Partial",
            "Transfer-Encoding: chunked",
            f"Content-Range: bytes 5000-{len(DATA) - 1}/{len(DATA)}",
        )
        rest = DATA[5000:]
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))
        await until(lambda: len(client.received) == len(DATA))
        self.assertEqual(client.received, DATA)
        await self.settled()

    async def test_other_length(self) -> None:
        """
        Data of another length than announced is passed on as it is, past the cache.
        """
        (client,), connection = await self.begin()
        self.send(connection, b"", len(DATA) + 1)
        connection, _ = await self.raw.exchange()
        self.send(connection, DATA + b"!", len(DATA) + 1)
        answer = await client.answer()
        self.assertEqual((answer.headers["x-cache"], answer.body), ("bypass", DATA + b"!"))
        self.assertEqual(self.entries.inventory(), [])

    async def test_refused_at_the_start(self) -> None:
        """
        Who is refused the data after all gets the upstream's own answer.
        """
        (client,), connection = await self.begin()
        connection.reply(403, b"not any more")
        _, request = await self.next_request(connection)
        self.assertEqual(request.method, "GET")
        connection.reply(403, b"not any more", "X-Reason: quota")
        answer = await client.answer()
        self.assertEqual((answer.status, answer.body), (403, b"not any more"))
        self.assertEqual(answer.headers["x-reason"], "quota")

    async def test_refused_in_the_middle(self) -> None:
        """
        Where the upstream will not go on, no client completes a body.
        """
        clients, connection = await self.begin(2)
        self.send(connection, DATA[:5000])
        for client in clients:
            await client.bytes_until(b"\r\n\r\n")
        connection.close()
        connection, _ = await self.raw.exchange()
        connection.reply(401, b"expired")
        for client in clients:
            await client.gone()
            self.assertLess(len(client.received), len(DATA))
        await self.settled()

    async def test_unavailable_at_the_start(self) -> None:
        """
        Where the upstream breaks off before its answer, clients are asked to come again.
        """
        clients, connection = await self.begin(2)
        connection.close()
        retried, _ = await self.raw.exchange()  # the connection was a kept one
        retried.close()
        for client in clients:
            answer = await client.answer()
            self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))

    async def test_stop(self) -> None:
        """
        The end of the node breaks off what is not complete; what was there is not fetched again.
        """
        (client,), connection = await self.begin()
        self.send(connection, DATA[: CHUNK_BYTES + 10])
        await client.bytes_until(b"\r\n\r\n")
        await until(lambda: len(client.received) == CHUNK_BYTES + 10)
        await self.fills.stop()
        await client.gone()
        await connection.end()
        client = await self.request("GET", PATH, OWNER)
        connection, request = await self.raw.exchange()
        there = CHUNK_BYTES + 10
        self.assertEqual(byte_range(request), (there, None))
        connection.head(
            "HTTP/1.1 206 Partial",
            f"Content-Length: {len(DATA) - there}",
            f"Content-Range: bytes {there}-{len(DATA) - 1}/{len(DATA)}",
        )
        connection.send(DATA[there:])
        self.assertEqual((await client.answer()).body, DATA)
        await self.settled()


class StallTests(ScriptedTestCase):
    """
    An upstream that comes to a standstill.
    """

    def times(self) -> UpstreamTimes:
        return UpstreamTimes(stall=0.5)

    async def test_resumed(self) -> None:
        """
        A fill that stalls goes on by another connection.
        """
        (client,), connection = await self.begin()
        self.send(connection, DATA[:5000])
        stalled = connection
        connection, request = await self.raw.exchange()
        self.assertEqual(byte_range(request), (5000, None))
        await stalled.end()
        connection.head(
            "HTTP/1.1 206 Partial",
            f"Content-Length: {len(DATA) - 5000}",
            f"Content-Range: bytes 5000-{len(DATA) - 1}/{len(DATA)}",
        )
        connection.send(DATA[5000:])
        self.assertEqual((await client.answer()).body, DATA)
        await self.settled()


class TwoUpstreamsTests(ScriptedTestCase):
    """
    A fill uses whichever upstream has something to give.
    """

    def upstream_urls(self) -> list[str]:
        self.second = RawUpstream()
        self.addCleanup(self.second.stop)
        return [*super().upstream_urls(), self.second.url]

    async def test_goes_on_elsewhere(self) -> None:
        """
        When one breaks off in the middle, the other is asked for the rest.
        """
        (client,), connection = await self.begin()
        self.send(connection, DATA[:5000])
        await client.bytes_until(b"\r\n\r\n")
        await until(lambda: len(client.received) == 5000)
        connection.close()
        connection, request = await self.second.exchange()
        self.assertEqual(byte_range(request), (5000, None))
        connection.head(
            "HTTP/1.1 206 Partial",
            f"Content-Length: {len(DATA) - 5000}",
            f"Content-Range: bytes 5000-{len(DATA) - 1}/{len(DATA)}",
        )
        connection.send(DATA[5000:])
        await until(lambda: len(client.received) == len(DATA))
        await self.settled()


class UnavailableTests(ScriptedTestCase):
    """
    Nobody to ask.
    """

    async def test_hits_go_on(self) -> None:
        """
        A client with a grant is served from the cache, with no upstream at all; others are asked to come again.
        """
        (client,), connection = await self.begin()
        self.send(connection)
        await client.answer()
        await self.settled()
        await self.pool.closeCachedConnections()
        await self.raw.stop()
        client = await self.request("GET", PATH, OWNER)
        self.assertEqual((await client.answer()).headers["x-cache"], "hit")
        client = await self.request("GET", PATH, "X-Auth-Token: other")
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "5"))
