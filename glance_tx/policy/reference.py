"""
What is written about rules, made from the rules: the sample file, and the table of the documentation.
"""

from __future__ import annotations

import textwrap
from typing import Final

from glance_tx.policy.guards import GUARDS, Guard
from glance_tx.policy.rules import DEFAULT_RULES

__all__ = ["policy_sample", "rules_page"]

_WIDTH: Final = 100


def policy_sample() -> str:
    """
    Write a file of rules in which every rule is explained and set to its default in a comment.
    """
    lines = [
        "# Rules of glance-api and glance-cache. Made from the built-in rules; do not edit this sample.",
        "# Every rule is shown with its default. Write those that are to be different into policy.yaml.",
    ]
    for name, guard in GUARDS.items():
        lines += ["", *textwrap.wrap(_sentence(guard), _WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines += [f"#   {route}" for route in guard.routes]
        lines.append(f'#"{name}": "{DEFAULT_RULES[name]}"')
    return "\n".join(lines) + "\n"


def rules_page() -> str:
    """
    Write the rules down in reStructuredText, for a page that has a title.
    """
    lines = [".. Made by python -m glance_tx.commands.sample_config; do not edit."]
    for name, guard in GUARDS.items():
        text = textwrap.wrap(_sentence(guard), _WIDTH, initial_indent="    ", subsequent_indent="    ")
        lines += ["", f"``{name}``", *text]
        lines += ["", *(f"    | ``{route}``" for route in guard.routes)] if guard.routes else []
        lines += ["", f"    {_default(DEFAULT_RULES[name])}"]
    return "\n".join(lines) + "\n"


def _sentence(guard: Guard) -> str:
    return f"{guard.meaning[0].upper()}{guard.meaning[1:]}."


def _default(rule: str) -> str:
    return f"Default: ``{rule}``" if rule else "Default: everybody."
