"""
From files to frozen sections, with all that is wrong told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen
from oslo_config import cfg

from glance_tx.settings.declare import Section, declared, describe, is_required
from glance_tx.settings.errors import Problem, SettingsError
from glance_tx.settings.files import ConfigFiles, read_files
from glance_tx.settings.stock import StockOptions
from glance_tx.settings.values import Words

__all__ = ["Conflict", "Loaded", "NoSuchSection", "Program", "Settings", "load"]

_S = TypeVar("_S", bound=Section)


class NoSuchSection(KeyError):
    """
    A section that the program does not declare, or, while it is checked, one with values that are wrong.
    """


@frozen
class Settings:
    """
    All sections of one program.

    :param folders: Where the configuration files lie: files that they name without a folder are looked for there.
    """

    _sections: tuple[Section, ...]
    folders: tuple[Path, ...] = ()

    def __getitem__(self, kind: type[_S]) -> _S:
        """
        Fetch a section by its class, or by a class it is derived from.

        :raises NoSuchSection: The program has none such.
        """
        for section in self._sections:
            if isinstance(section, kind):
                return section
        raise NoSuchSection(kind)


@frozen
class Conflict:
    """
    Values that are right each by itself, and wrong together.

    :param section: And ``option``: where the operator should look first.
    """

    section: str
    option: str
    reason: str


@frozen
class Program:
    """
    What a program lets an operator say.

    :param name: Of the program, and of its file where none is named (``glance-api.conf``).
    :param sections: In the order of the sample file.
    :param checks: Find conflicts between sections that are right each by itself.
    :param stock: What stock Glance has and this program has not.
    """

    name: str
    sections: tuple[type[Section], ...]
    checks: tuple[Callable[[Settings], Iterable[Conflict]], ...] = ()
    stock: StockOptions = field(factory=StockOptions)


@frozen
class Loaded:
    """
    A configuration one can start with.

    :param warnings: What was written and has no effect, for the log.
    """

    settings: Settings
    warnings: tuple[Problem, ...]


def load(program: Program, config_files: Sequence[Path] = (), config_dirs: Sequence[Path] = ()) -> Loaded:
    """
    Read a program's configuration. Blocks: call it before the reactor runs.

    With neither files nor folders named, the usual places are searched: ``~/.glance``, ``~``, ``/etc/glance`` and
    ``/etc``, for ``<name>.conf`` and ``<name>.conf.d``. The environment is not looked at.

    :raises SettingsError: Something is wrong; everything that is, is in it.
    """
    if not config_files and not config_dirs:
        config_files = [Path(found) for found in cfg.find_config_files(prog=program.name)]
        config_dirs = [Path(found) for found in cfg.find_config_dirs(prog=program.name)]
    return _Loading(program, config_files, config_dirs).result()


class _Loading:
    """
    One run of `load`.
    """

    def __init__(self, program: Program, config_files: Sequence[Path], config_dirs: Sequence[Path]) -> None:
        self._program = program
        self._files: ConfigFiles = read_files(config_files, config_dirs)
        self._folders = tuple(dict.fromkeys([*(path.parent for path in config_files), *config_dirs]))
        self._problems = list(self._files.problems)
        self._warnings: list[Problem] = []

    def result(self) -> Loaded:
        self._look_for_strangers()
        conf = self._parse()
        if conf is not None:
            sections = [made for kind in self._program.sections if (made := self._section(conf, kind)) is not None]
            settings = Settings(tuple(sections), self._folders)
            self._problems.extend(self._conflicts(settings))
            if not self._problems:
                return Loaded(settings, tuple(self._warnings))
        raise SettingsError(tuple(self._problems))

    def _look_for_strangers(self) -> None:
        """
        Report what is written and is no option of this program.
        """
        own = {(kind.GROUP, opt.name) for kind in self._program.sections for opt in declared(kind).values()}
        for (section, option), written in self._files.values.items():
            if (section, option) in own:
                continue
            file = str(written.file)
            stock = self._program.stock.find(section, option)
            if stock is None:
                self._warnings.append(Problem(self._unknown(section, option, own), file, section, option))
            elif stock.asks_for_nothing(written.value):
                continue
            elif stock.fatal:
                self._problems.append(Problem(f"not supported: {stock.reason}", file, section, option))
            else:
                self._warnings.append(Problem(f"no effect: {stock.reason}", file, section, option))

    def _unknown(self, section: str, option: str, own: Iterable[tuple[str, str]]) -> str:
        names = [f"[{group}] {name}" for group, name in own]
        close = difflib.get_close_matches(f"[{section}] {option}", names, n=1, cutoff=0.8)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"no effect: {self._program.name} has no such option{hint}"

    def _parse(self) -> cfg.ConfigOpts | None:
        # oslo.config would go and fetch values from there.
        sourced = self._files.values.get(("DEFAULT", "config_source"))
        if sourced is not None:
            self._problems.append(
                Problem("not supported: only files are read", str(sourced.file), "DEFAULT", "config_source")
            )
            return None
        conf = cfg.ConfigOpts()
        for kind in self._program.sections:
            conf.register_opts(declared(kind).values(), None if kind.GROUP == "DEFAULT" else kind.GROUP)
        conf(
            [],
            prog=self._program.name,
            default_config_files=[str(path) for path in self._files.paths],
            default_config_dirs=[],
            use_env=False,
        )
        return conf

    def _section(self, conf: cfg.ConfigOpts, kind: type[_S]) -> _S | None:
        values: dict[str, Any] = {}
        complete = True
        for name, opt in declared(kind).items():
            try:
                value = self._value(conf, kind, name, opt)
            except _Refused as refused:
                complete = False
                if refused.problem.file is not None or self._all_read:
                    self._problems.append(refused.problem)
                continue
            if value is not None:
                values[name] = value
        return kind(**values) if complete else None

    def _value(self, conf: cfg.ConfigOpts, kind: type[Section], name: str, opt: cfg.Opt) -> object:
        """
        Convert one value; ``None`` leaves the field at its default.

        :raises _Refused: It is not what the option allows.
        """
        written = self._files.values.get((kind.GROUP, opt.name))
        if written is None:
            if is_required(kind, name):
                raise _Refused(Problem(f"is not set; must be {describe(opt)}", None, kind.GROUP, opt.name))
            return None
        # What has an "@" may be a URL with a password where none belongs.
        shown = "(hidden)" if opt.secret or "@" in written.value else written.value
        where = (str(written.file), kind.GROUP, opt.name, shown)
        if not written.value.strip() and not isinstance(opt.type, Words):
            # An option that may be unset is unset by an empty value.
            if is_required(kind, name) or opt.default is not None:
                raise _Refused(Problem(f"must be {describe(opt)}", *where))
            return None
        try:
            return (conf if kind.GROUP == "DEFAULT" else conf[kind.GROUP])[opt.name]
        except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError, RecursionError) as error:
            reason = "refers by $ to what is no option of this program; a dollar sign itself is written $$"
            raise _Refused(Problem(reason, *where)) from error
        except ValueError as error:
            # Not the error's own text: it may repeat a secret.
            raise _Refused(Problem(f"must be {describe(opt)}", *where)) from error

    def _conflicts(self, settings: Settings) -> Iterator[Problem]:
        for check in self._program.checks:
            try:
                conflicts = list(check(settings))
            except NoSuchSection:
                # Reported already, with what is wrong in it.
                continue
            for conflict in conflicts:
                written = self._files.values.get((conflict.section, conflict.option))
                if written is not None:
                    yield Problem(conflict.reason, str(written.file), conflict.section, conflict.option)
                elif self._all_read:
                    yield Problem(conflict.reason, None, conflict.section, conflict.option)

    @property
    def _all_read(self) -> bool:
        """
        Whether what is not written is known to be missing: a file that could not be read may hold it.
        """
        return not self._files.problems


class _Refused(Exception):
    """
    A value that is not allowed.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
