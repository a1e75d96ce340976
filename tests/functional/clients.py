"""
One image service and one cache before it, for many tests with clients that nobody here wrote.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from tests.functional.daemons import ADMIN, ALICE, API_CONFIG, CACHE_CONFIG, DaemonProcess, DaemonTestCase
from tests.functional.programs import GLANCE, OPENSTACK, Outcome, Program, Runner

__all__ = ["ClientCase", "Pair"]


class _Identity(BaseHTTPRequestHandler):
    """
    As much of Keystone as a user without further rights gets to see: its version, and that projects are not to be seen.
    """

    def do_GET(self) -> None:
        link = f"http://127.0.0.1:{self.server.server_address[1]}/v3"
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": link}]}
        body = json.dumps({"version": version} if self.path == "/v3" else {"error": {"code": 403}}).encode()
        self.send_response(200 if self.path == "/v3" else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """
        Nothing.
        """


@frozen
class Pair:
    """
    Both daemons, running.

    :param identity_url: Where clients look projects up.
    """

    folder: Path
    api: DaemonProcess
    cache: DaemonProcess
    identity_url: str

    @classmethod
    def started(cls) -> Pair:
        """
        Start them; they end with the process of the tests.
        """
        folder = Path(tempfile.mkdtemp(prefix="glance-clients-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        api = DaemonProcess("glance-api", folder / "api", API_CONFIG)
        atexit.register(api.kill)
        api.start()
        cache = DaemonProcess("glance-cache", folder / "node", f"{CACHE_CONFIG}\n[upstream]\nurls = {api.url}\n")
        atexit.register(cache.kill)
        cache.start()
        identity = ThreadingHTTPServer(("127.0.0.1", 0), _Identity)
        threading.Thread(target=identity.serve_forever, daemon=True).start()
        return cls(folder, api, cache, f"http://127.0.0.1:{identity.server_address[1]}/v3")


class ClientCase(DaemonTestCase):
    """
    A test that talks to one of the two daemons, and leaves no image behind.

    Starting them takes longer than most of these tests, and trial has nothing that is set up once for a class: so the
    pair is kept until the tests end. A test that changes more than images takes daemons of its own.
    """

    cached: ClassVar[bool] = False
    _pair: ClassVar[Pair | None] = None

    def setUp(self) -> None:
        if ClientCase._pair is None:
            ClientCase._pair = Pair.started()
        self.pair = ClientCase._pair
        self.daemon = self.pair.cache if self.cached else self.pair.api
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self._runner = Runner(self.folder)

    def tearDown(self) -> None:
        """
        Delete all images.
        """
        for hidden in ("true", "false"):
            listed = self.pair.api.ask("GET", f"/v2/images?visibility=all&limit=1000&os_hidden={hidden}", ADMIN)
            for image in json.loads(listed.body)["images"]:
                self._delete(f"/v2/images/{image['id']}")

    def _delete(self, path: str) -> None:
        patch = b'[{"op": "replace", "path": "/protected", "value": false}]'
        media_type = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        self.pair.api.ask("PATCH", path, ADMIN, patch, media_type)
        # By way of the cache, which forgets it then.
        self.assertIn(self.pair.cache.ask("DELETE", path, ADMIN).status, (204, 404))

    def run_client(self, program: Program, *arguments: str | Path, token: str, stdin: bytes | None = None) -> Outcome:
        """
        Run a command against the daemon of this test, which its environment names.
        """
        access = {
            GLANCE: {"OS_AUTH_TOKEN": token, "OS_IMAGE_URL": self.daemon.url},
            OPENSTACK: {
                "OS_AUTH_TYPE": "admin_token",
                "OS_TOKEN": token,
                "OS_ENDPOINT": f"{self.daemon.url}/v2",
                "OS_IMAGE_ENDPOINT_OVERRIDE": self.daemon.url,
                "OS_IDENTITY_ENDPOINT_OVERRIDE": self.pair.identity_url,
            },
        }
        return self._runner.run(program, arguments, access[program], stdin)

    def succeed(self, program: Program, *arguments: str | Path, token: str = ALICE, stdin: bytes | None = None) -> str:
        """
        Run a command that has to succeed, and give what it printed.
        """
        outcome = self.run_client(program, *arguments, token=token, stdin=stdin)
        self.assertEqual(outcome.status, 0, f"{arguments}\n{outcome}\n{self.pair.api.log()[-2000:]}")
        return outcome.text

    def refuse(self, program: Program, *arguments: str | Path, token: str = ALICE) -> str:
        """
        Run a command that has to fail with a message for people, and give that.
        """
        outcome = self.run_client(program, *arguments, token=token)
        self.assertNotEqual(outcome.status, 0, f"{arguments}\n{outcome}")
        for unreadable in ("Traceback", "<html", "<br", "&quot;", "&#x27;", "Internal Server Error"):
            self.assertNotIn(unreadable, outcome.err)
        self.assertNotEqual(outcome.err.strip(), "")
        return outcome.err

    def ask_json(self, path: str, token: str = ALICE) -> Any:
        """
        Ask the image service itself for a document.
        """
        answer = self.pair.api.ask("GET", path, token)
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)
