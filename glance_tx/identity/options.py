"""
Options that say who is believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from attrs import frozen
from oslo_config import cfg

from glance_tx.identity.keystone.options import KeystoneSettings, unusable
from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import AbsolutePath

__all__ = ["AuthSettings", "find_unusable_strategy", "require_strategy"]


@frozen(kw_only=True)
class AuthSettings(Section):
    """
    How callers prove who they are.
    """

    GROUP: ClassVar[str] = "auth"

    strategy: Literal["tokens", "none", "keystone"] | None = option(
        cfg.StrOpt(
            "strategy",
            choices=[
                ("tokens", "a file of tokens, for one machine and for tests"),
                ("none", "everybody is an administrator; only at a loopback address"),
                ("keystone", "tokens of an OpenStack Identity service; see [keystone_authtoken]"),
            ],
            help="How a caller is known. There is no default: nobody should find out later that a service was open. "
            "Unset, glance-api does not start, and glance-cache refuses all management requests.",
        )
    )
    tokens_file: Path | None = option(
        cfg.Opt(
            "tokens_file",
            type=AbsolutePath(),
            help="The file of tokens for strategy = tokens, in YAML: a list of entries with token, user_id, "
            "project_id and roles. Read at start, and anew when it changes. It is a file of passwords, so nobody but "
            "the daemon should be able to read it.",
        )
    )


def find_unusable_strategy(settings: Settings) -> Iterator[Conflict]:
    """
    Find a strategy that lacks what it needs.
    """
    auth = settings[AuthSettings]
    if auth.strategy == "keystone":
        yield from unusable(settings[KeystoneSettings])
    if auth.strategy == "tokens" and auth.tokens_file is None:
        yield Conflict("auth", "tokens_file", "is not set, and strategy = tokens needs it")


def require_strategy(settings: Settings) -> Iterator[Conflict]:
    """
    Insist on a strategy, for a daemon that cannot serve without.
    """
    if settings[AuthSettings].strategy is None:
        yield Conflict("auth", "strategy", "is not set; must be keystone, tokens or none (there is no default)")
