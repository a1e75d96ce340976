"""
Writes the sample files and the reference of options and rules: ``python -m glance_tx.commands.sample_config``.

For those who change an option or a rule, in a checkout. A test compares what is there with what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

from glance_tx.policy.reference import policy_sample, rules_page
from glance_tx.settings import Program
from glance_tx.settings.reference import reference_page, sample_file

__all__ = ["main", "render"]

_PROGRAMS: Final = ("glance_tx.configuration:GLANCE_API", "glance_cache.configuration:GLANCE_CACHE")
"""By name: the two daemons stand on the same ground and do not import each other."""


def render() -> Mapping[Path, str]:
    """
    Make the files, by their paths in the checkout.
    """
    programs: list[Program] = [resolve_name(name) for name in _PROGRAMS]
    files = {Path("etc") / f"{program.name}.conf.sample": sample_file(program) for program in programs}
    files[Path("docs") / "configuration-options.inc"] = "\n\n".join(
        [".. Made by python -m glance_tx.commands.sample_config; do not edit.", *map(reference_page, programs)]
    )
    files[Path("etc") / "policy.yaml.sample"] = policy_sample()
    files[Path("docs") / "policy-rules.inc"] = rules_page()
    return files


def main(arguments: Sequence[str]) -> int:
    """
    Write the files.

    :param arguments: The root of the checkout; the current folder where it is left out.
    :return: The exit status.
    """
    if len(arguments) > 1:
        print("usage: python -m glance_tx.commands.sample_config [FOLDER]", file=sys.stderr)
        return 2
    root = Path(arguments[0]) if arguments else Path()
    for path, text in render().items():
        target = root / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
