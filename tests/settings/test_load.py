"""
Files become sections, or a list of everything that is wrong with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from attrs import evolve, frozen
from oslo_config import cfg
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.settings import Conflict, Problem, Program, Section, Settings, SettingsError, StockOption, load, option
from glance_tx.settings.declare import declared, describe
from glance_tx.settings.load import NoSuchSection
from glance_tx.settings.stock import StockOptions
from glance_tx.settings.values import HttpUrl
from tests.settings.files import ConfigurationTestCase


@frozen(kw_only=True)
class Basics(Section):
    """
    Some options.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    port: int = option(cfg.PortOpt("port", default=1))
    flag: bool = option(cfg.BoolOpt("flag", default=False))
    word: str | None = option(cfg.StrOpt("word"))
    folder: str = option(cfg.StrOpt("folder", default="/x"))


@frozen(kw_only=True)
class Upstream(Section):
    """
    Some more, in a section of their own.
    """

    GROUP: ClassVar[str] = "upstream"

    urls: tuple[str, ...] = option(cfg.ListOpt("urls", item_type=HttpUrl()), required=True)
    password: str | None = option(cfg.StrOpt("password", secret=True, regex="^[a-z]*$"))
    path: str = option(cfg.StrOpt("path", default="/y"))
    node: str = option(cfg.StrOpt("node"), default=lambda: "computed")
    level: str = option(cfg.StrOpt("level", choices=["low", "high"], default="low"))


def find_conflict(settings: Settings) -> Iterator[Conflict]:
    """
    A high level and a flag do not go together.
    """
    if settings[Upstream].level == "high" and settings[Basics].flag:
        yield Conflict("upstream", "level", "must be low when flag is set")


def find_missing_word(settings: Settings) -> Iterator[Conflict]:
    """
    A flag needs a word.
    """
    if settings[Basics].flag and settings[Basics].word is None:
        yield Conflict("DEFAULT", "word", "is not set, and flag needs it")


PROGRAM = Program(
    name="example",
    sections=(Basics, Upstream),
    checks=(find_conflict, find_missing_word),
    stock=StockOptions(
        [
            StockOption("DEFAULT", "old", "it is old"),
            StockOption("DEFAULT", "shield", "there is no shield", fatal=True, harmless=("off", "No")),
            StockOption("ancient", "*", "all of it is ancient"),
            StockOption("ancient", "armor", "there is no armor", fatal=True),
        ]
    ),
)
UPSTREAM = "[upstream]\nurls = http://a\n"


class GoodTests(ConfigurationTestCase):
    """
    Configurations one can start with.
    """

    def test_defaults(self) -> None:
        """
        What is not written has its default.
        """
        loaded = self.loaded(PROGRAM, UPSTREAM)
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(loaded.settings[Basics], Basics())
        upstream = loaded.settings[Upstream]
        self.assertEqual(
            (upstream.urls, upstream.password, upstream.node, upstream.level), (("http://a",), None, "computed", "low")
        )

    def test_values(self) -> None:
        """
        What is written is converted to its type.
        """
        settings = self.loaded(
            PROGRAM,
            "[DEFAULT]\nport = 80\nflag = yes\nword = 'two words'\n"
            "[Upstream]\nurls = http://a/, https://b:1\nnode=n\npassword=hush\n",
        ).settings
        self.assertEqual(settings[Basics], Basics(port=80, flag=True, word="two words"))
        self.assertEqual(settings[Upstream].urls, ("http://a", "https://b:1"))
        self.assertEqual((settings[Upstream].node, settings[Upstream].password), ("n", "hush"))

    def test_last_wins(self) -> None:
        """
        Of several files the last one that names an option counts; so it is within one file.
        """
        settings = self.loaded(
            PROGRAM, f"[DEFAULT]\nport = 1\nword = a\n{UPSTREAM}", "[DEFAULT]\nport = 2\nport = 3\n"
        ).settings
        self.assertEqual(settings[Basics], Basics(port=3, word="a"))

    def test_folders(self) -> None:
        """
        Files of folders come after the named ones, in the order of their names; other files there are left alone.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        self.write("[DEFAULT]\nport = 5\nword = b\n", str(folder / "20.conf"))
        self.write("[DEFAULT]\nport = 4\nfolder = /z\n", str(folder / "10.conf"))
        self.write("[DEFAULT]\nport = 6\n", str(folder / "30.conf.bak"))
        main = self.write(f"[DEFAULT]\nport = 3\n{UPSTREAM}")
        settings = load(PROGRAM, [main], [folder]).settings
        self.assertEqual(settings[Basics], Basics(port=5, word="b", folder="/z"))
        self.assertEqual(settings.folders, (main.parent, folder))

    def test_interpolation(self) -> None:
        """
        A value may use another one's, across sections; ``$$`` is a dollar sign.
        """
        settings = self.loaded(PROGRAM, f"[DEFAULT]\nfolder = /srv\nword = $upstream.level$$\n{UPSTREAM}path=$folder/z")
        self.assertEqual(settings.settings[Basics].word, "low$")
        self.assertEqual(settings.settings[Upstream].path, "/srv/z")

    def test_empty_value(self) -> None:
        """
        An option that may be unset is unset by an empty value.
        """
        settings = self.loaded(PROGRAM, f"[DEFAULT]\nword =\n{UPSTREAM}node =\n").settings
        self.assertIsNone(settings[Basics].word)
        self.assertEqual(settings[Upstream].node, "computed")

    def test_derived_section(self) -> None:
        """
        A section is found by the class that it is derived from; one that is not there is an error.
        """

        @frozen(kw_only=True)
        class OwnBasics(Basics):
            """
            Another default.
            """

            port: int = option(cfg.PortOpt("port", default=2))

        settings = self.loaded(evolve(PROGRAM, sections=(OwnBasics, Upstream)), UPSTREAM).settings
        self.assertEqual(settings[Basics].port, 2)
        self.assertRaises(NoSuchSection, lambda: Settings(())[Basics])

    def test_environment(self) -> None:
        """
        The environment has no say.
        """
        self.patch(os, "environ", {**os.environ, "OS_DEFAULT__PORT": "99"})
        self.assertEqual(self.loaded(PROGRAM, UPSTREAM).settings[Basics].port, 1)
        # Where a file sets the option, the library by itself would let the environment win.
        self.assertEqual(self.loaded(PROGRAM, f"[DEFAULT]\nport = 2\n{UPSTREAM}").settings[Basics].port, 2)

    def test_usual_places(self) -> None:
        """
        Without names, the program's file and folder in the home folder are found.
        """
        home = Path(self.mktemp()).absolute()
        (home / "example.conf.d").mkdir(parents=True)
        self.write(f"[DEFAULT]\nport = 8\n{UPSTREAM}", str(home / "example.conf"))
        self.write("[DEFAULT]\nword = c\n", str(home / "example.conf.d" / "a.conf"))
        self.patch(os, "environ", {**os.environ, "HOME": str(home)})
        self.assertEqual(load(PROGRAM).settings[Basics], Basics(port=8, word="c"))


class ProblemTests(ConfigurationTestCase):
    """
    Configurations that no program starts with.
    """

    def test_all_at_once(self) -> None:
        """
        Every value that is wrong is told, from all files, with section, option, value and what is allowed.
        """
        self.assertEqual(
            self.problems(
                PROGRAM,
                "[DEFAULT]\nport = 80x\nflag = perhaps\n",
                "[upstream]\nurls = ftp://a\npassword = 123\nlevel = middle\n",
            ),
            [
                "[DEFAULT] port = '80x': must be an integer from 0 to 65535",
                "[DEFAULT] flag = 'perhaps': must be true or false",
                f"[upstream] urls = 'ftp://a': must be {describe(declared(Upstream)['urls'])}",
                "[upstream] password = '(hidden)': must be a text",
                "[upstream] level = 'middle': must be one of low, high",
            ],
        )

    def test_file_is_named(self) -> None:
        """
        A problem names the file that counts.
        """
        good = self.write(f"[DEFAULT]\nport = 80\n{UPSTREAM}")
        bad = self.write("[DEFAULT]\nport = x\n")
        error = self.assertRaises(SettingsError, load, PROGRAM, [good, bad])
        self.assertEqual(
            error.problems, (Problem("must be an integer from 0 to 65535", str(bad), "DEFAULT", "port", "x"),)
        )

    def test_secrets(self) -> None:
        """
        Neither a secret nor a URL with a password where none belongs is shown.
        """
        text = "\n".join(self.problems(PROGRAM, "[upstream]\nurls = http://u:hush@a\npassword = HUSH $hush\n"))
        self.assertNotIn("hush", text.lower())
        self.assertEqual(text.count("(hidden)"), 2)

    def test_long_value(self) -> None:
        """
        A long value is cut.
        """
        self.assertLess(len(self.problems(PROGRAM, f"[DEFAULT]\nport = {'9' * 5000}\n{UPSTREAM}")[0]), 200)

    def test_missing(self) -> None:
        """
        A required option that no file sets is told.
        """
        self.assertEqual(
            self.problems(PROGRAM, "[DEFAULT]\nport = 1\n")[0].partition(";")[0], "[upstream] urls: is not set"
        )

    def test_empty_value(self) -> None:
        """
        An option that has a default, or is required, cannot be emptied.
        """
        self.assertEqual(
            [line.partition(":")[0] for line in self.problems(PROGRAM, "[DEFAULT]\nport =\n[upstream]\nurls =\n")],
            ["[DEFAULT] port = ''", "[upstream] urls = ''"],
        )

    def test_bad_interpolation(self) -> None:
        """
        A dollar sign before what is no option, and options that use each other, are told.
        """
        problems = self.problems(PROGRAM, f"[DEFAULT]\nword = pa$ssword\nfolder = $folder\n{UPSTREAM}path = $no.where")
        self.assertEqual(
            [line.partition(" =")[0] for line in problems],
            [
                "[DEFAULT] word",
                "[DEFAULT] folder",
                "[upstream] path",
            ],
        )
        self.assertTrue(all("a dollar sign itself is written $$" in line for line in problems), problems)

    def test_conflicts(self) -> None:
        """
        Values that do not go together are told, all of them, and where the first to change stands.
        """
        self.assertEqual(
            self.problems(PROGRAM, f"[DEFAULT]\nflag = true\n{UPSTREAM}level = high\n"),
            ["[upstream] level: must be low when flag is set", "[DEFAULT] word: is not set, and flag needs it"],
        )

    def test_conflicts_beside_bad_values(self) -> None:
        """
        A wrong value in one section does not hide a conflict in another.
        """
        self.assertEqual(
            self.problems(PROGRAM, "[DEFAULT]\nflag = true\n[upstream]\nurls = x\n")[1:],
            ["[DEFAULT] word: is not set, and flag needs it"],
        )

    def test_other_sources(self) -> None:
        """
        Values from elsewhere, which the library would fetch, are refused.
        """
        self.assertEqual(
            self.problems(PROGRAM, f"[DEFAULT]\nconfig_source = remote\n{UPSTREAM}[remote]\ndriver = remote_file\n"),
            ["[DEFAULT] config_source: not supported: only files are read"],
        )


class FileTests(ConfigurationTestCase):
    """
    Files that cannot be read.
    """

    def error(self, *paths: Path, folders: tuple[Path, ...] = ()) -> str:
        """
        What is wrong with some files.
        """
        return str(self.assertRaises(SettingsError, load, PROGRAM, list(paths), list(folders)))

    def test_missing(self) -> None:
        """
        Files and folders that are not there are told, each.
        """
        self.assertEqual(
            self.error(Path("/nonexistent/a"), Path("/nonexistent/b"), folders=(Path("/nonexistent/c"),)).splitlines(),
            [
                "/nonexistent/c: is not a folder, or cannot be read",
                "/nonexistent/a: cannot be read: No such file or directory",
                "/nonexistent/b: cannot be read: No such file or directory",
            ],
        )

    def test_no_file(self) -> None:
        """
        A folder in place of a file is told.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertEqual(self.error(folder), f"{folder}: cannot be read: Is a directory")

    def test_unreadable(self) -> None:
        """
        A file that the daemon may not read is told.
        """
        path = self.write(UPSTREAM)
        path.chmod(0)
        if os.access(path, os.R_OK):
            raise self.skipTest("this user reads every file")
        self.assertEqual(self.error(path), f"{path}: cannot be read: Permission denied")

    def test_syntax(self) -> None:
        """
        A line that is none is told with its number and without its text, which may be a password.
        """
        for text, reason in {
            "[DEFAULT]\nport = 1\nhush\n": "line 3: No ':' or '=' found in assignment",
            "[DEFAULT\nport = 1\n": "line 1: Invalid section (must end with ])",
            "port = 1\n": "line 1: Section must be started before assignment",
            "[DEFAULT]\n= hush\n": "line 2: Key cannot be empty",
        }.items():
            path = self.write(text)
            self.assertEqual(self.error(path), f"{path}: {reason}")

    def test_not_text(self) -> None:
        """
        A file that is no text is told.
        """
        path = Path(self.mktemp())
        path.write_bytes(b"[DEFAULT]\nword = \xff\n")
        self.assertEqual(self.error(path), f"{path}: is not text")

    def test_others_are_checked(self) -> None:
        """
        Beside an unreadable file the values of the others are checked; what is missing may be in the unreadable one.
        """
        path = self.write("[DEFAULT]\nport = x\nflag = true\n")
        self.assertEqual(
            self.error(Path("/nonexistent/a"), path).splitlines(),
            [
                "/nonexistent/a: cannot be read: No such file or directory",
                f"{path}: [DEFAULT] port = 'x': must be an integer from 0 to 65535",
            ],
        )


class StrangerTests(ConfigurationTestCase):
    """
    Options that the program does not have.
    """

    def warnings(self, *texts: str) -> list[str]:
        """
        What a good configuration is warned about, without names of files.
        """
        return [str(warning).partition(": ")[2] for warning in self.loaded(PROGRAM, *texts).warnings]

    def test_unknown(self) -> None:
        """
        Each unknown option is warned about once, with a guess where there is one, and never with its value.
        """
        self.assertEqual(
            self.warnings(
                f"[DEFAULT]\nprot = 1\nprot = 2\n{UPSTREAM}[nowhere]\nhush = hush2\n", "[DEFAULT]\nprot = 3\n"
            ),
            [
                "[DEFAULT] prot: no effect: example has no such option; did you mean [DEFAULT] port?",
                "[nowhere] hush: no effect: example has no such option",
            ],
        )

    def test_wrong_section(self) -> None:
        """
        An option in another section than its own is unknown.
        """
        self.assertEqual(len(self.warnings(f"{UPSTREAM}port = 80\n")), 1)

    def test_stock(self) -> None:
        """
        An option of stock's without meaning here is warned about, with the reason; a whole section option by option.
        """
        self.assertEqual(
            self.warnings(f"[DEFAULT]\nold = 1\n{UPSTREAM}[ancient]\na = 1\nb = 2\n"),
            [
                "[DEFAULT] old: no effect: it is old",
                "[ancient] a: no effect: all of it is ancient",
                "[ancient] b: no effect: all of it is ancient",
            ],
        )

    def test_fatal(self) -> None:
        """
        One that promises protection is fatal, beside all other problems.
        """
        self.assertEqual(
            self.problems(PROGRAM, f"[DEFAULT]\nshield = on\nport = x\n{UPSTREAM}[ancient]\narmor = thick\n"),
            [
                "[DEFAULT] shield: not supported: there is no shield",
                "[ancient] armor: not supported: there is no armor",
                "[DEFAULT] port = 'x': must be an integer from 0 to 65535",
            ],
        )

    def test_harmless(self) -> None:
        """
        Neither fatal nor worth a word is a value that asks for what is done anyway, an empty one included.
        """
        for value in ("off", "OFF", "no", ""):
            self.assertEqual(self.warnings(f"[DEFAULT]\nshield = {value}\n{UPSTREAM}"), [])


class ProblemTextTests(SynchronousTestCase):
    """
    `SettingsError` as text.
    """

    def test_lines(self) -> None:
        """
        Each problem is one line.
        """
        error = SettingsError((Problem("is bad", "f", "s", "o", "v\nw"), Problem("is worse")))
        self.assertEqual(str(error), "f: [s] o = 'v\\nw': is bad\nis worse")
