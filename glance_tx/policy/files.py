"""
Files of rules: found and read when a daemon starts, and anew when they change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.policy.errors import BadRule
from glance_tx.policy.options import DEFAULT_POLICY_FILE, PolicySettings
from glance_tx.policy.rules import DEFAULT_RULES
from glance_tx.settings import Problem, SettingsError
from glance_tx.settings.watch import Source, Stamp, stamp_of
from glance_tx.settings.yamlfile import read_yaml

__all__ = ["LoadedPolicy", "load_policy"]

_SYSTEM_FOLDER: Final = Path("/etc/glance")
_OLD_POLICY_FILE: Final = "policy.json"


@frozen
class _Reading:
    policy: PolicyEnforcer
    files: tuple[Path, ...]
    warnings: tuple[Problem, ...]


@frozen
class LoadedPolicy:
    """
    Rules one can start with.

    :param files: Where an operator's own came from.
    :param warnings: What was written and has no effect, for the log.
    :param source: The same files, for whoever watches them: ``policy`` changes when they do.
    """

    policy: PolicyEnforcer
    files: tuple[Path, ...]
    warnings: tuple[Problem, ...]
    source: Source[Any]


def load_policy(
    settings: PolicySettings, folders: Sequence[Path], system_folder: Path = _SYSTEM_FOLDER
) -> LoadedPolicy:
    """
    Read an operator's rules. Blocks: call it before the reactor runs.

    :param folders: Where the configuration files lie.
    :raises SettingsError: A file is missing, cannot be read, or holds rules that cannot be used.
    """
    folders = (*folders, system_folder)
    stamp = _stamp(settings, folders)
    first = _load(settings, folders)

    def use(reading: _Reading) -> Iterable[Problem]:
        first.policy.adopt(reading.policy)
        return reading.warnings

    source = Source("policy", stamp, partial(_stamp, settings, folders), partial(_load, settings, folders), use)
    return LoadedPolicy(first.policy, first.files, first.warnings, source)


def _stamp(settings: PolicySettings, folders: Sequence[Path]) -> Stamp:
    # Files that are not there yet included: one that appears may go before one that is used.
    paths = [folder / name for name in (settings.policy_file, _OLD_POLICY_FILE) for folder in folders]
    for name in settings.policy_dirs:
        for folder in folders:
            try:
                paths.extend(_listed(folder / name))
            except OSError:
                # It is no folder, or not to be read; whether that matters turns out when it is read.
                paths.append(folder / name)
    return stamp_of(paths)


def _load(settings: PolicySettings, folders: Sequence[Path]) -> _Reading:
    try:
        files = list(_find(settings, folders))
    except OSError as error:
        raise SettingsError((Problem(f"cannot be read: {error.strerror}", file=str(error.filename)),)) from error
    rules: dict[str, object] = {}
    origin: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in files:
        try:
            found = _read(path)
        except SettingsError as error:
            problems.extend(error.problems)
            continue
        rules.update(found)
        origin.update(dict.fromkeys(found, path))
    if problems:
        raise SettingsError(tuple(problems))
    return _Reading(_enforcer(rules, origin), tuple(files), tuple(_unknown(rules, origin)))


def _enforcer(rules: Mapping[str, object], origin: Mapping[str, Path]) -> PolicyEnforcer:
    try:
        return PolicyEnforcer(rules)
    except BadRule as error:
        file = str(origin[error.name]) if error.name in origin else None
        raise SettingsError((Problem(str(error), file=file),)) from error


def _unknown(rules: Mapping[str, object], origin: Mapping[str, Path]) -> Iterator[Problem]:
    """
    Find rules that nothing asks for. One that other rules refer to is a building block, and none of them.
    """
    used = " ".join(str(rule) for rule in rules.values())
    for name in rules:
        if name not in DEFAULT_RULES and f"rule:{name}" not in used:
            yield Problem(f"no effect: nothing asks for rule {name!r}", file=str(origin[name]))


def _find(settings: PolicySettings, folders: Sequence[Path]) -> Iterator[Path]:
    main = _first(settings.policy_file, folders)
    if main is None and settings.policy_file == DEFAULT_POLICY_FILE:
        main = _first(_OLD_POLICY_FILE, folders)
    elif main is None:
        searched = ", ".join(str(folder) for folder in folders)
        reason = f"there is no such file in {searched}"
        raise SettingsError((Problem(reason, None, PolicySettings.GROUP, "policy_file", settings.policy_file),))
    if main is not None:
        yield main
    for name in settings.policy_dirs:
        folder = _first(name, folders)
        if folder is not None and folder.is_dir():
            yield from (path for path in _listed(folder) if path.is_file())


def _listed(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _first(name: str, folders: Sequence[Path]) -> Path | None:
    # An absolute name stays as it is when joined.
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def _read(path: Path) -> Mapping[str, object]:
    # JSON is YAML, for these purposes.
    document = read_yaml(path)
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise SettingsError((Problem("must be a mapping from names to rules", file=str(path)),))
    return document
