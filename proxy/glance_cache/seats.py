"""
Seats: what tells the processes of one node apart where each needs something of its own, over restarts too.

Note [Seats]

Each process counts hits in a journal of its own, and the index keeps the totals of each by itself: two processes that
wrote to one count would overwrite each other. The first seat has the node's own name, so that a node with one process
is what it always was. A process takes the lowest seat that is free (`flock`), and has it for as long as it lives: after
a death the next one goes on in the dead one's journal. While workers are replaced there are twice as many. What lies in
the journal of a seat that nobody has is still told to the index, by the steward.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

from attrs import frozen

from glance_cache.errors import FolderUnusable
from glance_cache.files import FileOps

__all__ = ["FIRST_SEAT", "Seats", "node_of"]

FIRST_SEAT: Final = 1

_SEPARATOR: Final = "/"
"""Not in the name of any node."""

_FOLDER: Final = "seats"
_JOURNAL: Final = re.compile(r"hits(?:-([1-9][0-9]{0,5}))?\.journal")


@frozen
class Seats:
    """
    The seats of one node. See Note [Seats].

    :param folder: The cache folder, which is this daemon's.
    :param node: The node's name.
    """

    folder: Path
    node: str
    files: FileOps

    def journal(self, seat: int) -> Path:
        """
        Tell where a seat counts hits.
        """
        return self.folder / ("hits.journal" if seat == FIRST_SEAT else f"hits-{seat}.journal")

    def counter(self, seat: int) -> str:
        """
        Tell under which name the index has what a seat counts.
        """
        return self.node if seat == FIRST_SEAT else f"{self.node}{_SEPARATOR}{seat}"

    def known(self) -> Sequence[int]:
        """
        List the seats that ever counted a hit. Blocks; raises `OSError`.
        """
        names = (_JOURNAL.fullmatch(entry.name) for entry in self.files.list(self.folder))
        return sorted(int(name[1] or FIRST_SEAT) for name in names if name is not None)

    def take(self) -> tuple[int, int]:
        """
        Take the lowest seat that is free. Blocks.

        :return: Its number, and a descriptor that holds it for as long as it is open.
        :raises FolderUnusable: The folder cannot be used.
        """
        try:
            for seat in count(FIRST_SEAT):
                descriptor = self.hold(seat)
                if descriptor is not None:
                    return seat, descriptor
        except OSError as error:
            raise FolderUnusable(str(self.folder), error.strerror or str(error)) from error
        raise AssertionError("numbers have no end")

    def hold(self, seat: int) -> int | None:
        """
        Take a certain seat. Blocks; raises `OSError`.

        :return: A descriptor that holds it; ``None`` where somebody else has it.
        """
        self.files.make_folder(self.folder / _FOLDER)
        descriptor = self.files.create(self.folder / _FOLDER / str(seat), or_open=True)
        try:
            self.files.lock(descriptor)
        except BlockingIOError:
            self.files.close(descriptor)
            return None
        except BaseException:
            self.files.close(descriptor)
            raise
        return descriptor


def node_of(counter: str) -> str:
    """
    Tell which node counts under a name that the index has.
    """
    return counter.partition(_SEPARATOR)[0]
