"""
Both ends of TLS, over real sockets.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from glance_tx.tls.client import ClientFiles, ClientTls
from glance_tx.tls.errors import CertificateUnusable
from glance_tx.tls.server import ServerFiles, ServerTls
from tests.doubles.certificates import Authority


class Greeter(Protocol):
    """
    Says hello over TLS as soon as that is possible, and ends.
    """

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Listener(Protocol):
    """
    Asks for the greeting and takes it in.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"hi")

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: object) -> None:
        self.ended.callback(self.heard)


class ConnectionTests(TestCase):
    """
    `ServerTls` and `ClientTls` with each other, and with somebody else's.
    """

    def setUp(self) -> None:
        self.authority = Authority(Path(self.mktemp()))
        self.files = ServerFiles(*self.authority.issue("localhost", "127.0.0.1"))

    def serve(self, files: ServerFiles | None = None) -> ServerTls:
        """
        Begin to greet.
        """
        tls = ServerTls("certificate", files or self.files)
        factory = TLSMemoryBIOFactory(tls, False, Factory.forProtocol(Greeter), reactor)  # noqa: FBT003
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return tls

    async def heard(self, files: ClientFiles, host: str = "localhost") -> bytes:
        """
        What a client hears that speaks TLS with a host, at the address where we serve.
        """
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port, 10)
        made = Factory.forProtocol(Listener)
        protocol = await wrapClientTLS(ClientTls(files).to(host), endpoint).connect(made)
        answer: bytes = await protocol.ended.addTimeout(10, reactor)
        return answer

    async def test_verified(self) -> None:
        """
        A server whose certificate is by an authority that we believe, for its name or address, is spoken with; no
        other is, unless verifying was switched off.
        """
        self.serve()
        stranger = Authority(Path(self.mktemp()))
        for files, host, heard in (
            (ClientFiles(self.authority.ca_file), "localhost", b"hello"),
            (ClientFiles(self.authority.ca_file), "127.0.0.1", b"hello"),
            (ClientFiles(self.authority.ca_file), "other.example", b""),
            (ClientFiles(self.authority.ca_file), "127.0.0.2", b""),
            (ClientFiles(stranger.ca_file), "localhost", b""),
            (ClientFiles(), "localhost", b""),
            (ClientFiles(insecure=True), "other.example", b"hello"),
            (ClientFiles(insecure=True), "127.0.0.2", b"hello"),
        ):
            self.assertEqual((files, host, await self.heard(files, host)), (files, host, heard))

    async def test_ended(self) -> None:
        """
        A certificate that has ended is told of, and not believed.
        """
        tls = self.serve(ServerFiles(*self.authority.issue("localhost", days=-2)))
        [warning] = tls.warnings
        self.assertIn("clients that verify it will not connect", str(warning))
        self.assertEqual(await self.heard(ClientFiles(self.authority.ca_file)), b"")

    async def test_client_certificates(self) -> None:
        """
        With authorities for clients, nobody is let in without a certificate by one of them.
        """
        people = Authority(Path(self.mktemp()))
        self.serve(ServerFiles(self.files.cert_file, self.files.key_file, people.ca_file))
        ca_file = self.authority.ca_file
        for files, heard in (
            (ClientFiles(ca_file), b""),
            (ClientFiles(ca_file, *people.issue("somebody")), b"hello"),
            (ClientFiles(None, *people.issue("somebody"), insecure=True), b"hello"),
            (ClientFiles(ca_file, *self.authority.issue("stranger")), b""),
            (ClientFiles(ca_file, *people.issue("somebody", days=-1)), b""),
        ):
            self.assertEqual((files, await self.heard(files)), (files, heard))

    async def test_versions(self) -> None:
        """
        TLS 1.2 and 1.3 are spoken, and nothing older.
        """
        self.serve()
        for version, spoken in (
            (ssl.TLSVersion.TLSv1_1, None),
            (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
            (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ):
            self.assertEqual(await deferToThread(self.speak, version), spoken)

    def speak(self, version: ssl.TLSVersion) -> str | None:
        """
        Speak one version of TLS. Blocks.
        """
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as connection:
                    return connection.version()
            except ssl.SSLError:
                return None

    async def test_changed(self) -> None:
        """
        New connections go by the new certificate once it is in force; one that is wrong is refused and changes
        nothing.
        """
        tls = self.serve()
        old, new = ClientFiles(self.authority.ca_file), Authority(Path(self.mktemp()))
        cert_file, key_file = new.issue("localhost")
        self.files.cert_file.write_bytes(cert_file.read_bytes())
        self.assertNotEqual(tls.source.look(), tls.source.stamp)
        self.assertRaises(CertificateUnusable, tls.source.read)
        self.assertEqual(await self.heard(old), b"hello")
        self.files.key_file.write_bytes(key_file.read_bytes())
        self.assertEqual(list(tls.source.use(tls.source.read())), [])
        self.assertEqual(await self.heard(ClientFiles(new.ca_file)), b"hello")
        self.assertEqual(await self.heard(old), b"")
