"""
Requests that two servers could understand in two ways, at a real port.
"""

from __future__ import annotations

import re
from collections import Counter

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from glance_tx.streaming.errors import BodyLost
from glance_tx.web.request import Request
from tests.web.raw import EdgeTestCase
from tests.web.smuggling import CASES, END, Case, Seen


def statuses_in(received: bytes) -> list[int]:
    """
    List the statuses of answers that have no body.
    """
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] ([0-9]{3}) ", received, re.MULTILINE)]


class SmugglingTests(EdgeTestCase):
    """
    Each of them is refused, or has one meaning.
    """

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[Seen] = []

    async def handle(self, request: Request) -> None:
        """
        Read a request whole, and answer it.
        """
        body = b""
        try:
            while piece := await request.body.read(1):
                body += piece
        except BodyLost:
            request.setResponseCode(400)
        else:
            path = request.path.decode()
            self.seen.append(Seen(request.method.decode(), path, body))
        request.setHeader("Content-Length", "0")
        request.finish()

    async def statuses(self, case: Case) -> list[int]:
        """
        Send a case, and tell what it was answered; 0 stands for a connection that does not end.
        """
        client = await self.connect()
        client.send(case.raw + END)
        ending = Deferred.fromCoroutine(client.end())
        unended: list[int] = []
        await ending.addTimeout(5, reactor, lambda *_: unended.append(0))
        client.close()
        return [*statuses_in(client.received), *unended]

    async def test_cases(self) -> None:
        """
        What is refused is answered once, reaches no handler whole, and ends its connection; what is served is
        understood as it should be, and nothing of it as another request.
        """
        self.serve(self.handle)
        wrong = []
        for case in CASES:
            self.seen.clear()
            statuses = await self.statuses(case)
            served = [*case.served, Seen("GET", "/end")] if case.served else []
            expected = ([200] * len(served) or [case.status], served)
            if (statuses, self.seen) != expected:
                wrong.append(f"{case.name}: {statuses} {self.seen}, not {expected}")
        self.assertEqual("\n".join(wrong), "")

    def test_names(self) -> None:
        """
        Each case has a name of its own.
        """
        self.assertEqual([name for name, count in Counter(case.name for case in CASES).items() if count > 1], [])
        self.assertGreater(len(CASES), 150)
