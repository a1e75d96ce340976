"""
What can be wrong with rules.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["BadRule", "PolicyError"]


class PolicyError(FactualError):
    """
    Rules that cannot be used.
    """


@frozen
class BadRule(PolicyError):
    """
    A rule that means nothing, or something that is not supported.
    """

    message = "rule {self.name!r}: {self.reason}"
    name: str
    reason: str
