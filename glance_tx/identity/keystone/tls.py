"""
TLS towards Keystone.
"""

from __future__ import annotations

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from glance_tx.identity.keystone.options import CredentialSettings
from glance_tx.settings import Problem, SettingsError
from glance_tx.tls.client import ClientFiles, ClientTls
from glance_tx.tls.errors import CertificateUnusable

__all__ = ["make_tls_policy"]


@implementer(IPolicyForHTTPS)
class _Policy:
    """
    Says to an agent how to speak TLS with a host.
    """

    def __init__(self, tls: ClientTls) -> None:
        self._tls = tls

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """
        See ``IPolicyForHTTPS.creatorForNetloc``.
        """
        return self._tls.to(hostname.decode("ascii"))


def make_tls_policy(settings: CredentialSettings) -> IPolicyForHTTPS:
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
        return _Policy(ClientTls(files))
    except CertificateUnusable as error:
        named = {str(settings.keyfile): "keyfile", str(settings.certfile): "certfile", str(settings.cafile): "cafile"}
        raise SettingsError((Problem(str(error), section=settings.GROUP, option=named[error.file]),)) from error
