"""
Processes of one node that tell each other things, in one process.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from zope.interface import implementer

from glance_cache.interfaces import ISiblings

__all__ = ["Family", "Sibling"]


class Family:
    """
    All processes of a node.

    :ivar deaf: Whether nobody hears anything just now.
    """

    def __init__(self) -> None:
        self.members: list[Sibling] = []
        self.deaf = False

    def join(self) -> Sibling:
        """
        Be one of them.
        """
        self.members.append(Sibling(self))
        return self.members[-1]


@implementer(ISiblings)
class Sibling:
    """
    One of them.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._listeners: dict[str, Callable[[object], object]] = {}
        self._ends: Callable[[int], object] = lambda _: None

    def tell(self, subject: str, value: object) -> None:
        """
        See `ISiblings`.
        """
        for other in self._family.members:
            if other is not self and not self._family.deaf and subject in other._listeners:
                # By way of a pipe it comes as JSON has it.
                other._listeners[subject](json.loads(json.dumps(value)))

    def hear(self, subject: str, listener: Callable[[object], object]) -> None:
        """
        See `ISiblings`.
        """
        self._listeners[subject] = listener

    def hear_of_ends(self, listener: Callable[[int], object]) -> None:
        """
        See `ISiblings`.
        """
        self._ends = listener

    def learn_of_end(self, process: int) -> None:
        """
        Hear that another one has ended.
        """
        self._ends(process)
