"""
Tests of where redirects lead.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from glance_cache.client import Exchange
from glance_cache.redirects import redirect_target, same_origin

ASKED = "https://glance.example.com/v2/images/1/file"


@define
class Redirect:
    code: int
    headers: Headers = field(factory=Headers)


def target(location: str | None, status: int = 302, asked: str = ASKED) -> str | None:
    response: Any = Redirect(status)
    if location is not None:
        response.headers.setRawHeaders("Location", [location])
    return redirect_target(Exchange("https://glance.example.com", response), asked)


class TargetTests(SynchronousTestCase):
    """
    `redirect_target` tells where an answer sends us, if it may.
    """

    def test_followed(self) -> None:
        """
        Addresses may be whole, or begin where the first one was; a fragment is left out.
        """
        for location, expected in (
            ("https://s3.example.com/a?b=c", "https://s3.example.com/a?b=c"),
            ("https://s3.example.com?b=c", "https://s3.example.com/?b=c"),
            ("//s3.example.com:8443/a#d", "https://s3.example.com:8443/a"),
            ("/data/1", "https://glance.example.com/data/1"),
            ("data?x", "https://glance.example.com/v2/images/1/data?x"),
        ):
            self.assertEqual(target(location), expected)
        self.assertEqual(target("https://a/", asked="http://b/c"), "https://a/")
        for status in (301, 303, 307, 308):
            self.assertEqual(target("/data/1", status), "https://glance.example.com/data/1")

    def test_not_followed(self) -> None:
        """
        What is no address, names a user, or leaves TLS behind leads nowhere; and so does what is no redirect.
        """
        for location in (
            None,
            "http://glance.example.com/a",
            "ftp://a/b",
            "https://user@a/b",
            "https://u:p@a/b",
            "https://[::1/b",
            "https://a:99999/b",
            "https://a:0/b",
            "https://a/b c",
            "https://a/b\xe4",
            "file:///etc/passwd",
        ):
            self.assertIsNone(target(location), location)
        for status in (200, 206, 300, 304, 400):
            self.assertIsNone(target("/data/1", status))


class OriginTests(SynchronousTestCase):
    """
    `same_origin` compares scheme, host and port.
    """

    def test_same(self) -> None:
        """
        A port that goes without saying may be said.
        """
        self.assertTrue(same_origin("https://A.example.com/b", "https://a.example.com:443/c?d"))

    def test_other(self) -> None:
        """
        Any difference makes another one.
        """
        for other in ("http://a/", "https://a:8443/", "https://b/", "https://a.b/"):
            self.assertFalse(same_origin("https://a/", other), other)
