"""
TLS on the ports of a daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from glance_tx.settings import Settings
from glance_tx.settings.watch import Source
from glance_tx.tls.server import ServerTls
from glance_tx.web.options import ManagementSettings, ManagementTlsSettings, TlsSettings

__all__ = ["PortsTls"]


@frozen
class PortsTls:
    """
    What each port speaks; ``None`` for plain HTTP.
    """

    api: ServerTls | None = None
    management: ServerTls | None = None

    @classmethod
    def of(cls, settings: Settings) -> PortsTls:
        """
        Read the certificates that an operator names. Blocks.

        :raises CertificateUnusable: A file cannot be used.
        """
        api = settings[TlsSettings].files
        management = settings[ManagementTlsSettings].files if settings[ManagementSettings].bind_port else None
        return cls(
            None if api is None else ServerTls("certificate", api),
            None if management is None else ServerTls("management certificate", management),
        )

    def watched(self) -> Iterator[Source[Any]]:
        """
        List the files to be read anew when they change.
        """
        for tls in (self.api, self.management):
            if tls is not None:
                yield tls.source

    def warnings(self) -> Iterator[object]:
        """
        Say what is to be said of certificates in the log.
        """
        for tls in (self.api, self.management):
            if tls is not None:
                yield from tls.warnings
