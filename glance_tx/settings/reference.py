"""
What is written about options, made from their declarations: sample files, and the pages of the reference.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from oslo_config import cfg

from glance_tx.settings.declare import Section, declared, describe, is_required
from glance_tx.settings.load import Program

__all__ = ["reference_page", "sample_file"]

_WIDTH: Final = 100


def sample_file(program: Program) -> str:
    """
    Write a configuration file in which every option is explained and set to its default in a comment.
    """
    lines = [
        f"# Configuration of {program.name}. Made from the options' declarations; do not edit this sample.",
        "# Every option is shown with its default. Remove the # before one to change it.",
    ]
    for group, sections in _by_group(program):
        lines += ["", "", f"[{group}]"]
        for section in sections:
            lines += ["", *_commented(_summary(section))]
            for name, opt in declared(section).items():
                lines += ["", *_commented(opt.help or ""), *_commented(f"Allowed: {describe(opt)}."), *_choices(opt)]
                if is_required(section, name):
                    lines.append("# Required: there is no default.")
                lines.append(f"#{opt.name} = {_default(opt)}".rstrip())
    return "\n".join(lines) + "\n"


def reference_page(program: Program) -> str:
    """
    Write the options down in reStructuredText, for a page that has a title.
    """
    lines = [program.name, "~" * len(program.name)]
    for group, sections in _by_group(program):
        title = f"[{group}]"
        lines += ["", title, "^" * len(title)]
        for section in sections:
            lines += ["", _summary(section)]
            for name, opt in declared(section).items():
                lines += ["", f"``{opt.name}``"]
                lines += textwrap.wrap(opt.help or "", _WIDTH, initial_indent="    ", subsequent_indent="    ")
                lines += ["", f"    Allowed: {describe(opt)}."]
                lines += [f"    {line}" for line in _choice_list(opt)]
                lines += ["", f"    Default: {_spoken_default(section, name, opt)}."]
    return "\n".join(lines) + "\n"


def _by_group(program: Program) -> Iterator[tuple[str, Sequence[type[Section]]]]:
    groups: dict[str, list[type[Section]]] = {}
    for section in program.sections:
        groups.setdefault(section.GROUP, []).append(section)
    yield from groups.items()


def _summary(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _explained(opt: cfg.Opt) -> Iterator[tuple[str, str]]:
    """
    List the values that an option explains one by one.
    """
    choices = getattr(opt.type, "choices", None) or {}
    yield from ((str(value), meaning) for value, meaning in choices.items() if meaning)


def _choices(opt: cfg.Opt) -> list[str]:
    return [f"#   {value}: {meaning}" for value, meaning in _explained(opt)]


def _choice_list(opt: cfg.Opt) -> list[str]:
    lines = [f"- ``{value}``: {meaning}" for value, meaning in _explained(opt)]
    return ["", *lines] if lines else []


def _default(opt: cfg.Opt) -> str:
    if opt.sample_default is not None:
        return str(opt.sample_default)
    if opt.default is None:
        return "<unset>"
    if isinstance(opt.default, bool):
        return str(opt.default).lower()
    if isinstance(opt.default, list):
        return ",".join(map(str, opt.default))
    return str(opt.default)


def _spoken_default(section: type[Section], name: str, opt: cfg.Opt) -> str:
    if is_required(section, name):
        return "none; it must be set"
    if opt.default is None and opt.sample_default is None:
        return "unset"
    return f"``{_default(opt)}``"
