"""
How processes of one node tell each other things: by way of their parent.

Note [What siblings tell]

Each process has a pipe to its parent already, in both directions, and the parent passes on what one of them says. So
there is no name that could be taken, no file left behind by whoever dies, no limit on the length of a message, and what
one process says arrives in its order. A process that starts later has missed what was said before, and loses nothing by
it: it has no grant that could have ended, and looks into the folder for all else. One that ends was the last to care.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from zope.interface import implementer

from glance_cache.interfaces import ISiblings
from glance_tx.workers.child import ParentLink
from glance_tx.workers.messages import WORKER_ENDED

__all__ = ["Siblings"]


@implementer(ISiblings)
@frozen
class Siblings:
    """
    The other workers below the same parent. See Note [What siblings tell].

    :param link: To the parent.
    """

    link: ParentLink

    def tell(self, subject: str, value: object) -> None:
        """
        See `ISiblings.tell`.
        """
        self.link.tell(subject, value)

    def hear(self, subject: str, listener: Callable[[object], object]) -> None:
        """
        See `ISiblings.hear`.
        """
        self.link.hear(subject, listener)

    def hear_of_ends(self, listener: Callable[[int], object]) -> None:
        """
        See `ISiblings.hear_of_ends`.
        """
        self.link.hear(WORKER_ENDED, lambda number: listener(int(str(number))))
