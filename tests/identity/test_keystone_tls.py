"""
TLS towards Keystone.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.ssl import KeyPair, PrivateCertificate
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.web.server import Site

from glance_tx.identity.errors import IdentityUnavailable
from glance_tx.identity.keystone.account import Account
from glance_tx.identity.keystone.options import KeystoneSettings
from glance_tx.identity.keystone.tls import read_tls
from glance_tx.settings import SettingsError
from tests.doubles.certificates import self_signed
from tests.identity.keystones import KeystoneTestCase, reactor


def pem(certificate: PrivateCertificate) -> bytes:
    """
    A certificate without its key.
    """
    text: bytes = certificate.dump(1)  # OpenSSL's number of PEM
    return text


class TlsTestCase(KeystoneTestCase):
    """
    A Keystone with a certificate for ``localhost`` that nobody has reason to trust.
    """

    def setUp(self) -> None:
        super().setUp()
        self.certificate = self_signed()
        self.serve(self.certificate)

    def serve(self, certificate: PrivateCertificate, *clients: PrivateCertificate) -> None:
        """
        Listen with a certificate, for everybody or for some.
        """
        options = certificate.options(*clients)
        site = Site(self.keystone.app.resource())
        self.tls_port = reactor.listenSSL(0, site, options, interface="127.0.0.1")
        self.addCleanup(self.tls_port.stopListening)

    def file(self, content: bytes) -> Path:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return path

    def policy_settings(self, host: str = "localhost", **options: object) -> KeystoneSettings:
        return KeystoneSettings(
            auth_url=f"https://{host}:{self.tls_port.getHost().port}",
            username="glance",
            password="glancepw",
            project_name="service",
            retries=0,
            **options,  # type: ignore[arg-type]
        )

    async def token(self, host: str = "localhost", **options: object) -> str:
        """
        Fetch a token over TLS.
        """
        settings = self.policy_settings(host, **options)
        account = Account(settings, reactor)
        try:
            return await account.token.get()
        finally:
            await account.stop()


class TrustTests(TlsTestCase):
    """
    Who is believed to be Keystone.
    """

    async def test_authorities(self) -> None:
        """
        A server is believed if one of the authorities of the file vouches for it.
        """
        others = [pem(self_signed(name)) for name in ("one", "other")]
        path = self.file(b"# ours\n" + others[0] + pem(self.certificate) + b"\n" + others[1])
        self.assertIn(await self.token(cafile=path), self.keystone.tokens)

    async def test_strangers(self) -> None:
        """
        Nothing is said to a server that none of them vouches for, nor to one that only the machine does not know.
        """
        for options in ({"cafile": self.file(pem(self_signed()))}, {}):
            with self.assertRaises(IdentityUnavailable):
                await self.token(**options)
        self.assertEqual(self.keystone.requests, [])

    async def test_other_name(self) -> None:
        """
        Nor to one that shows a certificate of another name.
        """
        with self.assertRaises(IdentityUnavailable):
            await self.token(host="127.0.0.1", cafile=self.file(pem(self.certificate)))
        self.assertEqual(self.keystone.requests, [])

    async def test_quiet(self) -> None:
        """
        Connections that come and go are nothing to be logged.
        """
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        await self.token(insecure=True)
        said = [formatEvent(event) or "" for event in events]
        self.assertEqual([text for text in said if "HTTP11ClientFactory" in text], [])

    async def test_insecure(self) -> None:
        """
        Whoever answers is believed where the operator says so, by name or by address.
        """
        for host in ("localhost", "127.0.0.1"):
            self.assertIn(await self.token(host=host, insecure=True), self.keystone.tokens)


class ClientCertificateTests(TlsTestCase):
    """
    A Keystone that wants to see a certificate.
    """

    def setUp(self) -> None:
        super().setUp()
        self.own = KeyPair.generate(size=2048).selfSignedCert(1, CN="glance")
        self.serve(self.certificate, self.own)

    async def test_shown(self) -> None:
        """
        It sees ours, which is in one file with its key, or in two.
        """
        cafile = self.file(pem(self.certificate))
        key = self.own.privateKey.dump(1)
        together = self.file(key + pem(self.own))
        for options in (
            {"certfile": together, "cafile": cafile},
            {"certfile": self.file(pem(self.own)), "keyfile": self.file(key), "cafile": cafile},
            {"certfile": together, "insecure": True},
        ):
            self.assertIn(await self.token(**options), self.keystone.tokens)

    async def test_none(self) -> None:
        """
        Without one it does not speak to us.
        """
        for options in ({"cafile": self.file(pem(self.certificate))}, {"insecure": True}):
            with self.assertRaises(IdentityUnavailable):
                await self.token(**options)
        self.assertEqual(self.keystone.requests, [])


class FileTests(TlsTestCase):
    """
    Files that cannot be used.
    """

    def test_refused(self) -> None:
        """
        A file that is not there, is empty, or holds something else, is refused at start by its option and its name.
        """
        other = KeyPair.generate(size=2048)
        own = KeyPair.generate(size=2048).selfSignedCert(1, CN="glance")
        nothing, garbage = self.file(b""), self.file(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        missing = Path("/nonexistent/ca.pem")
        for option, options in (
            ("cafile", {"cafile": nothing}),
            ("cafile", {"cafile": garbage}),
            ("cafile", {"cafile": missing}),
            ("certfile", {"certfile": missing}),
            ("certfile", {"certfile": nothing}),
            ("certfile", {"certfile": garbage}),
            ("certfile", {"certfile": self.file(pem(own))}),
            ("keyfile", {"certfile": self.file(pem(own)), "keyfile": self.file(other.dump(1))}),
            ("keyfile", {"certfile": self.file(pem(own)), "keyfile": missing}),
        ):
            error = self.assertRaises(SettingsError, read_tls, self.policy_settings(**options))
            self.assertIn(f"[keystone_authtoken] {option}: ", str(error))
            self.assertIn(str(options[option]), str(error))
