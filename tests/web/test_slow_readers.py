"""
Whoever takes an answer slowly gets all of it; whoever takes nothing is dropped.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

from twisted.internet.threads import deferToThread

from glance_tx.streaming.units import KiB, MiB
from glance_tx.web.app import App
from glance_tx.web.connections import DrainingSite
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import Request
from glance_tx.web.response import Response
from tests.web.serving import ServingTestCase, reactor

SIZE = 6 * MiB
SECONDS = 0.3


class SlowReaderTests(ServingTestCase):
    """
    An answer that is bytes in memory, as all JSON is.
    """

    timeout = 60

    def make_app(self, **options: Any) -> App:
        app = super().make_app(**options)
        app.add("GET", "/much", self.much)
        return app

    def make_site(self, app: App) -> DrainingSite:
        limits = EdgeLimits(timeout_seconds=SECONDS, close_seconds=SECONDS)
        return DrainingSite(app.resource(), reactor, limits, app.refuse)

    async def much(self, request: Request) -> Response:
        return Response(200, (), bytes(SIZE))

    def received(self, close: bool, pauses: Iterator[float]) -> tuple[int, float]:
        """
        Ask, in a thread, and read between pauses.

        :return: Bytes received until the end of the connection, or of what was asked for, and seconds.
        """
        began = time.monotonic()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KiB)
            client.settimeout(20)
            client.connect(("127.0.0.1", self.port.getHost().port))
            tail = b"Connection: close\r\n" if close else b""
            client.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n" + tail + b"\r\n")
            count = 0
            try:
                while count < SIZE and (data := client.recv(128 * KiB)):
                    count += len(data)
                    time.sleep(next(pauses, 0))
            except ConnectionError:
                pass
            return count, time.monotonic() - began

    async def test_slow(self) -> None:
        """
        An answer that takes several times the deadlines arrives whole, whether the connection is kept or closed.
        """
        for close in (False, True):
            count, seconds = await deferToThread(self.received, close, iter([SECONDS / 8] * 40))
            self.assertGreater(seconds, 3 * SECONDS)
            self.assertGreaterEqual(count, SIZE, f"close={close}")

    async def test_standing_still(self) -> None:
        """
        A client that takes nothing for much longer than the deadlines is dropped, whether it is kept or closed.
        """
        for close in (False, True):
            count, _ = await deferToThread(self.received, close, iter([12 * SECONDS]))
            self.assertLess(count, SIZE, f"close={close}")
