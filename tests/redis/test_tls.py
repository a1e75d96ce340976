"""
A Redis that is spoken TLS with.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from glance_tx.redis.address import RedisAddress
from glance_tx.redis.client import RedisClient
from glance_tx.redis.errors import RedisUnavailable
from glance_tx.redis.options import make_redis, redis_tls
from glance_tx.settings.daemon import RedisSettings
from glance_tx.tls.errors import CertificateUnusable
from tests.doubles.certificates import Authority
from tests.ports import free_port
from tests.services import own_redis


class TlsTests(TestCase):
    """
    A real server, which shows a certificate and asks for one.
    """

    def setUp(self) -> None:
        self.authority = Authority(Path(self.mktemp()).absolute())
        cert_file, key_file = self.authority.issue("localhost")
        port = free_port()
        own_redis(
            self,
            {
                "tls-port": str(port),
                "tls-cert-file": str(cert_file),
                "tls-key-file": str(key_file),
                "tls-ca-cert-file": str(self.authority.ca_file),
                "requirepass": "hush",
            },
        )
        self.url = f"rediss://:hush@localhost:{port}/0"
        self.mine = self.authority.issue("a node")
        self.stranger = Authority(Path(self.mktemp()).absolute())

    async def answer(self, settings: RedisSettings) -> str:
        """
        What comes of a command.
        """
        client = make_redis(reactor, settings, redis_tls(settings))
        assert client is not None
        self.addCleanup(lambda: Deferred.fromCoroutine(client.stop()))
        try:
            return str(await client.within_deadline(client.command("ECHO", "hello")))
        except RedisUnavailable:
            return "unavailable"

    async def test_verified(self) -> None:
        """
        It is spoken with where both sides believe each other.
        """
        cert_file, key_file = self.mine
        self.assertEqual(
            await self.answer(
                RedisSettings(url=self.url, cafile=self.authority.ca_file, certfile=cert_file, keyfile=key_file)
            ),
            "hello",
        )

    async def test_not_verified(self) -> None:
        """
        Otherwise it counts as away, and nothing waits for it.
        """
        cert_file, key_file = self.mine
        other_name = self.url.replace("localhost", "127.0.0.1")
        for settings in (
            RedisSettings(url=self.url, cafile=self.stranger.ca_file, certfile=cert_file, keyfile=key_file),
            RedisSettings(url=other_name, cafile=self.authority.ca_file, certfile=cert_file, keyfile=key_file),
            RedisSettings(url=self.url, cafile=self.authority.ca_file),
        ):
            self.assertEqual(await self.answer(settings), "unavailable")


class RefusalTests(TestCase):
    """
    What is refused before anything is sent.
    """

    def test_files(self) -> None:
        """
        Files that cannot be used are, and none is looked at without TLS.
        """
        nothing = Path(self.mktemp())
        self.assertRaises(CertificateUnusable, redis_tls, RedisSettings(url="rediss://a", cafile=nothing))
        self.assertIsNone(redis_tls(RedisSettings(url="redis://a", cafile=nothing)))
        self.assertIsNone(redis_tls(RedisSettings()))

    def test_never_in_the_clear(self) -> None:
        """
        An address of TLS is not spoken with in the clear.
        """
        self.assertRaises(ValueError, RedisClient, reactor, RedisAddress.parse("rediss://:hush@a"))
