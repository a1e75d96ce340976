"""
Strategy ``none``.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import TestCase

from glance_tx.identity.caller import Caller
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.identity.none import NoneIdentity
from tests.contracts.identity import IdentityContract

ANYBODY = Caller(None, None, ("admin", "member", "reader"))


class NoneIdentityTests(IdentityContract, TestCase):
    """
    `NoneIdentity` keeps the contract: everybody is an administrator without user and project.
    """

    def make_identity(self) -> IIdentity:
        return NoneIdentity()

    def known(self) -> Sequence[tuple[Credentials, Caller]]:
        return [(Credentials(), ANYBODY), (Credentials("anything"), ANYBODY), (Credentials(""), ANYBODY)]

    def unknown(self) -> Sequence[Credentials]:
        return []
