"""
The listening sockets of a daemon with workers: opened by the parent, and kept open while workers come and go.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Sequence
from typing import Final

from glance_tx.web.errors import ListenFailed

__all__ = ["Sockets"]

_PATIENCE_SECONDS: Final = 2.0


class Sockets:
    """
    Several sockets on one port. The kernel spreads connections over them, each of which waits in the queue of its
    socket; whichever worker has the socket takes it, be it one that was started when the former had died.

    :param host: See `glance_tx.web.server.tcp_endpoint`.
    :param port: 0 takes any free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host.removeprefix("[").removesuffix("]")
        self._port = port
        self._open: list[socket.socket] = []

    @property
    def port(self) -> int:
        """
        The port, as a number that is not 0 when a socket is open.
        """
        return self._port

    def open(self, count: int, backlog: int) -> None:
        """
        See to it that there are so many at least. Waits a moment for a port that is taken when the first one is opened:
        for start-up. None is ever closed before `close`: connections may wait in it.

        :param backlog: Connections that may wait to be accepted, in each.
        :raises ListenFailed: The port cannot be had; named in one line.
        """
        try:
            if not self._open:
                self._see_that_it_is_free()
            while len(self._open) < count:
                self._open.append(self._bound(reuse=True))
            for opened in self._open:
                opened.listen(backlog)
        except OSError as error:
            raise ListenFailed(f"{self._host or '*'}:{self._port}", error.strerror or str(error)) from error

    def share(self, slot: int, count: int) -> Sequence[socket.socket]:
        """
        Tell which sockets are those of a worker.

        :param slot: Its place, counted from 1.
        :param count: How many workers there are; where there are fewer than sockets, some get several.
        """
        return self._open[slot - 1 :: count]

    def close(self) -> None:
        """
        Let go. A socket ends when its worker has let go as well.
        """
        while self._open:
            self._open.pop().close()

    def _see_that_it_is_free(self) -> None:
        # Workers whose parent was killed let go of the port when they notice.
        given_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._probe()
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > given_up:
                    raise
            time.sleep(0.05)

    def _probe(self) -> None:
        # Without SO_REUSEPORT: with it we would share the port with any process of the same user.
        probe = self._bound(reuse=False)
        try:
            probe.listen(1)
        finally:
            probe.close()

    def _bound(self, *, reuse: bool) -> socket.socket:
        # The first answer decides: an address is what it is, and a name leads to where the resolver says.
        family = socket.AF_INET6 if _is_ipv6(self._host) else socket.AF_INET
        bound = socket.socket(family)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # As Twisted has it: "::" is the IPv6 addresses and the IPv4 ones too, where the system says so.
                bound.bind((self._host, self._port, 0, 0))
            else:
                bound.bind((self._host, self._port))
        except OSError:
            bound.close()
            raise
        bound.setblocking(False)  # noqa: FBT003  # the library's form
        if reuse:
            self._port = bound.getsockname()[1]
        return bound


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
