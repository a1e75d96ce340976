"""
Configuration files for tests.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.settings import Loaded, Program, SettingsError, load


class ConfigurationTestCase(SynchronousTestCase):
    """
    Writes configuration files and loads them.
    """

    def write(self, text: str, name: str | None = None) -> Path:
        """
        Write one file.
        """
        path = Path(name if name is not None else self.mktemp())
        path.write_text(text)
        return path

    def loaded(self, program: Program, *texts: str) -> Loaded:
        """
        Load some files.
        """
        return load(program, [self.write(text) for text in texts])

    def problems(self, program: Program, *texts: str) -> list[str]:
        """
        What is wrong with some files, without the names of those.
        """
        paths = [self.write(text) for text in texts]
        error = self.assertRaises(SettingsError, load, program, paths)
        text = str(error)
        for path in paths:
            text = text.replace(f"{path}: ", "")
        return text.splitlines()
