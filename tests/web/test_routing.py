"""
Routes are found by exact path and method.
"""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.errors import BadRequest, MethodNotAllowed, RouteNotFound
from glance_tx.web.response import Response
from glance_tx.web.routing import BodyRule, Router, _Tree, decode_path

TABLES = (
    ("GET /a/<x>", "PUT /a/b", "GET /<x>/b", "GET /a/<y>", "PUT /a/<x>", "GET /b/", "GET /", "GET /a/<x>/<y>"),
    ("GET /a/<x>/<path:rest>", "GET /a/<x>", "GET /a/<x>/b", "PUT /<path:rest>"),
    ("GET /a/<x>", "GET /a/<int:n>", "GET /a/b"),
    ("GET /<x>/b", "GET /<string(length=1):s>/b"),
    ("GET /a/a<z>", "GET /a/<x>", "GET /a|b"),
)
SEGMENTS = ("a", "b", "", "1", "ab", "a|b", "<x>", "a\n")


async def handler(request: object, **arguments: object) -> Response:
    return Response(200)


def router(*routes: str) -> Router:
    made = Router()
    for route in routes:
        method, path = route.split()
        made.add(method, path, handler, BodyRule.NONE, None)
    return made


def outcome(routes: Router, method: str, path: str) -> object:
    """
    What comes of looking for a route.
    """
    try:
        route, arguments = routes.find(method, path)
    except (MethodNotAllowed, RouteNotFound) as error:
        return repr(error)
    return route.label, dict(arguments)


class RouterTests(SynchronousTestCase):
    """
    `Router` finds a route or says why there is none.
    """

    def test_found(self) -> None:
        """
        A path's converters make the handler's arguments, and a literal path goes before them.
        """
        routes = router("GET /images", "GET /images/<image_id>", "GET /images/<image_id>/file", "PUT /n/<int:number>")
        for method, path, label, arguments in [
            ("GET", "/images", "GET /images", {}),
            ("GET", "/images/abc", "GET /images/<image_id>", {"image_id": "abc"}),
            ("GET", "/images/größe", "GET /images/<image_id>", {"image_id": "größe"}),
            ("GET", "/images/abc\n", "GET /images/<image_id>", {"image_id": "abc\n"}),
            ("GET", "/images/abc/file", "GET /images/<image_id>/file", {"image_id": "abc"}),
            ("PUT", "/n/7", "PUT /n/<int:number>", {"number": 7}),
        ]:
            route, found = routes.find(method, path)
            self.assertEqual((route.label, found), (label, arguments))

    def test_not_found(self) -> None:
        """
        Any other spelling of a path is another path, and never a redirect.
        """
        routes = router("GET /images", "GET /images/<image_id>", "GET /slash/", "GET /n/<int:number>")
        for path in [
            "",
            "*",
            "images",
            "/",
            "/images/",
            "//images",
            "/images//abc",
            "/Images",
            "/images/abc/",
            "/slash",
            "/n/x",
            "/n/" + "9" * 5000,
            "/images" * 3000,
            "/" * 16_000,
        ]:
            self.assertRaises(RouteNotFound, routes.find, "GET", path)

    def test_method_not_allowed(self) -> None:
        """
        A known path names the methods that it has; HEAD, OPTIONS and other spellings are not among them.
        """
        routes = router("GET /images", "POST /images", "GET /images/<image_id>", "PATCH /images/<name>")
        for method in ["HEAD", "OPTIONS", "PUT", "get", "Get", "BREW", "", "-", "123", "MKCOL"]:
            exc = self.assertRaises(MethodNotAllowed, routes.find, method, "/images")
            self.assertEqual(exc.allowed, ("GET", "POST"))
        exc = self.assertRaises(MethodNotAllowed, routes.find, "DELETE", "/images/abc")
        self.assertEqual(exc.allowed, ("GET", "PATCH"))

    def test_head(self) -> None:
        """
        HEAD is a route of its own.
        """
        routes = router("GET /file", "HEAD /file")
        self.assertEqual(routes.find("HEAD", "/file")[0].label, "HEAD /file")
        self.assertEqual(routes.find("GET", "/file")[0].label, "GET /file")

    def test_as_the_matcher(self) -> None:
        """
        Whatever the routes are, the short way finds what the matcher finds: the route, its arguments, or the refusal.
        """
        paths = [f"/{'/'.join(segments)}" for count in (1, 2, 3) for segments in product(SEGMENTS, repeat=count)]
        for table in TABLES:
            short, long = router(*table), router(*table)
            long._tree = _Tree()
            for method, path in product(("GET", "PUT", "DELETE", "get"), paths):
                self.assertEqual(outcome(short, method, path), outcome(long, method, path))

    def test_taken(self) -> None:
        """
        A second handler for the same method and path is refused.
        """
        self.assertRaises(ValueError, router, "GET /images", "GET /images")


class DecodePathTests(SynchronousTestCase):
    """
    `decode_path` undoes the percent-encoding of paths that have a sound one.
    """

    def test_decode(self) -> None:
        """
        A path is percent-decoded UTF-8.
        """
        self.assertEqual(decode_path(b"/a%2Fb/%C3%B6/%25zz"), "/a/b/ö/%zz")
        self.assertEqual(decode_path("/ö".encode()), "/ö")
        for path in [b"/%zz", b"/%", b"/%4", b"/%ff", b"/\xff", b"/%ed%a0%80", b"/%00", b"/%c0%80"]:
            self.assertRaises(BadRequest, decode_path, path)
