"""
A database that goes away and comes back, seen through the API.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ALICE, API_CONFIG, Answer, DaemonTestCase
from tests.functional.relay import Relay
from tests.services import mysql_database, postgresql_database

DATA = bytes(range(256)) * (4 * MiB // 256)
FORMATS = {"disk_format": "raw", "container_format": "bare"}
OCTETS = {"Content-Type": "application/octet-stream"}


class OutageContract:
    """
    What holds on databases that are servers.
    """

    make_url: Any
    default_port: int

    def setUp(self: Any) -> None:
        url = make_url(self.make_url())
        if url.host is None:
            self.skipTest("the server is reached by a socket of its machine only")
        self.relay = Relay(url.port or self.default_port)
        self.addCleanup(self.relay.close)
        through = url.set(host="127.0.0.1", port=self.relay.port).render_as_string(hide_password=False)
        config = API_CONFIG.replace("sqlite:///{folder}/images.sqlite", through.replace("$", "$$"))
        self.folder = Path(self.mktemp()).absolute()
        self.api = self.make_daemon("glance-api", self.folder, config)
        self.api.start()
        # The first worker answers while others may still be on their way to the database, without which none starts.
        self.wait_for(lambda: "Daemon] glance-api is ready" in self.api.log())

    def post(self: Any, **values: object) -> Answer:
        answer: Answer = self.api.ask("POST", "/v2/images", ALICE, json.dumps({**FORMATS, **values}).encode())
        return answer

    def names(self: Any) -> list[str]:
        listed = self.api.ask("GET", "/v2/images?limit=1000&sort=name:asc", ALICE)
        self.assertEqual(listed.status, 200)
        return [image["name"] for image in json.loads(listed.body)["images"]]

    def eventually(self: Any, method: str, path: str) -> None:
        self.wait_for(lambda: self.api.ask(method, path, ALICE).status < 500)

    def test_away_and_back(self: Any) -> None:
        """
        While the database is away requests are answered 503, with a time to come back, and change nothing; when it
        is back they work, without a restart, on every connection of the pool.
        """
        self.assertEqual(self.post(name="before").status, 201)
        self.relay.close()
        for method, path in (("GET", "/v2/images"), ("GET", f"/v2/images/{'0' * 8}-0000-4000-8000-{'0' * 12}")):
            answer = self.api.ask(method, path, ALICE)
            self.assertEqual((answer.status, "retry-after" in answer.headers), (503, True))
        self.assertEqual(self.post(name="meanwhile").status, 503)
        self.assertEqual(self.api.ask("GET", "/healthcheck", None).status, 503)
        self.relay.reopen()
        self.eventually("GET", "/v2/images")
        for _ in range(20):
            self.assertEqual(self.api.ask("GET", "/v2/images", ALICE).status, 200)
        self.assertEqual(self.api.ask("GET", "/healthcheck", None).status, 200)
        self.assertEqual(self.names(), ["before"])

    def test_none_lost_none_twice(self: Any) -> None:
        """
        Under a database that comes and goes, whatever was answered 201 is there, and once; what was answered 503 and
        tried again under the same id ends up there once.
        """
        outcomes: dict[str, list[int]] = {}
        stop = threading.Event()

        def create(worker: int) -> None:
            for number in range(1000):
                if stop.is_set():
                    return
                name = f"{worker}-{number}"
                image_id = f"{worker:08d}-0000-4000-8000-{number:012d}"
                tries = outcomes[name] = []
                while not stop.is_set() and (not tries or tries[-1] == 503):
                    tries.append(self.post(name=name, id=image_id).status)

        workers = [threading.Thread(target=create, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        for _ in range(3):
            seen = len(outcomes)
            self.wait_for(lambda seen=seen: len(outcomes) > seen + 10)
            self.relay.close()
            self.wait_for(lambda: any(503 in tries[-1:] for tries in list(outcomes.values())))
            self.relay.reopen()
        seen = len(outcomes)
        self.wait_for(lambda: len(outcomes) > seen + 10)
        stop.set()
        for worker in workers:
            worker.join(60)
        kinds = {status for tries in outcomes.values() for status in tries}
        self.assertEqual(kinds - {201, 503, 409}, set())
        self.assertIn(503, kinds)
        names = self.names()
        self.assertEqual(len(names), len(set(names)))
        done = {name for name, tries in outcomes.items() if tries and tries[-1] in {201, 409}}
        self.assertEqual(done - set(names), set())
        for name, tries in outcomes.items():
            # Only a try whose answer was lost may turn out to have worked.
            self.assertTrue(409 not in tries or 503 in tries, (name, tries))

    def test_upload_across_an_outage(self: Any) -> None:
        """
        An upload that is under way when the database goes away ends well when it is back in time.
        """
        image_id = json.loads(self.post(name="upload").body)["id"]
        gone, back = threading.Event(), threading.Event()

        def body() -> Any:
            yield DATA[: len(DATA) // 2]
            gone.set()
            back.wait(30)
            yield DATA[len(DATA) // 2 :]

        answers: list[Answer] = []
        path = f"/v2/images/{image_id}/file"
        upload = threading.Thread(target=lambda: answers.append(self.api.ask("PUT", path, ALICE, body(), OCTETS)))
        upload.start()
        gone.wait(30)
        # The daemon has been told that its image is being saved, which others see before that.
        self.wait_for(lambda: any(path.is_file() for path in (self.folder / "images").rglob("*")))
        self.relay.close()
        self.assertEqual(self.api.ask("GET", "/v2/images", ALICE).status, 503)
        self.relay.reopen()
        back.set()
        upload.join(60)
        self.assertEqual([answer.status for answer in answers], [204])
        self.assertEqual(self.api.ask("GET", path, ALICE).body, DATA)


class PostgresqlOutageTests(OutageContract, DaemonTestCase):
    """
    On PostgreSQL.
    """

    default_port = 5432

    def make_url(self) -> str:
        return postgresql_database(self)


class MysqlOutageTests(OutageContract, DaemonTestCase):
    """
    On MariaDB or MySQL.
    """

    default_port = 3306

    def make_url(self) -> str:
        return mysql_database(self)
