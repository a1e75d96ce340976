"""
Stores are made by type and found by name.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.stores.errors import StoreUnavailable, UnknownStore
from glance_tx.stores.filesystem import FilesystemSettings, FilesystemStore
from glance_tx.stores.folders import FolderChoice
from glance_tx.stores.memory import MemorySettings, MemoryStore
from glance_tx.stores.registry import STORE_TYPES, Stores, build_store
from tests.doubles.pools import inline_lanes


class BuildTests(SynchronousTestCase):
    """
    From settings to a store.
    """

    def test_each_type(self) -> None:
        """
        Each type of settings makes its type of store, under its name; a file store's folder is there then.
        """
        path = Path(self.mktemp()).absolute()
        for settings, kind in [
            (FilesystemSettings("fast", [FolderChoice(str(path))]), FilesystemStore),
            (MemorySettings("mem"), MemoryStore),
        ]:
            self.assertIn(type(settings), STORE_TYPES.values())
            store = build_store(settings, inline_lanes(), Clock())
            self.assertIsInstance(store, kind)
            self.assertEqual(store.name, settings.name)
        self.assertTrue(path.is_dir())

    def test_unusable(self) -> None:
        """
        A store that cannot work is refused when it is made.
        """
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"")
        with self.assertRaises(StoreUnavailable):
            build_store(FilesystemSettings("fast", [FolderChoice(str(path))]), inline_lanes(), Clock())


class StoresTests(SynchronousTestCase):
    """
    The stores of one service.
    """

    def test_by_name(self) -> None:
        """
        A store is found by its name, the default one without.
        """
        one, two = MemoryStore(MemorySettings("one")), MemoryStore(MemorySettings("two"))
        stores = Stores([one, two], default="two")
        self.assertIs(stores.get("one"), one)
        self.assertIs(stores.default, two)
        self.assertEqual(stores.names, ("one", "two"))

    def test_unknown(self) -> None:
        """
        A name that no store has is refused, as a default too.
        """
        one = MemoryStore(MemorySettings("one"))
        with self.assertRaises(UnknownStore):
            Stores([one], default="one").get("other")
        with self.assertRaises(UnknownStore):
            Stores([one], default="other")

    def test_twice(self) -> None:
        """
        Two stores cannot share a name.
        """
        with self.assertRaises(ValueError):
            Stores([MemoryStore(MemorySettings("one")), MemoryStore(MemorySettings("one"))], default="one")
