"""
A reactor whose processes exist in memory only.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from glance_tx.workers.messages import ORDERS, REPORTS, Frames, Handover, pack, unpack
from glance_tx.workers.process import Worker

__all__ = ["MemoryProcess", "MemoryProcesses", "handover_of"]


@define(eq=False)
class MemoryProcess:
    """
    One process: what a `Worker` has for its transport, and what a test makes it do.
    """

    protocol: Worker
    arguments: list[str]
    descriptors: Mapping[int, Any]
    pid: int
    signals: list[str] = field(factory=list)
    written: bytes = b""
    alive: bool = True

    # The transport

    def writeToChild(self, childFD: int, data: bytes) -> None:  # noqa: N803
        assert childFD == ORDERS
        self.written += data

    def signalProcess(self, name: str) -> None:
        if not self.alive:
            raise ProcessExitedAlready
        self.signals.append(name)
        if name == "KILL":
            self.end(signal=9)

    # What happens in it

    @property
    def orders(self) -> list[str]:
        """
        What it was told after the handover.
        """
        return [message["order"] for message in self.messages if "order" in message]

    @property
    def told(self) -> list[Any]:
        """
        What others had to say to it, and the parent of them.
        """
        return [message["told"] for message in self.messages if "told" in message]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """
        All that came after the handover.
        """
        return [unpack(frame) for frame in list(Frames().feed(self.written))[1:]]

    def say(self, **message: Any) -> None:
        self.protocol.childDataReceived(REPORTS, pack(message))

    def end(self, status: int = 0, signal: int | None = None) -> None:
        self.alive = False
        reason = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
        self.protocol.processEnded(Failure(reason))


class MemoryProcesses(Clock):
    """
    Such a reactor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all: list[MemoryProcess] = []

    @property
    def alive(self) -> list[MemoryProcess]:
        return [process for process in self.all if process.alive]

    # Threads, which take no time here.

    def getThreadPool(self) -> MemoryProcesses:
        return self

    def callInThreadWithCallback(self, told: Callable[[bool, Any], object], call: Callable[..., Any]) -> None:
        try:
            result = call()
        except Exception:
            told(False, Failure())  # noqa: FBT003
        else:
            told(True, result)  # noqa: FBT003

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)

    def spawnProcess(
        self,
        protocol: Worker,
        executable: str,
        args: list[str],
        env: object,
        childFDs: Mapping[int, Any],  # noqa: N803
    ) -> MemoryProcess:
        process = MemoryProcess(protocol, args, childFDs, 1000 + len(self.all))
        self.all.append(process)
        protocol.makeConnection(process)  # type: ignore[arg-type]
        return process


def handover_of(process: MemoryProcess) -> Handover:
    """
    Read the first message to a process.
    """
    handover: Handover = pickle.loads(next(Frames().feed(process.written)))  # noqa: S301
    return handover
