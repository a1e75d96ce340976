"""
Which paths are one and the same to a node.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_cache.routes import without_minor_version

KIND = "application/vnd.openstack.images-"


class PrefixTests(SynchronousTestCase):
    """
    `without_minor_version` makes all spellings of the prefix one.
    """

    def test_paths(self) -> None:
        """
        Versions that any image service knows become ``/v2``; others are for the upstream to judge.
        """
        for path, expected in (
            ("/v2.7/images/x/file", "/v2/images/x/file"),
            ("/v2.18/cache", "/v2/cache"),
            ("/v2.19/cache", "/v2.19/cache"),
            ("/v3/images", "/v3/images"),
            ("/v2/v2.7/x", "/v2/v2.7/x"),
            ("/images", "/images"),
        ):
            self.assertEqual((path, without_minor_version(path)), (path, expected))

    def test_accept(self) -> None:
        """
        A media type names the version of a path that has none, so that the node knows its own paths again.
        """
        for path, version, expected in (
            ("/images/x/file", "v2", "/v2/images/x/file"),
            ("/cache", "v2.14", "/v2/cache"),
            ("/cache/x", "v3", "/v3/cache/x"),
            ("/v2.7/images", "v2.3", "/v2/images"),
            ("/v3/images", "v2", "/v3/images"),
            ("/v1", "v2", "/v1"),
            ("/", "v2", "/"),
            ("/versions", "v2", "/versions"),
            ("/healthcheck", "v2", "/healthcheck"),
            ("//images", "v2", "//images"),
            ("*", "v2", "*"),
            ("", "v2", ""),
        ):
            self.assertEqual((path, without_minor_version(path, f"{KIND}{version}")), (path, expected))
        self.assertEqual(without_minor_version("/images", "*/*"), "/images")
