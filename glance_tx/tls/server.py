"""
TLS on a port of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from glance_tx.settings.watch import Source, stamp_of
from glance_tx.tls.errors import CertificateUnusable
from glance_tx.tls.files import OwnCertificate, has_ended, read_authorities, read_own

__all__ = ["ServerFiles", "ServerTls"]

_OLDEST: Final = TLSVersion.TLSv1_2


@frozen
class ServerFiles:
    """
    Where a port's certificate lies.

    :param ca_file: Authorities for certificates of clients: without one by them nobody is let in. ``None`` asks no
        client for a certificate.
    """

    cert_file: Path
    key_file: Path
    ca_file: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """
        List the files.
        """
        return tuple(path for path in (self.cert_file, self.key_file, self.ca_file) if path is not None)


@frozen
class _Reading:
    context: SSL.Context
    warnings: tuple[str, ...]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    Makes the TLS connections of one port, by the certificate that its files hold.

    TLS 1.2 and 1.3 are spoken. Where the files change, connections made from then on go by the new ones. Blocks: make
    it before the reactor runs.

    :param name: Of the port, for the log and for metrics.
    :raises CertificateUnusable: The files cannot be used.
    :ivar source: The files, for whoever watches them.
    :ivar warnings: What is to be said of them in the log.
    """

    def __init__(self, name: str, files: ServerFiles) -> None:
        look = partial(stamp_of, files.paths())
        stamp = look()
        first = _read(files)
        self._context = first.context
        self.warnings: Iterable[object] = first.warnings
        self.source = Source(name, stamp, look, partial(_read, files), self._use)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        See ``IOpenSSLServerConnectionCreator.serverConnectionForTLS``.
        """
        return SSL.Connection(self._context, None)

    def _use(self, reading: _Reading) -> Iterable[object]:
        self._context = reading.context
        return reading.warnings


def _read(files: ServerFiles) -> _Reading:
    own = read_own(files.cert_file, files.key_file)
    trust_root = None if files.ca_file is None else read_authorities(files.ca_file)
    options = CertificateOptions(**own.options, trustRoot=trust_root, raiseMinimumTo=_OLDEST)
    try:
        context = options.getContext()
    except SSL.Error as error:
        # A key that is too short for OpenSSL, say.
        reason = error.args[0][0][-1] if error.args and error.args[0] else "OpenSSL does not say why"
        raise CertificateUnusable(str(files.cert_file), f"cannot be used: {reason}") from None
    return _Reading(context, tuple(_warnings(files, own)))


def _warnings(files: ServerFiles, own: OwnCertificate) -> Iterable[str]:
    if has_ended(own):
        yield f"{files.cert_file}: ended on {own.ends_at:%Y-%m-%d}; clients that verify it will not connect"
