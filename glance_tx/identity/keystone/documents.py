"""
JSON documents of the Identity API v3: the request for a token, and the description of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from glance_tx.identity.caller import Caller
from glance_tx.identity.keystone.errors import KeystoneGarbage
from glance_tx.identity.keystone.options import CredentialSettings

__all__ = ["expiry_of", "read_caller", "read_token", "token_request"]


def token_request(settings: CredentialSettings) -> Mapping[str, object]:
    """
    Write the request for a token of an account.
    """
    if settings.auth_type == "v3applicationcredential":
        # It has its scope in itself.
        return {"auth": {"identity": {"methods": ["application_credential"], **_application_credential(settings)}}}
    user = {**_user(settings), "password": settings.password}
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": _scope(settings)}}


def _application_credential(settings: CredentialSettings) -> Mapping[str, object]:
    secret = {"secret": settings.application_credential_secret}
    if settings.application_credential_id:
        return {"application_credential": {"id": settings.application_credential_id, **secret}}
    named = {"name": settings.application_credential_name, "user": _user(settings)}
    return {"application_credential": {**named, **secret}}


def _user(settings: CredentialSettings) -> Mapping[str, object]:
    if settings.user_id:
        return {"id": settings.user_id}
    return {"name": settings.username, "domain": _domain(settings.user_domain_id, settings.user_domain_name)}


def _scope(settings: CredentialSettings) -> Mapping[str, object]:
    if settings.system_scope:
        return {"system": {"all": True}}
    if settings.domain_id or settings.domain_name:
        return {"domain": _domain(settings.domain_id, settings.domain_name)}
    if settings.project_id:
        return {"project": {"id": settings.project_id}}
    domain = _domain(settings.project_domain_id, settings.project_domain_name)
    return {"project": {"name": settings.project_name, "domain": domain}}


def _domain(domain_id: str | None, name: str | None) -> Mapping[str, str]:
    if domain_id:
        return {"id": domain_id}
    return {"name": name} if name else {"id": "default"}


def read_token(body: bytes) -> Mapping[str, Any]:
    """
    Take the description of a token out of an answer.

    :raises KeystoneGarbage: It is none.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise KeystoneGarbage("it answered something that is not JSON") from error
    token = document.get("token") if isinstance(document, dict) else None
    if not isinstance(token, dict):
        raise KeystoneGarbage("it answered without a token")
    return token


def expiry_of(token: Mapping[str, Any]) -> float:
    """
    Tell when a token ends, in seconds since the epoch.

    :raises KeystoneGarbage: It does not say.
    """
    try:
        ends = datetime.fromisoformat(token["expires_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise KeystoneGarbage("it answered a token without an end") from error
    return (ends if ends.tzinfo is not None else ends.replace(tzinfo=UTC)).timestamp()


def read_caller(body: bytes) -> Caller:
    """
    Tell who holds the token that an answer describes.

    Names of roles count, as policy rules are about names; of users, projects and domains their ids do.

    :raises KeystoneGarbage: The answer does not say all of it, or in another form.
    """
    token = read_token(body)
    user = _object(token, "user")
    project = _object(token, "project") if "project" in token else None
    system = _object(token, "system") if "system" in token else {}
    is_admin_project = token.get("is_admin_project", True)
    if not isinstance(is_admin_project, bool):
        raise KeystoneGarbage("it answered a token whose is_admin_project is neither true nor false")
    return Caller(
        user_id=_id(user, "user"),
        project_id=None if project is None else _id(project, "project"),
        roles=_roles(token),
        expires_at=expiry_of(token),
        user_domain_id=_domain_id(user, "user"),
        project_domain_id=None if project is None else _domain_id(project, "project"),
        domain_id=_id(_object(token, "domain"), "domain") if "domain" in token else None,
        system_scope="all" if system.get("all") is True else None,
        is_admin_project=is_admin_project,
    )


def _object(container: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = container.get(name)
    if not isinstance(value, dict):
        raise KeystoneGarbage(f"it answered a token whose {name} is no object")
    return value


def _id(container: Mapping[str, Any], of: str) -> str:
    value = container.get("id")
    if not isinstance(value, str) or not value:
        raise KeystoneGarbage(f"it answered a token whose {of} has no id")
    return value


def _domain_id(container: Mapping[str, Any], of: str) -> str:
    return _id(_object(container, "domain"), f"{of}'s domain")


def _roles(token: Mapping[str, Any]) -> list[str]:
    roles = token.get("roles", [])
    if not isinstance(roles, list):
        raise KeystoneGarbage("it answered a token whose roles are no list")
    names = [role.get("name") if isinstance(role, dict) else None for role in roles]
    found = [name for name in names if isinstance(name, str)]
    if len(found) != len(names):
        raise KeystoneGarbage("it answered a token with a role without a name")
    return found
