"""
What can be wrong with certificates.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["CertificateUnusable"]


@frozen
class CertificateUnusable(FactualError):
    """
    A file of certificates, or of a key, that nothing can be done with.
    """

    message = "{self.file}: {self.reason}"
    file: str
    reason: str
