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
from tests.functional.daemons import ALICE, API_CONFIG, DaemonProcess, DaemonTestCase
from tests.ports import free_port
from tests.services import postgresql_database

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

    def wait(self) -> int:
        """
        Wait for its end, and tell its status.
        """
        assert self._process is not None
        return self._process.wait(timeout=60)

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


class DeathTests(WorkersTestCase):
    """
    A worker that dies in the middle of its work leaves nothing behind, and nobody else notices.
    """

    def test_upload(self) -> None:
        """
        A killed worker's upload is cleared up by its sibling at once, long before its lease runs out, while an upload
        of the sibling goes on. The image can be uploaded again.
        """
        # Neither the lease nor a regular pass may be what helps.
        self.start("[upload]\nlease_timeout = 3600\n[DEFAULT]")
        first, second = self.create(), self.create()
        connections = {image_id: self.begin_upload(image_id) for image_id in (first, second)}
        while self.writer_of(first) == self.writer_of(second):
            # The kernel chooses who gets a connection.
            connections.pop(second).close()
            self.wait_for(lambda image_id=second: self.status(image_id) == "queued")  # type: ignore[misc]
            connections[second] = self.begin_upload(second)
        os.kill(self.writer_of(first), signal.SIGKILL)
        self.wait_for(lambda: self.status(first) == "queued", 10)
        self.wait_for(lambda: not any(first in name for name in self.stored()), 10)
        self.assertEqual(self.status(second), "saving")
        self.assertEqual(self.upload(first), 204)
        connections[second].sendall(DATA[len(DATA) // 2 :])
        self.assertTrue(connections[second].recv(100).startswith(b"HTTP/1.1 204 "))
        self.assertEqual(self.status(second), "active")
        self.assertEqual(len(self.stored()), 2)

    def test_queue(self) -> None:
        """
        Connections that wait for a worker which dies are served by its successor.
        """
        self.start()
        stopped = self.api.workers
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(self.api.ask, "GET", "/v2/images", ALICE) for _ in range(12)]
            self.wait_for(lambda: self.waiting() >= 12)
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)
            self.assertEqual({answer.result().status for answer in answers}, {200})

    def waiting(self) -> int:
        """
        How many connections wait to be accepted.
        """
        port = f":{self.api.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        # The receive queue of a listening socket counts connections.
        return sum(int(line[4].split(":")[1], 16) for line in lines if line[1].endswith(port) and line[3] == "0A")

    def test_metrics(self) -> None:
        """
        The numbers of both workers are one sum, which does not shrink when a worker dies.
        """
        self.start()
        before = self.requests()
        for _ in range(30):
            self.api.ask("GET", "/v2/images", ALICE)
        self.wait_for(lambda: self.requests() >= before + 30)
        counted = self.requests()
        for _ in range(2):
            victim = self.api.workers[0]
            os.kill(victim, signal.SIGKILL)
            self.wait_for(lambda pid=victim: pid not in self.api.workers)  # type: ignore[misc]
            self.wait_until_well()
            self.assertGreaterEqual(self.requests(), counted)
        self.wait_for(lambda: self.api.metric("glance_api_worker_restarts_total") == 2)

    def requests(self) -> float:
        return self.api.metric("glance_api_requests_total")

    def test_healthcheck(self) -> None:
        """
        The management port says so when no worker serves, and when one does again.
        """
        self.start()
        assert self.api.side is not None
        ask = self.api.side.ask
        self.assertEqual(ask("GET", "/healthcheck", None).status, 200)
        for pid in self.api.workers:
            os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: ask("GET", "/healthcheck", None).status == 503)
        self.wait_for(lambda: ask("GET", "/healthcheck", None).status == 200)


class StartTests(WorkersTestCase):
    """
    A service that cannot start says why, and ends.
    """

    def refusal(self, more: str = "") -> str:
        """
        What the service says when it does not start.
        """
        self.api.configure(more)
        self.api.start(wait=False)
        self.assertEqual(self.api.wait(), 1)
        self.assertNotIn("Traceback", self.api.log())
        return self.api.log()

    def test_taken_port(self) -> None:
        """
        A taken port is said in a line, even one whose owner would share it, and before anything is begun.
        """
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", self.api.port))
            taken.listen()
            said = self.refusal()
        self.assertIn(f"glance-api: cannot listen on 127.0.0.1:{self.api.port}: Address already in use", said)
        self.assertFalse((self.folder / "images.sqlite").exists())

    def test_worker_cannot_start(self) -> None:
        """
        What only a worker finds out ends the service, too.
        """
        (self.folder).mkdir()
        (self.folder / "images").write_text("no folder")
        said = self.refusal()
        self.assertIn("glance-api cannot start: worker", said)
        self.assertIn("cannot start: store 'file' is not available", said)


class HangupTests(WorkersTestCase):
    """
    On SIGHUP the workers are replaced.
    """

    def setUp(self) -> None:
        super().setUp()
        self.going = True

    def knock(self) -> list[object]:
        """
        Ask on new connections all the time.

        :return: Whatever was not answered with 200.
        """
        wrong: list[object] = []
        while self.going:
            try:
                status = self.api.ask("GET", "/v2/images", ALICE).status
                if status != 200:
                    wrong.append(status)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(error)
        return wrong

    def hang_up(self) -> None:
        os.kill(self.api.pid, signal.SIGHUP)

    def test_replaced(self) -> None:
        """
        New workers have the new configuration; no request is lost, and a download that began before goes on.
        """
        self.start("limit_param_default = 1")
        image_id = self.create()
        self.create()
        self.assertEqual(self.upload(image_id), 204)
        former = self.api.workers
        response = self.begin_download(image_id)
        received = response.read(1000)
        with ThreadPoolExecutor(4) as pool:
            try:
                knocking = [pool.submit(self.knock) for _ in range(4)]
                self.api.configure("limit_param_default = 2\nworkers = 3", CONFIG.replace("workers = 2\n", ""))
                self.api.rewrite()
                self.hang_up()
                self.wait_for(lambda: self.api.count("reloaded: the workers have the configuration") == 1)
                self.wait_for(lambda: sum(map(lives, former)) == 1)
                listed = json.loads(self.api.ask("GET", "/v2/images", ALICE).body)
            finally:
                self.going = False
            self.assertEqual([wrong for each in knocking for wrong in each.result()], [])
        self.assertEqual(len(listed["images"]), 2)
        self.assertEqual(received + response.read(), DATA)
        response.close()
        self.wait_until_well(3)

    def test_fewer(self) -> None:
        """
        With fewer workers nobody waits in the queue of one that there is no more.
        """
        self.start()
        self.api.configure("workers = 1", CONFIG.replace("workers = 2\n", ""))
        self.api.rewrite()
        self.hang_up()
        self.wait_until_well(1)
        for _ in range(20):
            self.assertEqual(self.api.ask("GET", "/v2/images", ALICE).status, 200)

    def test_wrong(self) -> None:
        """
        A configuration that is wrong, in whatever way, is told of in the log and changes nothing, also not for a
        worker that is started anew later.
        """
        self.start()
        former = self.api.workers
        no_folder = "[glance_store]\nfilesystem_store_datadir = {folder}/tokens.yaml\n[DEFAULT]"
        wrong = {
            "workers = many": "workers = 'many'",
            "bind_host = 127.0.0.2": "bind_host changed, which takes a restart",
            "[oslo_policy]\npolicy_file = missing.yaml\n[DEFAULT]": "missing.yaml",
            no_folder: "worker 1 ended with status 1",
        }
        for count, (more, said) in enumerate(wrong.items(), 1):
            self.api.configure()
            self.api.config = self.api.config + f"\n[DEFAULT]\n{more}\n"
            self.api.rewrite()
            self.hang_up()
            self.wait_for(lambda count=count: self.api.count("not reloaded, all stays as it is") == count)  # type: ignore[misc]
            self.assertIn(said, self.api.log())
        self.wait_until_well()
        self.assertEqual(sorted(self.api.workers), sorted(former))
        os.kill(former[0], signal.SIGKILL)
        self.wait_for(lambda: former[0] not in self.api.workers)
        self.wait_until_well()

    def test_logs(self) -> None:
        """
        All processes go on in a new log file after the old one was renamed, and say which worker they are.
        """
        log = self.folder / "service.log"
        self.start("log_file = {folder}/service.log\nlog_format = json")
        log.rename(self.folder / "old.log")
        self.hang_up()
        self.wait_for(log.exists)
        self.wait_for(lambda: "reloaded: the workers" in log.read_text())
        for _ in range(20):
            self.api.ask("GET", "/v2/images", ALICE)
        self.wait_for(lambda: log.read_text().count('"path":"/v2/images"') == 20)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual({line.get("worker") for line in lines}, {None, 1, 2})

    def test_end_while_reloading(self) -> None:
        """
        A service that is told to end while it reloads ends.
        """
        self.start()
        former = self.api.workers
        self.hang_up()
        self.wait_for(lambda: len(self.api.workers) > 2)
        newcomers = self.api.workers
        self.assertEqual(self.api.stop(), 0)
        self.assertEqual([pid for pid in (*former, *newcomers) if lives(pid)], [])


class RaceTests(WorkersTestCase):
    """
    Status changes hold across processes.
    """

    def race(self) -> None:
        image_id = self.create()
        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(lambda _: self.upload(image_id), range(50)))
        self.assertEqual(sorted(statuses), [204] + [409] * 49)
        self.assertEqual(len(self.stored()), 1)
        self.assertEqual(self.status(image_id), "active")

    def test_sqlite(self) -> None:
        """
        Of fifty clients that upload to one image exactly one succeeds, and the others are told 409.
        """
        self.start()
        self.race()

    def test_postgresql(self) -> None:
        """
        So it is on PostgreSQL.
        """
        url = postgresql_database(self)
        self.addCleanup(self.api.kill)
        self.start(config=CONFIG.replace("sqlite:///{folder}/images.sqlite", url))
        self.race()
