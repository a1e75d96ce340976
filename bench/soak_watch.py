"""
What a soak sees of the daemons from outside: memory, descriptors, threads, log lines, files.
"""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from processes import HOST, ServerProcess

__all__ = ["Sample", "Watch", "by_minute", "disk_bytes", "loud_lines", "open_files", "read_metrics", "slope_per_minute"]

_STAT_SESSION = 3
_LOUD = frozenset({"error", "critical"})


@frozen
class Sample:
    """
    What one server, with all its processes, has at one time.
    """

    at: float
    rss_bytes: int
    descriptors: int
    threads: int

    @classmethod
    def take(cls, server: ServerProcess) -> Sample:
        """
        Look at it now.
        """
        rss = descriptors = threads = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                facts = stat.read_text().rpartition(")")[2].split()
                if int(facts[_STAT_SESSION]) != server.pid:
                    continue
                status = dict(line.split(":", 1) for line in (stat.parent / "status").read_text().splitlines())
                rss += int(status["VmRSS"].split()[0]) * 1024
                threads += int(status["Threads"])
                descriptors += len(list((stat.parent / "fd").iterdir()))
            except (OSError, KeyError):
                continue  # it ended meanwhile
        return cls(time.monotonic(), rss, descriptors, threads)


@define
class Watch:
    """
    Looks at servers once a second.

    :param folder: Must not hold more than so many bytes.
    """

    servers: Sequence[ServerProcess]
    folder: Path
    limit_bytes: int
    samples: dict[str, list[Sample]] = field(factory=dict)
    most_bytes: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Begin.
        """
        self.samples = {server.name: [] for server in self.servers}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """
        End.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            for server in self.servers:
                self.samples[server.name].append(Sample.take(server))
            # What comes and goes while the files are looked at one by one may be counted with both.
            self.most_bytes = max(self.most_bytes, min(disk_bytes(self.folder) for _ in range(5)))


def slope_per_minute(samples: Sequence[Sample]) -> float:
    """
    Fit a line to the memory of the last half of the samples.

    :return: Bytes by which it grows in a minute.
    """
    late = samples[len(samples) // 2 :]
    count = len(late)
    if count < 3:
        return 0.0
    mean_at = sum(sample.at for sample in late) / count
    mean_rss = sum(sample.rss_bytes for sample in late) / count
    spread = sum((sample.at - mean_at) ** 2 for sample in late)
    return 60 * sum((sample.at - mean_at) * (sample.rss_bytes - mean_rss) for sample in late) / spread


def by_minute(samples: Sequence[Sample]) -> list[float]:
    """
    Tell the mean memory of each minute, in bytes.
    """
    minutes: dict[int, list[int]] = {}
    for sample in samples:
        minutes.setdefault(int((sample.at - samples[0].at) // 60), []).append(sample.rss_bytes)
    return [sum(values) / len(values) for values in minutes.values()]


def disk_bytes(folder: Path) -> int:
    """
    Add up what the data files of a cache take on the disk.
    """
    total = 0
    for path in folder.rglob("*.data*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue  # evicted meanwhile
    return total


def read_metrics(port: int, *parts: str) -> list[tuple[str, float]]:
    """
    Read those metrics of a daemon that have one of some texts in their names.
    """
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return [(name, float(value)) for name, _, value in found if any(part in name for part in parts)]


def open_files(server: ServerProcess) -> Counter[str]:
    """
    Count the descriptors of a server by what they lead to, without its particulars.
    """
    kinds: Counter[str] = Counter()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[_STAT_SESSION]) == server.pid:
                for link in (stat.parent / "fd").iterdir():
                    target = str(link.readlink())
                    kinds[target.partition(":[")[0] if ":[" in target else re.sub(r"[0-9a-f-]{36}", "ID", target)] += 1
        except OSError:
            continue  # it ended meanwhile
    return kinds


def loud_lines(log: Path) -> tuple[list[str], Counter[str]]:
    """
    Find the lines of a log that report errors, and count those that warn, by what they say without its particulars.
    """
    errors: list[str] = []
    warnings: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        level, _, said = line.partition(" ")[2].partition(" ")
        if level in _LOUD:
            errors.append(line)
        elif level == "warn":
            warnings[" ".join(word for word in said.split() if not any(char.isdigit() for char in word))] += 1
    return errors, warnings
