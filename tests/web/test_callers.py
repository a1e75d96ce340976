"""
Callers are known by their credentials.
"""

from __future__ import annotations

from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.web.app import App
from glance_tx.web.callers import Callers
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import ServingTestCase


@implementer(IIdentity)
class Doorkeeper:
    """
    Lets in whoever has the token ``good``, and remembers what everybody brought.
    """

    def __init__(self) -> None:
        self.seen: list[Credentials] = []

    async def identify(self, credentials: Credentials) -> Caller:
        self.seen.append(credentials)
        if credentials.token == "away":
            raise IdentityUnavailable("gone fishing")
        if credentials.token != "good":
            raise NotAuthenticated("it is not known")
        return Caller("u", "p", ["member"])


class CallersTests(ServingTestCase):
    """
    `Callers` asks the identity strategy about what a request brought.
    """

    def make_app(self, **options: object) -> App:
        self.doorkeeper = Doorkeeper()
        callers = Callers(self.doorkeeper)

        async def tell(request: Request) -> Response:
            return Response(200, (), repr(await callers.of(request)).encode())

        app = super().make_app(**options)
        app.add("GET", "/", tell)
        return app

    async def test_known(self) -> None:
        """
        A known caller is handed on, and its project noted for the access log.
        """
        answer = await self.ask("GET", "/", "X-Auth-Token: good\r\nX-Service-Token: other\r\n")
        self.assertEqual(answer.body.decode(), repr(Caller("u", "p", ["member"])))
        self.assertEqual(self.doorkeeper.seen, [Credentials("good", "other")])
        self.assertEqual((await self.record()).project_id, "p")

    async def test_unknown(self) -> None:
        """
        Who is not known is answered by 401 and a challenge, and leaves no project.
        """
        for headers in ("", "X-Auth-Token: bad\r\n", "X-Service-Token: good\r\n"):
            answer = await self.ask("GET", "/", headers)
            self.assertEqual((headers, answer.status), (headers, 401))
            self.assertEqual(answer.headers["www-authenticate"], "Keystone")
        self.assertEqual((await self.record()).project_id, None)

    async def test_malformed(self) -> None:
        """
        Credentials that are ambiguous, or none, are refused without asking anybody.
        """
        for headers, status in [
            ("X-Auth-Token: good\r\nX-Auth-Token: good\r\n", 400),
            ("X-Auth-Token: go od\r\n", 401),
            ("X-Auth-Token: g\u00f6\u00f6d\r\n", 401),
        ]:
            answer = await self.ask("GET", "/", headers)
            self.assertEqual((headers, answer.status), (headers, status))
        self.assertEqual(self.doorkeeper.seen, [])

    async def test_nobody_can_tell(self) -> None:
        """
        While callers cannot be known the service is unavailable to them, which is not a refusal.
        """
        answer = await self.ask("GET", "/", "X-Auth-Token: away\r\n")
        self.assertEqual(answer.status, 503)
        self.assertNotIn("www-authenticate", answer.headers)
