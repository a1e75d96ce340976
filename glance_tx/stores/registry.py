"""
From what is configured to the stores themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, assert_never

from twisted.internet.interfaces import IReactorTime

from glance_tx.stores.errors import UnknownStore
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.interfaces import IStore
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.streaming.lanes import Lanes

__all__ = ["STORE_TYPES", "StoreSettings", "Stores", "build_store"]

StoreSettings: TypeAlias = FilesystemSettings | MemorySettings

STORE_TYPES: Final[Mapping[str, type[StoreSettings]]] = {"file": FilesystemSettings, "memory": MemorySettings}
"""The words for a store's type in configuration, and what each type is told."""


def build_store(settings: StoreSettings, lanes: Lanes, clock: IReactorTime) -> IStore:
    """
    Make a store, ready to be used. Blocks: for start-up, before anything is served.

    :param clock: For what a store keeps for a while.
    :raises StoreUnavailable: It cannot work as configured.
    """
    match settings:
        case FilesystemSettings():
            store = FilesystemStore(settings, lanes, clock)
            store.check()
            return store
        case MemorySettings():
            return MemoryStore(settings)
        case _:
            assert_never(settings)


class Stores:
    """
    The stores of one service, by name.

    :param stores: All of them.
    :param default: Name of the one that takes new data.
    :raises ValueError: Two share a name.
    :raises UnknownStore: The default is none of them.
    """

    def __init__(self, stores: Iterable[IStore], default: str) -> None:
        self._by_name: dict[str, IStore] = {}
        for store in stores:
            if store.name in self._by_name:
                raise ValueError(f"two stores are called {store.name!r}")
            self._by_name[store.name] = store
        self.default = self.get(default)

    @property
    def names(self) -> tuple[str, ...]:
        """
        Their names, in the order of configuration.
        """
        return tuple(self._by_name)

    def get(self, name: str) -> IStore:
        """
        Find a store.

        :raises UnknownStore: None has that name.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownStore(name) from None
