"""
What a store of image data can do.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

from glance_tx.streaming.interfaces import IBodyProducer

__all__ = ["IStore", "IStoreWriter"]


class IStoreWriter(Interface):
    """
    One object on its way into a store.

    Exactly one of `commit` and `abort` ends it; `abort` may be called at any time, also after a failed or cancelled
    `commit` (whose object it removes), and again. After a `commit` that returned it does nothing.
    """

    location: str = Attribute("URL of the object once it is committed; equals the planned one.")

    async def write(data: bytes) -> None:
        """
        Append bytes. One write at a time; returns when ``data`` may be forgotten.

        After a write that failed or was cancelled only `abort` is left.

        :raises StoreFull: No room is left.
        :raises StoreUnavailable: The store cannot be reached, or refuses to be written.
        """

    async def commit() -> None:
        """
        Make the object durable, then visible at ``location``: it survives a power loss after this returns.

        :raises LocationTaken: Somebody else's object came to lie there meanwhile; it is kept.
        :raises StoreFull: No room is left.
        :raises StoreUnavailable: The store cannot be reached.
        """

    async def abort() -> None:
        """
        Remove everything this writer left. Never raises for what is already gone.
        """


class IStore(Interface):
    """
    A place that keeps objects at locations.
    """

    name: str = Attribute("The store's id in configuration and answers.")
    schemes: frozenset[str] = Attribute("URL schemes of its locations.")

    async def choose_place(size_bytes: int | None) -> str | None:
        """
        Choose where in the store new data had best go, for `plan_location`.

        :param size_bytes: The announced size, ``None`` when unknown.
        :raises StoreFull: There is no room for them anywhere.
        :raises StoreUnavailable: The store cannot be reached.
        """

    def plan_location(key: str, fence: int, place: str | None = None) -> str:
        """
        Say where the object of one upload will lie, before a byte of it is written. Does not wait.

        :param key: Names the object (an image id).
        :param fence: Number of this attempt; each attempt has a location of its own, so that a stalled one can
            never overwrite its successor's object.
        :param place: What `choose_place` said; ``None`` for the store's first.
        """

    async def open_writer(location: str, size_bytes: int | None) -> IStoreWriter:
        """
        Begin an object.

        :param location: As planned.
        :param size_bytes: The announced size, ``None`` when unknown. A hint: room may be reserved.
        :raises LocationTaken: Something is stored, or being written, there.
        :raises LocationNotAllowed: The location is not one of this store.
        :raises StoreFull: There is no room for ``size_bytes``.
        :raises StoreUnavailable: The store cannot be reached, or refuses to be written.
        """

    async def open_reader(location: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        """
        Read image data back.

        :param offset: First byte to send, counted from 0.
        :param length: Bytes to send; ``None`` means up to the end.
        :return: A producer whose ``length`` is exact. An `IFileBody` where the data lies in a file.
        :raises LocationNotFound: Nothing is stored there.
        :raises LocationNotAllowed: The location is not one of this store.
        :raises ShortFile: The object is shorter than what was asked for (a store that finds out before it sends).
        :raises StoreUnavailable: The store cannot be reached.
        """

    async def size_bytes(location: str) -> int:
        """
        Tell how long an object is.

        :raises LocationNotFound: Nothing is stored there.
        :raises LocationNotAllowed: The location is not one of this store.
        :raises StoreUnavailable: The store cannot be reached.
        """

    async def delete(location: str) -> None:
        """
        Remove an object, committed or half-written.

        :raises LocationNotFound: Nothing is stored there, not even in part.
        :raises LocationNotAllowed: The location is not one of this store.
        :raises StoreUnavailable: The store cannot be reached.
        """
