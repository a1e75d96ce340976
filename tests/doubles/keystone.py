"""
A Keystone in memory: it gives tokens to the accounts it knows, and tells about tokens to those who may ask.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

EXPIRED_WINDOW_SECONDS = 48 * 3600


@define
class Token:
    """
    One token.
    """

    document: dict[str, Any]
    expires_at: float
    revoked: bool = False


@define
class KeystoneDouble:
    """
    The server. The account ``glance`` with the password ``glancepw`` may validate tokens, as may the application
    credential ``ac-id`` (``ac-name`` of that account) with the secret ``ac-secret``.

    :ivar clock: By whose seconds, from the epoch, tokens end.
    :ivar own_seconds: How long the tokens live that accounts get.
    :ivar requests: What it was asked: method and target, and which headers came.
    :ivar asked_for: The bodies of requests for tokens.
    :ivar trouble: What becomes of the next requests: a number is the status of the answer, bytes are its body, a
        Deferred is waited for first, and nothing happens before it fires; ``None`` lets a request go well, as does
        an empty list.
    :ivar may_validate: Whether accounts may ask about tokens.
    """

    clock: IReactorTime
    tokens: dict[str, Token] = field(factory=dict)
    own_seconds: float = 3600.0
    requests: list[tuple[str, str, Mapping[str, str]]] = field(factory=list)
    asked_for: list[dict[str, Any]] = field(factory=list)
    trouble: list[int | bytes | Deferred[None] | None] = field(factory=list)
    may_validate: bool = True
    password: str = "glancepw"
    app: Klein = field(factory=Klein)

    def __attrs_post_init__(self) -> None:
        self.app.route("/v3/auth/tokens", methods=["POST", "GET"])(self.answer)
        self.app.route("/<path:rest>", methods=["POST", "GET"])(self.strange)

    def issue(self, user: str, project: str | None, *roles: str, seconds: float = 3600.0, **more: object) -> str:
        """
        Give somebody a token.

        :param more: Further parts of its description, or others in place of the usual ones.
        """
        text = f"secret-{user}-{secrets.token_hex(8)}"
        expires_at = self.clock.seconds() + seconds
        document: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": user, "name": user.title(), "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": f"id-of-{role}", "name": role} for role in roles],
            "expires_at": datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "audit_ids": ["x"],
        }
        if project is not None:
            document["project"] = {"id": project, "name": project.title(), "domain": {"id": "default", "name": "D"}}
        self.tokens[text] = Token({**document, **more}, expires_at)
        return text

    def count(self, method: str) -> int:
        """
        Tell how many requests there were.
        """
        return sum(asked == method for asked, _, _ in self.requests)

    async def answer(self, request: IRequest) -> bytes:
        headers = {
            name.decode().lower(): lines[0].decode() for name, lines in request.requestHeaders.getAllRawHeaders()
        }
        method = request.method.decode()
        self.requests.append((method, request.uri.decode(), headers))
        request.setHeader("Content-Type", "application/json")
        trouble = self.trouble.pop(0) if self.trouble else None
        if isinstance(trouble, Deferred):
            await trouble
        elif isinstance(trouble, bytes):
            request.setResponseCode(201 if method == "POST" else 200)
            return trouble
        elif trouble is not None:
            request.setResponseCode(trouble)
            request.setHeader("Location", "/elsewhere")
            request.setHeader("Set-Cookie", "tasty=yes; Path=/")
            return b"{}"
        return self._give(request) if method == "POST" else self._validate(request, headers)

    def strange(self, request: IRequest, rest: str) -> bytes:
        self.requests.append((request.method.decode(), request.uri.decode(), {}))
        request.setResponseCode(404)
        return b"{}"

    def _give(self, request: IRequest) -> bytes:
        document = json.load(request.content)
        self.asked_for.append(document)
        if not self._is_known(document["auth"]["identity"]):
            request.setResponseCode(401)
            return b"{}"
        text = self.issue("glance", "service", "service", seconds=self.own_seconds)
        request.setResponseCode(201)
        request.setHeader("X-Subject-Token", text)
        return json.dumps({"token": self.tokens[text].document}).encode()

    def _is_known(self, identity: dict[str, Any]) -> bool:
        if identity["methods"] == ["application_credential"]:
            shown = identity["application_credential"]
            named = shown.get("id") == "ac-id" or (shown.get("name") == "ac-name" and self._is_user(shown["user"]))
            return bool(named and shown["secret"] == "ac-secret")
        user = identity["password"]["user"]
        return self._is_user(user) and user["password"] == self.password

    @staticmethod
    def _is_user(user: dict[str, Any]) -> bool:
        return user.get("id") == "glance" or (user.get("name") == "glance" and bool(user.get("domain")))

    def _validate(self, request: IRequest, headers: Mapping[str, str]) -> bytes:
        if not self._holds(headers.get("x-auth-token", "")):
            request.setResponseCode(401)
            return b"{}"
        if not self.may_validate:
            request.setResponseCode(403)
            return b"{}"
        expired_too = "allow_expired=1" in request.uri.decode()
        subject = headers.get("x-subject-token", "")
        if not self._holds(subject, EXPIRED_WINDOW_SECONDS if expired_too else 0.0):
            request.setResponseCode(404)
            return b"{}"
        return json.dumps({"token": self.tokens[subject].document}).encode()

    def _holds(self, text: str, window_seconds: float = 0.0) -> bool:
        token = self.tokens.get(text)
        return token is not None and not token.revoked and token.expires_at + window_seconds > self.clock.seconds()
