"""
Why nobody could be told.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["DeliveryFailed"]


@frozen
class DeliveryFailed(FactualError):
    """
    A message could not be delivered, or its delivery was not confirmed in time.
    """

    message = "{self.reason}"
    reason: str
