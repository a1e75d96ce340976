"""
Files in YAML that a configuration names.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from glance_tx.settings.errors import Problem, SettingsError

__all__ = ["read_yaml"]


class _StrictLoader(yaml.SafeLoader):
    """
    Refuses a key that stands twice in one mapping, where the library lets the last one win.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            # Keys that are no scalars are refused by the library itself.
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem="a key stands twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> object:
    """
    Read a document of plain values. Blocks: call it before the reactor runs.

    :raises SettingsError: It cannot be read. The line is named and not quoted, as it may hold a secret.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "is not text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark is not None else ""
        what = "a key stands twice in a mapping" if error.problem == "a key stands twice" else "is not YAML"
        raise _unusable(path, f"{where}{what}") from None
    except yaml.YAMLError:
        raise _unusable(path, "is not YAML") from None


def _unusable(path: Path, reason: str) -> SettingsError:
    return SettingsError((Problem(reason, file=str(path)),))
