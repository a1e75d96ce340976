"""
TLS to servers of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion, optionsForClientTLS, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from glance_tx.tls.files import read_authorities, read_own

__all__ = ["ClientFiles", "ClientTls"]

_OLDEST: Final = TLSVersion.TLSv1_2
_REMEMBERED: Final = 64


@frozen
class ClientFiles:
    """
    Whom we believe, and how we say who we are.

    :param ca_file: Authorities, and no others; ``None`` for those of the machine.
    :param cert_file: And ``key_file``: our own certificate, for servers that ask for one.
    :param insecure: Believe any certificate, of any name.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False


class ClientTls:
    """
    Makes what it takes to speak TLS with a server. Blocks: make it before the reactor runs.

    :raises CertificateUnusable: A file cannot be used.
    """

    def __init__(self, files: ClientFiles = ClientFiles()) -> None:
        self._own: Mapping[str, Any] = {}
        if files.cert_file is not None and files.key_file is not None:
            self._own = read_own(files.cert_file, files.key_file).options
        self._trust_root = platformTrust() if files.ca_file is None else read_authorities(files.ca_file)
        self._insecure = files.insecure
        self._made: dict[str, IOpenSSLClientConnectionCreator] = {}

    def to(self, host: str) -> IOpenSSLClientConnectionCreator:
        """
        Make connections to a host: its certificate must be for that name or address.

        :param host: A name, or an address without brackets.
        """
        # Reading the machine's authorities takes milliseconds, so that is not done for each connection.
        if host not in self._made:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            self._made[host] = self._make(host)
        return self._made[host]

    def _make(self, host: str) -> IOpenSSLClientConnectionCreator:
        options = {**self._own, "raiseMinimumTo": _OLDEST}
        if self._insecure:
            return _Unverified(CertificateOptions(**options), host)
        return optionsForClientTLS(host, self._trust_root, extraCertificateOptions=options)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """
    Makes connections to whoever answers.
    """

    def __init__(self, options: CertificateOptions, host: str) -> None:
        self._options = options
        self._name = None if isIPAddress(host) or isIPv6Address(host) else host.encode("idna")

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        See ``IOpenSSLClientConnectionCreator.clientConnectionForTLS``.
        """
        connection = SSL.Connection(self._options.getContext(), None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection
