"""
A wire between a daemon and a server that counts, slows down and cuts.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from attrs import field, frozen

from tests.ports import free_port

PIECE_BYTES = 64 * 1024


@frozen
class _Hold:
    limit_bytes: int
    over: threading.Event = field(factory=threading.Event)


class Relay:
    """
    Passes TCP connections on, each way in a thread of its own.

    :ivar passed_bytes: What came from the upstream.
    :ivar bytes_per_second: How fast that may be, all connections together; ``None`` for as fast as it goes.
    """

    def __init__(self, port: int) -> None:
        self.passed_bytes = 0
        self.bytes_per_second: float | None = None
        self._hold: _Hold | None = None
        self._upstream_port = port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port: int = free_port()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, limit_bytes: int) -> None:
        """
        From now on have each connection stop when so many bytes came by it from the upstream, until `release`. What
        is small passes meanwhile, so a test can do what it likes while a transfer is under way.

        :param limit_bytes: The last 64 KiB of them may be held, too.
        """
        self.release()
        self._hold = _Hold(limit_bytes)

    def release(self) -> None:
        """
        Hold nothing any more.
        """
        if self._hold is not None:
            self._hold.over.set()
            self._hold = None

    def reopen(self) -> None:
        """
        Listen again, on the same port.
        """
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """
        Cut everything, and listen no more.
        """
        # Only this wakes a thread that is in accept().
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        self.release()

    def cut(self) -> None:
        """
        Break every connection there is.
        """
        with self._lock:
            broken, self._open = self._open, set()
        for each in broken:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def wait_for(self, passed_bytes: int, seconds: float = 30.0) -> None:
        """
        Wait until that many bytes came from the upstream.
        """
        deadline = time.monotonic() + seconds
        while self.passed_bytes < passed_bytes:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {self.passed_bytes} of {passed_bytes} bytes came in {seconds} seconds")
            time.sleep(0.005)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(("127.0.0.1", self._upstream_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, upstream}
            threading.Thread(target=self._pass_on, args=(client, upstream, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(upstream, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        hold, since_hold = self._hold, 0
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                if counted:
                    if hold is not self._hold:
                        hold, since_hold = self._hold, 0
                    since_hold += len(data)
                    if hold is not None and since_hold > hold.limit_bytes:
                        hold.over.wait()
                    self._count(len(data))
                sink.sendall(data)
        # After a reset, too: whoever still sends is to hear of it.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int) -> None:
        with self._lock:
            self.passed_bytes += size
            if self.bytes_per_second is not None:
                time.sleep(size / self.bytes_per_second)
