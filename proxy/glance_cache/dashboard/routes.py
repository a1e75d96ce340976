"""
What the dashboard is made of, for the port that operators reach.

The page itself is for everybody who reaches that port: it holds nothing. All it shows comes from the routes of
management, with the token that is typed into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from glance_cache.passthrough import IRelay
from glance_cache.routes import is_image_id
from glance_tx.web.app import App
from glance_tx.web.errors import RouteNotFound
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["DashboardRoutes"]

_PAGE: Final = Path(__file__).parent / "page"
_INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SAFETY: Final = (
    # Nothing from elsewhere, nothing within the page's own text; and no text ever becomes markup, whoever chose it.
    (
        "Content-Security-Policy",
        (
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # After an update the page and its parts belong together.
    ("Cache-Control", "no-cache"),
)


class DashboardRoutes:
    """
    The page and its parts, and the names of images, which the node itself does not know.

    :param passthrough: Leads to the image service, with the caller's own token.
    """

    def __init__(self, passthrough: IRelay) -> None:
        self._passthrough = passthrough
        self._files = _read_files()

    def mount(self, app: App) -> None:
        """
        Add the routes to an application.
        """
        for method in ("GET", "HEAD"):
            app.add(method, "/dashboard", self.page)
            app.add(method, "/dashboard/<name>", self.part)
        app.add("GET", "/v2/images/<image_id>", self.image)

    async def page(self, request: Request) -> Response:
        """
        ``GET /dashboard``.
        """
        return self._answer(_INDEX)

    async def part(self, request: Request, name: str) -> Response:
        """
        ``GET /dashboard/{name}``.
        """
        if name not in self._files or name == _INDEX:
            raise RouteNotFound(f"/dashboard/{name}")
        return self._answer(name)

    def _answer(self, name: str) -> Response:
        return Response(200, (("Content-Type", _TYPES[Path(name).suffix]), *_SAFETY), self._files[name])

    async def image(self, request: Request, image_id: str) -> Response:
        """
        ``GET /v2/images/{image_id}``, as on the port for clients.
        """
        if not is_image_id(image_id):
            raise RouteNotFound(f"/v2/images/{image_id}")
        return await self._passthrough.relay(request)


def _read_files() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(_PAGE.iterdir())}
