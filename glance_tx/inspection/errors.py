"""
What can go wrong while data are looked at.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["InspectionFailed"]


@frozen
class InspectionFailed(FactualError):
    """
    Looking for a format ended in a defect: nothing is known of the data, the worst included.

    :param format: Which one was looked for.
    """

    message = "the inspector of {self.format} failed ({self.problem})"
    format: str
    problem: str
