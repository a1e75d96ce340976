"""
A file of tokens: identity for one machine, and for tests.
"""

from __future__ import annotations

import hashlib
import hmac
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from attrs import field, frozen
from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.identity.errors import NotAuthenticated
from glance_tx.identity.interfaces import Credentials, IIdentity
from glance_tx.settings import Problem, SettingsError
from glance_tx.settings.watch import Source, stamp_of
from glance_tx.settings.yamlfile import read_yaml

__all__ = ["TokenEntry", "TokensFile", "TokensIdentity", "read_tokens"]

_KEYS: Final = frozenset({"token", "user_id", "project_id", "roles"})
_NAME_LIMIT: Final = 255
_TOKEN_LIMIT: Final = 8192
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@frozen
class TokenEntry:
    """
    One token and who holds it.

    :param digest: SHA-256 of the token. The token itself is not kept.
    """

    digest: bytes = field(repr=False)
    caller: Caller


@implementer(IIdentity)
class TokensIdentity:
    """
    Knows callers by a table of tokens.

    Finding one takes the same time whether and where it is found: digests of equal length are compared, and always
    all of them.
    """

    def __init__(self, entries: Iterable[TokenEntry]) -> None:
        self._entries = tuple(entries)

    async def identify(self, credentials: Credentials) -> Caller:
        """
        Look the token up.

        A service token changes nothing: what may be done is decided by the user's token alone.

        :raises NotAuthenticated: There is no token, or none such.
        """
        if not credentials.token:
            raise NotAuthenticated("there is none")
        digest = _digest(credentials.token)
        found: Caller | None = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.caller
        if found is None:
            raise NotAuthenticated("it is not known")
        return found

    def adopt(self, entries: Iterable[TokenEntry]) -> None:
        """
        Go by another table from now on.
        """
        self._entries = tuple(entries)


@implementer(IIdentity)
class TokensFile(TokensIdentity):
    """
    Knows callers by a file of tokens, and by what becomes of that file.

    Blocks: make it before the reactor runs.

    :param path: The file.
    :raises SettingsError: It cannot be read, or some entry is wrong.
    :ivar source: The file, for whoever watches it.
    :ivar warnings: What is to be said of it in the log.
    """

    def __init__(self, path: Path) -> None:
        stamp = stamp_of([path])
        first = _read(path)
        super().__init__(first.entries)
        self.warnings = first.warnings
        self.source = Source("tokens", stamp, partial(stamp_of, [path]), partial(_read, path), self._use)

    def _use(self, reading: _Reading) -> Iterable[object]:
        self.adopt(reading.entries)
        return reading.warnings


@frozen
class _Reading:
    entries: tuple[TokenEntry, ...]
    warnings: tuple[Problem, ...]


def _read(path: Path) -> _Reading:
    entries = read_tokens(path)
    if path.stat().st_mode & _OTHERS_READ:
        return _Reading(entries, (Problem("holds tokens and can be read by others than its owner", file=str(path)),))
    return _Reading(entries, ())


def read_tokens(path: Path) -> tuple[TokenEntry, ...]:
    """
    Read a file of tokens: a YAML list of mappings with ``token``, ``user_id``, ``project_id`` and ``roles``.
    Blocks.

    :raises SettingsError: It cannot be read, or some entry is wrong. Every mistake is told, by the number of its
        entry; tokens are not.
    """
    problems: list[str] = []
    entries: list[TokenEntry] = []
    seen: dict[bytes, int] = {}
    for number, item in enumerate(_load(path), 1):
        mistakes = list(_mistakes(item))
        if not mistakes and isinstance(item, dict):
            entry = _entry(item)
            earlier = seen.setdefault(entry.digest, number)
            if earlier != number:
                mistakes.append(f"has the token of entry {earlier}")
            entries.append(entry)
        problems.extend(f"entry {number} {mistake}" for mistake in mistakes)
    if problems:
        raise SettingsError(tuple(Problem(problem, file=str(path)) for problem in problems))
    return tuple(entries)


def _load(path: Path) -> list[object]:
    document = read_yaml(path)
    if not isinstance(document, list) or not document:
        raise SettingsError((Problem("must be a YAML list with at least one entry", file=str(path)),))
    return document


def _mistakes(item: object) -> Iterator[str]:
    """
    Tell what is wrong with an entry, without its values.
    """
    if not isinstance(item, dict):
        yield "must be a mapping with token, user_id, project_id and roles"
        return
    for key in sorted(_KEYS - item.keys()):
        yield f"lacks {key}"
    # A foreign key may be a token that slipped to the wrong side of a colon.
    if item.keys() - _KEYS:
        yield "has keys other than token, user_id, project_id and roles"
    if "token" in item and not _is_token(item["token"]):
        yield f"must have as token a text of 1 to {_TOKEN_LIMIT} printable ASCII characters without blanks"
    for key in ("user_id", "project_id"):
        if key in item and not _is_name(item[key]):
            yield f"must have as {key} a text of 1 to {_NAME_LIMIT} characters (put quotes around a number)"
    roles = item.get("roles", [])
    if not isinstance(roles, list) or not all(_is_name(role) for role in roles):
        yield "must have as roles a list of names"


def _is_token(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= _TOKEN_LIMIT
        and all("!" <= character <= "~" for character in value)
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _NAME_LIMIT and value.isprintable() and value == value.strip()


def _entry(item: Mapping[str, object]) -> TokenEntry:
    """
    Make an entry of a mapping without mistakes.
    """
    roles = item["roles"]
    caller = Caller(
        user_id=str(item["user_id"]),
        project_id=str(item["project_id"]),
        roles=[str(role) for role in roles] if isinstance(roles, list) else [],
    )
    return TokenEntry(_digest(str(item["token"])), caller)
