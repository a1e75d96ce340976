"""
Credentials are read from requests, identity is not.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials
from glance_tx.web.credentials import IDENTITY_HEADERS, credentials_of, strip_identity_headers
from glance_tx.web.errors import BadRequest


class CredentialsTests(SynchronousTestCase):
    """
    `credentials_of` takes tokens as they are, and no doubtful ones.
    """

    def test_none(self) -> None:
        """
        A request without tokens, or with empty ones, has no credentials.
        """
        self.assertEqual(credentials_of(Headers()), Credentials())
        self.assertEqual(credentials_of(Headers({"X-Auth-Token": [""], "X-Service-Token": [""]})), Credentials())

    def test_tokens(self) -> None:
        """
        The user's token comes under two names, the service's under one.
        """
        self.assertEqual(
            credentials_of(Headers({"x-auth-token": ["user"], "x-service-token": ["service"]})),
            Credentials("user", "service"),
        )
        self.assertEqual(credentials_of(Headers({"X-Storage-Token": ["user"]})), Credentials("user"))
        self.assertEqual(
            credentials_of(Headers({"X-Storage-Token": ["other"], "X-Auth-Token": ["user"]})), Credentials("user")
        )
        self.assertEqual(
            credentials_of(Headers({"X-Storage-Token": ["user"], "X-Auth-Token": [""]})), Credentials("user")
        )

    def test_repeated(self) -> None:
        """
        A credential header that is there twice is refused, even with equal values.
        """
        for name in ("X-Auth-Token", "X-Storage-Token", "X-Service-Token"):
            self.assertRaises(BadRequest, credentials_of, Headers({name: ["a", "a"]}))

    def test_malformed(self) -> None:
        """
        What cannot be a token does not reach whoever checks tokens, and is not repeated.
        """
        for token in (b"a b", b"a\x00b", b"a\x7f", b"t\xc3\xb6ken", b"x" * 8193):
            for name in ("X-Auth-Token", "X-Storage-Token", "X-Service-Token"):
                exc = self.assertRaises(NotAuthenticated, credentials_of, Headers({name.encode(): [token]}))
                self.assertEqual(str(exc), "a valid token is required: the token is malformed")
        self.assertEqual(credentials_of(Headers({"X-Auth-Token": ["x" * 8192]})).token, "x" * 8192)


class StripTests(SynchronousTestCase):
    """
    `strip_identity_headers` takes away what only a token filter may say.
    """

    def test_strip(self) -> None:
        """
        Identity headers go, in whatever spelling; tokens and the rest stay.
        """
        headers = Headers({"X-Auth-Token": ["t"], "X-Service-Token": ["s"], "X-Openstack-Request-Id": ["req-1"]})
        kept = list(headers.getAllRawHeaders())
        for name in IDENTITY_HEADERS:
            headers.addRawHeader(name, "forged")
            headers.addRawHeader(name.upper().replace("-", "_"), "forged")
        headers.addRawHeader("X-User_Id", "forged")
        strip_identity_headers(headers)
        self.assertEqual(list(headers.getAllRawHeaders()), kept)
