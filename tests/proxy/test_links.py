"""
Tests of links that lead back to where the client came from.
"""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from glance_cache.links import Links
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.request import Request

NODE = "http://cache:9293"
REQUEST = cast(Request, None)
"""None is looked at, as the address of the node is configured."""


def links(*bases: str, node: str = NODE) -> Links:
    return Links(PublicEndpoint(node), bases or ("http://glance:9292",))


class LinkTests(SynchronousTestCase):
    """
    `Links` leads links back.
    """

    def assert_led(self, made: Links, cases: dict[str, str]) -> None:
        for link, expected in cases.items():
            self.assertEqual(made.lead_back(link, REQUEST), expected)

    def test_own(self) -> None:
        """
        A link to an upstream, as it is configured, leads through the node; what follows stays as it is.
        """
        self.assert_led(
            links("http://glance:9292", "https://two"),
            {
                "http://glance:9292": NODE,
                "http://glance:9292/v2/": f"{NODE}/v2/",
                "HTTP://Glance:9292/v2/a%2fb?c=d#e": f"{NODE}/v2/a%2fb?c=d#e",
                "https://two?x": f"{NODE}?x",
            },
        )

    def test_others(self) -> None:
        """
        Links to anywhere else stay as they are, however alike they look.
        """
        others = [
            "http://glance:92921/v2/",
            "http://glance/v2/",
            "https://glance:9292/v2/",
            "http://swift.example.com/v1/AUTH_1/images/x",
            "http://glance:9292.example.com/v2/",
            "http://glance:9292@example.com/v2/",
            "/v2/",
            "images",
            "",
        ]
        self.assert_led(links(), {link: link for link in others})

    def test_default_ports(self) -> None:
        """
        The port of the scheme may be there or not.
        """
        for base in ("http://glance:80", "https://glance:443"):
            scheme = base.partition(":")[0]
            self.assert_led(links(base), {f"{scheme}://glance/v2/": f"{NODE}/v2/", f"{base}/v2/": f"{NODE}/v2/"})

    def test_prefix(self) -> None:
        """
        A path that belongs to the upstream's address is not part of ours, in a relative link either.
        """
        self.assert_led(
            links("http://lb/image"),
            {
                "http://lb/image/v2/x": f"{NODE}/v2/x",
                "http://lb/v2/x": "http://lb/v2/x",
                "http://lb/images/v2/x": "http://lb/images/v2/x",
                "/image/v2/x": "/v2/x",
                "/images/v2/x": "/images/v2/x",
            },
        )

    def test_api_links(self) -> None:
        """
        What a service names of its own, under whatever address it knows itself by, leads through the node as well.
        """
        made = links("http://10.0.0.1:9292")
        for link, expected in {
            "https://images.example.com/v2/images/1": f"{NODE}/v2/images/1",
            "http://lb/image/v2.1/images/1?x": f"{NODE}/v2.1/images/1?x",
            "http://10.0.0.1:9292/v2/images/1": f"{NODE}/v2/images/1",
            "http://other/else": "http://other/else",
            "/v2/images/1": "/v2/images/1",
        }.items():
            self.assertEqual(made.lead_api_back(link, REQUEST), expected)

    def test_public_prefix(self) -> None:
        """
        The node itself may be known by an address with a path.
        """
        made = links(node="https://example.com/cache/")
        self.assert_led(made, {"http://glance:9292/v2/": "https://example.com/cache/v2/"})


class VersionTests(SynchronousTestCase):
    """
    `Links.versions` makes a version document ours.
    """

    def versions(self, document: Any) -> Any:
        return json.loads(links().versions(json.dumps(document).encode(), REQUEST))

    def document(self, *names: str) -> dict[str, Any]:
        link = {"rel": "self", "href": "https://images.example.com/prefix/v2/"}
        return {"versions": [{"id": name, "status": "CURRENT", "links": [link]} for name in names]}

    def test_links(self) -> None:
        """
        Every link leads through the node; the rest stays, in its order.
        """
        versions = self.versions(self.document("v2.9", "v2.17"))["versions"]
        self.assertEqual([version["id"] for version in versions[:2]], ["v2.9", "v2.17"])
        for version in versions:
            self.assertEqual(version["links"], [{"rel": "self", "href": f"{NODE}/v2/"}])
        self.assertEqual(versions[0]["status"], "CURRENT")

    def test_cache_versions(self) -> None:
        """
        The versions that stand for cache management are there, once.
        """
        for names in ((), ("v2.14",), ("v2.16", "v2.14"), ("v2.17",), ("v2.18",)):
            listed = [version["id"] for version in self.versions(self.document(*names))["versions"]]
            self.assertEqual(sorted(set(listed) | {"v2.14", "v2.16", "v2.18"}), sorted(listed))
            for version in self.versions(self.document(*names))["versions"]:
                self.assertIn(version["status"], {"CURRENT", "SUPPORTED"})

    def test_other_documents(self) -> None:
        """
        What is no version document stays as it is, byte by byte.
        """
        for document in (
            b"",
            b"<html>",
            b"[1, 2]",
            b'"text"',
            b"{ }",
            b'{"versions": 1}',
            b'{"versions": [1]}',
            b'{"versions": [{"id": "v2.0"}]}',
            b'{"versions": [{"links": "none"}]}',
            b'{"versions": [{"links": [{"href": 7}]}]}',
            b'{"versions": [{"links": [{}]}]}',
            b'{"versions": [{"links": [null]}]}',
        ):
            self.assertEqual(links().versions(document, REQUEST), document)
