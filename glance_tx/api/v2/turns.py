"""
Long work in pieces, between which others have their turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

__all__ = ["in_turns"]

_T = TypeVar("_T")


async def in_turns(clock: IReactorTime, items: Sequence[_T], at_once: int) -> AsyncIterator[_T]:
    """
    Go through a sequence: in one go where it is short, and otherwise some items in each turn of the reactor, of which
    none is the present one, in which the items were made.

    :param at_once: Most items in a turn.
    """
    for number, item in enumerate(items):
        if number % at_once == 0 and len(items) > at_once:
            await deferLater(clock, 0)
        yield item
