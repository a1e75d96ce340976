"""
Pages of other sites, as their browsers ask for them.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.app import App, BodyRule
from glance_tx.web.cors import Cors, CorsSettings, Origin
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import Answer, ServingTestCase

DASHBOARD = "https://dashboard.example.com"
EXPOSED = "X-Image-Meta-Checksum, X-Auth-Token, X-Subject-Token, X-Service-Token, X-OpenStack-Request-ID"


class CorsTestCase(ServingTestCase):
    """
    An application that some pages may use.
    """

    settings = CorsSettings(allowed_origin=[DASHBOARD, "http://other.example.com:8080"])

    def make_app(self, **options: Any) -> App:
        app = super().make_app(cors=Cors.of(self.settings), **options)
        app.add("GET", "/here", self.here)
        app.add("GET", "/wrong", self.wrong)
        app.add("GET", "/relayed", self.relayed, BodyRule.STREAM)
        return app

    async def here(self, request: Request) -> Response:
        return Response(200, (("Content-Type", "text/plain"),), b"here")

    async def wrong(self, request: Request) -> Response:
        raise BadRequest("no")

    async def relayed(self, request: Request) -> Response:
        lines = (
            ("Access-Control-Allow-Origin", "https://dashboard.example.com"),
            ("access-control-expose-headers", "X-Upstream"),
            ("Vary", "Accept, Origin"),
        )
        return Response(200, lines, b"relayed")

    async def preflight(self, method: str = "PUT", headers: str = "", origin: str = DASHBOARD) -> Answer:
        """
        Ask what a page may do.
        """
        lines = f"Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n"
        if headers:
            lines += f"Access-Control-Request-Headers: {headers}\r\n"
        return await self.ask("OPTIONS", "/here", lines)

    def told(self, answer: Answer) -> dict[str, str]:
        """
        Pick out what an answer says of origins.
        """
        return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


class CorsTests(CorsTestCase):
    """
    Some origins are allowed.
    """

    async def test_preflight(self) -> None:
        """
        A browser that asks for an allowed page hears what that may send, without a token and whatever the path.
        """
        answer = await self.preflight("PATCH", "x-auth-token, Content-Type")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(
            self.told(answer),
            {
                "access-control-allow-origin": DASHBOARD,
                "access-control-allow-credentials": "true",
                "access-control-max-age": "3600",
                "access-control-allow-methods": "DELETE, GET, HEAD, PATCH, POST, PUT",
                "access-control-allow-headers": "x-auth-token, Content-Type",
            },
        )
        self.assertEqual(answer.headers["vary"], "Origin")
        self.assertEqual(self.records[0].route, "preflight")

    async def test_refused_preflight(self) -> None:
        """
        What the page may not do is answered without permission.
        """
        for method, headers in (("TRACE", ""), ("put", ""), ("GET", "x-secret"), ("GET", "x-auth-token, x-secret")):
            answer = await self.preflight(method, headers)
            self.assertEqual((method, headers, answer.status, self.told(answer)), (method, headers, 200, {}))

    async def test_foreign_preflight(self) -> None:
        """
        For pages that may do nothing, OPTIONS is the wrong method that it always is.
        """
        for origin in (
            "https://evil.example.com",
            "null",
            "http://dashboard.example.com",
            "https://dashboard.example.com:444",
            "https://dashboard.example.com.evil.example",
            f"{DASHBOARD}, {DASHBOARD}",
        ):
            answer = await self.preflight(origin=origin)
            self.assertEqual((origin, answer.status, self.told(answer)), (origin, 405, {}))

    async def test_other_options(self) -> None:
        """
        An OPTIONS that is no preflight is a wrong method, too.
        """
        answer = await self.ask("OPTIONS", "/here", f"Origin: {DASHBOARD}\r\n")
        self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (405, DASHBOARD))
        self.assertEqual((await self.ask("OPTIONS", "/here", "Access-Control-Request-Method: GET\r\n")).status, 405)

    async def test_answers(self) -> None:
        """
        Every answer tells the browser that an allowed page may see it, errors included.
        """
        for path, status in (("/here", 200), ("/wrong", 400), ("/nowhere", 404), ("/here%zz", 400)):
            answer = await self.ask("GET", path, f"Origin: {DASHBOARD}\r\n")
            self.assertEqual((path, answer.status), (path, status))
            self.assertEqual(
                self.told(answer),
                {
                    "access-control-allow-origin": DASHBOARD,
                    "access-control-allow-credentials": "true",
                    "access-control-expose-headers": EXPOSED,
                },
            )
            self.assertEqual(answer.headers["vary"], "Origin")

    async def test_malformed_head(self) -> None:
        """
        So does the answer to a request that no route was asked about.
        """
        wire = await self.connect()
        wire.send(f"GET /here HTTP/1.1\r\nHost: x\r\nOrigin: {DASHBOARD}\r\nContent-Length: 1\r\n".encode())
        wire.send(b"Content-Length: 2\r\n\r\n")
        answer = Answer.parse(await wire.ended())
        self.assertEqual((answer.status, answer.headers["vary"]), (400, "Origin"))

    async def test_others(self) -> None:
        """
        Others get the answer as before; caches hear that it depends on who asks.
        """
        for headers in ("", "Origin: https://evil.example.com\r\n"):
            answer = await self.ask("GET", "/here", headers)
            self.assertEqual((answer.status, answer.body, self.told(answer)), (200, b"here", {}))
            self.assertEqual(answer.headers["vary"], "Origin")

    async def test_relayed(self) -> None:
        """
        What another server said of origins is replaced, or taken away.
        """
        wire = await self.connect()
        wire.send(f"GET /relayed HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {DASHBOARD}\r\n\r\n".encode())
        head = (await wire.ended()).partition(b"\r\n\r\n")[0].lower()
        self.assertEqual(head.count(b"access-control-allow-origin"), 1)
        self.assertEqual(head.count(b"access-control-expose-headers"), 1)
        self.assertNotIn(b"x-upstream", head)
        self.assertEqual(head.count(b"vary"), 1)
        other = await self.ask("GET", "/relayed", "Origin: https://evil.example.com\r\n")
        self.assertEqual(self.told(other), {})


class AnyOriginTests(CorsTestCase):
    """
    All pages are allowed, and little is shown to them.
    """

    settings = CorsSettings(allowed_origin=["*"], expose_headers=[], allow_methods=[], allow_headers=["X-One"])

    async def test_answers(self) -> None:
        """
        One answer fits all, so there is nothing to vary by; credentials of the browser stay out of it.
        """
        for origin in (DASHBOARD, "null"):
            answer = await self.ask("GET", "/here", f"Origin: {origin}\r\n")
            self.assertEqual(self.told(answer), {"access-control-allow-origin": "*"})
            self.assertNotIn("vary", answer.headers)
        self.assertEqual(self.told(await self.ask("GET", "/here")), {})

    async def test_preflight(self) -> None:
        """
        Only what is configured is permitted, and what any page may send.
        """
        self.assertIn("access-control-allow-origin", (await self.preflight("POST", "X-ONE")).headers)
        self.assertEqual(self.told(await self.preflight("PUT")), {})


class NoCredentialsTests(CorsTestCase):
    """
    Credentials that browsers keep are not wanted.
    """

    settings = CorsSettings(allowed_origin=[DASHBOARD], allow_credentials=False)

    async def test_answers(self) -> None:
        """
        Then nothing is said of them.
        """
        answer = await self.ask("GET", "/here", f"Origin: {DASHBOARD}\r\n")
        self.assertNotIn("access-control-allow-credentials", answer.headers)


class OffTests(CorsTestCase):
    """
    Nothing is configured.
    """

    settings = CorsSettings()

    async def test_off(self) -> None:
        """
        Nothing is said of origins, and OPTIONS is a wrong method.
        """
        answer = await self.ask("GET", "/here", f"Origin: {DASHBOARD}\r\n")
        self.assertEqual((answer.status, self.told(answer), "vary" in answer.headers), (200, {}, False))
        self.assertEqual((await self.preflight()).status, 405)
        relayed = await self.ask("GET", "/relayed", f"Origin: {DASHBOARD}\r\n")
        self.assertIn("access-control-allow-origin", relayed.headers)


class OriginTests(SynchronousTestCase):
    """
    What an operator may call an origin.
    """

    def test_origins(self) -> None:
        """
        Scheme, host and port; written as browsers do.
        """
        for text, expected in (
            ("https://Dashboard.example.COM", DASHBOARD),
            (" http://h:8080 ", "http://h:8080"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("*", "*"),
        ):
            self.assertEqual(Origin()(text), expected)
        for text in ("", "example.com", "https://h/", "https://h/path", "ftp://h", "https://", "https://*.example.com"):
            with self.assertRaises(ValueError, msg=text):
                Origin()(text)
