"""
Tests of what `glance_tx.web.channel` takes from behind Twisted's fence: a release that changes it fails here first.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from glance_tx.web.channel import Channel
from glance_tx.web.limits import EdgeLimits


class PausableTransport(StringTransport):
    """
    A transport on which one sees whether it is being read.
    """

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer


class UnpausableTransport:
    """
    A transport that does the least a channel can do with.
    """

    def registerProducer(self, producer: object, streaming: bool) -> None:
        raise AssertionError("it provides no such interface")

    def loseConnection(self) -> None:
        pass


class PrivateNameTests(SynchronousTestCase):
    """
    Twisted's private names mean what they meant when they were chosen.
    """

    def test_handling_request(self) -> None:
        """
        While ``_handlingRequest`` is true, HTTPChannel's own back pressure leaves the reading of the socket alone.
        """
        for handling, state in ((True, "producing"), (False, "paused")):
            channel = http.HTTPChannel()
            transport = PausableTransport()
            channel.makeConnection(transport)
            channel._handlingRequest = handling
            channel.pauseProducing()
            self.assertEqual(transport.producerState, state)
        transport.pauseProducing()
        channel._handlingRequest = True
        channel.resumeProducing()
        self.assertEqual(transport.producerState, "paused")

    def test_handling_request_stays(self) -> None:
        """
        Nothing that Twisted does while a request is served sets ``_handlingRequest`` back.
        """
        channel = Channel(Clock(), EdgeLimits())
        channel.makeConnection(PausableTransport())
        channel.registerProducer(PausableTransport(), True)  # noqa: FBT003 - Twisted's signature
        channel.pauseProducing()
        channel.resumeProducing()
        channel.unregisterProducer()
        self.assertTrue(channel._handlingRequest)
        channel.loseConnection()

    def test_network_producer(self) -> None:
        """
        ``_networkProducer`` is the transport, or stands in for one that cannot be paused.
        """
        channel = http.HTTPChannel()
        transport = PausableTransport()
        channel.makeConnection(transport)
        self.assertIs(channel._networkProducer, transport)
        self.assertIs(transport.producer, channel)
        channel = http.HTTPChannel()
        channel.makeConnection(UnpausableTransport())
        channel._networkProducer.pauseProducing()
        channel._networkProducer.resumeProducing()
        channel._networkProducer.unregisterProducer()

    def test_chunked_decoder(self) -> None:
        """
        The decoder tells pieces and end as they come, and hands back what belongs to the next request.
        """
        pieces: list[bytes] = []
        rests: list[bytes] = []
        decoder = http._ChunkedTransferDecoder(pieces.append, rests.append)
        decoder.dataReceived(b"5;x=y\r\nhel")
        self.assertEqual(pieces, [b"hel"])
        decoder.dataReceived(b"lo\r\n0\r\nTrailer: x\r\n\r\nGET")
        self.assertEqual((b"".join(pieces), rests), (b"hello", [b"GET"]))

    def test_malformed_chunk(self) -> None:
        """
        The decoder refuses what is not a chunk, a bare line feed and an endless line included.
        """
        for data in (b"x\r\n", b"1\nx", b"1\r\nxx\r\n", b"+1\r\n", b"0x1\r\n", b"1" * 2000, b"1;a\x00\r\n"):
            decoder = http._ChunkedTransferDecoder(lambda _: None, lambda _: None)
            with self.assertRaises(http._MalformedChunkedDataError, msg=repr(data)):
                decoder.dataReceived(data + b"\r\n\r\n")
