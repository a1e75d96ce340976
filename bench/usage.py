"""
What servers use of the machine, as ``/proc`` tells it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

__all__ = ["Family", "ProcessStat", "parse_stat", "parse_status"]

_TICKS = os.sysconf("SC_CLK_TCK")
# Of /proc/<pid>/stat, counted from behind the program's name, which may have blanks.
_PARENT, _SESSION, _USER_TICKS, _SYSTEM_TICKS = 1, 3, 11, 12
_RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


@frozen
class ProcessStat:
    """
    One process.

    :param cpu_seconds: In user and in kernel mode, of all its threads, to 10 ms.
    """

    pid: int
    parent: int
    session: int
    cpu_seconds: float


def parse_stat(text: str) -> ProcessStat:
    """
    Read a ``/proc/<pid>/stat``.
    """
    facts = text.rpartition(")")[2].split()
    ticks = int(facts[_USER_TICKS]) + int(facts[_SYSTEM_TICKS])
    return ProcessStat(int(text.split(maxsplit=1)[0]), int(facts[_PARENT]), int(facts[_SESSION]), ticks / _TICKS)


def parse_status(text: str, key: str) -> int:
    """
    Find a size in a ``/proc/<pid>/status``, in bytes: 0 where there is none, as in a process that has just ended.
    """
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return 0


@frozen
class Family:
    """
    A process with all that come from it: those in its session, and the children of these in sessions of their own.

    :param leader: The process that was started, in a session that it leads.
    """

    leader: int

    def members(self) -> list[ProcessStat]:
        """
        List the living ones.
        """
        everyone = [parse_stat(text) for _, text in _read_all("stat")]
        found = {each.pid: each for each in everyone if each.session == self.leader}
        while more := [each for each in everyone if each.parent in found and each.pid not in found]:
            found |= {each.pid: each for each in more}
        return list(found.values())

    def cpu_seconds(self) -> float:
        """
        Add up what its living processes have used of processors.
        """
        return sum(each.cpu_seconds for each in self.members())

    def resident_bytes(self) -> int:
        """
        Add up what its processes hold in memory. What several of them share is counted once for each.
        """
        return self._sizes("VmRSS")

    def peak_bytes(self) -> int:
        """
        Add up the most that each of its processes has held since `forget_peak`.
        """
        return self._sizes("VmHWM")

    def forget_peak(self) -> None:
        """
        Have the kernel begin to record peaks anew.
        """
        self._each(lambda folder: (folder / "clear_refs").write_text(_RESET_PEAK))

    def _sizes(self, key: str) -> int:
        sizes: list[int] = []
        self._each(lambda folder: sizes.append(parse_status((folder / "status").read_text(), key)))
        return sum(sizes)

    def _each(self, visit: Callable[[Path], object]) -> None:
        for each in self.members():
            try:
                visit(Path("/proc") / str(each.pid))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile


def _read_all(name: str) -> Iterator[tuple[Path, str]]:
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        try:
            yield path, path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
