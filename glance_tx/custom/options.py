"""
Options that say which custom properties are protected.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option

__all__ = ["POLICIES", "ROLES", "ProtectionSettings"]

ROLES = "roles"
POLICIES = "policies"


@frozen(kw_only=True)
class ProtectionSettings(Section):
    """
    Protected properties.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    file: str | None = option(
        cfg.StrOpt(
            "property_protection_file",
            help="A file that says who may create, read, update and delete which custom properties: sections are "
            "regular expressions for names, the first that fits decides, and what none of them allows is nobody's, "
            "administrators included. A name without folder is looked for beside the configuration files and in "
            "/etc/glance. Unset, as in stock: nothing is protected.",
        )
    )
    rule_format: str = option(
        cfg.StrOpt(
            "property_protection_rule_format",
            choices=(ROLES, POLICIES),
            default=ROLES,
            help="What stands in property_protection_file: lists of roles, or the name of one policy rule each. "
            "Stock's default.",
        )
    )
