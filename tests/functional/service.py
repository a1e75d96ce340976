"""
An image service as a real process, and what tests do with it again and again.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ALICE, API_CONFIG, DaemonProcess, DaemonTestCase

DATA = bytes(range(256)) * (8 * MiB // 256)
OCTETS = {"Content-Type": "application/octet-stream"}


class ImageCase(DaemonTestCase):
    """
    A test with an image service, which its `setUp` makes, in its folder.
    """

    folder: Path
    api: DaemonProcess

    def create(self) -> str:
        """
        Create an image without data.
        """
        document = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
        created = self.api.ask("POST", "/v2/images", ALICE, document)
        self.assertEqual(created.status, 201, created.body)
        image_id: str = json.loads(created.body)["id"]
        return image_id

    def status(self, image_id: str) -> str:
        """
        Where an image stands.
        """
        status: str = json.loads(self.api.ask("GET", f"/v2/images/{image_id}", ALICE).body)["status"]
        return status

    def stored(self) -> list[str]:
        """
        Every file in the store, finished or not.
        """
        return sorted(path.name for path in (self.folder / "images").rglob("*") if path.is_file())

    def upload(self, image_id: str) -> int:
        """
        Upload, and tell the answer's status.
        """
        return self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, DATA, OCTETS).status

    def begin_upload(self, image_id: str) -> socket.socket:
        """
        Send the head of an upload and half of its data.
        """
        connection = socket.create_connection(("127.0.0.1", self.api.port), timeout=30)
        self.addCleanup(connection.close)
        head = (
            f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {ALICE}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(DATA)}\r\n\r\n"
        )
        connection.sendall(head.encode() + DATA[: len(DATA) // 2])
        self.wait_for(lambda: self.status(image_id) == "saving")
        self.wait_for(lambda: any(image_id in name for name in self.stored()))
        return connection

    def begin_download(self, image_id: str) -> http.client.HTTPResponse:
        """
        Ask for an image's data, and read little of it.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.api.port, timeout=60)
        self.addCleanup(connection.close)
        assert connection.sock is None
        connection.request("GET", f"/v2/images/{image_id}/file", headers={"X-Auth-Token": ALICE})
        return connection.getresponse()

    def refuses(self) -> bool:
        """
        Whether nobody listens.
        """
        try:
            socket.create_connection(("127.0.0.1", self.api.port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        except ConnectionError:
            return False
        return False


class ApiTestCase(ImageCase):
    """
    An image service of one process.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.api = self.make_daemon("glance-api", self.folder, API_CONFIG)
        self.api.start()
