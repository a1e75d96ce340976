"""
The log: formats, levels, files.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import txaio
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.telemetry.logs import LogFormat, format_json, format_text, log_observer, open_log, set_log_level


def logged(log_format: LogFormat, act: Callable[[Logger], object], *, debug: bool = False) -> str:
    """
    What an action writes to a log.
    """
    out = io.StringIO()
    act(Logger(namespace="here", observer=log_observer(out, log_format, debug=debug)))
    return out.getvalue()


def fail(log: Logger) -> None:
    """
    Log a failure whose text has a secret in it.
    """

    def ask() -> None:
        raise ValueError("no answer from redis://:secret@host/0")

    try:
        ask()
    except ValueError:
        log.failure("it {how}", how="broke")


class TextTests(SynchronousTestCase):
    """
    ``log_format = text``.
    """

    def test_line(self) -> None:
        """
        A line has time in UTC, level, logger and text.
        """
        line = logged("text", lambda log: log.warn("{n} left", n=3))
        self.assertRegex(line, r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn \[here\] 3 left\n\Z")

    def test_forged_line(self) -> None:
        """
        A line end within a value shows as a continuation, and control characters are escaped.
        """
        line = logged("text", lambda log: log.info("got {what}", what="a\n2026 info [here] b\x1b[2J"))
        self.assertTrue(line.endswith(" got a\n\t2026 info [here] b\\x1b[2J\n"), line)

    def test_failure(self) -> None:
        """
        A failure brings its traceback, indented, without secrets.
        """
        text = logged("text", fail)
        self.assertIn(" critical [here] it broke\n\tTraceback", text)
        self.assertIn("redis://***@host/0", text)
        self.assertNotIn("secret", text)
        self.assertTrue(all(line.startswith("\t") for line in text.splitlines()[1:]))


class JsonTests(SynchronousTestCase):
    """
    ``log_format = json``.
    """

    def event(self, act: Callable[[Logger], object]) -> dict[str, Any]:
        """
        The one object that an action writes.
        """
        text = logged("json", act)
        self.assertEqual(text.count("\n"), 1)
        found: dict[str, Any] = json.loads(text)
        return found

    def test_line(self) -> None:
        """
        An event is one object on one line.
        """
        event = self.event(lambda log: log.info("a\n{what}", what="é\x00"))
        self.assertRegex(event.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertEqual(event, {"level": "info", "logger": "here", "message": "a\né\\x00"})

    def test_failure(self) -> None:
        """
        A failure has its traceback under a key of its own, without secrets in what was raised.
        """
        event = self.event(fail)
        self.assertEqual(event["message"], "it broke")
        self.assertNotIn("secret", event["traceback"])
        self.assertIn("ValueError: no answer from redis://***@host/0", event["traceback"])

    def test_broken_event(self) -> None:
        """
        An event whose text cannot be made still is one line of valid JSON.
        """

        class Unprintable:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        self.assertIn("message", self.event(lambda log: log.info("{x!r} {missing}", x=Unprintable())))

    def test_time(self) -> None:
        """
        Times are UTC, cut to milliseconds, in whatever order events come.
        """
        for stamp, text in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (1793491199.9996, "2026-10-31T23:59:59.999Z"),
            (1793491200.25, "2026-11-01T00:00:00.250Z"),
            (1793491199.5, "2026-10-31T23:59:59.500Z"),
            (1793491200.007, "2026-11-01T00:00:00.007Z"),
            (1793494800.0, "2026-11-01T01:00:00.000Z"),
        ]:
            self.assertEqual(json.loads(format_json({"log_time": stamp, "log_format": ""}))["time"], text)

    def test_nameless(self) -> None:
        """
        What names no level, or no logger, is not written.
        """
        out = io.StringIO()
        observer = log_observer(out, "text", debug=True)
        for event in ({"log_namespace": "x"}, {"log_level": LogLevel.critical}):
            observer({"log_format": "hello", **event})
        self.assertEqual(out.getvalue(), "")

    def test_bare_event(self) -> None:
        """
        An event without time, level and logger, as old code makes them, is logged too.
        """
        self.assertEqual(json.loads(format_json({"log_format": "hello"}))["message"], "hello")
        self.assertTrue(format_text({"log_format": "hello"}).endswith(" info [-] hello\n"))


class WorkerTests(SynchronousTestCase):
    """
    Where several processes share a log, each line says which of them wrote it.
    """

    def line(self, log_format: LogFormat) -> str:
        out = io.StringIO()
        observer = log_observer(out, log_format, debug=False, worker=3)
        Logger("name", observer=observer).info("hello")
        return out.getvalue()

    def test_text(self) -> None:
        """
        As text, after the logger's name.
        """
        self.assertTrue(self.line("text").endswith(" info [name/3] hello\n"), self.line("text"))

    def test_json(self) -> None:
        """
        In JSON, as a key of its own.
        """
        self.assertEqual(json.loads(self.line("json"))["worker"], 3)


class SecretTests(SynchronousTestCase):
    """
    What never shows.
    """

    def test_messages(self) -> None:
        """
        Passwords of URLs and values of credential headers do not reach the log by any format.
        """
        for log_format in ("text", "json"):
            line = logged(
                log_format, lambda log: log.info("{u} {h}", u="mysql://u:secret@h/d", h={"X-Auth-Token": "secret"})
            )
            self.assertNotIn("secret", line)


class LevelTests(SynchronousTestCase):
    """
    ``debug``.
    """

    def test_levels(self) -> None:
        """
        Events below info are written with debug only.
        """

        def act(log: Logger) -> None:
            log.debug("fine")
            log.info("coarse")

        self.assertNotIn("fine", logged("text", act))
        self.assertIn("coarse", logged("text", act))
        self.assertIn("fine", logged("text", act, debug=True))

    def test_txaio(self) -> None:
        """
        Loggers of txaio follow.
        """
        self.addCleanup(set_log_level, debug=False)
        set_log_level(debug=True)
        self.assertEqual(txaio.get_global_log_level(), "debug")  # type: ignore[attr-defined]
        set_log_level(debug=False)
        self.assertEqual(txaio.get_global_log_level(), "info")  # type: ignore[attr-defined]

    def test_observer(self) -> None:
        """
        What an application carries is an observer.
        """
        verifyObject(ILogObserver, log_observer(io.StringIO(), "text", debug=False))


class FileTests(SynchronousTestCase):
    """
    `open_log`.
    """

    def test_appends(self) -> None:
        """
        A log that is there already goes on.
        """
        path = Path(self.mktemp())
        path.write_text("before\n")
        log = open_log(path)
        self.addCleanup(log.close)
        log.write("after \udcff\n")
        log.flush()
        self.assertEqual(path.read_text(), "before\nafter \\udcff\n")

    def test_reopen(self) -> None:
        """
        After a rotation the log goes on under its name, and the old file is left alone.
        """
        path = Path(self.mktemp())
        log = open_log(path)
        self.addCleanup(log.close)
        log.write("one\n")
        rotated = path.rename(f"{path}.1")
        log.write("two\n")
        log.reopen()  # type: ignore[union-attr]
        log.write("three\n")
        log.flush()
        self.assertEqual((rotated.read_text(), path.read_text()), ("one\ntwo\n", "three\n"))

    def test_reopen_fails(self) -> None:
        """
        Where the name cannot be opened any more, the log goes on in the old file.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        log = open_log(folder / "log")
        self.addCleanup(log.close)
        moved = folder.rename(f"{folder}.moved")
        self.assertRaises(OSError, log.reopen)  # type: ignore[union-attr]
        log.write("still here\n")
        log.flush()
        self.assertEqual((moved / "log").read_text(), "still here\n")

    def test_unwritable(self) -> None:
        """
        A log in a folder that does not exist is an error, to be told at start.
        """
        self.assertRaises(OSError, open_log, Path(self.mktemp()) / "log")

    def test_unset(self) -> None:
        """
        Without a file the log goes to the process's own standard error.
        """
        self.assertIs(open_log(None), sys.__stderr__)
