"""
Image data in memory: for tests, and to try things out. Gone with the process.
"""

from __future__ import annotations

from attrs import frozen
from zope.interface import implementer

from glance_tx.stores.errors import LocationNotAllowed, LocationNotFound, LocationTaken, StoreFull, StoreUnavailable
from glance_tx.stores.interfaces import IStore, IStoreWriter
from glance_tx.streaming.errors import ShortFile
from glance_tx.streaming.interfaces import IBodyProducer
from glance_tx.streaming.memory import MemoryBody

__all__ = ["MemorySettings", "MemoryStore"]


@frozen
class MemorySettings:
    """
    What a memory store is told.

    :param name: The store's id.
    :param capacity_bytes: Room for all its objects; ``None`` for as much as there is.
    """

    name: str
    capacity_bytes: int | None = None


@implementer(IStoreWriter)
class _MemoryWriter:
    """
    Collects one object.
    """

    def __init__(self, store: MemoryStore, location: str) -> None:
        self.location = location
        self._store = store
        self._data = bytearray()
        self._open = True

    async def write(self, data: bytes) -> None:
        """
        See `IStoreWriter`.
        """
        self._require_open()
        room = self._store.room_bytes
        if room is not None and len(data) > room:
            self._open = False
            raise StoreFull(self._store.name, len(self._data))
        self._data += data
        self._store.parts[self.location] = len(self._data)

    async def commit(self) -> None:
        """
        See `IStoreWriter`.
        """
        self._require_open()
        self._open = False
        del self._store.parts[self.location]
        self._store.objects[self.location] = bytes(self._data)

    async def abort(self) -> None:
        """
        See `IStoreWriter`.
        """
        self._open = False
        self._data.clear()
        self._store.parts.pop(self.location, None)

    def _require_open(self) -> None:
        if not self._open or self.location not in self._store.parts:
            raise StoreUnavailable(self._store.name, "this writer failed before, or was ended")


@implementer(IStore)
class MemoryStore:
    """
    Keeps objects in a dictionary.
    """

    schemes = frozenset({"memory"})

    def __init__(self, settings: MemorySettings) -> None:
        self.name = settings.name
        self._capacity_bytes = settings.capacity_bytes
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, int] = {}

    @property
    def room_bytes(self) -> int | None:
        """
        How much more fits; ``None`` without a limit.
        """
        if self._capacity_bytes is None:
            return None
        return self._capacity_bytes - sum(map(len, self.objects.values())) - sum(self.parts.values())

    async def choose_place(self, size_bytes: int | None) -> str | None:
        """
        See `IStore`. There is one place.
        """
        return None

    def plan_location(self, key: str, fence: int, place: str | None = None) -> str:
        """
        See `IStore`.
        """
        return f"memory://{self.name}/{key}.{fence}"

    async def open_writer(self, location: str, size_bytes: int | None) -> IStoreWriter:
        """
        See `IStore`.
        """
        self._require_own(location)
        if location in self.objects or location in self.parts:
            raise LocationTaken(self.name)
        room = self.room_bytes
        if room is not None and size_bytes is not None and size_bytes > room:
            raise StoreFull(self.name, 0)
        self.parts[location] = 0
        return _MemoryWriter(self, location)

    async def open_reader(self, location: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        """
        See `IStore`.
        """
        data = self._find(location)
        end = len(data) if length is None else offset + length
        if not 0 <= offset <= end <= len(data):
            raise ShortFile(len(data), max(offset, end))
        return MemoryBody(data[offset:end])

    async def size_bytes(self, location: str) -> int:
        """
        See `IStore`.
        """
        return len(self._find(location))

    async def delete(self, location: str) -> None:
        """
        See `IStore`.
        """
        self._require_own(location)
        whole, part = self.objects.pop(location, None), self.parts.pop(location, None)
        if whole is None and part is None:
            raise LocationNotFound(self.name)

    def _find(self, location: str) -> bytes:
        self._require_own(location)
        if location not in self.objects:
            raise LocationNotFound(self.name)
        return self.objects[location]

    def _require_own(self, location: str) -> None:
        if not location.startswith(f"memory://{self.name}/"):
            raise LocationNotAllowed(self.name)
