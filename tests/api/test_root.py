"""
Which versions there are, and which paths lead to them.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.api.root import without_version
from tests.api.service import UNKNOWN_ID, ServiceTestCase

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
KNOWN = ("v2", "v2.0", "v2.1", "v2.2", "v2.3", "v2.4", "v2.5", "v2.6", "v2.7", "v2.9", "v2.15", "v2.17")
UNKNOWN = (
    "v1",
    "v3",
    "v0",
    "v1.1",
    "v2.8",
    "v2.10",
    "v2.13",
    "v2.14",
    "v2.16",
    "v2.18",
    "v2.99",
    "v20",
    "v02",
    "v2.07",
)


class DiscoveryTests(ServiceTestCase):
    """
    Clients find the API without a token.
    """

    async def test_versions(self) -> None:
        """
        ``/versions`` answers 200, ``/`` answers 300, with one and the same document.
        """
        explicit = await self.call("GET", "/versions", token=None)
        choices = await self.call("GET", "/", token=None)
        self.assertEqual((explicit.status, choices.status), (200, 300))
        self.assertEqual(explicit.json, choices.json)
        links = [{"rel": "self", "href": "http://localhost/v2/"}]
        self.assertEqual(
            explicit.json,
            {
                "versions": [
                    {"id": "v2.7", "status": "CURRENT", "links": links},
                    {"id": "v2.5", "status": "SUPPORTED", "links": links},
                    {"id": "v2.4", "status": "SUPPORTED", "links": links},
                    {"id": "v2.3", "status": "SUPPORTED", "links": links},
                    {"id": "v2.2", "status": "SUPPORTED", "links": links},
                    {"id": "v2.1", "status": "SUPPORTED", "links": links},
                    {"id": "v2.0", "status": "SUPPORTED", "links": links},
                ]
            },
        )

    async def test_unknown_versions(self) -> None:
        """
        A version that is not there is answered by 300 and the document, whatever the method, path, body and token.
        """
        for version in UNKNOWN:
            for path in (f"/{version}", f"/{version}/", f"/{version}/images/{UNKNOWN_ID}/file?x=y"):
                reply = await self.call("GET", path, token="garbage")
                self.assertEqual((path, reply.status), (path, 300))
                self.assertIn("versions", reply.json)
        for method in METHODS:
            for path in ("/", "/v1/images"):
                reply = await self.call(method, path, token=None, body=b"" if method == "HEAD" else b"x" * 100)
                self.assertEqual((method, path, reply.status), (method, path, 300))

    async def test_prefixes(self) -> None:
        """
        All prefixes of known versions lead to the same images.
        """
        image_id = await self.create()
        expected = (await self.call("GET", f"/v2/images/{image_id}")).json
        for version in KNOWN:
            reply = await self.call("GET", f"/{version}/images/{image_id}")
            self.assertEqual((version, reply.status), (version, 200))
            self.assertEqual(reply.json, expected)

    async def test_slash(self) -> None:
        """
        A version without a slash leads on to the one with it, where there is nothing.
        """
        for version in KNOWN:
            reply = await self.call("GET", f"/{version}", token=None)
            self.assertEqual((reply.status, reply.headers["location"]), (302, "http://localhost/v2/"))
            self.assertEqual((await self.call("GET", f"/{version}/")).status, 404)

    async def test_accept(self) -> None:
        """
        For a path without a version, a media type of the API may name one; an unknown one leads to the document.
        """
        image_id = await self.create()
        for version in KNOWN:
            kind = f"application/vnd.openstack.images-{version}"
            for accept in (kind, f"{kind}; q=0.5", f"text/plain, {kind}"):
                reply = await self.call("GET", f"/images/{image_id}", Accept=accept)
                self.assertEqual((accept, reply.status, reply.json["id"]), (accept, 200, image_id))
        for version in UNKNOWN:
            reply = await self.call("GET", "/images", token=None, Accept=f"application/vnd.openstack.images-{version}")
            self.assertEqual((version, reply.status), (version, 300))
            self.assertIn("versions", reply.json)

    async def test_accept_elsewhere(self) -> None:
        """
        A path that has a version, or is of none, keeps its meaning whatever is accepted.
        """
        accept = "application/vnd.openstack.images-v2"
        for path, status in (("/v2/images", 200), ("/v3/images", 300), ("/", 300), ("/versions", 200)):
            self.assertEqual((path, (await self.call("GET", path, Accept=accept)).status), (path, status))
        unknown = "application/vnd.openstack.images-v9"
        self.assertEqual((await self.call("GET", "/v2/images", Accept=unknown)).status, 200)
        for accept in ("application/vnd.openstack.images", "application/vnd.openstack.images-v2x", "*/*"):
            self.assertEqual((await self.call("GET", "/images", Accept=accept)).status, 404)

    async def test_neighbors(self) -> None:
        """
        What does not look like a version is a path like others.
        """
        for path in (
            "/versions/",
            "/v",
            "/v2x/images",
            "/v2./images",
            "/vv2",
            "/images",
            "/v2.0.1/images",
            "//v2/images",
        ):
            self.assertEqual((path, (await self.call("GET", path)).status), (path, 404))
        reply = await self.call("POST", "/versions", token=None)
        self.assertEqual((reply.status, reply.headers["allow"]), (405, "GET"))


class PublicDiscoveryTests(ServiceTestCase):
    """
    An operator may say at which address clients reach the service.
    """

    public_endpoint = "https://images.example/glance/"

    async def test_links(self) -> None:
        """
        All absolute links begin with the configured address.
        """
        versions = await self.call("GET", "/versions", token=None)
        hrefs = {link["href"] for version in versions.json["versions"] for link in version["links"]}
        self.assertEqual(hrefs, {"https://images.example/glance/v2/"})
        created = await self.call("POST", "/v2/images", {"id": UNKNOWN_ID})
        self.assertEqual(created.headers["location"], f"https://images.example/glance/v2/images/{UNKNOWN_ID}")


class PrefixTests(SynchronousTestCase):
    """
    `without_version` makes all spellings of the prefix one.
    """

    def test_rewrite(self) -> None:
        """
        Known versions become ``/v2``, others a path of their own, and everything else stays as it is.
        """
        for path, expected in [
            ("/v2.9/images/x", "/v2/images/x"),
            ("/v2.9", "/v2"),
            ("/v2.9/", "/v2/"),
            ("/v2/v2.9", "/v2/v2.9"),
            ("/v2.8/images", "/unknown-version"),
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("/healthcheck", "/healthcheck"),
            ("//v2.9/images", "//v2.9/images"),
        ]:
            self.assertEqual((path, without_version(path)), (path, expected))
