"""
Sample files and the reference are made from the declarations, and are what is in the tree.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from glance_cache.configuration import GLANCE_CACHE
from glance_tx.commands.sample_config import main, render
from glance_tx.configuration import GLANCE_API
from glance_tx.settings import Program
from glance_tx.settings.declare import declared
from glance_tx.settings.reference import reference_page, sample_file
from tests.settings.files import ConfigurationTestCase

ROOT = Path(__file__).parent.parent.parent


def uncommented(program: Program) -> str:
    """
    A sample with every option switched on, but for those that have no default.
    """
    return "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in sample_file(program).splitlines()
        if not line.startswith("#   ") and "<" not in line and not line.startswith("#lock_path")
    )


class ReferenceTests(ConfigurationTestCase):
    """
    `sample_file`, `reference_page` and the command that writes them.
    """

    def test_tree(self) -> None:
        """
        The files of the source tree are what ``python -m glance_tx.commands.sample_config`` writes.
        """
        for path, text in render().items():
            self.assertEqual((ROOT / path).read_text(), text, f"{path} is out of date: run the command")

    def test_samples_say_defaults(self) -> None:
        """
        A sample as it is, and with all its comments taken as they stand, means the defaults.
        """
        auth = "[auth]\nstrategy = tokens\ntokens_file = /t\n"
        plain = self.loaded(GLANCE_API, sample_file(GLANCE_API), auth)
        taken = self.loaded(GLANCE_API, uncommented(GLANCE_API), auth)
        self.assertEqual((plain.warnings, taken.warnings), ((), ()))
        for kind in GLANCE_API.sections:
            self.assertEqual(plain.settings[kind], taken.settings[kind])

    def test_cache_sample(self) -> None:
        """
        The cache's sample is refused for what it cannot know only.
        """
        problems = self.problems(GLANCE_CACHE, sample_file(GLANCE_CACHE))
        self.assertEqual(
            [line.partition(":")[0] for line in problems], ["[DEFAULT] image_cache_dir", "[upstream] urls"]
        )

    def test_every_option(self) -> None:
        """
        Sample and reference name every option.
        """
        for program in (GLANCE_API, GLANCE_CACHE):
            for kind in program.sections:
                for opt in declared(kind).values():
                    self.assertIn(f"\n#{opt.name} = ", sample_file(program))
                    self.assertIn(f"\n``{opt.name}``\n", reference_page(program))

    def test_command(self) -> None:
        """
        The command writes below the folder that it is given, and says where.
        """
        root = Path(self.mktemp())
        root.mkdir()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(main([str(root)]), 0)
        self.assertEqual(sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()), sorted(render()))
        self.assertEqual(len(out.getvalue().splitlines()), len(render()))

    def test_usage(self) -> None:
        """
        More than one folder is one too many.
        """
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            self.assertEqual(main(["a", "b"]), 2)
        self.assertIn("usage:", out.getvalue())
