"""
The room that the cache may use, and who has which part of it.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed

from glance_cache.disk import Disk
from glance_cache.errors import FolderUnusable

__all__ = ["Reservation", "SpaceAccount"]


class Reservation:
    """
    Room that one entry has.

    It is reserved while the entry is filled and used once there is something to keep. It goes back into the account
    after `release`, as soon as nobody holds it: the room of a removed file is not free while somebody has it open.

    :param size_bytes: How much.
    :param returned: Called when it has gone back.
    """

    __slots__ = ("_holders", "_released", "_returned", "committed", "size_bytes")

    def __init__(self, size_bytes: int, *, committed: bool, returned: Callable[[Reservation], None]) -> None:
        self.size_bytes = size_bytes
        self.committed = committed
        self._returned = returned
        self._holders = 0
        self._released = False

    @property
    def held(self) -> bool:
        """
        Whether somebody reads or writes there.
        """
        return self._holders > 0

    def hold(self) -> None:
        """
        Begin to read or write there.
        """
        self._holders += 1

    def drop(self) -> None:
        """
        End what `hold` began.
        """
        if self._holders == 0:
            raise RuntimeError("a reservation was dropped more often than it was held")
        self._holders -= 1
        self._return_if_over()

    def release(self) -> None:
        """
        Give the room up. Harmless when repeated.
        """
        if not self._released:
            self._released = True
            self._return_if_over()

    def _return_if_over(self) -> None:
        if self._released and not self.held:
            self._returned(self)


class SpaceAccount:
    """
    What this process knows to be used and promised. The limit is kept by the folder (see Note [Taking turns]).

    It begins without knowing what lies on the disk already; until it does (`settle`), nobody should reserve.

    :param max_bytes: The limit, for data and catalogs in whole blocks.
    :ivar disk: Has to have that room, too.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.reserved_bytes = 0
        self.disk = Disk()
        self._settled = False
        self._failure: FolderUnusable | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def taken_bytes(self) -> int:
        """
        What is used or reserved.
        """
        return self.used_bytes + self.reserved_bytes

    @property
    def settled(self) -> bool:
        """
        Whether all that lies on the disk is accounted for.
        """
        return self._settled

    def when_settled(self) -> Deferred[None]:
        """
        Wait until all that lies on the disk is accounted for.

        :return: Fails with what `fail` was given, if that ends it.
        """
        if self._settled:
            return succeed(None)
        if self._failure is not None:
            return fail(evolve(self._failure))
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def settle(self) -> None:
        """
        Say that all there is on the disk was adopted.
        """
        self._settled = True
        for waiting in self._take_waiting():
            waiting.callback(None)

    def fail(self, error: FolderUnusable) -> None:
        """
        Say that what lies on the disk cannot be found out: nobody may reserve, ever.
        """
        self._failure = error
        for waiting in self._take_waiting():
            waiting.errback(evolve(error))

    def _take_waiting(self) -> list[Deferred[None]]:
        taken, self._waiting = self._waiting, []
        return taken

    def reserve(self, size_bytes: int) -> Reservation:
        """
        Take room for a fill. Whether there is that much the folder knows, when its files are created.
        """
        self.reserved_bytes += size_bytes
        return Reservation(size_bytes, committed=False, returned=self._take_back)

    def adopt(self, size_bytes: int) -> Reservation:
        """
        Account for what lies on the disk already, even beyond the limit.
        """
        self.used_bytes += size_bytes
        return Reservation(size_bytes, committed=True, returned=self._take_back)

    def commit(self, reservation: Reservation) -> None:
        """
        Count a reservation as used from now on. Harmless when repeated.
        """
        if not reservation.committed:
            reservation.committed = True
            self.reserved_bytes -= reservation.size_bytes
            self.used_bytes += reservation.size_bytes

    def _take_back(self, reservation: Reservation) -> None:
        if reservation.committed:
            self.used_bytes -= reservation.size_bytes
        else:
            self.reserved_bytes -= reservation.size_bytes
