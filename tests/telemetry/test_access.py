"""
A finished request becomes one line of the log.
"""

from __future__ import annotations

import io
import json
from typing import Any

from attrs import evolve
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.telemetry.access import AccessLog, AccessRecord
from glance_tx.telemetry.logs import LogFormat, log_observer

RECORD = AccessRecord(
    method="GET",
    path="/v2/images/1/file",
    status=206,
    sent_bytes=10,
    received_bytes=2,
    seconds=0.25,
    request_id="req-1",
    client="192.0.2.1",
    project_id="p1",
    cache_state="hit",
    route="image_data",
)


def written(record: AccessRecord, log_format: LogFormat) -> str:
    """
    What the log says of a record.
    """
    out = io.StringIO()
    AccessLog(Logger(namespace="access", observer=log_observer(out, log_format, debug=False)))(record)
    return out.getvalue()


def document(record: AccessRecord) -> dict[str, Any]:
    """
    The object that the log says of a record, without its time.
    """
    found: dict[str, Any] = json.loads(written(record, "json"))
    found.pop("time")
    return found


class AccessLogTests(SynchronousTestCase):
    """
    `AccessLog`.
    """

    def test_event(self) -> None:
        """
        The event is the one that a logger makes of the same facts.
        """
        events: list[dict[str, Any]] = []
        log = Logger(namespace="access", observer=events.append)
        AccessLog(log)(RECORD)
        log.info("{text}", text=events[0]["text"], access=AccessLog.fields(RECORD))
        written, usual = ({**event, "log_time": type(event["log_time"])} for event in events)
        self.assertEqual(written, usual)

    def test_text(self) -> None:
        """
        A line of text names every fact.
        """
        self.assertRegex(
            written(RECORD, "text"),
            r"\A\S+Z info \[access\] 192\.0\.2\.1 GET /v2/images/1/file 206 sent=10 received=2 seconds=0\.250000"
            r" request_id=req-1 project=p1 cache=hit\n\Z",
        )

    def test_json(self) -> None:
        """
        An object has a key for every fact, with numbers as numbers.
        """
        self.assertEqual(
            document(RECORD),
            {
                "level": "info",
                "logger": "access",
                "method": "GET",
                "path": "/v2/images/1/file",
                "status": 206,
                "sent_bytes": 10,
                "received_bytes": 2,
                "seconds": 0.25,
                "request_id": "req-1",
                "complete": True,
                "client": "192.0.2.1",
                "project_id": "p1",
                "cache_state": "hit",
            },
        )

    def test_unknown_facts(self) -> None:
        """
        What is not known is a dash in a line, and absent in an object.
        """
        anonymous = evolve(RECORD, client=None, project_id=None, cache_state=None)
        self.assertIn(" - GET ", written(anonymous, "text"))
        self.assertIn("project=- cache=-\n", written(anonymous, "text"))
        self.assertEqual(document(anonymous).keys() & {"client", "project_id", "cache_state"}, set())

    def test_aborted(self) -> None:
        """
        An answer that did not leave whole is marked.
        """
        cut = evolve(RECORD, complete=False)
        self.assertTrue(written(cut, "text").endswith(" aborted\n"))
        self.assertFalse(document(cut)["complete"])

    def test_forged_line(self) -> None:
        """
        A path or a method with line ends, terminal commands or blanks does not make a line or a field of its own.
        """
        forged = evolve(RECORD, path="/x\n2026 info [access] 1.2.3.4 GET /ok 200", method="GE T\x1b[2J")
        for log_format in ("text", "json"):
            line = written(forged, log_format)
            self.assertEqual(line.count("\n"), 1)
            self.assertNotIn("\x1b", line)
        self.assertIn(" GE\\x20T\\x1b[2J /x\\n2026\\x20info", written(forged, "text"))

    def test_bounded(self) -> None:
        """
        No text of a client is longer in the log than its bound.
        """
        long = "y" * 10_000
        greedy = evolve(RECORD, path=f"/{long}", method=long, project_id=long, client=long, cache_state=long)
        self.assertLess(len(written(greedy, "text")), 1500)

    def test_secret_in_query(self) -> None:
        """
        A token in a query does not reach the log.
        """
        leaky = evolve(RECORD, path="/v2/images?auth_token=secret&limit=1")
        self.assertNotIn("secret", written(leaky, "text") + written(leaky, "json"))

    def test_not_utf8(self) -> None:
        """
        A path that no encoding can hold still makes a line of valid JSON.
        """
        self.assertEqual(document(evolve(RECORD, path="/\udcff"))["path"], "/\\udcff")
