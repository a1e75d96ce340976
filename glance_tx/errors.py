"""
The shape every exception of this project has: a type, facts in attributes, and a sentence made of them.
"""

from __future__ import annotations

from typing import ClassVar


class FactualError(Exception):
    """
    An error that carries facts.

    A subclass is an attrs class (``@frozen``) with the facts as attributes and a ``message`` template that
    refers to them as ``{self.name}``. It knows no status codes: an adapter at the edge maps types to responses.
    """

    message: ClassVar[str]

    def __str__(self) -> str:
        return self.message.format(self=self)
