"""
Tests of an image service that is several processes.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import define

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ALICE, API_CONFIG, DaemonProcess, DaemonTestCase, free_port

DATA = bytes(range(256)) * (8 * MiB // 256)
OCTETS = {"Content-Type": "application/octet-stream"}

CONFIG = API_CONFIG.replace("[DEFAULT]\n", "[DEFAULT]\nworkers = 2\n{more}\n") + "\n[management]\nbind_port = {side}\n"


@define
class Service(DaemonProcess):
    """
    An image service with two workers and a management port.
    """

    side: DaemonProcess | None = None
    """Asks the management port; it is never started."""

    def configure(self, more: str = "", config: str = CONFIG) -> None:
        """
        Say what stands in its file from its next start on.
        """
        assert self.side is not None
        self.config = config.replace("{side}", str(self.side.port)).replace("{more}", more)

    def rewrite(self) -> None:
        """
        Write the file now.
        """
        path = self.folder / f"{self.name}.conf"
        path.write_text(self.config.format(port=self.port, folder=self.folder))

    def metric(self, name: str) -> float:
        """
        Read a metric without labels, or the sum of one with labels.
        """
        assert self.side is not None
        text = self.side.ask("GET", "/metrics", None).body.decode()
        values = [
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        ]
        return sum(values)

    @property
    def workers(self) -> list[int]:
        """
        The processes below the parent.
        """
        return children_of(self.pid)


def children_of(pid: int) -> list[int]:
    """
    List the processes below another one.
    """
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def lives(pid: int) -> bool:
    """
    Whether a process is there, and more than a status that nobody asked for yet.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class WorkersTestCase(DaemonTestCase):
    """
    A service with two workers.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.api = Service("glance-api", self.folder, "")
        self.api.side = DaemonProcess("management", self.folder, "", free_port())
        self.addCleanup(self.api.kill)

    def start(self, more: str = "", config: str = CONFIG) -> None:
        """
        Start it, and wait until both workers serve.
        """
        self.api.configure(more, config)
        self.api.start()
        self.wait_until_well()

    def wait_until_well(self, count: int = 2) -> None:
        """
        Wait until so many workers serve, and no other is left.
        """
        self.wait_for(lambda: self.well(count))

    def well(self, count: int) -> bool:
        try:
            ready = self.api.metric("glance_api_workers_ready")
        except OSError:
            return False
        return ready == count and len(self.api.workers) == count

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

    def writer_of(self, image_id: str) -> int:
        """
        Tell which worker has an image's data file open.
        """
        for pid in self.api.workers:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if image_id in str(link.readlink()):
                        return pid
                except OSError:
                    continue
        raise AssertionError(f"nobody writes {image_id}")


class LifeTests(WorkersTestCase):
    """
    Workers live as long as their parent wants them to.
    """

    def test_restart(self) -> None:
        """
        A worker that dies is started anew, and the log says how it died.
        """
        self.start()
        victim, other = self.api.workers
        os.kill(victim, signal.SIGKILL)
        self.wait_for(lambda: self.api.metric("glance_api_worker_restarts_total") == 1)
        self.wait_until_well()
        self.assertIn(other, self.api.workers)
        self.assertNotIn(victim, self.api.workers)
        self.assertEqual(self.api.count(f"(process {victim}) was killed by signal 9"), 1)
        for _ in range(20):
            self.assertEqual(self.api.ask("GET", "/v2/images", ALICE).status, 200)

    def test_drains(self) -> None:
        """
        Told to end, and told so again, the service refuses new connections, finishes what it sends, and ends with
        status 0 when the last worker has.
        """
        self.start()
        image_id = self.create()
        self.assertEqual(self.upload(image_id), 204)
        workers = self.api.workers
        response = self.begin_download(image_id)
        received = response.read(1000)
        with ThreadPoolExecutor(1) as pool:
            os.kill(self.api.pid, signal.SIGTERM)
            ending = pool.submit(self.api.stop)
            self.wait_for(self.refuses)
            self.assertFalse(ending.done())
            self.assertEqual(received + response.read(), DATA)
            response.close()
            self.assertEqual(ending.result(), 0)
        self.assertEqual([pid for pid in workers if lives(pid)], [])
        self.assertNotIn("Traceback", self.api.log())

    def test_parent_killed(self) -> None:
        """
        Workers whose parent was killed finish what they send, and end; another daemon can have the port meanwhile.
        """
        self.start()
        image_id = self.create()
        self.assertEqual(self.upload(image_id), 204)
        workers = self.api.workers
        response = self.begin_download(image_id)
        os.kill(self.api.pid, signal.SIGKILL)
        self.wait_for(lambda: sum(map(lives, workers)) == 1)
        self.wait_for(self.refuses)
        self.assertEqual(response.read(), DATA)
        response.close()
        self.wait_for(lambda: not any(map(lives, workers)))
        self.assertEqual(self.api.count("the parent process is gone"), 2)
