"""
What can go wrong while a body moves.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError


class StreamingError(FactualError):
    """
    A body did not arrive, or did not leave, whole.
    """


@frozen
class BodyLost(StreamingError):
    """
    The sender of a body went away, or broke its own framing.
    """

    message = "the body ended after {self.received} bytes: {self.reason}"
    received: int
    reason: str


@frozen
class BodyTooLong(StreamingError):
    """
    A body outgrew its limit.
    """

    message = "the body is longer than the {self.limit} bytes allowed"
    limit: int


@frozen
class BodyTooShort(StreamingError):
    """
    A body ended before its announced length.
    """

    message = "the body ended after {self.received} of {self.expected} bytes"
    expected: int
    received: int


@frozen
class ShortFile(StreamingError):
    """
    A file ended before the range that was promised from it.
    """

    message = "the file ended at {self.at} before the promised end at {self.end}"
    at: int
    end: int


@frozen
class TransferStalled(StreamingError):
    """
    The other side moved no byte for too long.
    """

    message = "no byte moved for {self.seconds} seconds"
    seconds: float


@frozen
class MultipleRanges(StreamingError):
    """
    More than one range was asked for at once.
    """

    message = "only one range at a time is served, not {self.header!r}"
    header: str


@frozen
class RangeNotSatisfiable(StreamingError):
    """
    A range cannot be served from a body of this size.
    """

    message = "the range {self.header!r} cannot be served from {self.size} bytes"
    header: str
    size: int


@frozen
class ReceiverLost(StreamingError):
    """
    The receiver of a body went away.
    """

    message = "the receiver went away after {self.sent} bytes: {self.reason}"
    sent: int
    reason: str


@frozen
class LaneStopped(StreamingError):
    """
    A job came after the threads that would have done it were stopped.
    """

    message = "the threads are stopped; a job in lane {self.lane!r} was not begun"
    lane: str
