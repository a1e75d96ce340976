"""
The question that a policy answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import Interface

from glance_tx.identity.caller import Caller

__all__ = ["IPolicy"]


class IPolicy(Interface):
    """
    Rules by name.
    """

    def allows(rule: str, caller: Caller, target: Mapping[str, object]) -> bool:
        """
        Tell whether a rule passes.

        :param rule: A name of contract section 5.3, such as ``download_image``.
        :param target: What the rule is about; for an image ``project_id`` (its owner), ``owner``,
            ``visibility``, ``member_id`` (the caller's project where it is a member), ``id`` and its properties.
        """
