"""
Requests that two servers could understand in two ways, at both daemons: alone, and one before the other.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path

from tests.functional.daemons import CACHE_CONFIG, UPSTREAM_CONFIG, DaemonProcess, DaemonTestCase
from tests.web.smuggling import CASES, END, Case

EVERYBODY = ("strategy = tokens\ntokens_file = {folder}/tokens.yaml", "strategy = none")


def exchange(daemon: DaemonProcess, raw: bytes) -> list[int]:
    """
    Send bytes, and list the statuses of what comes back until the daemon ends the connection.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
        connection.sendall(raw)
        while piece := connection.recv(65536):
            received += piece
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] ([0-9]{3}) ", received, re.MULTILINE)]


class SmugglingTests(DaemonTestCase):
    """
    A cache before an image service.
    """

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        self.api = self.make_daemon("glance-api", folder / "api", UPSTREAM_CONFIG.replace(*EVERYBODY))
        self.api.start()
        config = f"{CACHE_CONFIG.replace(*EVERYBODY)}\n[upstream]\nurls = {self.api.url}\n"
        self.cache = self.make_daemon("glance-cache", folder / "node", config)
        self.cache.start()

    def raw(self, case: Case, place: str, number: int) -> bytes:
        """
        A case with a path of its own, where bodies are read.
        """
        return case.raw.replace(b"/here", f"/v2/images?{place}={number}".encode()) + END

    def test_cases(self) -> None:
        """
        What is refused is refused by each daemon, and reaches nothing behind the cache. What is served is answered
        alike by the service and by way of the cache, and is the same requests to both.
        """
        wrong = []
        for number, case in enumerate(CASES):
            alone = exchange(self.api, self.raw(case, "alone", number))
            chained = exchange(self.cache, self.raw(case, "chained", number))
            # What comes after a body that nobody wants to read is not answered any more.
            served = len(case.served)
            right = chained[:served] == alone[:served] and max(len(alone), len(chained)) <= served + 1
            if not served:
                right = all(len(statuses) == 1 and 400 <= statuses[0] < 500 for statuses in (alone, chained))
            if not right:
                wrong.append(f"{case.name}: {alone} alone, {chained} by way of the cache")
        self.assertEqual("\n".join(wrong), "")
        log = self.api.log()
        for number, case in enumerate(CASES):
            reached = len(re.findall(rf"(?:GET|POST) /v2/images\?chained={number}\b", log))
            # A body that turns out to be malformed has been on its way already.
            allowed = {len(case.served)} if case.served else {0, int(b"Transfer-Encoding: chunked\r\n\r\n" in case.raw)}
            self.assertIn(reached, allowed, case.name)
        for daemon in (self.api, self.cache):
            self.assertEqual(re.findall(r"(?:GET|POST) /smuggled.*", daemon.log()), [])
