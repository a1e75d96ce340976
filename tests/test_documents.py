"""
What the documents say of the code, where that can be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("*.rst", "docs/**/*.rst", "bench/*.rst")
CODE = ("glance_tx/**/*.py", "proxy/**/*.py", "tests/**/*.py", "bench/*.py")

_CITED = re.compile(r"contract(?: sections?)? (\d+\.\d+(?:(?:, | and )\d+\.\d+)*)")
_HEADING = re.compile(r"^(\d+\.\d+) .+\n~+$", re.MULTILINE)
# Whole paths only: none that go on with a wildcard, or are the end of a longer one.
_PATH = re.compile(r"(?<![\w/.$-])(?:glance_tx|proxy|tests|bench|docs|etc|twisted)/[\w./-]+(?![\w*$])")
_TEST_FILE = re.compile(r"``([a-z]+/test_\w+\.py)``")
_TEST = re.compile(r"``([A-Z]\w+Tests)(?:\.(test_\w+))?``")


def texts(patterns: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """
    Read all files of some patterns.
    """
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            # Written by tools, from text that is checked where it stands.
            if "_build" not in path.parts:
                yield path, path.read_text(encoding="utf-8")


class DocumentTests(SynchronousTestCase):
    """
    Documents speak of things that are there.
    """

    def test_contract(self) -> None:
        """
        Every section of the contract that code cites is a heading of its page.
        """
        headings = set(_HEADING.findall((ROOT / "docs" / "contract.rst").read_text(encoding="utf-8")))
        cited = {
            number: path.name
            for path, text in texts(CODE)
            for numbers in _CITED.findall(re.sub(r"\s+#? *", " ", text))
            for number in re.findall(r"\d+\.\d+", numbers)
        }
        self.assertGreater(len(cited), 10)
        self.assertEqual({number: cited[number] for number in cited.keys() - headings}, {})

    def test_paths(self) -> None:
        """
        Every path that a document names leads somewhere.
        """
        named = {(path.name, found.rstrip(".")) for path, text in texts(DOCUMENTS) for found in _PATH.findall(text)}
        self.assertGreater(len(named), 20)
        # README's table of promises has paths below tests/.
        lost = [(name, found) for name, found in sorted(named) if not (ROOT / found).exists()]
        self.assertEqual([(name, found) for name, found in lost if not (ROOT / "tests" / found).exists()], [])

    def test_promises(self) -> None:
        """
        Every test that README names for a promise is there.
        """
        readme = (ROOT / "README.rst").read_text(encoding="utf-8")
        files = _TEST_FILE.findall(readme)
        self.assertGreater(len(files), 8)
        self.assertEqual([name for name in files if not (ROOT / "tests" / name).is_file()], [])
        tests = "\n".join((ROOT / "tests" / name).read_text(encoding="utf-8") for name in files)
        for owner, name in _TEST.findall(readme):
            self.assertIn(f"class {owner}(", tests)
            if name:
                self.assertIn(f"def {name}(", tests)
