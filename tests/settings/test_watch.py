"""
Files that are read anew when they change.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.settings import Problem, SettingsError
from glance_tx.settings.watch import FileWatch, Source, Stamp, stamp_of
from glance_tx.streaming.lanes import Lane
from tests.doubles.pools import SteppedPool, ThreadClock

SECONDS = 5.0


class StampTests(SynchronousTestCase):
    """
    `stamp_of`.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text("one")

    def changed(self) -> bool:
        """
        Whether the file looks different from what it did when this was called first.
        """
        before = self.__dict__.setdefault("before", stamp_of([self.path]))
        return bool(before != stamp_of([self.path]))

    def test_untouched(self) -> None:
        """
        A file that is only read looks as before.
        """
        self.changed()
        self.path.read_text()
        self.assertFalse(self.changed())

    def test_written(self) -> None:
        """
        A file that was written to looks different, also where its size and its time of modification are the same.
        """
        was = self.path.stat()
        self.changed()
        # The kernel's clock ticks every few milliseconds.
        while self.path.stat().st_ctime_ns == was.st_ctime_ns:
            self.path.write_text("two")
        os.utime(self.path, ns=(was.st_atime_ns, was.st_mtime_ns))
        self.assertEqual(self.path.stat().st_mtime_ns, was.st_mtime_ns)
        self.assertTrue(self.changed())

    def test_replaced(self) -> None:
        """
        A file that another was renamed over looks different.
        """
        self.changed()
        other = Path(self.mktemp())
        other.write_text("two")
        other.replace(self.path)
        self.assertTrue(self.changed())

    def test_missing(self) -> None:
        """
        A file that went looks different, and so does one that came.
        """
        there = stamp_of([self.path])
        self.path.unlink()
        gone = stamp_of([self.path])
        self.assertNotEqual(there, gone)
        self.path.write_text("one")
        self.assertNotEqual(stamp_of([self.path]), gone)


class FileWatchTests(SynchronousTestCase):
    """
    `FileWatch`. The thread does its work when the test says so.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text("one")
        self.clock, self.pool = ThreadClock(), SteppedPool()
        self.used: list[str] = []
        self.reports: list[tuple[str, bool]] = []
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def source(self, path: Path, name: str = "words") -> Source[str]:
        """
        A file of words, of which "bad" is wrong.
        """

        def look() -> Stamp:
            return stamp_of([path])

        def read() -> str:
            text = path.read_text()
            if text == "bad":
                raise SettingsError((Problem("is bad", file="words"),))
            if text == "broken":
                raise ZeroDivisionError
            return text

        def use(text: str) -> list[str]:
            self.used.append(text)
            return [f"{text} is odd"] if text == "odd" else []

        return Source(name, look(), look, read, use)

    def start(self, *sources: Source[str], seconds: float = SECONDS) -> FileWatch:
        """
        Watch.
        """
        lane = Lane(self.clock, self.pool, "watch")  # type: ignore[arg-type]
        watched = sources or (self.source(self.path),)
        watch = FileWatch(watched, lane.run, self.clock, seconds, lambda *facts: self.reports.append(facts))
        self.successResultOf(Deferred.fromCoroutine(watch.start()))
        return watch

    def look(self, times: int = 1) -> None:
        """
        Let the time of some looks pass.
        """
        for _ in range(times):
            self.clock.advance(SECONDS)
            self.pool.run_all()

    def said(self) -> list[str]:
        """
        What the log says since this was asked last.
        """
        texts = [formatEvent(event) for event in self.events if event.get("log_namespace", "").endswith("FileWatch")]
        self.events.clear()
        return texts

    def test_unchanged(self) -> None:
        """
        What does not change is not read.
        """
        self.start()
        self.look(10)
        self.assertEqual((self.used, self.reports, self.said()), ([], [("words", False)], []))

    def test_changed(self) -> None:
        """
        A change is in force after the second look that sees it, and once.
        """
        self.start()
        self.path.write_text("two")
        self.look()
        self.assertEqual(self.used, [])
        self.look(5)
        self.assertEqual(self.used, ["two"])
        self.assertEqual(self.said(), ["words: changed, read anew, and in force"])

    def test_changed_before_the_start(self) -> None:
        """
        A change between the first reading and the start is seen.
        """
        source = self.source(self.path)
        self.path.write_text("two")
        self.start(source)
        self.look(2)
        self.assertEqual(self.used, ["two"])

    def test_being_written(self) -> None:
        """
        A file that changes from look to look is left alone until it rests.
        """
        self.start()
        for text in ("t", "tw", "two", "two o", "two on"):
            self.path.write_text(text)
            self.look()
        self.assertEqual(self.used, [])
        self.look()
        self.assertEqual(self.used, ["two on"])

    def test_written_while_read(self) -> None:
        """
        What was read of a file that changed under the reader is not used, and neither is it called wrong.
        """
        for half in ("bad", "half"):
            self.path.write_text("one")
            source = self.source(self.path)

            def read(half: str = half, source: Source[str] = source) -> str:
                if self.path.read_text() == half:
                    try:
                        return source.read()
                    finally:
                        self.path.write_text(f"the whole after {half}")
                return source.read()

            watch = self.start(Source("words", source.stamp, source.look, read, source.use))
            self.path.write_text(half)
            self.look(2)
            self.assertEqual((self.used, self.said()), ([], []))
            self.look(2)
            self.assertEqual(self.used.pop(), f"the whole after {half}")
            self.said()
            self.successResultOf(Deferred.fromCoroutine(watch.stop()))

    def test_nothing_in_the_reactor(self) -> None:
        """
        Files are touched in the thread alone: as long as it does nothing, nothing happens, and one look waits.
        """
        self.start()
        self.path.write_text("two")
        for _ in range(5):
            self.clock.advance(SECONDS)
        self.assertEqual((self.pool.waiting, self.used), (1, []))
        self.pool.run_all()
        self.look()
        self.assertEqual(self.used, ["two"])

    def test_wrong(self) -> None:
        """
        A file that became wrong changes nothing. The log says so once, and the metric until it is right again.
        """
        self.start()
        self.path.write_text("bad")
        self.look(10)
        self.assertEqual(self.used, [])
        self.assertEqual(
            self.said(), ["words: changed, and cannot be used; what was read before stays in force: words: is bad"]
        )
        self.assertEqual(self.reports, [("words", False), ("words", True)])
        self.path.write_text("two")
        self.look(2)
        self.assertEqual(self.used, ["two"])
        self.assertEqual(self.reports[-1], ("words", False))

    def test_put_back(self) -> None:
        """
        The old file, moved back after a wrong one, is read and makes all well.
        """
        aside = Path(self.mktemp())
        self.start()
        self.path.rename(aside)
        self.path.write_text("bad")
        self.look(2)
        aside.replace(self.path)
        self.look(2)
        self.assertEqual((self.used, self.reports[-1]), (["one"], ("words", False)))

    def test_warnings(self) -> None:
        """
        What is to be said of new content is said.
        """
        self.start()
        self.path.write_text("odd")
        self.look(2)
        self.assertEqual(self.said()[-1], "words: odd is odd")

    def test_defect(self) -> None:
        """
        A reader that breaks is logged, and neither other files nor the next look suffer.
        """
        other = Path(self.mktemp())
        other.write_text("one")
        self.start(self.source(self.path), self.source(other, "others"))
        self.path.write_text("broken")
        other.write_text("two")
        self.look(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.used, ["two"])
        self.path.write_text("three")
        self.look(2)
        self.assertEqual(self.used, ["two", "three"])

    def test_stop(self) -> None:
        """
        After the stop nothing is looked at, and a look under way comes to nothing.
        """
        for steps in (0, 1):
            watch = self.start()
            self.path.write_text(f"two {steps}")
            self.look()
            for _ in range(steps):
                self.clock.advance(SECONDS)
            self.successResultOf(Deferred.fromCoroutine(watch.stop()))
            self.pool.run_all()
            self.look(5)
            self.assertEqual((self.used, self.clock.getDelayedCalls()), ([], []))

    def test_never(self) -> None:
        """
        An interval of 0 switches it off.
        """
        self.start(seconds=0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
