"""
The upstream's last answers about images, kept to be repeated while it cannot be reached.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from attrs import frozen
from zope.interface import implementer

from glance_cache.grant import Holder, ISeconds
from glance_tx.streaming.interfaces import IBodySource

__all__ = ["Answers", "Collecting", "KeptAnswer"]

_LARGEST_SHARE: Final = 4
"""One answer takes no more than a quarter of the room."""

_OVERHEAD_BYTES: Final = 1024
"""What an answer takes besides its body, about."""

_MOST_CHANGED: Final = 10_000
"""Images that are known to have changed. Of what was kept before an earlier change nothing is known then."""


@frozen
class KeptAnswer:
    """
    One answer.

    :param headers: Those that are about the document.
    :param body: As it came.
    :param asked_at: By the clock of `Answers`.
    :param holder: Whose it is.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    asked_at: float
    holder: Holder


class Answers:
    """
    Keeps answers in memory, within bounds; what was kept or found longest ago goes first.

    :param most_bytes: All of them together, those that are still coming included.
    :param grace_seconds: For how long one may be repeated.
    """

    def __init__(self, clock: ISeconds, most_bytes: int, grace_seconds: float) -> None:
        self._clock = clock
        self._most_bytes = most_bytes
        self._grace_seconds = grace_seconds
        self._kept: OrderedDict[bytes, KeptAnswer] = OrderedDict()
        self._changed: OrderedDict[str, float] = OrderedDict()
        self._all_changed_at = float("-inf")
        self.used_bytes = 0

    @property
    def count(self) -> int:
        """
        How many are kept.
        """
        return len(self._kept)

    @property
    def largest_bytes(self) -> int:
        """
        More than this nobody keeps of one answer.
        """
        return self._most_bytes // _LARGEST_SHARE

    def seconds(self) -> float:
        """
        Tell the time by the clock that answers are measured by.
        """
        return self._clock.seconds()

    def keep(self, key: bytes, answer: KeptAnswer) -> None:
        """
        Keep an answer in place of the one before.
        """
        self.forget(key)
        if _size(answer) > self.largest_bytes:
            return
        self.take(_size(answer))
        self._kept[key] = answer

    def find(self, key: bytes) -> KeptAnswer | None:
        """
        Find what may be repeated now.
        """
        answer = self._kept.get(key)
        if answer is None:
            return None
        ends_at = answer.asked_at + self._grace_seconds
        if answer.holder.expires_at is not None:
            ends_at = min(ends_at, answer.holder.expires_at)
        if answer.holder.ended or ends_at <= self._clock.seconds():
            self.forget(key)
            return None
        self._kept.move_to_end(key)
        return answer

    def forget(self, key: bytes) -> None:
        """
        Let go of an answer, if there is one.
        """
        answer = self._kept.pop(key, None)
        if answer is not None:
            self.used_bytes -= _size(answer)

    def take(self, size: int) -> bool:
        """
        Take room, from the oldest answers if need be; whoever takes it lowers `used_bytes` again.

        :return: Whether there is as much. It is taken in any case.
        """
        self.used_bytes += size
        while self.used_bytes > self._most_bytes and self._kept:
            _, answer = self._kept.popitem(last=False)
            self.used_bytes -= _size(answer)
        return self.used_bytes <= self._most_bytes

    def changed(self, image_id: str | None) -> None:
        """
        Take note that an image is not what it was; ``None`` for any.
        """
        now = self._clock.seconds()
        if image_id is None:
            self._all_changed_at = now
            self._changed.clear()
            return
        self._changed[image_id] = now
        self._changed.move_to_end(image_id)
        if len(self._changed) > _MOST_CHANGED:
            _, self._all_changed_at = self._changed.popitem(last=False)

    def changed_since(self, answer: KeptAnswer) -> bool:
        """
        Tell whether any image is known to have changed since an answer was asked for.
        """
        # The last one to be noted is the last to have changed.
        latest = next(reversed(self._changed.values()), self._all_changed_at)
        return max(latest, self._all_changed_at) >= answer.asked_at

    def holds(self, answer: KeptAnswer, image_id: str) -> bool:
        """
        Tell whether an image is, for all that is known, what it was when an answer was asked for.
        """
        return max(self._changed.get(image_id, float("-inf")), self._all_changed_at) < answer.asked_at


def _size(answer: KeptAnswer) -> int:
    return len(answer.body) + _OVERHEAD_BYTES


@implementer(IBodySource)
class Collecting:
    """
    A body on its way to a client, which is kept when all of it has passed.

    :param whole: Called with it.
    """

    def __init__(self, source: IBodySource, answers: Answers, whole: Callable[[bytes], None]) -> None:
        self.length = source.length
        self._source = source
        self._answers = answers
        self._whole = whole
        self._pieces: list[bytes] | None = []
        self._size = 0
        if self.length is not None and self.length > answers.largest_bytes:
            self._drop()

    async def read(self, at_least: int) -> bytes:
        """
        See `IBodyReader.read`.
        """
        piece = await self._source.read(at_least)
        if self._pieces is not None:
            if piece:
                self._collect(self._pieces, piece)
            else:
                self._end(self._pieces)
        return piece

    def cancel(self) -> None:
        """
        See `IBodySource.cancel`.
        """
        self._drop()
        self._source.cancel()

    def _collect(self, pieces: list[bytes], piece: bytes) -> None:
        pieces.append(piece)
        self._size += len(piece)
        if not self._answers.take(len(piece)) or self._size > self._answers.largest_bytes:
            self._drop()

    def _end(self, pieces: list[bytes]) -> None:
        self._drop()
        if self.length is None or self._size == self.length:
            self._whole(b"".join(pieces))

    def _drop(self) -> None:
        if self._pieces is not None:
            self._pieces = None
            self._answers.used_bytes -= self._size
