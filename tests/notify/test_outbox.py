"""
Messages wait for a recipient that is away, and not for ever.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from glance_tx.notify.errors import DeliveryFailed
from glance_tx.notify.interfaces import ITransport, Message
from glance_tx.notify.outbox import Outbox, OutboxCounts
from tests.notify.messages import message


@implementer(ITransport)
class Transport:
    """
    Holds every message until the test decides.
    """

    name = "test"

    def __init__(self) -> None:
        self.tried: list[Message] = []
        self.arrived: list[Message] = []
        self.held: Deferred[None] | None = None
        self.closed = False

    async def deliver(self, message: Message) -> None:
        self.tried.append(message)
        self.held = Deferred()
        await self.held
        self.arrived.append(message)

    async def close(self) -> None:
        self.closed = True

    def take(self) -> None:
        held, self.held = self.held, None
        held.callback(None)

    def fail(self, error: Exception) -> None:
        held, self.held = self.held, None
        held.errback(error)


class OutboxTests(SynchronousTestCase):
    """
    `Outbox`.
    """

    def setUp(self) -> None:
        self.clock, self.transport = Clock(), Transport()
        self.delivered = self.dropped = 0
        self.outbox = Outbox(self.transport, self.clock, 3, OutboxCounts(self.count_delivered, self.count_dropped))

    def count_delivered(self) -> None:
        self.delivered += 1

    def count_dropped(self) -> None:
        self.dropped += 1

    def fill(self, *numbers: int) -> list[Message]:
        messages = [message(number=number) for number in numbers]
        for each in messages:
            self.outbox.put(each)
        return messages

    def test_order(self) -> None:
        """
        Messages go out one after another, in order.
        """
        messages = self.fill(1, 2, 3)
        self.assertEqual(len(self.transport.tried), 1)
        for _ in messages:
            self.transport.take()
        self.assertEqual(self.transport.arrived, messages)
        self.assertEqual((self.delivered, self.dropped, self.outbox.waiting), (3, 0, 0))
        self.fill(4)
        self.transport.take()
        self.assertEqual(self.delivered, 4)

    def test_away(self) -> None:
        """
        A message that did not arrive is sent again after a pause, longer each time up to half a minute.
        """
        self.fill(1)
        for pause in (0.5, 1, 2, 4, 8, 16, 30, 30):
            self.transport.fail(DeliveryFailed("away"))
            self.clock.advance(pause - 0.01)
            self.assertIsNone(self.transport.held, pause)
            self.clock.advance(0.02)
            self.assertIsNotNone(self.transport.held, pause)
        self.transport.take()
        self.assertEqual(self.delivered, 1)

    def test_said_once(self) -> None:
        """
        The log tells when a recipient goes away, and when it is back, and not of every attempt.
        """
        with capturedLogs() as events:
            self.fill(1, 2)
            for _ in range(3):
                self.transport.fail(DeliveryFailed("no route"))
                self.clock.advance(60)
            self.transport.take()
            self.transport.take()
        self.assertEqual(len(events), 2)
        self.assertEqual(str(events[0]["problem"]), "no route")

    def test_room(self) -> None:
        """
        Where more wait than there is room for, the oldest goes.
        """
        self.fill(1)
        self.transport.fail(DeliveryFailed("away"))
        self.fill(2, 3, 4, 5)
        self.assertEqual((self.outbox.waiting, self.dropped), (3, 2))
        self.clock.advance(1)
        for _ in range(3):
            self.transport.take()
        self.assertEqual([m.message_id[-1] for m in self.transport.arrived], ["3", "4", "5"])

    def test_room_while_sending(self) -> None:
        """
        A message that makes room while it is being sent takes no other with it.
        """
        self.fill(1, 2, 3, 4)
        for _ in range(4):
            self.transport.take()
        self.assertEqual([m.message_id[-1] for m in self.transport.arrived], ["1", "2", "3", "4"])

    def test_poison(self) -> None:
        """
        A message that cannot be sent at all is given up, and those behind it are sent.
        """
        self.fill(1, 2)
        self.transport.fail(TypeError("not JSON"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.transport.take()
        self.assertEqual([m.message_id[-1] for m in self.transport.arrived], ["2"])
        self.assertEqual((self.delivered, self.dropped), (1, 1))

    def test_stop(self) -> None:
        """
        Stopping waits for what waits, and then lets go.
        """
        self.fill(1, 2)
        stopping = Deferred.fromCoroutine(self.outbox.stop())
        self.transport.take()
        self.assertNoResult(stopping)
        self.transport.take()
        self.successResultOf(stopping)
        self.assertTrue(self.transport.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_in_an_outage(self) -> None:
        """
        Stopping does not wait longer than two seconds, and says how many messages are lost.
        """
        self.fill(1, 2)
        self.transport.fail(DeliveryFailed("away"))
        stopping = Deferred.fromCoroutine(self.outbox.stop())
        with capturedLogs() as events:
            for _ in range(20):
                self.clock.advance(0.1)
        self.successResultOf(stopping)
        self.assertEqual([event["count"] for event in events if "count" in event], [2])
        self.assertTrue(self.transport.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_stop(self) -> None:
        """
        What happens after that is not told.
        """
        self.successResultOf(Deferred.fromCoroutine(self.outbox.stop()))
        self.fill(1)
        self.assertEqual((self.transport.tried, self.dropped), ([], 1))
