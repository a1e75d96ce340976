"""
Tests of which header lines are passed on.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from glance_cache.headers import HOP_BY_HOP, end_to_end


class EndToEndTests(SynchronousTestCase):
    """
    `end_to_end` keeps what is for the other end.
    """

    def kept(self, *lines: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        headers = Headers()
        for name, value in lines:
            headers.addRawHeader(name, value)
        return [(name.lower(), value) for name, value in end_to_end(headers)]

    def test_kept(self) -> None:
        """
        Ordinary lines stay, repeated ones in their order, values as they are.
        """
        lines = [(b"x-a", b"1"), (b"x-a", b"2"), (b"cookie", b"a=b"), (b"x-b", b"\xff\xc3\xa9")]
        self.assertEqual(sorted(self.kept(*lines)), sorted(lines))

    def test_hop_by_hop(self) -> None:
        """
        Lines for one connection, and what frames the message, do not.
        """
        for name in (*HOP_BY_HOP, b"content-length", b"Transfer-Encoding", b"TE", b"Proxy-Authorization"):
            self.assertEqual(self.kept((name, b"x")), [])

    def test_named_by_connection(self) -> None:
        """
        Neither does what Connection names, in any of its lines and in any case.
        """
        lines = [(b"Connection", b"close, X-One"), (b"connection", b" x-TWO ,"), (b"X-One", b"1"), (b"x-two", b"2")]
        self.assertEqual(self.kept(*lines, (b"x-three", b"3")), [(b"x-three", b"3")])

    def test_underscores(self) -> None:
        """
        What frames the message does not get through in a spelling that some servers take for the same.
        """
        for name in (b"Content_Length", b"transfer_encoding", b"Transfer_Encoding", b"Keep_Alive"):
            self.assertEqual(self.kept((name, b"x"), (b"x_a", b"1")), [(b"x_a", b"1")])
