"""
An upstream on a real port that serves images as it should, but for what a test tells it to do wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from tests.doubles.upstreams import RawConnection, RawRequest, RawUpstream, byte_range, reactor

__all__ = ["Answer", "MisbehavingUpstream"]

_TRICKLE_SECONDS: Final = 0.02


@frozen(kw_only=True)
class Answer:
    """
    How one request for data is answered. What is not said goes as it should.

    :param status: Instead of the data.
    :param lines: Further lines of the head.
    :param raw: All that is sent, instead of an answer.
    :param upto: Offset in the image after which no more is sent.
    :param then: What becomes of the connection after that: ``"close"``, ``"reset"``, ``"stall"``, or ``"trickle"``, a
        byte now and then.
    :param chunked: The length is not said, and the body ends in good order wherever it ends.
    :param data: What is sent instead of the image.
    :param tail: Sent after it.
    :param whole: The Range is not regarded.
    :param shift: So many bytes later than asked for.
    """

    status: int | None = None
    lines: Sequence[str] = ()
    raw: bytes | None = None
    upto: int | None = None
    then: str = ""
    chunked: bool = False
    data: bytes | None = None
    tail: bytes = b""
    whole: bool = False
    shift: int = 0


class MisbehavingUpstream(RawUpstream):
    """
    Serves HEAD and GET of the data of every image, all of which have the same data.

    :ivar script: By image id, how the next requests for its data are answered; when none is left, as they should be.
    :ivar asked: Requests for data: image id, token, and first byte.
    :ivar refused: Tokens that are not taken any more: 401.
    :ivar sent: Bytes of image data that went out.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data
        self.script: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None, int]] = []
        self.refused: set[str | None] = set()
        self.sent = 0

    def buildProtocol(self, addr: IAddress | None) -> RawConnection:
        connection = super().buildProtocol(addr)
        # A connection ends in the midst of waiting for a request, which is no fault.
        Deferred.fromCoroutine(self._serve(connection)).addErrback(lambda failure: failure.trap(AssertionError))
        return connection

    async def _serve(self, connection: RawConnection) -> None:
        while True:
            request = await connection.request()
            image_id = request.target.split("/")[3]
            token = request.header("X-Auth-Token")
            if request.method == "HEAD":
                self._allow(connection)
                continue
            offset = byte_range(request)[0] if request.header("Range") else 0
            self.asked.append((image_id, token, offset))
            script = self.script.get(image_id)
            if token in self.refused:
                connection.reply(401, b"expired")
            else:
                self._answer(connection, request, offset, script.pop(0) if script else Answer())

    def _allow(self, connection: RawConnection) -> None:
        connection.head(
            "HTTP/1.1 200 OK",
            f"Content-Length: {len(self.data)}",
            "X-Openstack-Image-Hash-Algo: sha512",
            f"X-Openstack-Image-Hash-Value: {hashlib.sha512(self.data).hexdigest()}",
        )

    def _answer(self, connection: RawConnection, request: RawRequest, offset: int, answer: Answer) -> None:
        if answer.raw is not None:
            connection.send(answer.raw)
        elif answer.status is not None:
            connection.reply(answer.status, b"no", *answer.lines)
        else:
            self._send(
                connection, 0 if answer.whole else offset + answer.shift, answer, "Range" in str(request.headers)
            )
        if answer.then == "close":
            connection.transport.loseConnection()
        elif answer.then == "reset":
            connection.close()
        elif answer.then == "trickle":
            self._trickle(connection, offset if answer.upto is None else max(offset, answer.upto))

    def _trickle(self, connection: RawConnection, offset: int) -> None:
        if connection.lost is None:
            connection.send(self.data[offset : offset + 1])
            reactor.callLater(_TRICKLE_SECONDS, self._trickle, connection, offset + 1)

    def _send(self, connection: RawConnection, offset: int, answer: Answer, ranged: bool) -> None:
        data = self.data if answer.data is None else answer.data
        part = data[offset : answer.upto] + answer.tail
        lines = ["Transfer-Encoding: chunked" if answer.chunked else f"Content-Length: {len(data) - offset}"]
        if offset or (ranged and not answer.whole):
            lines = ["HTTP/1.1 206 Partial", *lines, f"Content-Range: bytes {offset}-{len(data) - 1}/{len(data)}"]
        else:
            lines = ["HTTP/1.1 200 OK", *lines]
        connection.head(*lines, *answer.lines)
        if answer.chunked:
            part = (b"%x\r\n%s\r\n" % (len(part), part) if part else b"") + b"0\r\n\r\n"
        connection.send(part)
        self.sent += len(part)
