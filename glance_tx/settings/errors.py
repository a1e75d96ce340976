"""
What is wrong with a configuration.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from glance_tx.errors import FactualError

__all__ = ["Problem", "SettingsError"]

_VALUE_LIMIT: Final = 100


@frozen
class Problem:
    """
    One thing that an operator should change, or at least know.

    :param reason: What is the matter, and what is allowed.
    :param file: Where it is written; ``None`` where nothing is written.
    :param section: Without brackets; ``None`` where the file as a whole is meant.
    :param option: ``None`` where the file as a whole is meant.
    :param value: As written; ``None`` where it is not to be shown.
    """

    reason: str
    file: str | None = None
    section: str | None = None
    option: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file is not None else ""
        if self.option is None:
            return f"{where}{self.reason}"
        name = f"[{self.section}] {self.option}"
        if self.value is not None:
            shown = self.value if len(self.value) <= _VALUE_LIMIT else f"{self.value[:_VALUE_LIMIT]}..."
            name = f"{name} = {shown!r}"
        return f"{where}{name}: {self.reason}"


@frozen
class SettingsError(FactualError):
    """
    A configuration that no program can start with. Carries everything that is wrong with it, not only the first.
    """

    message = "{self.text}"
    problems: tuple[Problem, ...]

    @property
    def text(self) -> str:
        """
        One line for each problem.
        """
        return "\n".join(str(problem) for problem in self.problems)
