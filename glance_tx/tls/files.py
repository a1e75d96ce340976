"""
Certificates and keys, read from files in PEM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from glance_tx.tls.errors import CertificateUnusable

__all__ = ["OwnCertificate", "has_ended", "read_authorities", "read_own"]


@frozen
class OwnCertificate:
    """
    A certificate and its key, by which we say who we are.

    :param chain: The certificate, and those between it and an authority that others know.
    :param ends_at: When the first of them ends.
    """

    key: PKey = field(repr=False)
    chain: tuple[X509, ...] = field(repr=False)
    ends_at: datetime

    @property
    def options(self) -> Mapping[str, Any]:
        """
        Say so in arguments of ``twisted.internet.ssl.CertificateOptions``.
        """
        return {"privateKey": self.key, "certificate": self.chain[0], "extraCertChain": list(self.chain[1:])}


def read_own(cert_file: Path, key_file: Path) -> OwnCertificate:
    """
    Read a certificate and its key. Blocks.

    :param cert_file: The certificate, then those between it and an authority, if there are any.
    :param key_file: The key, without a passphrase: nobody is there to type one.
    :raises CertificateUnusable: A file cannot be read, is something else, or the two do not belong together.
    """
    found = _certificates(cert_file)
    key = _key(key_file)
    if _spelled(key.public_key()) != _spelled(found[0].public_key()):
        raise CertificateUnusable(str(key_file), f"is not the key of the first certificate in {cert_file}")
    chain = tuple(X509.from_cryptography(certificate) for certificate in found)
    return OwnCertificate(
        PKey.from_cryptography_key(key), chain, min(certificate.not_valid_after_utc for certificate in found)
    )


def read_authorities(ca_file: Path) -> Any:
    """
    Read the certificates of authorities, which are believed, and no others. Blocks.

    :return: What Twisted takes for a ``trustRoot``.

    :raises CertificateUnusable: The file cannot be read, or has no certificates.
    """
    found = [Certificate(X509.from_cryptography(certificate)) for certificate in _certificates(ca_file)]
    return trustRootFromCertificates(found)


def has_ended(own: OwnCertificate) -> bool:
    """
    Tell whether nobody who looks at the time believes a certificate any more.
    """
    return own.ends_at <= datetime.now(UTC)


def _certificates(path: Path) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        # Not the error's own text, which quotes what it could not read.
        raise CertificateUnusable(str(path), "holds no certificate in PEM") from None


def _key(path: Path) -> Any:
    try:
        return load_pem_private_key(_read(path), password=None)
    except TypeError:
        raise CertificateUnusable(str(path), "is a key with a passphrase; it must have none") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateUnusable(str(path), "holds no private key in PEM") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateUnusable(str(path), f"cannot be read: {error.strerror}") from error


def _spelled(public_key: Any) -> bytes:
    spelled: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return spelled
