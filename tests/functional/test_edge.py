"""
Tests of what both daemons do to every answer: marks for pages of other sites, compression, health.
"""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

from tests.functional.daemons import ALICE, API_CONFIG, CACHE_CONFIG, DaemonProcess, DaemonTestCase

DASHBOARD = "https://dashboard.example.com"
CORS = f"\n[cors]\nallowed_origin = {DASHBOARD}\n"
HEALTH = "\n[healthcheck]\ndisable_by_file_path = {folder}/off\n"


class EdgeTests(DaemonTestCase):
    """
    An image service and a cache before it, each with its own options.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        config = API_CONFIG.replace("[DEFAULT]", "[DEFAULT]\ncompress_json = true") + CORS + HEALTH
        self.api = self.make_daemon("glance-api", self.folder / "api", config)
        self.api.start()
        config = CACHE_CONFIG + f"\n[upstream]\nurls = {self.api.url}\n" + CORS + HEALTH
        self.cache = self.make_daemon("glance-cache", self.folder / "node", config)
        self.cache.start()

    def ask(self, daemon: DaemonProcess, method: str, path: str, **headers: str) -> tuple[int, Message, bytes]:
        """
        Send a request; unlike `DaemonProcess.ask`, keep headers that are repeated.
        """
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(daemon.url + path, method=method, headers=lines)  # noqa: S310  (an address of our own)
        try:
            answer = urllib.request.urlopen(request, timeout=30)  # noqa: S310  (an address of our own)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers, answer.read()

    def test_preflight(self) -> None:
        """
        Each daemon answers a browser's question itself, without a token.
        """
        for daemon in (self.api, self.cache):
            for origin, status in ((DASHBOARD, 200), ("https://evil.example.com", 405)):
                asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-auth-token"}
                found, headers, _ = self.ask(daemon, "OPTIONS", "/v2/images", Origin=origin, **asked)
                self.assertEqual((daemon.name, found), (daemon.name, status))
                allowed = headers.get_all("Access-Control-Allow-Origin")
                self.assertEqual(allowed, [DASHBOARD] if status == 200 else None)

    def test_answers(self) -> None:
        """
        An answer has one mark, also where the image service behind the cache made one, too.
        """
        for daemon in (self.api, self.cache):
            for token, status in ((ALICE, 200), ("nobody", 401)):
                found, headers, _ = self.ask(daemon, "GET", "/v2/images", X_Auth_Token=token, Origin=DASHBOARD)
                self.assertEqual((daemon.name, found), (daemon.name, status))
                self.assertEqual(headers.get_all("Access-Control-Allow-Origin"), [DASHBOARD])
                self.assertEqual(len(headers.get_all("Access-Control-Expose-Headers", [])), 1)
                varies = ", ".join(headers.get_all("Vary", []))
                self.assertEqual((daemon.name, varies.count("Origin")), (daemon.name, 1))

    def test_compressed(self) -> None:
        """
        A compressed answer reaches the client of the cache as it left the image service.
        """
        schemas = []
        for daemon in (self.api, self.cache):
            _, headers, body = self.ask(daemon, "GET", "/v2/schemas/image", X_Auth_Token=ALICE, Accept_Encoding="gzip")
            self.assertEqual((daemon.name, headers["Content-Encoding"]), (daemon.name, "gzip"))
            self.assertEqual(int(headers["Content-Length"]), len(body))
            schemas.append(json.loads(gzip.decompress(body)))
            _, headers, body = self.ask(daemon, "GET", "/v2/schemas/image", X_Auth_Token=ALICE)
            self.assertIsNone(headers["Content-Encoding"])
            schemas.append(json.loads(body))
        self.assertEqual(schemas, schemas[:1] * 4)

    def test_health(self) -> None:
        """
        A daemon that is to get no requests says so, and serves those that come.
        """
        for daemon in (self.api, self.cache):
            off = daemon.folder / "off"
            off.touch()
            self.assertEqual(self.ask(daemon, "GET", "/healthcheck")[::2], (503, b"FAILED: disabled_by_file"))
            self.assertEqual(self.ask(daemon, "GET", "/v2/images", X_Auth_Token=ALICE)[0], 200)
            off.unlink()
            self.assertEqual(self.ask(daemon, "GET", "/healthcheck")[0], 200)
