"""
Keys by which something is remembered for the holder of credentials.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from glance_cache.interfaces import UpstreamCredentials

__all__ = ["KEY_BYTES", "CredentialKeys"]

KEY_BYTES: Final = 32
"""Of each key."""


class CredentialKeys:
    """
    Makes keys that tell nothing of a token, and that only this node can make.

    :param secret: Of the node.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, credentials: UpstreamCredentials, *more: str) -> bytes:
        """
        Make the key for all credential headers together, each in its own place.

        :param more: What else it is for.
        """
        mac = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in (credentials.auth_token, credentials.storage_token, credentials.service_token, *more):
            text = b"" if part is None else part.encode()
            # The length keeps ("ab", "c") and ("a", "bc") apart, the flag an empty header and none.
            mac.update(b"%d:%d:" % (part is not None, len(text)))
            mac.update(text)
        return mac.digest()
