"""
Configuration files, read one by one, so that every value can be traced to its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from oslo_config import cfg, iniparser

from glance_tx.settings.errors import Problem

__all__ = ["ConfigFiles", "FileValue", "read_files"]


@frozen
class FileValue:
    """
    A value as written, and where.
    """

    file: Path
    value: str


@frozen
class ConfigFiles:
    """
    What the files say.

    :param paths: The files that could be read, in order; a later one wins.
    :param values: By section and option, the value that counts.
    :param problems: Files that could not be read, and why.
    """

    paths: tuple[Path, ...]
    values: Mapping[tuple[str, str], FileValue]
    problems: tuple[Problem, ...]


def read_files(config_files: Sequence[Path], config_dirs: Sequence[Path]) -> ConfigFiles:
    """
    Read files, then all ``*.conf`` of the folders in the order of their names.

    Sections are case-insensitive, all but ``DEFAULT``, as oslo.config has them.
    """
    paths: list[Path] = []
    values: dict[tuple[str, str], FileValue] = {}
    problems: list[Problem] = []
    wanted = list(config_files)
    for folder in config_dirs:
        if folder.is_dir():
            wanted.extend(sorted(folder.glob("*.conf")))
        else:
            problems.append(Problem("is not a folder, or cannot be read", file=str(folder)))
    for path in wanted:
        try:
            sections = _parse(path)
        except _Unreadable as unreadable:
            problems.append(Problem(str(unreadable), file=str(path)))
            continue
        paths.append(path)
        for section, option, value in _entries(sections):
            values[section, option] = FileValue(path, value)
    return ConfigFiles(tuple(paths), values, tuple(problems))


class _Unreadable(Exception):
    pass


def _parse(path: Path) -> Mapping[str, Mapping[str, Sequence[str]]]:
    sections: dict[str, dict[str, Sequence[str]]] = {}
    try:
        cfg.ConfigParser(str(path), sections).parse()
    except iniparser.ParseError as error:
        # Not the line itself: it may hold a password.
        raise _Unreadable(f"line {error.lineno}: {error.msg}") from error
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _Unreadable("is not text") from error
    return sections


def _entries(sections: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterable[tuple[str, str, str]]:
    for name, options in sections.items():
        section = name if name == "DEFAULT" else name.lower()
        for option, values in options.items():
            yield section, option.replace("-", "_"), values[-1]
