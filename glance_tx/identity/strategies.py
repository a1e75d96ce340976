"""
Which identity goes with which ``[auth] strategy``.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.logger import Logger

from glance_tx.identity.caching import RememberedTokens
from glance_tx.identity.interfaces import IIdentity
from glance_tx.identity.keystone.account import Account
from glance_tx.identity.keystone.identity import KeystoneIdentity
from glance_tx.identity.keystone.options import KeystoneSettings
from glance_tx.identity.keystone.tokens import KeystoneTokens
from glance_tx.identity.none import NoneIdentity
from glance_tx.identity.options import AuthSettings
from glance_tx.identity.tokens import TokensFile
from glance_tx.settings import Problem, Settings, SettingsError
from glance_tx.settings.watch import Source

__all__ = ["STRATEGIES", "Strategy", "challenge", "make_strategy"]

_log = Logger()


async def _nothing() -> None:
    pass


@frozen
class Strategy:
    """
    What an operator chose.

    :param identity: Knows callers.
    :param warnings: What is to be said of the configuration.
    :param watched: Files that it is to be read from anew when they change.
    :param stop: Lets go of what identity holds.
    """

    identity: IIdentity
    warnings: tuple[Problem, ...] = ()
    watched: tuple[Source[Any], ...] = ()
    stop: Callable[[], Awaitable[None]] = _nothing


def _refused(reason: str) -> SettingsError:
    return SettingsError((Problem(reason, section=AuthSettings.GROUP, option="strategy"),))


def _make_tokens(settings: Settings, _: Any) -> Strategy:
    path = settings[AuthSettings].tokens_file
    if path is None:
        raise _refused("tokens needs [auth] tokens_file")
    identity = TokensFile(path)
    for warning in identity.warnings:
        _log.warn("{problem}", problem=str(warning))
    return Strategy(identity, watched=(identity.source,))


def _make_none(_: Settings, __: Any) -> Strategy:
    return Strategy(NoneIdentity())


def _make_keystone(settings: Settings, reactor: Any) -> Strategy:
    keystone = settings[KeystoneSettings]
    account = Account(keystone, reactor)
    tokens = RememberedTokens(
        KeystoneTokens(account.http, account.token, reactor),
        reactor,
        float(keystone.cache_seconds),
        secrets.token_bytes(32),
    )

    async def stop() -> None:
        tokens.stop()
        await account.stop()

    required = keystone.service_token_roles_required
    identity = KeystoneIdentity(tokens, keystone.service_token_roles, roles_required=required)
    return Strategy(identity, tuple(account.warnings()), stop=stop)


STRATEGIES: Final[Mapping[str, Callable[[Settings, Any], Strategy]]] = {
    "keystone": _make_keystone,
    "none": _make_none,
    "tokens": _make_tokens,
}
"""Makers by the strategy's name."""


def make_strategy(settings: Settings, reactor: Any) -> Strategy | None:
    """
    Make what an operator chose. Reads files: call it before the reactor runs.

    :return: ``None`` where no strategy is set: then nobody can be known, and whatever needs a caller is refused.
    :raises SettingsError: The strategy cannot be used, or a file of it is wrong.
    """
    strategy = settings[AuthSettings].strategy
    return None if strategy is None else STRATEGIES[strategy](settings, reactor)


def challenge(settings: Settings) -> str:
    """
    Tell what goes with a 401 as ``WWW-Authenticate``. Clients of the Image API know one scheme; where tokens do not
    come from a Keystone there is no address to be named with it.
    """
    if settings[AuthSettings].strategy != "keystone":
        return "Keystone"
    keystone = settings[KeystoneSettings]
    return f'Keystone uri="{keystone.www_authenticate_uri or keystone.auth_url}"'
