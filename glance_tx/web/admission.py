"""
How many connections a process has at a time.
"""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from glance_tx.telemetry.metrics import Metrics

__all__ = ["Admission", "IGate"]

_log = Logger()


class IGate(Protocol):
    """
    Lets connections in. A listening port is one.
    """

    def stopReading(self) -> None:
        """
        Accept no more. Whoever comes now waits in the kernel's queue.
        """

    def startReading(self) -> None:
        """
        Accept again.
        """


class Admission:
    """
    Counts the connections of all ports for clients, and has these accept no more while there are too many.

    Nobody is refused by it: who comes later waits to be accepted, as long as the listening socket's backlog has room. A
    port accepts several connections at once, so there may be some more than the limit for a moment.

    :param most: How many there may be.
    :param metrics: Where it counts.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._count = 0
        self._gates: list[IGate] = []
        self._closed = False
        self._pauses = metrics.counter("accept_pauses", "Times that too many connections kept others waiting.")
        metrics.watch("connections", "Connections of clients.", lambda: self._count)
        metrics.watch("connections_max", "Connections of clients that there may be.", lambda: most)

    def guard(self, gate: IGate) -> None:
        """
        Decide for a port from now on.
        """
        self._gates.append(gate)
        if self._closed:
            gate.stopReading()

    def leave(self, gate: IGate) -> None:
        """
        Decide for it no longer: it is about to be closed.
        """
        self._gates.remove(gate)

    def joined(self) -> None:
        """
        Note a connection that was accepted.
        """
        self._count += 1
        if self._count >= self._most and not self._closed:
            self._closed = True
            self._pauses.inc()
            _log.warn("there are {count} connections; others wait until one of them ends", count=self._count)
            for gate in self._gates:
                gate.stopReading()

    def left(self) -> None:
        """
        Note that one has ended.
        """
        self._count -= 1
        if self._closed and self._count < self._most:
            self._closed = False
            for gate in self._gates:
                gate.startReading()
