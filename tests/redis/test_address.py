"""
Where a Redis is, read from a URL.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.redis.address import RedisAddress


class RedisAddressTests(SynchronousTestCase):
    """
    URLs, read strictly.
    """

    def test_good(self) -> None:
        """
        Host, port, database and credentials are found; what is left out has Redis's own defaults.
        """
        for url, address in [
            ("redis://cache", RedisAddress("cache", 6379, 0)),
            ("redis://cache/", RedisAddress("cache", 6379, 0)),
            ("redis://10.0.0.1:7000/12", RedisAddress("10.0.0.1", 7000, 12)),
            ("redis://[::1]:7000/0", RedisAddress("::1", 7000, 0)),
            ("redis://:p%40ss%2Fword@cache:1/2", RedisAddress("cache", 1, 2, None, "p@ss/word")),
            ("rediss://cache:6380", RedisAddress("cache", 6380, 0, tls=True)),
            ("redis://glance:pw@cache", RedisAddress("cache", 6379, 0, "glance", "pw")),
        ]:
            self.assertEqual(RedisAddress.parse(url), address)

    def test_bad(self) -> None:
        """
        Anything else is refused, and a password in it is not repeated.
        """
        for url in (
            "",
            "cache:6379",
            "http://:s3cret@cache",
            "redisss://:s3cret@cache",
            "redis://",
            "redis://:s3cret@",
            "redis://:s3cret@cache:port/0",
            "redis://:s3cret@cache:0/0",
            "redis://:s3cret@cache:70000/0",
            "redis://:s3cret@cache/db",
            "redis://:s3cret@cache/-1",
            "redis://:s3cret@cache/1/2",
            "redis://:s3cret@cache/0?timeout=1",
            "redis://:s3cret@cache/0#x",
            "redis://:s3cret@ca che/0",
            "redis://:s3cret@cache/0\r\nFLUSHALL",
            "redis://s3cret@cache/0",
            "redis://:s3cret@[::1/0",
        ):
            error = self.assertRaises(ValueError, RedisAddress.parse, url)
            self.assertNotIn("s3cret", f"{error!r} {error.__cause__!r}")

    def test_secret(self) -> None:
        """
        An address does not show its password.
        """
        self.assertNotIn("s3cret", repr(RedisAddress.parse("redis://:s3cret@cache")))
