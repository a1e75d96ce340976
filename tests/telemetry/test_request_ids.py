"""
Requests get ids that are safe to log and to send back.
"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.telemetry.request_ids import MAX_REQUEST_ID_LENGTH, RequestIds, request_ids

FRESH = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class RequestIdTests(SynchronousTestCase):
    """
    `request_ids`.
    """

    def test_fresh(self) -> None:
        """
        Without an id from the client, or with one of which nothing is left, each request gets a new one.
        """
        for inbound in (None, "", "\r\n", "req-", "<>"):
            ids = request_ids(inbound)
            self.assertRegex(ids.request_id, FRESH)
            self.assertFalse(ids.inbound)
        self.assertNotEqual(request_ids(None), request_ids(None))

    def test_inbound(self) -> None:
        """
        The client's id is used; the prefix is added where it is missing.
        """
        self.assertEqual(request_ids("req-abc"), RequestIds("req-abc", inbound=True))
        self.assertEqual(request_ids("abc"), RequestIds("req-abc", inbound=True))

    def test_header_injection(self) -> None:
        """
        Line ends do not reach the answer's header.
        """
        self.assertEqual(request_ids("req-a\r\nSet-Cookie: b").request_id, "req-aSet-Cookieb")

    def test_bounded(self) -> None:
        """
        A longer one is cut to 64 characters, prefix included.
        """
        self.assertEqual(request_ids("a" * 1000).request_id, "req-" + "a" * 60)

    @given(st.text())
    def test_any_text(self, inbound: str) -> None:
        """
        Whatever the client sends, the id is short and made of harmless characters.
        """
        self.assertRegex(request_ids(inbound).request_id, rf"\Areq-[A-Za-z0-9._-]{{1,{MAX_REQUEST_ID_LENGTH - 4}}}\Z")
