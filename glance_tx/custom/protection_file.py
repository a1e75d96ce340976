"""
The file of property protections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser, DuplicateOptionError, DuplicateSectionError, Error, SectionProxy
from functools import partial
from pathlib import Path
from typing import Final

from glance_tx.custom.options import POLICIES, ProtectionSettings
from glance_tx.domain.protections import PropertyAction, Protection, Protections
from glance_tx.identity.caller import Caller
from glance_tx.policy.interfaces import IPolicy
from glance_tx.settings import Problem, SettingsError

__all__ = ["load_protections"]

_SYSTEM_FOLDER: Final = Path("/etc/glance")
_EVERYBODY: Final = "@"
_NOBODY: Final = "!"
_STRANGER: Final = Caller(None, None, ())

Permit = Callable[[Caller], bool]


def load_protections(
    settings: ProtectionSettings, folders: Sequence[Path], policy: IPolicy, system_folder: Path = _SYSTEM_FOLDER
) -> Protections:
    """
    Read the operator's file, if one is configured (contract section 5.5). Blocks: call it before the reactor runs.

    :param folders: Where the configuration files lie.
    :param policy: Where rules are asked for, if the file names rules.
    :raises SettingsError: It is missing, cannot be read, or says what cannot be. The section is named.
    """
    if settings.file is None:
        return Protections()
    path = _find(settings.file, (*folders, system_folder))
    parser = _parse(path)
    ruled = settings.rule_format == POLICIES
    sections: list[Protection] = []
    problems: list[Problem] = []
    for name in parser.sections():
        try:
            sections.append(_section(name, parser[name], policy if ruled else None))
        except _Flaw as flaw:
            problems.append(Problem(f"section [{name}]: {flaw}", file=str(path)))
    if problems:
        raise SettingsError(tuple(problems))
    return Protections(sections)


class _Flaw(Exception):
    """
    What is wrong with a section.
    """


def _find(name: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        # An absolute name stays as it is when joined.
        if (folder / name).exists():
            return folder / name
    searched = ", ".join(str(folder) for folder in folders)
    reason = f"there is no such file in {searched}"
    raise SettingsError((Problem(reason, None, ProtectionSettings.GROUP, "property_protection_file", name),))


def _parse(path: Path) -> ConfigParser:
    # A percent sign is part of a regular expression, and there is no section whose words hold for all others.
    parser = ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "is not text in UTF-8") from error
    except DuplicateSectionError as error:
        raise _unusable(path, f"section [{error.section}] stands twice") from error
    except DuplicateOptionError as error:
        raise _unusable(path, f"section [{error.section}]: {error.option!r} stands twice") from error
    except Error as error:
        raise _unusable(path, f"is malformed: {error.message}".replace("\n", " ")) from error
    return parser


def _section(name: str, words: SectionProxy, policy: IPolicy | None) -> Protection:
    try:
        pattern = re.compile(name)
    except re.error as error:
        raise _Flaw(f"is no regular expression: {error}") from error
    unknown = sorted(set(words) - set(PropertyAction))
    if unknown:
        raise _Flaw(f"{unknown[0]!r} is none of {', '.join(PropertyAction)}")
    permits = {
        PropertyAction(action): _ruled(action, text.strip(), policy) if policy is not None else _by_role(action, text)
        for action, text in words.items()
    }
    return Protection(pattern, permits)


def _by_role(action: str, text: str) -> Permit:
    roles = frozenset(_split(text))
    if _EVERYBODY in roles and _NOBODY in roles:
        raise _Flaw(f"{action!r} is for everybody (@) and for nobody (!)")
    if _NOBODY in roles:
        return _nobody
    return _everybody if _EVERYBODY in roles else lambda caller: not roles.isdisjoint(caller.roles)


def _ruled(action: str, text: str, policy: IPolicy) -> Permit:
    if text in {"", _NOBODY}:
        return _nobody
    if text == _EVERYBODY:
        return _everybody
    if "," in text:
        raise _Flaw(f"{action!r} must name one policy rule, not {text!r}")
    try:
        policy.allows(text, _STRANGER, {})
    except KeyError as error:
        raise _Flaw(f"{action!r}: there is no policy rule {text!r}") from error
    return partial(_passes, policy, text)


def _passes(policy: IPolicy, rule: str, caller: Caller) -> bool:
    try:
        return policy.allows(rule, caller, {})
    except KeyError:
        # The rule went away with a later version of the policy file.
        return False


def _everybody(_: Caller) -> bool:
    return True


def _nobody(_: Caller) -> bool:
    return False


def _split(text: str) -> Iterator[str]:
    return (word.strip().lower() for word in text.split(",") if word.strip())


def _unusable(path: Path, reason: str) -> SettingsError:
    return SettingsError((Problem(reason, file=str(path)),))
