"""
A disk that loses its power: what was not yet on it is there, or partly there, or not.

`RecordedFiles` writes down what is done to a folder. `what_is_left` makes from a first part of that what a machine may
find there when it is started again:

* A file has what it had when it was last synced. Of what was done to it since, each page of a write and each change of
  its length may be there or not, whatever came before or after; a page may be torn between two sectors.
* A folder has the names it had when it was last synced. Of those that came, went or changed since, each may be as it
  was or as it became, whatever came before or after. Giving a file another name is one such change within a folder, and
  two between folders.
* What lies in a folder whose own name is lost is lost.

No file system is as bad as that, and none may be better than that to be fit for a cache.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from attrs import define, field

from glance_cache.files import FileOps

_PAGE = 4096
_SECTOR = 512


@define(eq=False)
class _File:
    """
    :ivar data: What is on the disk.
    :ivar pending: What was done since; each is a write, or ``None`` and a length.
    """

    data: bytearray = field(factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(factory=list)

    def do(self, offset: int, written: bytes | None) -> None:
        if written is None:
            del self.data[offset:]
            self.data.extend(bytes(offset - len(self.data)))
        else:
            self.data.extend(bytes(max(0, offset - len(self.data))))
            self.data[offset : offset + len(written)] = written

    def sync(self) -> None:
        for change in self.pending:
            self.do(*change)
        self.pending.clear()

    def lose_power(self, chance: random.Random) -> None:
        # All, none, most and half of it: each alike, as each finds other mistakes.
        kept = chance.choice((0.0, 0.5, 0.95, 1.0))
        for offset, written in self.pending:
            if written is None:
                if chance.random() < kept:
                    self.do(offset, None)
                continue
            for piece_offset, piece in _pages(offset, written):
                if chance.random() < kept:
                    self.do(piece_offset, piece)
                elif chance.random() < 0.1:
                    self.do(piece_offset, piece[: chance.randrange(len(piece) // _SECTOR + 1) * _SECTOR])
        self.pending.clear()


def _pages(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    end = offset + len(data)
    at = offset
    while at < end:
        following = min(end, (at // _PAGE + 1) * _PAGE)
        yield at, data[at - offset : following - offset]
        at = following


@define(eq=False)
class _Folder:
    """
    :ivar names: What is on the disk.
    :ivar pending: Changes since; each gives names their files, or takes them away.
    """

    names: dict[str, _Node] = field(factory=dict)
    pending: list[dict[str, _Node | None]] = field(factory=list)

    def do(self, change: dict[str, _Node | None]) -> None:
        for name, node in change.items():
            if node is None:
                self.names.pop(name, None)
            else:
                self.names[name] = node

    def sync(self) -> None:
        for change in self.pending:
            self.do(change)
        self.pending.clear()

    def lose_power(self, chance: random.Random) -> None:
        kept = chance.choice((0.0, 0.5, 0.95, 1.0))
        for change in self.pending:
            if chance.random() < kept:
                self.do(change)
        self.pending.clear()
        for node in self.names.values():
            node.lose_power(chance)

    def write_to(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        for name, node in self.names.items():
            if isinstance(node, _Folder):
                node.write_to(path / name)
            else:
                (path / name).touch(mode=0o600)
                (path / name).write_bytes(node.data)


_Node: TypeAlias = _File | _Folder


class _Machine:
    """
    Files as they are for whoever asks the machine, and as they are on the disk.
    """

    def __init__(self) -> None:
        self.disk = _Folder()
        self.nodes: dict[Path, _Node] = {}
        self.opened: dict[int, _File] = {}

    def folder(self, path: Path) -> _Folder:
        node = self.nodes.get(path, self.disk)
        assert isinstance(node, _Folder)
        return node

    def file(self, path: Path) -> _File:
        node = self.nodes[path]
        assert isinstance(node, _File)
        return node

    def make_folder(self, path: Path) -> None:
        self.add(path, _Folder())

    def open(self, descriptor: int, path: Path) -> None:
        if path not in self.nodes:
            self.add(path, _File())
        self.opened[descriptor] = self.file(path)

    def add(self, path: Path, node: _Node) -> None:
        self.nodes[path] = node
        self.folder(path.parent).pending.append({path.name: node})

    def duplicate(self, descriptor: int, made: int) -> None:
        self.opened[made] = self.opened[descriptor]

    def write(self, descriptor: int, offset: int, data: bytes | None) -> None:
        self.opened[descriptor].pending.append((offset, data))

    def rename(self, source: Path, target: Path) -> None:
        node = self.nodes[target] = self.nodes.pop(source)
        if source.parent == target.parent:
            self.folder(source.parent).pending.append({source.name: None, target.name: node})
        else:
            self.folder(target.parent).pending.append({target.name: node})
            self.folder(source.parent).pending.append({source.name: None})

    def remove(self, path: Path) -> None:
        del self.nodes[path]
        self.folder(path.parent).pending.append({path.name: None})

    def sync(self, descriptor: int) -> None:
        self.opened[descriptor].sync()

    def sync_folder(self, path: Path) -> None:
        self.folder(path).sync()


class RecordedFiles(FileOps):
    """
    File calls of which is written down what they did.

    :ivar done: Each changes a machine in the same way.
    """

    def __init__(self) -> None:
        self.done: list[Callable[[_Machine], None]] = []

    def open(self, path: Path) -> int:
        descriptor = super().open(path)
        self.done.append(lambda machine: machine.open(descriptor, path))
        return descriptor

    def open_for_writing(self, path: Path) -> int:
        descriptor = super().open_for_writing(path)
        self.done.append(lambda machine: machine.open(descriptor, path))
        return descriptor

    def create(self, path: Path, *, or_open: bool = False) -> int:
        descriptor = super().create(path, or_open=or_open)
        self.done.append(lambda machine: machine.open(descriptor, path))
        return descriptor

    def duplicate(self, descriptor: int) -> int:
        made = super().duplicate(descriptor)
        self.done.append(lambda machine: machine.duplicate(descriptor, made))
        return made

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        super().truncate(descriptor, size_bytes)
        self.done.append(lambda machine: machine.write(descriptor, size_bytes, None))

    def allocate(self, descriptor: int, size_bytes: int) -> None:
        super().allocate(descriptor, size_bytes)
        self.done.append(lambda machine: machine.write(descriptor, size_bytes, None))

    def write_some(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        count = super().write_some(descriptor, data, offset)
        written = bytes(data[:count])
        self.done.append(lambda machine: machine.write(descriptor, offset, written))
        return count

    def sync_data(self, descriptor: int) -> None:
        self.done.append(lambda machine: machine.sync(descriptor))

    def sync(self, descriptor: int) -> None:
        self.done.append(lambda machine: machine.sync(descriptor))

    def sync_folder(self, path: Path) -> None:
        self.done.append(lambda machine: machine.sync_folder(path))

    def make_folder(self, path: Path) -> bool:
        made = super().make_folder(path)
        if made:
            self.done.append(lambda machine: machine.make_folder(path))
        return made

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.done.append(lambda machine: machine.rename(source, target))

    def remove(self, path: Path) -> bool:
        removed = super().remove(path)
        if removed:
            self.done.append(lambda machine: machine.remove(path))
        return removed


def what_is_left(done: Sequence[Callable[[_Machine], None]], seed: str, path: Path, target: Path) -> None:
    """
    Lose the power.

    :param done: What was done by then.
    :param seed: Of what happens to be on the disk.
    :param path: The folder to which it was done; the one it is in lay on the disk before.
    :param target: Where to put what is left of it; nothing, where that folder was lost as a whole.
    """
    machine = _Machine()
    for each in done:
        each(machine)
    machine.disk.lose_power(random.Random(seed))
    left = machine.disk.names.get(path.name)
    if isinstance(left, _Folder):
        left.write_to(target)
