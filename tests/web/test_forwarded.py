"""
What proxies say of the requests that they pass on, and who is believed.
"""

from __future__ import annotations

from ipaddress import ip_network

from glance_tx.web.app import App
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.forwarded import ProxyTrust
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import ServingTestCase


class ForwardedTestCase(ServingTestCase):
    """
    A server that tells the address that links begin with, asked from 127.0.0.1.
    """

    trust = ProxyTrust((ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))

    def make_app(self, **options: object) -> App:
        endpoint = PublicEndpoint(None, self.trust)

        async def tell(request: Request) -> Response:
            return Response(200, (), endpoint.base(request).encode())

        app = super().make_app(trust=self.trust, **options)
        app.add("GET", "/", tell)
        return app

    async def told(self, *lines: str) -> tuple[int, str, str | None]:
        """
        Status, address of links and the client's address in the log, for a request with some header lines.
        """
        self.records.clear()
        answer = await self.ask("GET", "/", "".join(f"{line}\r\n" for line in lines))
        record = await self.record()
        return answer.status, answer.body.decode() if answer.status == 200 else "", record.client


class TrustedTests(ForwardedTestCase):
    """
    The peer is trusted.
    """

    async def test_nothing_said(self) -> None:
        """
        Where the proxy says nothing, the request speaks for itself.
        """
        self.assertEqual(await self.told(), (200, "http://localhost", "127.0.0.1"))

    async def test_links(self) -> None:
        """
        Scheme, host, port and prefix are those of the client's request.
        """
        for lines, base in (
            (["X-Forwarded-Proto: https"], "https://localhost"),
            (["X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: images.example"], "https://images.example"),
            (["X-Forwarded-Host: images.example:8080"], "http://images.example:8080"),
            (["X-Forwarded-Host: [2001:db8::1]", "X-Forwarded-Port: 9292"], "http://[2001:db8::1]:9292"),
            (["X-Forwarded-Host: [::1]:1", "X-Forwarded-Port: 2"], "http://[::1]:1"),
            (["X-Forwarded-Proto: https", "X-Forwarded-Port: 443"], "https://localhost"),
            (["X-Forwarded-Port: 65535"], "http://localhost:65535"),
            (["X-Forwarded-Host: a:65535", "X-Forwarded-Port: 60000"], "http://a:65535"),
            (["X-Forwarded-Proto: https", "X-Forwarded-Port: 80"], "https://localhost:80"),
            (["X-Forwarded-Prefix: /image"], "http://localhost/image"),
            (["X-Forwarded-Prefix: /image/"], "http://localhost/image"),
            (["X-Forwarded-Prefix: /"], "http://localhost"),
            (["X-Forwarded-Proto:"], "http://localhost"),
            (["Forwarded: proto=https;host=images.example"], "https://images.example"),
            (['Forwarded: for=192.0.2.1; Proto=https ; host="[2001:db8::1]:9292"'], "https://[2001:db8::1]:9292"),
            (['Forwarded: host="a\\b"'], "http://ab"),
        ):
            self.assertEqual((lines, (await self.told(*lines))[:2]), (lines, (200, base)))

    async def test_the_last_word(self) -> None:
        """
        Of several values the last counts, which the nearest proxy added; those before it may be the client's.
        """
        lines = ["X-Forwarded-Proto: http, https", "X-Forwarded-Host: evil.example", "X-Forwarded-Host: images.example"]
        self.assertEqual((await self.told(*lines))[:2], (200, "https://images.example"))

    async def test_forwarded_goes_first(self) -> None:
        """
        Forwarded goes before the older headers, as in a stock Glance.
        """
        lines = ["Forwarded: for=192.0.2.1;proto=https", "X-Forwarded-Host: b", "X-Forwarded-For: 192.0.2.2"]
        self.assertEqual(await self.told(*lines), (200, "https://localhost", "192.0.2.1"))

    async def test_client(self) -> None:
        """
        The client is the last in the line of addresses that is not a trusted proxy itself, or as far as the line can
        be read.
        """
        for line, client in (
            ("X-Forwarded-For: 192.0.2.1", "192.0.2.1"),
            ("X-Forwarded-For: 198.51.100.1, 192.0.2.1", "192.0.2.1"),
            ("X-Forwarded-For: 198.51.100.1, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For: 10.0.0.2, 10.0.0.1", "10.0.0.2"),
            ("X-Forwarded-For: 2001:db9::1, ::ffff:10.0.0.1", "2001:db9::1"),
            ("X-Forwarded-For: 192.0.2.1:4711", "192.0.2.1"),
            ("X-Forwarded-For: [2001:db9::1]:4711", "2001:db9::1"),
            ("X-Forwarded-For: 192.0.2.1, nonsense, 10.0.0.1", "10.0.0.1"),
            ("X-Forwarded-For: 999.1.1.1", "127.0.0.1"),
            ("X-Forwarded-For: " + ", ".join(["10.0.0.1"] * 1000), "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.9, " + ", ".join(["10.0.0.1"] * 20), "10.0.0.1"),
            ("X-Forwarded-For:", "127.0.0.1"),
            ("Forwarded: for=198.51.100.1, for=192.0.2.1", "192.0.2.1"),
            ('Forwarded: for="[2001:db9::1]:4711";proto=https, for=10.0.0.1', "2001:db9::1"),
            ("Forwarded: for=192.0.2.1, for=_hidden", "127.0.0.1"),
            ("Forwarded: for=unknown", "127.0.0.1"),
        ):
            self.assertEqual((line, (await self.told(line))[2]), (line, client))

    async def test_chain(self) -> None:
        """
        What the outermost trusted proxy saw counts, and not what its client made up.
        """
        line = (
            "Forwarded: for=1.1.1.1;proto=http;host=evil, for=192.0.2.1;proto=https;host=good, for=10.0.0.1;proto=http"
        )
        self.assertEqual(await self.told(line), (200, "https://good", "192.0.2.1"))

    async def test_malformed(self) -> None:
        """
        What cannot be read never gets into a link: the request is refused, and logged with the peer's address.
        """
        for line in (
            "X-Forwarded-Proto: javascript",
            "X-Forwarded-Host: a/b",
            "X-Forwarded-Host: a b",
            "X-Forwarded-Host: \u00e9",
            "X-Forwarded-Port: 9292x",
            "X-Forwarded-Port: -1",
            "X-Forwarded-Port: 65536",
            "X-Forwarded-Port: 99999",
            "X-Forwarded-Port: " + "9" * 5000,
            "X-Forwarded-Host: a:65536",
            'Forwarded: host="a:70000"',
            "X-Forwarded-Prefix: //evil.example",
            "X-Forwarded-Prefix: /a b",
            "X-Forwarded-Prefix: image",
            "Forwarded: for=192.0.2.1;host=a/b",
            "Forwarded: proto=ftp",
            "Forwarded: nonsense",
            "Forwarded:",
            'Forwarded: host="a',
            "Forwarded: host=a;host=b",
            "Forwarded: ;" * 100,
            'Forwarded: for="' + "\\" * 8000,
        ):
            status, _, client = await self.told(line)
            self.assertEqual((line, status), (line, 400))
            self.assertIn(client, {"127.0.0.1", "192.0.2.1"})


class SchemeHeaderTests(ForwardedTestCase):
    """
    The operator names the header that tells the scheme.
    """

    trust = ProxyTrust((ip_network("127.0.0.1"),), "X-Scheme")

    async def test_header(self) -> None:
        """
        It counts, and the usual one does not.
        """
        self.assertEqual((await self.told("X-Scheme: https"))[1], "https://localhost")
        self.assertEqual((await self.told("X-Forwarded-Proto: https"))[1], "http://localhost")


class UntrustedTests(ForwardedTestCase):
    """
    The peer is not trusted.
    """

    trust = ProxyTrust((ip_network("192.0.2.0/24"), ip_network("::1")))

    async def test_nothing_counts(self) -> None:
        """
        Nothing that it says counts, however right or wrong.
        """
        for lines in (
            ["X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "X-Forwarded-For: 192.0.2.1"],
            ["X-Forwarded-Prefix: //", "X-Forwarded-Port: x", "X-Forwarded-For: nonsense"],
            ["Forwarded: for=192.0.2.1;proto=https;host=evil.example"],
            ["Forwarded: nonsense"],
        ):
            self.assertEqual(await self.told(*lines), (200, "http://localhost", "127.0.0.1"))
