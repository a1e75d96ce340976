"""
Why a caller stays unknown.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError


class IdentityError(FactualError):
    """
    The caller could not be established.
    """


@frozen
class NotAuthenticated(IdentityError):
    """
    The request has no valid token. The token itself is never repeated.
    """

    message = "a valid token is required: {self.reason}"
    reason: str


@frozen
class IdentityUnavailable(IdentityError):
    """
    The identity service cannot be asked.
    """

    message = "the identity service is not available: {self.reason}"
    reason: str
