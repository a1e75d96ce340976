"""
What can be wrong with a Redis.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["RedisUnavailable"]


@frozen
class RedisUnavailable(FactualError):
    """
    Redis cannot be reached, refused, or did not answer in time.
    """

    message = "{self.reason}"
    reason: str
