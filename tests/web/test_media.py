"""
What kind of body a request says that it brings.
"""

from __future__ import annotations

from glance_tx.web.app import App
from glance_tx.web.media import media_type
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import ServingTestCase


class MediaTypeTests(ServingTestCase):
    """
    `media_type` reads the Content-Type header.
    """

    def make_app(self, **options: object) -> App:
        async def tell(request: Request) -> Response:
            return Response(200, (), media_type(request).encode())

        app = super().make_app(**options)
        app.add("GET", "/", tell)
        return app

    async def test_read(self) -> None:
        """
        The type comes in lower case and without its parameters; where there is none, it is empty.
        """
        for headers, expected in [
            ("", b""),
            ("Content-Type:\r\n", b""),
            ("Content-Type: application/json\r\n", b"application/json"),
            ("Content-Type: Application/JSON ; charset=UTF-8; q=1\r\n", b"application/json"),
            ("Content-Type: ;a/b\r\n", b""),
            ("Content-Type: a/b, c/d\r\n", b"a/b, c/d"),
        ]:
            answer = await self.ask("GET", "/", headers)
            self.assertEqual((headers, answer.status, answer.body), (headers, 200, expected))

    async def test_twice(self) -> None:
        """
        Two types at once are refused, also where they are the same.
        """
        answer = await self.ask("GET", "/", "Content-Type: a/b\r\ncontent-type: a/b\r\n")
        self.assertEqual(answer.status, 400)
