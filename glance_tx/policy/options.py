"""
Options that say where an operator's own rules are.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option

__all__ = ["DEFAULT_POLICY_FILE", "PolicySettings"]

DEFAULT_POLICY_FILE = "policy.yaml"


@frozen(kw_only=True)
class PolicySettings(Section):
    """
    Rules of an operator's own, in place of built-in ones of the same name.
    """

    GROUP: ClassVar[str] = "oslo_policy"

    policy_file: str = option(
        cfg.StrOpt(
            "policy_file",
            default=DEFAULT_POLICY_FILE,
            help="A file of rules, in YAML or JSON. A name without folder is looked for beside the configuration "
            "files and in /etc/glance. The default may be missing (then policy.json is looked for, and else the "
            "built-in rules hold); a file named here may not. Read at start, and anew when it changes.",
        )
    )
    policy_dirs: tuple[str, ...] = option(
        cfg.MultiStrOpt(
            "policy_dirs",
            default=["policy.d"],
            help="A folder of further files of rules, read after policy_file in the order of their names; may be "
            "given several times. A folder that is missing is passed over. Changes are seen as those of policy_file.",
        )
    )
