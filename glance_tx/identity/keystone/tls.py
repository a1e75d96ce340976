"""
TLS towards Keystone.
"""

from __future__ import annotations

from glance_tx.identity.keystone.options import CredentialSettings
from glance_tx.settings import Problem, SettingsError
from glance_tx.tls.client import ClientFiles, ClientTls
from glance_tx.tls.errors import CertificateUnusable

__all__ = ["read_tls"]


def read_tls(settings: CredentialSettings) -> ClientTls:
    """
    Read certificates, and say with whom TLS is spoken. Blocks: call it before the reactor runs.

    :raises SettingsError: A file cannot be read, or is none of certificates.
    """
    files = ClientFiles(
        settings.cafile,
        settings.certfile,
        settings.certfile if settings.keyfile is None else settings.keyfile,
        settings.insecure,
    )
    try:
        return ClientTls(files)
    except CertificateUnusable as error:
        named = {str(settings.keyfile): "keyfile", str(settings.certfile): "certfile", str(settings.cafile): "cafile"}
        raise SettingsError((Problem(str(error), section=settings.GROUP, option=named[error.file]),)) from error
