"""
Options that say where Keystone is, and as whom it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import AbsolutePath, HttpUrl

__all__ = ["CredentialSettings", "KeystoneSettings", "ServiceUserSettings", "find_unusable_service_user", "unusable"]


@frozen(kw_only=True)
class CredentialSettings(Section):
    """
    A Keystone, and an account there.
    """

    auth_url: str | None = option(
        cfg.Opt(
            "auth_url",
            type=HttpUrl(),
            help="Where Keystone is, with or without /v3 at the end.",
        )
    )
    auth_type: Literal["password", "v3password", "v3applicationcredential"] = option(
        cfg.StrOpt(
            "auth_type",
            choices=[
                ("password", "user name (or id) and password"),
                ("v3password", "the same"),
                (
                    "v3applicationcredential",
                    "an application credential: its id, or its name and the user, and its secret",
                ),
            ],
            default="password",
            help="How the account proves itself.",
        )
    )
    username: str | None = option(cfg.StrOpt("username", help="Name of the account."))
    user_id: str | None = option(cfg.StrOpt("user_id", help="Its id, in place of name and domain."))
    user_domain_name: str | None = option(
        cfg.StrOpt("user_domain_name", help="Name of the account's domain. Unset as its id is, the domain default.")
    )
    user_domain_id: str | None = option(cfg.StrOpt("user_domain_id", help="Id of the account's domain."))
    password: str | None = option(cfg.StrOpt("password", secret=True, help="Its password."))
    project_name: str | None = option(
        cfg.StrOpt("project_name", help="Name of the project that tokens are asked for, such as service.")
    )
    project_id: str | None = option(cfg.StrOpt("project_id", help="Its id, in place of name and domain."))
    project_domain_name: str | None = option(
        cfg.StrOpt("project_domain_name", help="Name of the project's domain. Unset as its id is, the domain default.")
    )
    project_domain_id: str | None = option(cfg.StrOpt("project_domain_id", help="Id of the project's domain."))
    domain_name: str | None = option(
        cfg.StrOpt("domain_name", help="Name of a domain that tokens are asked for, in place of a project.")
    )
    domain_id: str | None = option(cfg.StrOpt("domain_id", help="Its id, in place of its name."))
    system_scope: Literal["all"] | None = option(
        cfg.StrOpt(
            "system_scope",
            choices=["all"],
            help="Ask for tokens of the whole cloud, in place of a project.",
        )
    )
    application_credential_id: str | None = option(
        cfg.StrOpt("application_credential_id", help="Id of an application credential.")
    )
    application_credential_name: str | None = option(
        cfg.StrOpt("application_credential_name", help="Its name, in place of its id; needs the user too.")
    )
    application_credential_secret: str | None = option(
        cfg.StrOpt("application_credential_secret", secret=True, help="Its secret.")
    )
    cafile: Path | None = option(
        cfg.Opt(
            "cafile",
            type=AbsolutePath(),
            help="File of certificates, in PEM, of the authorities that may vouch for Keystone. Unset, those that the "
            "machine trusts.",
        )
    )
    certfile: Path | None = option(
        cfg.Opt("certfile", type=AbsolutePath(), help="File with a certificate, in PEM, to be shown to Keystone.")
    )
    keyfile: Path | None = option(
        cfg.Opt("keyfile", type=AbsolutePath(), help="File with its key, in PEM; unset, it is in certfile.")
    )
    insecure: bool = option(
        cfg.BoolOpt(
            "insecure",
            default=False,
            help="Speak TLS with whoever answers at auth_url, whatever certificate it shows. For trials only: who can "
            "stand in for Keystone decides who is an administrator here.",
        )
    )
    timeout_seconds: float = option(
        cfg.FloatOpt(
            "http_connect_timeout",
            min=0.1,
            max=60,
            default=10,
            help="Seconds for one request to Keystone, connecting included. Ten are many times what a loaded one "
            "takes.",
        )
    )
    retries: int = option(
        cfg.IntOpt(
            "http_request_max_retries",
            min=0,
            max=10,
            default=3,
            help="How often a request is repeated where Keystone cannot be reached, or is in trouble. Stock's "
            "default. It ends in any case half a minute after it began: clients do not wait for ever.",
        )
    )


@frozen(kw_only=True)
class KeystoneSettings(CredentialSettings):
    """
    Where the tokens of callers are validated, with [auth] strategy = keystone, and as whom.
    """

    GROUP: ClassVar[str] = "keystone_authtoken"

    www_authenticate_uri: str | None = option(
        cfg.Opt(
            "www_authenticate_uri",
            type=HttpUrl(),
            help="Where clients find Keystone; callers without a valid token are told. Unset, auth_url.",
        )
    )
    cache_seconds: int = option(
        cfg.IntOpt(
            "token_cache_time",
            min=0,
            max=86400,
            default=300,
            help="Seconds for which Keystone's answer about a token is remembered, in memory, and never past the "
            "token's end; 0 asks each time. Stock's default. The price of a longer time is that a revoked token still "
            "counts here until it ends.",
        )
    )
    service_token_roles: tuple[str, ...] = option(
        cfg.ListOpt(
            "service_token_roles",
            default=["service"],
            help="A service token with one of these roles vouches for its user's token even when that has expired. "
            "Stock's default.",
        )
    )
    service_token_roles_required: bool = option(
        cfg.BoolOpt(
            "service_token_roles_required",
            default=False,
            help="Count a service token only if it has one of service_token_roles. Otherwise its roles are known to "
            "policy rules (service_roles) whatever they are. Stock's default.",
        )
    )


@frozen(kw_only=True)
class ServiceUserSettings(CredentialSettings):
    """
    The account with which the cache itself reads images that were queued by PUT /v2/cache/{image_id}, where the
    image service knows its callers by Keystone. Without auth_url there is none.
    """

    GROUP: ClassVar[str] = "service_user"


def unusable(settings: CredentialSettings) -> Iterator[Conflict]:
    """
    Find what an account lacks.
    """
    section = settings.GROUP
    if settings.auth_url is None:
        yield Conflict(section, "auth_url", "is not set")
    user = settings.username or settings.user_id
    if settings.auth_type == "v3applicationcredential":
        if not settings.application_credential_secret:
            yield Conflict(section, "application_credential_secret", f"is not set, and {settings.auth_type} needs it")
        if not settings.application_credential_id and not (settings.application_credential_name and user):
            yield Conflict(
                section, "application_credential_id", "is not set; set it, or application_credential_name and the user"
            )
    else:
        if not user:
            yield Conflict(section, "username", "is not set; set it, or user_id")
        if not settings.password:
            yield Conflict(section, "password", f"is not set, and {settings.auth_type} needs it")
        yield from _wrong_scope(settings)
    if settings.keyfile is not None and settings.certfile is None:
        yield Conflict(section, "certfile", "is not set, and keyfile is of no use without it")
    if settings.insecure and settings.cafile is not None:
        yield Conflict(section, "insecure", "is true, which makes cafile pointless; remove one of them")


def _wrong_scope(settings: CredentialSettings) -> Iterator[Conflict]:
    scopes = {
        "project_name": settings.project_name or settings.project_id,
        "domain_name": settings.domain_name or settings.domain_id,
        "system_scope": settings.system_scope,
    }
    named = [name for name, value in scopes.items() if value]
    if not named:
        yield Conflict(settings.GROUP, "project_name", "is not set; set a project, a domain or system_scope")
    if len(named) > 1:
        yield Conflict(settings.GROUP, named[1], f"goes not with {named[0]}: a token has one scope")


def find_unusable_service_user(settings: Settings) -> Iterator[Conflict]:
    """
    Find what the cache's own account lacks, where it has one.
    """
    service_user = settings[ServiceUserSettings]
    if service_user != ServiceUserSettings():
        yield from unusable(service_user)
