"""
Tests of what a parent and its workers tell each other, and of the sockets that workers inherit.
"""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.web.errors import ListenFailed
from glance_tx.workers.messages import Frames, pack, unpack
from glance_tx.workers.sockets import Sockets


class FramesTests(SynchronousTestCase):
    """
    `Frames` finds messages however a pipe cuts them.
    """

    def test_cut_anywhere(self) -> None:
        """
        Messages come out whole, byte by byte or all at once.
        """
        messages = [{"order": "a"}, {}, {"metrics": ["é" * 1000]}]
        data = b"".join(map(pack, messages))
        frames = Frames()
        single = [frame for byte in data for frame in frames.feed(bytes([byte]))]
        self.assertEqual([unpack(frame) for frame in single], messages)
        self.assertEqual(list(Frames().feed(data)), single)

    def test_nonsense(self) -> None:
        """
        A length that no message has is refused.
        """
        self.assertRaises(ValueError, list, Frames().feed(b"\xff\xff\xff\xff"))


class SocketsTests(SynchronousTestCase):
    """
    `Sockets` opens several on one port.
    """

    def sockets(self, host: str = "127.0.0.1", port: int = 0) -> Sockets:
        sockets = Sockets(host, port)
        self.addCleanup(sockets.close)
        return sockets

    def test_one_port(self) -> None:
        """
        All are on one port, whichever it is, and each gets connections.
        """
        sockets = self.sockets()
        sockets.open(2, 100)
        first, second = sockets.share(1, 1)
        self.assertEqual(first.getsockname(), second.getsockname())
        accepted = 0
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", sockets.port)):
                pass
        for opened in (first, second):
            count = 0
            with self.assertRaises(BlockingIOError):
                while True:
                    opened.accept()[0].close()
                    count += 1
            self.assertGreater(count, 0)
            accepted += count
        self.assertEqual(accepted, 100)

    def test_ipv6(self) -> None:
        """
        An IPv6 address may stand in brackets.
        """
        sockets = self.sockets("[::1]")
        sockets.open(1, 5)
        (opened,) = sockets.share(1, 1)
        self.assertEqual(opened.family, socket.AF_INET6)

    def test_taken(self) -> None:
        """
        A port that somebody has is refused, also one whose owner would share it.
        """
        owner = self.sockets()
        owner.open(1, 5)
        sockets = self.sockets(port=owner.port)
        with self.assertRaises(ListenFailed) as raised:
            sockets.open(2, 5)
        self.assertEqual(str(raised.exception), f"cannot listen on 127.0.0.1:{owner.port}: Address already in use")

    def test_foreign_address(self) -> None:
        """
        An address that is not this machine's is refused, and a name that leads nowhere.
        """
        for host in ("192.0.2.1", "nowhere.invalid"):
            with self.assertRaises(ListenFailed) as raised:
                self.sockets(host).open(1, 5)
            self.assertIn(host, str(raised.exception))

    def test_shares(self) -> None:
        """
        Every socket is one worker's, whether there are more sockets or as many.
        """
        sockets = self.sockets()
        sockets.open(3, 5)
        for count in (1, 2, 3):
            shares = [opened for slot in range(1, count + 1) for opened in sockets.share(slot, count)]
            self.assertEqual(len(set(shares)), 3)
            self.assertEqual(len(shares), 3)

    def test_more(self) -> None:
        """
        More may be opened later; those that there are stay.
        """
        sockets = self.sockets()
        sockets.open(2, 5)
        before = list(sockets.share(1, 1))
        sockets.open(3, 5)
        sockets.open(1, 5)
        self.assertEqual(list(sockets.share(1, 1))[:2], before)
        self.assertEqual(len(sockets.share(1, 1)), 3)

    def test_not_for_everybody(self) -> None:
        """
        Only who is given a socket has it: the programs that we run do not.
        """
        sockets = self.sockets()
        sockets.open(1, 5)
        (opened,) = sockets.share(1, 1)
        self.assertFalse(os.get_inheritable(opened.fileno()))
