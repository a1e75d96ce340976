"""
Stopping a body that outgrows its due.
"""

from __future__ import annotations

from zope.interface import implementer

from glance_tx.streaming.errors import BodyTooLong
from glance_tx.streaming.interfaces import IBodyReader

__all__ = ["LimitedReader"]


@implementer(IBodyReader)
class LimitedReader:
    """
    Another reader's body, up to a limit.

    :param reader: Whose body it is.
    :param limit_bytes: A body of this length passes; one byte more does not, announced or not.
    """

    def __init__(self, reader: IBodyReader, limit_bytes: int) -> None:
        self._reader = reader
        self._limit_bytes = limit_bytes
        self._received = 0
        self.length = reader.length

    async def read(self, at_least: int) -> bytes:
        """
        Read on (see `IBodyReader`).

        :raises BodyTooLong: At once where the announced length is beyond the limit, else when the first byte
            beyond it arrives; and again every time after that.
        """
        if self._received > self._limit_bytes or (self.length is not None and self.length > self._limit_bytes):
            raise BodyTooLong(self._limit_bytes)
        # One byte more than allowed is enough to know.
        piece = await self._reader.read(min(at_least, self._limit_bytes - self._received + 1))
        self._received += len(piece)
        if self._received > self._limit_bytes:
            raise BodyTooLong(self._limit_bytes)
        return piece
