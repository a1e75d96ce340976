"""
TLS towards Keystone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from OpenSSL.crypto import Error as CryptoError
from OpenSSL.SSL import Connection, Context
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from glance_tx.identity.keystone.options import CredentialSettings
from glance_tx.settings import Problem, SettingsError

__all__ = ["make_tls_policy"]

_END: Final = b"-----END CERTIFICATE-----"


@implementer(IPolicyForHTTPS)
class _Verifying:
    """
    Speaks with servers that show a certificate for their name, from an authority that is trusted.
    """

    def __init__(self, authorities: list[Certificate] | None, own: PrivateCertificate | None) -> None:
        self._trust = None if authorities is None else trustRootFromCertificates(authorities)
        self._own = own

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """
        See ``IPolicyForHTTPS.creatorForNetloc``.
        """
        return optionsForClientTLS(hostname.decode("ascii"), trustRoot=self._trust, clientCertificate=self._own)


@implementer(IPolicyForHTTPS)
class _Trusting:
    """
    Speaks with any server.
    """

    def __init__(self, own: PrivateCertificate | None) -> None:
        options = CertificateOptions() if own is None else own.options()
        self._context: Context = options.getContext()

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """
        See ``IPolicyForHTTPS.creatorForNetloc``.
        """
        return _TrustingCreator(self._context, hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _TrustingCreator:
    def __init__(self, context: Context, hostname: bytes) -> None:
        self._context = context
        self._hostname = hostname

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:  # noqa: N803
        """
        See ``IOpenSSLClientConnectionCreator.clientConnectionForTLS``.
        """
        connection = Connection(self._context, None)
        # An address is no server name (RFC 6066 section 3).
        if not isIPAddress(self._hostname.decode("ascii")) and not isIPv6Address(self._hostname.decode("ascii")):
            connection.set_tlsext_host_name(self._hostname)
        return connection


def make_tls_policy(settings: CredentialSettings) -> IPolicyForHTTPS:
    """
    Read certificates, and say with whom TLS is spoken. Blocks: call it before the reactor runs.

    :raises SettingsError: A file cannot be read, or is none of certificates.
    """
    own = _own_certificate(settings)
    if settings.insecure:
        return _Trusting(own)
    return _Verifying(None if settings.cafile is None else _authorities(settings, settings.cafile), own)


def _authorities(settings: CredentialSettings, path: Path) -> list[Certificate]:
    pieces = [piece + _END for piece in _read(settings, "cafile", path).split(_END)[:-1]]
    try:
        certificates = [Certificate.loadPEM(piece) for piece in pieces]
    except (CryptoError, ValueError) as error:
        raise _refused(settings, "cafile", f"{path} holds something that is no certificate") from error
    if not certificates:
        raise _refused(settings, "cafile", f"{path} holds no certificate in PEM")
    return certificates


def _own_certificate(settings: CredentialSettings) -> PrivateCertificate | None:
    if settings.certfile is None:
        return None
    pem = _read(settings, "certfile", settings.certfile)
    if settings.keyfile is not None:
        pem = _read(settings, "keyfile", settings.keyfile) + b"\n" + pem
    try:
        certificate: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    except Exception as error:  # every mistake raises something else: no key, one of another certificate, garbage
        raise _refused(settings, "certfile", f"{settings.certfile}: no certificate in PEM with its key") from error
    return certificate


def _read(settings: CredentialSettings, option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(settings, option, f"{path} cannot be read: {error.strerror}") from error


def _refused(settings: CredentialSettings, option: str, reason: str) -> SettingsError:
    return SettingsError((Problem(reason, section=settings.GROUP, option=option),))
