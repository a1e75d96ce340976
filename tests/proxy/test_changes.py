"""
Tests of what a node does when it hears that an image changed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from glance_cache.changes import ImageChange, ImageChanges, read_change
from glance_cache.interfaces import UpstreamCredentials
from glance_tx.notify.envelope import notification
from glance_tx.notify.interfaces import Event, Message
from glance_tx.web.app import App
from tests.doubles.stock_glance import StockImage
from tests.doubles.upstreams import turns
from tests.proxy.folders import DATA, IMAGE, OTHER
from tests.proxy.nodes import NodeTestCase
from tests.proxy.test_routes import OWNER, PATH, RoutesTestCase
from tests.web.raw import until


def told(event_type: str, payload: dict[str, object] | str) -> str:
    """
    A notification, as glance-api writes it.
    """
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return json.dumps(notification(Message("1", "image.a", now, Event(event_type, payload))))


class ReadingTests(SynchronousTestCase):
    """
    `read_change` reads what glance-api writes.
    """

    def test_changes(self) -> None:
        """
        Every kind of event names its image, in lower case.
        """
        image = {"id": IMAGE.upper(), "status": "active"}
        for event_type in ("image.create", "image.prepare", "image.upload", "image.activate", "image.update"):
            self.assertEqual(read_change(told(event_type, image)), ImageChange(IMAGE, deleted=False))
        self.assertEqual(read_change(told("image.delete", image)), ImageChange(IMAGE, deleted=True))
        member = {"image_id": IMAGE, "member_id": "blue", "status": "accepted"}
        for event_type in ("image.member.create", "image.member.update", "image.member.delete"):
            self.assertEqual(read_change(told(event_type, member)), ImageChange(IMAGE, deleted=False))
        self.assertEqual(read_change(told("image.update", image).encode()), ImageChange(IMAGE, deleted=False))

    def test_failures(self) -> None:
        """
        What failed has changed nothing.
        """
        self.assertIsNone(read_change(told("image.upload", "the disk is full")))

    def test_others(self) -> None:
        """
        Anything else is no notification.
        """
        for message in (
            *("", "x", "{", "1", "null", "[]", "{}", '"text"', b"\xff", '{"event_type": 1, "payload": {"id": "a"}}'),
            *('{"event_type": "image.update"}', '{"event_type": "image.update", "payload": null}'),
            *('{"payload": {"id": "a"}}', '{"event_type": "image.update", "payload": {"id": 1}}'),
            '{"event_type": "image.member.delete", "payload": {"member_id": "blue"}}',
        ):
            with self.assertRaises(ValueError):
                read_change(message)


class HearingTests(RoutesTestCase):
    """
    A node that has an image, and a grant for it.
    """

    async def setUp(self) -> None:
        await super().setUp()
        self.heard = 0
        self.changes = ImageChanges(self.grants, self.entries, None, self.hear)
        self.addCleanup(self.changes.stop)
        self.assert_data(await self.get(), "fill")
        self.assert_data(await self.get(), "hit")
        self.glance.images[IMAGE].downloaders = set()

    def hear(self) -> None:
        self.heard += 1

    async def test_grant_lives(self) -> None:
        """
        As long as nothing is heard a grant counts, for its time.
        """
        self.assert_data(await self.get(), "hit")
        self.changes.unsubscribed()
        self.assert_data(await self.get(), "hit")

    async def test_update(self) -> None:
        """
        A change ends the grants for its image, and removes nothing.
        """
        self.changes.received(told("image.update", {"id": OTHER}))
        self.assert_data(await self.get(), "hit")
        self.changes.received(told("image.update", {"id": IMAGE}))
        self.assertEqual((await self.get()).status, 403)
        self.glance.images[IMAGE].downloaders = {"owner"}
        self.assert_data(await self.get(), "hit")
        self.assertEqual(self.heard, 2)

    async def test_member(self) -> None:
        """
        So does one to who it is shared with.
        """
        self.changes.received(told("image.member.delete", {"image_id": IMAGE, "member_id": "blue"}))
        self.assertEqual((await self.get()).status, 403)

    async def test_delete(self) -> None:
        """
        A deleted image leaves the cache.
        """
        del self.glance.images[IMAGE]
        self.changes.received(told("image.delete", {"id": IMAGE.upper()}))
        self.assertEqual((await self.get()).status, 404)
        await until(lambda: not self.entries.inventory())

    async def test_failed(self) -> None:
        """
        What failed ends nothing.
        """
        self.changes.received(told("image.upload", "the disk is full"))
        self.assert_data(await self.get(), "hit")

    async def test_unreadable(self) -> None:
        """
        What cannot be read may be about anything: all grants end.
        """
        with capturedLogs() as logs:
            self.changes.received(b"\xff")
        self.assertEqual((await self.get()).status, 403)
        self.assertIn("cannot be read", str(logs))

    async def test_subscribed(self) -> None:
        """
        Whoever begins to listen has missed what was before: all grants end, and nothing is removed.
        """
        self.changes.subscribed()
        self.assertTrue(self.changes.listening)
        self.assertEqual((await self.get()).status, 403)
        self.changes.unsubscribed()
        self.assertFalse(self.changes.listening)
        self.assertEqual(len(self.entries.inventory()), 1)


class UnderWayTests(NodeTestCase):
    """
    What is heard while an answer is under way, before a service whose every byte is the test's.
    """

    grant_seconds = 60.0

    async def setUp(self) -> None:
        await super().setUp()
        self.changes = ImageChanges(self.grants, self.entries, None, lambda: None)
        self.addCleanup(self.changes.stop)

    def mount(self, app: App) -> None:
        self.data = b"x" * 1000

    def grant(self, connection: object) -> None:
        connection.head("HTTP/1.1 200 OK", f"Content-Length: {len(self.data)}")  # type: ignore[attr-defined]

    async def test_probe(self) -> None:
        """
        A permission that was given before a change, and comes after it, counts for nothing: the service is asked
        again, and the refusal is what the client gets. Nothing of the permission is remembered.
        """
        client = await self.request("GET", PATH, OWNER)
        connection, request = await self.raw.exchange()
        self.assertEqual(request.method, "HEAD")
        self.changes.received(told("image.update", {"id": IMAGE}))
        self.grant(connection)
        again = await connection.request()
        self.assertEqual(again.method, "HEAD")
        connection.reply(403)
        self.assertEqual((await connection.request()).method, "GET")
        connection.reply(403, b"no")
        self.assertEqual((await client.answer()).status, 403)
        self.assertEqual(self.grants.count, 0)

    async def test_fill_begins(self) -> None:
        """
        A change while a fill begins is one before the first byte: the grant is asked for again.
        """
        client = await self.request("GET", PATH, OWNER)
        connection, _ = await self.raw.exchange()
        self.grant(connection)
        request = await connection.request()
        self.assertEqual(request.method, "GET")
        self.changes.received(told("image.member.delete", {"image_id": IMAGE}))
        connection.reply(200, self.data)
        again, request = await self.raw.exchange()
        self.assertEqual(request.method, "HEAD")
        self.assertEqual(client.received, b"")
        again.reply(404)
        # By whichever of the two connections.
        await until(lambda: again.received or connection.received)
        asked = again if again.received else connection
        self.assertEqual((await asked.request()).method, "GET")
        asked.reply(404, b"gone")
        answer = await client.answer()
        self.assertEqual((answer.status, answer.body), (404, b"gone"))

    async def test_unsteady(self) -> None:
        """
        An image that changes every time it is asked about is left to the service, and not asked about for ever.
        """
        client = await self.request("GET", PATH, OWNER)
        connection, _ = await self.raw.exchange()
        for number in range(3):
            self.changes.received(told("image.update", {"id": IMAGE}))
            self.grant(connection)
            request = await connection.request()
            self.assertEqual(request.method, "HEAD" if number < 2 else "GET")
        connection.reply(200, self.data)
        answer = await client.answer()
        self.assertEqual((answer.status, answer.headers["x-cache"], answer.body), (200, "bypass", self.data))
        self.assertEqual(self.entries.inventory(), [])


class HerdTests(RoutesTestCase):
    """
    Many at once.
    """

    async def test_flood(self) -> None:
        """
        A flood of one token asks once; other credentials are asked about for themselves.
        """
        self.glance.images[OTHER] = StockImage(OTHER, DATA)
        asked = [await self.request("GET", PATH, OWNER) for _ in range(50)]
        asked.append(await self.request("GET", PATH, "X-Auth-Token: stranger"))
        statuses = [(await client.answer()).status for client in asked]
        self.assertEqual(statuses, [200] * 50 + [404])
        await self.settled()
        await turns(10)
        self.assertEqual(sum(method == "HEAD" for method, _, _ in self.glance.requests), 2)
        credentials = UpstreamCredentials(auth_token="owner")
        self.assertFalse((await self.grants.grant(IMAGE, credentials)).revoked)
