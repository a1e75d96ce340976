"""
Wrong requests to real daemons, on databases that are servers, straight to the service and by way of a cache.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from glance_tx.streaming.units import MiB
from tests.api.bad_input import MANY, attempts, lies
from tests.api.service import PATCH_TYPE
from tests.functional.daemons import ALICE, API_CONFIG, CACHE_CONFIG, Answer, DaemonProcess, DaemonTestCase
from tests.services import mysql_database, postgresql_database

FORMATS = {"disk_format": "raw", "container_format": "bare"}
BOUND_SECONDS = 30.0
"""Many times what it takes, as other tests keep the processors busy at the same time; a request that is worked at for
ever, or as long as the square of its length, takes more."""
EMOJI = "\U0001f600"


def untimed(documents: list[object]) -> str:
    """
    Leave out when something changed.
    """
    return re.sub(r'"updated_at": "[^"]*"', "", json.dumps(documents))


class BadInputContract:
    """
    What holds whatever the database.
    """

    make_url: Any

    def setUp(self: Any) -> None:
        url = make_url(self.make_url()).render_as_string(hide_password=False)
        folder = Path(self.mktemp()).absolute()
        config = API_CONFIG.replace("sqlite:///{folder}/images.sqlite", url.replace("$", "$$"))
        self.api = self.make_daemon("glance-api", folder / "api", config)
        self.api.start()
        config = CACHE_CONFIG + f"\n[upstream]\nurls = {self.api.url}\n"
        self.cache = self.make_daemon("glance-cache", folder / "node", config)
        self.cache.start()
        document = {**FORMATS, "name": "kept", "visibility": "shared", "tags": ["kept"], "custom": "kept"}
        created = self.api.ask("POST", "/v2/images", ALICE, json.dumps(document).encode())
        self.assertEqual(created.status, 201)
        self.image_id = json.loads(created.body)["id"]
        self.before = self.everything()

    def everything(self: Any) -> list[object]:
        """
        What the database holds, as the image's owner sees it.
        """
        paths = ("/v2/images", f"/v2/images/{self.image_id}", f"/v2/images/{self.image_id}/members")
        return [json.loads(self.api.ask("GET", path, ALICE).body) for path in paths]

    def assert_quiet(self: Any) -> None:
        """
        Neither daemon says anything of an error of its own, nor a token.
        """
        for daemon in (self.api, self.cache):
            said = daemon.log()
            for word in ("Traceback", ALICE):
                self.assertNotIn(word, said)
            self.assertEqual(re.findall(r"^.*\b(?:error|critical)\b.*$", said, re.MULTILINE), [])

    @contextmanager
    def others_are_served(self: Any, daemon: DaemonProcess) -> Iterator[None]:
        """
        Meanwhile another client asks for an image again and again, and never waits for long.
        """
        waits: list[float] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                began = time.monotonic()
                answer: Answer = daemon.ask("GET", f"/v2/images/{self.image_id}", ALICE)
                waits.append(time.monotonic() - began if answer.status == 200 else 1000.0)

        other = threading.Thread(target=ask)
        other.start()
        try:
            yield
        finally:
            stop.set()
            other.join()
        self.assertLess(max(waits), BOUND_SECONDS / 2)

    def test_attempts(self: Any) -> None:
        """
        Each request has the answer it has without a cache, soon, and changes nothing.
        """
        for attempt in attempts():
            for daemon in (self.api, self.cache):
                began = time.monotonic()
                path = attempt.path.replace("{id}", self.image_id)
                answer = daemon.ask(attempt.method, path, ALICE, attempt.body, attempt.headers)
                self.assertLess(time.monotonic() - began, BOUND_SECONDS, attempt)
                self.assertEqual((daemon.name, attempt, answer.status), (daemon.name, attempt, attempt.status))
                self.assertIn(attempt.says.encode(), answer.body, attempt)
        self.assertEqual(self.everything(), self.before)
        self.assert_quiet()

    def test_lies(self: Any) -> None:
        """
        A body that is not as long as its head says changes nothing; both daemons treat it the same.
        """
        for lie in lies():
            for daemon in (self.api, self.cache):
                with socket.create_connection(("127.0.0.1", daemon.port), timeout=BOUND_SECONDS) as client:
                    client.sendall(lie.request(self.image_id, ALICE))
                    if lie.leaves:
                        client.shutdown(socket.SHUT_WR)
                    with client.makefile("rb") as stream:
                        received = stream.read()
                statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)]
                self.assertEqual((daemon.name, lie, statuses), (daemon.name, lie, list(lie.statuses)))
                # An upload that began, and was undone, leaves its time.
                self.wait_for(lambda: self.everything()[1]["status"] != "saving")
                self.assertEqual(untimed(self.everything()), untimed(self.before))
        self.assert_quiet()

    def test_others_are_served(self: Any) -> None:
        """
        While one client sends the worst, again and again, others are answered as ever.
        """
        tags = json.dumps([f"tag-{number}" for number in range(MANY)])
        patches = [
            b"[" * MiB,
            b'{"a":' * (MiB // 5),
            b"[" * 110_000,
            b'[{"op": "add", "path": "/a", "value": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]",
            f'[{{"op": "replace", "path": "/tags", "value": {tags}}}]'.encode(),
            f'[{{"op": "replace", "path": "/tags", "value": {tags[:110_000]}"]}}]'.encode(),
            json.dumps([{"op": "add", "path": f"/p{number}", "value": ""} for number in range(2000)]).encode(),
        ]
        path, kind = f"/v2/images/{self.image_id}", {"Content-Type": PATCH_TYPE}
        for daemon in (self.api, self.cache):
            with self.others_are_served(daemon):
                for body in patches * 5:
                    began = time.monotonic()
                    self.assertIn(daemon.ask("PATCH", path, ALICE, body, kind).status, {400, 413})
                    self.assertLess(time.monotonic() - began, BOUND_SECONDS)
        self.assertEqual(self.everything(), self.before)
        self.assert_quiet()

    def test_emoji(self: Any) -> None:
        """
        Where nobody forbids it, as for the ids of members, a character of four bytes comes back as it was.
        """
        path = f"/v2/images/{self.image_id}/members"
        for daemon, member in ((self.api, EMOJI), (self.cache, EMOJI * 2)):
            body = json.dumps({"member": member}).encode()
            self.assertEqual(daemon.ask("POST", path, ALICE, body).status, 200)
            self.assertEqual(daemon.ask("POST", path, ALICE, body).status, 409)
        listed = json.loads(self.cache.ask("GET", path, ALICE).body)["members"]
        self.assertEqual({each["member_id"] for each in listed}, {EMOJI, EMOJI * 2})
        self.assert_quiet()


class PostgresqlBadInputTests(BadInputContract, DaemonTestCase):
    """
    On PostgreSQL.
    """

    def make_url(self) -> str:
        return postgresql_database(self)


class MysqlBadInputTests(BadInputContract, DaemonTestCase):
    """
    On MariaDB or MySQL.
    """

    def make_url(self) -> str:
        return mysql_database(self)
