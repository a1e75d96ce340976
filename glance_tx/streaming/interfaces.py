"""
The three ways a body is handed over: pulled in, pushed out, and out of a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.web.iweb import IBodyProducer
from zope.interface import Attribute, Interface

__all__ = ["IBodyProducer", "IBodyReader", "IBodySource", "IFileBody", "IGrowth", "ILane"]

P = ParamSpec("P")
T = TypeVar("T")


class IBodyReader(Interface):
    """
    A body coming in, pulled by whoever consumes it.

    Nothing is read ahead of the consumer beyond a bounded buffer: a consumer that does not pull holds the
    sender back.
    """

    length: int | None = Attribute("Bytes announced by the sender; ``None`` when it did not say.")

    async def read(at_least: int) -> bytes:
        """
        Wait for a piece of the body.

        One read at a time. A cancelled read loses nothing: the bytes come with the next one.

        :param at_least: Bytes to wait for; the piece may be longer where more is there. Values above the reader's
            buffer are treated as the size of that buffer.
        :return: One piece; shorter than asked only where the body ends; ``b""`` after its end, every time.
        :raises BodyLost: The sender went away or broke its own framing.
        :raises BodyTooLong: The body outgrew the limit it was given.
        """


class IBodySource(IBodyReader):
    """
    A body coming in that its consumer may give up on.
    """

    def cancel() -> None:
        """
        Give up on the rest, which closes the connection that it comes by. Harmless after the end.
        """


class IGrowth(Interface):
    """
    How far a file may be sent by now.

    A file that is being filled grows by what was written; a cached file grows by what was verified; a cold one
    by what was read into memory. A sender asks the same two questions of all of them.
    """

    limit: int = Attribute("Absolute offset in the file up to which bytes may be sent.")

    def wait_beyond(offset: int) -> Deferred[None]:
        """
        Wait until ``limit > offset``.

        :return: Fires (perhaps at once) when there is more; fails with the reason when there never will be.
            Cancelling it stops the wait and nothing else.
        """


class IFileBody(IBodyProducer):
    """
    A body going out that lies in a file, in one piece.

    ``length`` (of `IBodyProducer`) is exact. The body owns its descriptor: `close` releases it, and so does the
    end of a transfer started with `startProducing`.
    """

    descriptor: int = Attribute("Open for reading; its own position is never used.")
    offset: int = Attribute("Absolute offset of the body's first byte in the file.")
    growth: IGrowth = Attribute("How far the file may be sent by now.")

    def close() -> None:
        """
        Release the descriptor. Harmless when repeated.
        """


class ILane(Interface):
    """
    Blocking work done in order, off the reactor: one job of a lane runs at a time.
    """

    def run(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Queue a job behind those already given to this lane.

        :return: A Deferred with the job's result or exception, fired in the reactor. Cancelling it does not stop
            a job that has begun; one that has not begun is dropped.
        """

    def read(job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        Do the same as `run` with a job that reads image data from a disk, which may be slow, or hang.

        However many such jobs there are, they leave threads for all others.
        """
