"""
The node's own credentials.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from glance_cache.interfaces import IOwnCredentials, UpstreamCredentials
from glance_cache.own import FixedCredentials, KeystoneCredentials
from tests.identity.keystones import KeystoneTestCase


class OwnCredentialsTests(KeystoneTestCase):
    """
    `FixedCredentials` and `KeystoneCredentials`.
    """

    async def test_fixed(self) -> None:
        """
        Credentials of the configuration stay, whatever the upstream thinks of them.
        """
        credentials = UpstreamCredentials(auth_token="t")
        own = FixedCredentials(credentials)
        verifyObject(IOwnCredentials, own)
        self.assertEqual(await own.get(), credentials)
        self.assertFalse(own.reject(credentials))
        self.assertEqual(await own.get(), credentials)

    async def test_keystone(self) -> None:
        """
        The token of an account is kept until the upstream does not take it.
        """
        own = KeystoneCredentials(self.own)
        verifyObject(IOwnCredentials, own)
        first = await own.get()
        self.assertIn(first.auth_token, self.keystone.tokens)
        self.assertEqual(await own.get(), first)
        self.assertTrue(own.reject(first))
        second = await own.get()
        self.assertNotEqual(second, first)
        self.assertIn(second.auth_token, self.keystone.tokens)
