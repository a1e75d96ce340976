"""
Tokens, as Keystone knows them.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from tests.identity.keystones import NOW, KeystoneTestCase


class OwnTokenTests(KeystoneTestCase):
    """
    `OwnToken` is there when it is needed.
    """

    def identity(self) -> dict[str, Any]:
        """
        What Keystone was asked for last.
        """
        auth: dict[str, Any] = self.keystone.asked_for[-1]["auth"]
        return auth

    async def test_password(self) -> None:
        """
        It is fetched by name and password for a project, when it is first needed, and then kept.
        """
        self.assertEqual(self.keystone.requests, [])
        token = await self.own.get()
        self.assertIn(token, self.keystone.tokens)
        self.assertEqual(await self.own.get(), token)
        self.assertEqual([target for _, target, _ in self.keystone.requests], ["/v3/auth/tokens?nocatalog"])
        user = {"name": "glance", "domain": {"id": "default"}, "password": "glancepw"}
        self.assertEqual(
            self.identity(),
            {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "service", "domain": {"id": "default"}}},
            },
        )

    async def test_accounts(self) -> None:
        """
        Accounts, projects and domains are told by id where there is one, and by name in a domain elsewhere.
        """
        self.use(user_id="glance", project_id="p1")
        await self.own.get()
        self.assertEqual(self.identity()["identity"]["password"]["user"], {"id": "glance", "password": "glancepw"})
        self.assertEqual(self.identity()["scope"], {"project": {"id": "p1"}})
        self.use(user_id=None, project_id=None, user_domain_name="Users", project_domain_id="d1")
        await self.own.get()
        self.assertEqual(self.identity()["identity"]["password"]["user"]["domain"], {"name": "Users"})
        self.assertEqual(self.identity()["scope"], {"project": {"name": "service", "domain": {"id": "d1"}}})

    async def test_scopes(self) -> None:
        """
        A token may be for a domain or for the whole cloud.
        """
        for options, scope in (
            ({"domain_id": "d"}, {"domain": {"id": "d"}}),
            ({"domain_id": None, "domain_name": "D"}, {"domain": {"name": "D"}}),
            ({"system_scope": "all"}, {"system": {"all": True}}),
        ):
            self.use(project_name=None, **options)
            await self.own.get()
            self.assertEqual(self.identity()["scope"], scope)

    async def test_application_credential(self) -> None:
        """
        An application credential is shown by its id, or by its name and its user, without a scope.
        """
        self.use(auth_type="v3applicationcredential", application_credential_secret="ac-secret")
        self.use(application_credential_id="ac-id")
        self.assertIn(await self.own.get(), self.keystone.tokens)
        self.assertNotIn("scope", self.identity())
        self.use(application_credential_id=None, application_credential_name="ac-name")
        self.assertIn(await self.own.get(), self.keystone.tokens)

    async def test_renewed_early(self) -> None:
        """
        It is renewed a minute before it ends; a short-lived one in the middle of its life.
        """
        first = await self.own.get()
        self.clock.advance(3539)
        self.assertEqual(await self.own.get(), first)
        self.clock.advance(1.5)
        self.keystone.own_seconds = 10
        second = await self.own.get()
        self.assertNotEqual(second, first)
        self.clock.advance(4)
        self.assertEqual(await self.own.get(), second)
        self.clock.advance(1.5)
        self.assertNotEqual(await self.own.get(), second)

    async def test_rejected(self) -> None:
        """
        One that was not taken is fetched anew, once, however many say so.
        """
        first = await self.own.get()
        self.own.reject(first)
        second = await self.own.get()
        self.own.reject(first)
        self.assertEqual(await self.own.get(), second)
        self.assertEqual(self.keystone.count("POST"), 2)

    async def test_once_for_all(self) -> None:
        """
        Many who need it at once cause one request; one of them may leave.
        """
        hold: Deferred[None] = Deferred()
        self.keystone.trouble = [hold]
        getting = [self.later(self.own.get()) for _ in range(5)]
        await self.asked(1)
        getting[0].cancel()
        self.failureResultOf(getting[0], CancelledError)
        hold.callback(None)
        self.assertEqual(len({await one for one in getting[1:]}), 1)
        self.assertEqual(self.keystone.count("POST"), 1)

    async def test_wrong_password(self) -> None:
        """
        Credentials that were refused are not shown again for half a minute; the log says which, and not what.
        """
        self.keystone.password = "changed"
        for _ in range(3):
            with self.assertRaises(IdentityUnavailable) as caught:
                await self.own.get()
            self.assertNotIn("glancepw", repr(caught.exception))
        self.assertEqual(self.keystone.count("POST"), 1)
        self.assertEqual(self.said, ["Keystone refuses the credentials of [keystone_authtoken]: it answered 401"])
        self.keystone.password = "glancepw"
        self.clock.advance(30)
        self.assertIn(await self.own.get(), self.keystone.tokens)

    async def test_no_sense(self) -> None:
        """
        Answers that make no sense, and none at all, leave it without a token; the next one may be better.
        """
        for trouble in (b"<html>", b"[]", b"{}", b'{"token": {}}', b'{"token": {"expires_at": "soon"}}', 503, 300):
            self.keystone.trouble = [trouble]
            with self.assertRaises(IdentityUnavailable):
                await self.own.get()
            self.clock.advance(30)
        self.assertIn(await self.own.get(), self.keystone.tokens)

    async def test_stop(self) -> None:
        """
        Whoever waits for it when it is stopped is cancelled.
        """
        self.keystone.trouble = [Deferred()]
        getting = self.later(self.own.get())
        await self.asked(1)
        self.own.stop()
        self.failureResultOf(getting, CancelledError)


class ValidateTests(KeystoneTestCase):
    """
    `KeystoneTokens` asks about tokens.
    """

    async def refused(self, token: str, **more: bool) -> str:
        with self.assertRaises(NotAuthenticated) as caught:
            await self.tokens.find(token, **more)
        self.assertNotIn("secret", repr(caught.exception))
        return caught.exception.reason

    async def unavailable(self, token: str) -> None:
        with self.assertRaises(IdentityUnavailable) as caught:
            await self.tokens.find(token)
        self.assertNotIn("secret", f"{caught.exception!r} {self.said}")

    async def test_project(self) -> None:
        """
        A token for a project gives user, project, roles, domains and end.
        """
        token = self.keystone.issue("alice", "red", "Member", "reader")
        caller = Caller(
            "alice", "red", ("member", "reader"), NOW + 3600, user_domain_id="default", project_domain_id="default"
        )
        self.assertEqual(await self.tokens.find(token), caller)
        self.assertFalse(caller.is_outside_projects)
        self.assertEqual(self.keystone.requests[-1][1], "/v3/auth/tokens?nocatalog")

    async def test_scopes(self) -> None:
        """
        Tokens for a domain, for the cloud, or for nothing, are told from those for a project.
        """
        domain = await self.tokens.find(self.keystone.issue("a", None, "admin", domain={"id": "d", "name": "D"}))
        self.assertEqual((domain.project_id, domain.domain_id, domain.is_outside_projects), (None, "d", True))
        system = await self.tokens.find(self.keystone.issue("a", None, "admin", system={"all": True}))
        self.assertEqual((system.project_id, system.system_scope, system.is_outside_projects), (None, "all", True))
        nothing = await self.tokens.find(self.keystone.issue("a", None))
        self.assertEqual((nothing.project_id, nothing.roles, nothing.is_outside_projects), (None, frozenset(), False))

    async def test_admin_project(self) -> None:
        """
        Whether a project is the administrators' own is taken over.
        """
        token = self.keystone.issue("a", "p", "admin", is_admin_project=False)
        self.assertFalse((await self.tokens.find(token)).is_admin_project)

    async def test_not_valid(self) -> None:
        """
        A token that is unknown, expired or revoked is refused.
        """
        expired = self.keystone.issue("alice", "red", seconds=-1)
        revoked = self.keystone.issue("alice", "red")
        self.keystone.tokens[revoked].revoked = True
        for token in ("secret-no-such", expired, revoked):
            self.assertEqual(await self.refused(token), "it is not known")

    async def test_malformed(self) -> None:
        """
        What cannot be a token is not asked about.
        """
        for token in ("", "secret one", "secret\n", "s\u00e9cret", "secret\udcff", "s" * 8193):
            self.assertEqual(await self.refused(token), "it is malformed")
        self.assertEqual(self.keystone.requests, [])

    async def test_clocks_differ(self) -> None:
        """
        A token that has ended by the clock here is refused, though Keystone's clock is behind.
        """
        token = self.keystone.issue("alice", "red")
        self.keystone.tokens[token].document["expires_at"] = "2020-01-01T00:00:00Z"
        self.assertEqual(await self.refused(token), "it has expired")

    async def test_expired_and_vouched_for(self) -> None:
        """
        One that has expired counts where that is allowed, for as long as Keystone says, and not where it was revoked.
        """
        token = self.keystone.issue("alice", "red", seconds=-60)
        self.assertEqual((await self.tokens.find(token, allow_expired=True)).user_id, "alice")
        self.keystone.tokens[token].revoked = True
        await self.refused(token, allow_expired=True)
        ancient = self.keystone.issue("alice", "red", seconds=-49 * 3600)
        await self.refused(ancient, allow_expired=True)

    async def test_own_token_ended(self) -> None:
        """
        Where Keystone does not take the service's own token any more, another one is fetched, once.
        """
        token = self.keystone.issue("alice", "red")
        self.keystone.tokens[await self.own.get()].revoked = True
        self.assertEqual((await self.tokens.find(token)).user_id, "alice")
        self.assertEqual((self.keystone.count("POST"), self.keystone.count("GET")), (2, 2))

    async def test_own_tokens_never_taken(self) -> None:
        """
        Where Keystone takes none of the service's own tokens, nobody can tell.
        """
        token = self.keystone.issue("alice", "red")
        self.keystone.trouble = [None, 401, None, 401]
        await self.unavailable(token)
        self.assertEqual((self.keystone.count("POST"), self.keystone.count("GET")), (2, 2))

    async def test_may_not_validate(self) -> None:
        """
        Where the account may not validate tokens, nobody can tell, and the log says why.
        """
        token = self.keystone.issue("alice", "red")
        self.keystone.may_validate = False
        await self.unavailable(token)
        self.assertEqual(self.said, ["Keystone answered 403 when it was asked about a token"])

    async def test_trouble(self) -> None:
        """
        A Keystone in trouble, or that sends elsewhere, refuses nobody.
        """
        token = self.keystone.issue("alice", "red")
        await self.own.get()
        for status in (500, 503, 400, 302, 204):
            self.keystone.trouble = [status]
            await self.unavailable(token)

    async def test_garbage(self) -> None:
        """
        A description that is not whole lets nobody in, and refuses nobody.
        """
        token = self.keystone.issue("alice", "red", "member")
        await self.own.get()
        good = self.keystone.tokens[token].document
        changes: list[dict[str, object]] = [
            {"user": None},
            {"user": {"id": "alice"}},
            {"user": {"id": 7, "domain": {"id": "d"}}},
            {"user": {"id": "", "domain": {"id": "d"}}},
            {"project": []},
            {"project": {"id": "red"}},
            {"roles": {"name": "admin"}},
            {"roles": ["admin"]},
            {"roles": [{"name": "member"}, {"id": "x"}]},
            {"expires_at": None},
            {"expires_at": 5},
            {"expires_at": "whenever"},
            {"is_admin_project": "no"},
            {"domain": "d"},
            {"system": True},
        ]
        bodies = [json.dumps({"token": {**good, **change}}).encode() for change in changes]
        bodies += [b"", b"null", b"[]", b"{", b"<html>", b'{"token": []}', b"[" * 100_000, b"\xff\xfe"]
        for body in bodies:
            self.keystone.trouble = [body]
            await self.unavailable(token)
        self.keystone.trouble = [json.dumps({"token": good}).encode()]
        self.assertEqual((await self.tokens.find(token)).user_id, "alice")
