"""
Both daemons over TLS and over IPv6, as real processes.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path
from unittest import SkipTest

from attrs import define

from tests.doubles.certificates import Authority
from tests.functional.daemons import ALICE, API_CONFIG, CACHE_CONFIG, START_SECONDS, DaemonProcess, DaemonTestCase

DATA = bytes(range(256)) * 20000
OCTETS = {"Content-Type": "application/octet-stream"}


@define
class TlsDaemon(DaemonProcess):
    """
    A daemon that is asked over TLS.
    """

    ca_file: Path = Path()
    host: str = "localhost"

    def connect(self) -> http.client.HTTPSConnection:
        """
        Make a connection.
        """
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection(self.host, self.port, timeout=60, context=context)


class TlsTests(DaemonTestCase):
    """
    An image service and a cache before it, both over TLS.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.authority = Authority(self.folder / "tls")
        self.cert_file, self.key_file = self.authority.issue("localhost", "127.0.0.1")
        # Nothing but a transfer is waited for, or no daemon here would end while a test looks.
        patient = "[DEFAULT]\ngraceful_shutdown_timeout = 3600\n"
        tls = f"{patient}reload_interval = 1\ncert_file = {self.cert_file}\nkey_file = {self.key_file}\n"
        self.api = self.daemon("glance-api", API_CONFIG.replace("[DEFAULT]\n", tls))
        self.api.start()
        upstream = f"\n[upstream]\nurls = https://localhost:{self.api.port}\ncafile = {self.authority.ca_file}\n"
        self.cache = self.daemon("glance-cache", CACHE_CONFIG.replace("[DEFAULT]\n", tls) + upstream)
        self.cache.start()

    def daemon(self, name: str, config: str) -> TlsDaemon:
        daemon = TlsDaemon(name, self.folder / name, config, ca_file=self.authority.ca_file)
        self.addCleanup(daemon.kill)
        return daemon

    def create(self) -> str:
        """
        Create an image with data.
        """
        document = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
        created = self.api.ask("POST", "/v2/images", ALICE, document)
        self.assertTrue(created.headers["location"].startswith(f"https://localhost:{self.api.port}/v2/images/"))
        image_id: str = json.loads(created.body)["id"]
        self.assertEqual(self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, DATA, OCTETS).status, 204)
        return image_id

    def test_data(self) -> None:
        """
        Data go in and out, whole and in part, from the service, through the cache and out of it; links say https.
        """
        image_id = self.create()
        path = f"/v2/images/{image_id}/file"
        self.assertEqual(self.api.ask("GET", path, ALICE).body, DATA)
        first = self.cache.ask("GET", path, ALICE)
        self.assertEqual((first.headers["x-cache"], first.body == DATA), ("fill", True))
        # The entry is complete a moment after its first client has everything.
        self.wait_for(lambda: self.cache.ask("GET", path, ALICE).headers["x-cache"] == "hit")
        self.assertEqual(self.cache.ask("GET", path, ALICE).body, DATA)
        part = self.cache.ask("GET", path, ALICE, headers={"Range": "bytes=100-4000099"})
        self.assertEqual((part.status, part.body), (206, DATA[100:4000100]))
        versions = json.loads(self.cache.ask("GET", "/versions", ALICE).body)["versions"]
        self.assertEqual(versions[0]["links"][0]["href"], f"https://localhost:{self.cache.port}/v2/")

    def test_plain(self) -> None:
        """
        Plain HTTP is not spoken.
        """
        with socket.create_connection(("127.0.0.1", self.api.port), 10) as connection:
            connection.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertNotIn(b"200", connection.recv(1000))

    def test_idle_connections(self) -> None:
        """
        A connection without a request does not hold up the end, whatever its client does.
        """
        connection = self.api.connect()
        self.addCleanup(connection.close)
        connection.request("GET", "/healthcheck")
        connection.getresponse().read()
        self.assertEqual(self.api.stop(), 0)

    def test_renewed(self) -> None:
        """
        A renewed certificate is shown without a restart.
        """
        renewed, key_file = self.authority.issue("localhost", "127.0.0.1")

        def shown() -> bytes:
            context = ssl.create_default_context(cafile=str(self.authority.ca_file))
            plain = socket.create_connection(("127.0.0.1", self.api.port), 10)
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                certificate: bytes | None = connection.getpeercert(binary_form=True)
                return certificate or b""

        wanted = ssl.PEM_cert_to_DER_cert(renewed.read_text())
        self.assertNotEqual(shown(), wanted)
        key_file.replace(self.key_file)
        renewed.replace(self.cert_file)
        self.wait_for(lambda: shown() == wanted)


class Ipv6Tests(DaemonTestCase):
    """
    A daemon at ``::1`` and at ``::``.
    """

    def test_addresses(self) -> None:
        """
        Both spellings work, and links have the address in brackets. At ``::`` IPv4 is served, too.
        """
        try:
            with socket.create_server(("::1", 0), family=socket.AF_INET6):
                pass
        except OSError as error:
            raise SkipTest(f"this machine has no IPv6: {error}") from error
        for host, reached in (("::1", ["::1"]), ("[::1]", ["::1"]), ("::", ["::1", "127.0.0.1"])):
            config = API_CONFIG.replace("127.0.0.1", host)
            daemon = self.make_daemon("glance-api", Path(self.mktemp()).absolute(), config)
            daemon.start(wait=False)
            for address in reached:
                self.wait_for(lambda: self.versions(daemon.port, address) is not None, START_SECONDS)  # noqa: B023
                name = f"[{address}]" if ":" in address else address
                self.assertEqual(self.versions(daemon.port, address), f"http://{name}:{daemon.port}/v2/")
            daemon.stop()

    def versions(self, port: int, address: str) -> str | None:
        """
        A link that a daemon gives; ``None`` as long as it does not answer.
        """
        connection = http.client.HTTPConnection(address, port, timeout=10)
        try:
            connection.request("GET", "/versions")
            link: str = json.loads(connection.getresponse().read())["versions"][0]["links"][0]["href"]
            return link
        except OSError:
            return None
        finally:
            connection.close()
