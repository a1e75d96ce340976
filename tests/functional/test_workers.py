"""
Tests of an image service that is several processes.
"""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.functional.daemons import ALICE
from tests.functional.service import DATA
from tests.functional.workers import CONFIG, WorkersTestCase, lives
from tests.services import postgresql_database


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
        self.wait_for(lambda: self.status(first) == "queued")
        self.wait_for(lambda: not any(first in name for name in self.stored()))
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
