"""
A wire between a daemon and a server that counts, slows down and cuts.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_PIECE_BYTES = 64 * 1024


class Relay:
    """
    Passes TCP connections on, each way in a thread of its own.

    :ivar passed_bytes: What came from the upstream.
    :ivar bytes_per_second: How fast that may be, all connections together; ``None`` for as fast as it goes.
    """

    def __init__(self, port: int) -> None:
        self.passed_bytes = 0
        self.bytes_per_second: float | None = None
        self._upstream_port = port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

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
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE_BYTES):
                if counted:
                    with self._lock:
                        self.passed_bytes += len(data)
                        if self.bytes_per_second is not None:
                            time.sleep(len(data) / self.bytes_per_second)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
