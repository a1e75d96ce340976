"""
Under which address clients reach the server.
"""

from __future__ import annotations

from glance_tx.web.app import App
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import ServingTestCase


class EndpointTests(ServingTestCase):
    """
    `PublicEndpoint` without a configured address takes that of each request.
    """

    configured: str | None = None

    def make_app(self, **options: object) -> App:
        endpoint = PublicEndpoint(self.configured)

        async def tell(request: Request) -> Response:
            return Response(200, (), endpoint.base(request).encode())

        app = super().make_app(**options)
        app.add("GET", "/", tell)
        return app

    async def base(self, head: str, target: str = "/") -> tuple[int, str]:
        """
        Ask for the address.
        """
        wire = await self.connect()
        wire.send(f"GET {target} HTTP/1.1\r\nConnection: close\r\n{head}\r\n".encode())
        answer = await wire.ended()
        return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2].decode()

    async def test_host(self) -> None:
        """
        The Host header tells: a name or an address, with a port or without.
        """
        for host in ("glance.example", "glance.example:9292", "192.0.2.1:80", "[2001:db8::1]", "[::1]:9292", "a_b-c~"):
            self.assertEqual(await self.base(f"Host: {host}\r\n"), (200, f"http://{host}"))

    async def test_target(self) -> None:
        """
        A host that the request target itself names counts more.
        """
        self.assertEqual(await self.base("Host: a\r\n", "http://b:1/"), (200, "http://b:1"))

    async def test_not_a_host(self) -> None:
        """
        What is no host never gets into a link.
        """
        for host in ("a/b", "a@b", "a b", "a:b", "a:123456", "[::1", "::1", "a,b", "a\\b", '"', "<a>", "a?", "\u00e9"):
            self.assertEqual((host, (await self.base(f"Host: {host}\r\n"))[0]), (host, 400))

    async def test_no_host(self) -> None:
        """
        To a client that names no host, the server is where the connection ends.
        """
        here = f"http://127.0.0.1:{self.port.getHost().port}"
        self.assertEqual(await self.base("Host:\r\n"), (200, here))
        wire = await self.connect()
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((await wire.ended()).partition(b"\r\n\r\n")[2].decode(), here)

    async def test_forwarded(self) -> None:
        """
        Nobody is believed to be a proxy.
        """
        claims = "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nForwarded: host=evil;proto=https\r\n"
        self.assertEqual(await self.base(f"Host: good\r\n{claims}"), (200, "http://good"))


class ConfiguredEndpointTests(EndpointTests):
    """
    `PublicEndpoint` with a configured address says nothing else.
    """

    configured = "https://images.example/glance/"

    async def test_host(self) -> None:
        """
        Whatever the request says, the address is the configured one, without a slash at its end.
        """
        self.assertEqual(await self.base("Host: elsewhere\r\n"), (200, "https://images.example/glance"))

    async def test_target(self) -> None:
        """
        The request target does not count.
        """
        self.assertEqual(await self.base("Host: a\r\n", "http://b:1/"), (200, "https://images.example/glance"))

    async def test_not_a_host(self) -> None:
        """
        A header that is well-formed and still no host does no harm, for it is not used.
        """
        self.assertEqual((await self.base("Host: a:b\r\n"))[0], 200)

    async def test_no_host(self) -> None:
        """
        An empty header does not count either.
        """
        self.assertEqual(await self.base("Host:\r\n"), (200, "https://images.example/glance"))

    async def test_forwarded(self) -> None:
        """
        Nor do those of proxies.
        """
        self.assertEqual(
            await self.base("Host: a\r\nX-Forwarded-Host: evil\r\n"), (200, "https://images.example/glance")
        )
