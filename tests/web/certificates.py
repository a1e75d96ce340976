"""
Certificates for tests over TLS.
"""

from __future__ import annotations

from twisted.internet.ssl import KeyPair, PrivateCertificate

__all__ = ["self_signed"]


def self_signed(name: str) -> PrivateCertificate:
    """
    Make a certificate that only itself vouches for.
    """
    return KeyPair.generate(size=2048).selfSignedCert(1, CN=name)
