"""
Which identity goes with which ``[auth] strategy``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from twisted.logger import Logger

from glance_tx.identity.interfaces import IIdentity
from glance_tx.identity.none import NoneIdentity
from glance_tx.identity.options import AuthSettings
from glance_tx.identity.tokens import TokensFile
from glance_tx.settings import Problem, SettingsError
from glance_tx.settings.watch import Source

__all__ = ["STRATEGIES", "make_identity", "watched_files"]

_log = Logger()


def _refused(reason: str) -> SettingsError:
    return SettingsError((Problem(reason, section=AuthSettings.GROUP, option="strategy"),))


def _make_tokens(settings: AuthSettings) -> IIdentity:
    if settings.tokens_file is None:
        raise _refused("tokens needs [auth] tokens_file")
    identity = TokensFile(settings.tokens_file)
    for warning in identity.warnings:
        _log.warn("{problem}", problem=str(warning))
    return identity


def _make_none(_: AuthSettings) -> IIdentity:
    return NoneIdentity()


STRATEGIES: Final[Mapping[str, Callable[[AuthSettings], IIdentity]]] = {
    # The seat of keystone: its factory is added here, and its line in `find_unusable_strategy` goes.
    "none": _make_none,
    "tokens": _make_tokens,
}
"""Makers of identities by the strategy's name."""


def make_identity(settings: AuthSettings) -> IIdentity | None:
    """
    Make the identity that an operator chose. Reads files: call it before the reactor runs.

    :return: ``None`` where no strategy is set: then nobody can be known, and whatever needs a caller is refused.
    :raises SettingsError: The strategy cannot be used, or its file is wrong.
    """
    if settings.strategy is None:
        return None
    maker = STRATEGIES.get(settings.strategy)
    if maker is None:
        raise _refused(f"{settings.strategy} is not supported yet")
    return maker(settings)


def watched_files(identity: object) -> Iterator[Source[Any]]:
    """
    List the files that an identity is to be read from anew when they change; none for one that has no files.
    """
    if isinstance(identity, TokensFile):
        yield identity.source
