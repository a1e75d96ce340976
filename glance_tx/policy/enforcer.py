"""
Rules in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from zope.interface import implementer

from glance_tx.identity.caller import Caller
from glance_tx.policy.compiler import compile_rules
from glance_tx.policy.interfaces import IPolicy
from glance_tx.policy.rules import DEFAULT_RULES

__all__ = ["PolicyEnforcer"]

_KNOWN_OF_CALLERS: Final = frozenset(
    {
        "roles",
        "service_roles",
        "user_id",
        "user",
        "user_domain_id",
        "project_id",
        "tenant",
        "project_domain_id",
        "is_admin_project",
    }
)
_NOT_OF_PROJECTS: Final = frozenset({"system_scope", "domain_id"})
"""What a token of a project never has, here and in stock Glance. Rules may ask for it, in vain."""


@implementer(IPolicy)
class PolicyEnforcer:
    """
    The built-in rules, with an operator's own in place of those of the same name.

    Everything is parsed here; no file is looked at when a question is asked.

    :param overrides: The operator's rules by name. Names of their own serve rules that refer to them.
    :raises BadRule: A rule cannot be used.
    """

    def __init__(self, overrides: Mapping[str, object] | None = None) -> None:
        self._rules = compile_rules({**DEFAULT_RULES, **(overrides or {})}, _KNOWN_OF_CALLERS | _NOT_OF_PROJECTS)

    def allows(self, rule: str, caller: Caller, target: Mapping[str, object]) -> bool:
        """
        Tell whether a rule passes (see `IPolicy`).

        What is ``None`` in a target counts as absent: no caller without a project owns what has no owner.

        All rules are about projects (stock Glance's ``enforce_scope``): none passes for who acts for a domain or
        for the cloud as such.

        :raises KeyError: There is no such rule. Nothing stands in for it, so a misspelled name never passes.
        """
        passes = self._rules[rule]
        if caller.is_outside_projects:
            return False
        known = {name: value for name, value in target.items() if value is not None}
        return passes(known, _credentials(caller))

    def adopt(self, other: PolicyEnforcer) -> None:
        """
        Answer by another one's rules from now on.
        """
        self._rules = other._rules  # of its own kind


def _credentials(caller: Caller) -> Mapping[str, object]:
    """
    Say what rules may know of a caller, by the names that stock Glance's rules use, old ones included.
    """
    facts: dict[str, object] = {
        "roles": caller.roles,
        "service_roles": caller.service_roles,
        "is_admin_project": caller.is_admin_project,
    }
    if caller.user_id is not None:
        facts["user_id"] = facts["user"] = caller.user_id
    if caller.project_id is not None:
        facts["project_id"] = facts["tenant"] = caller.project_id
    if caller.user_domain_id is not None:
        facts["user_domain_id"] = caller.user_domain_id
    if caller.project_domain_id is not None:
        facts["project_domain_id"] = caller.project_domain_id
    return facts
