"""
What Keystone does not do as it should. None of it leaves this package: others learn that nobody can tell.
"""

from __future__ import annotations

__all__ = ["KeystoneGarbage", "KeystoneSilent"]


class KeystoneSilent(Exception):
    """
    Keystone cannot be reached, broke off, let its time pass, or says that it is in trouble: it may be tried again.
    """


class KeystoneGarbage(Exception):
    """
    Keystone's answer makes no sense.
    """
