"""
What is written about rules.
"""

from __future__ import annotations

import yaml
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.policy.guards import GUARDS
from glance_tx.policy.reference import policy_sample, rules_page
from glance_tx.policy.rules import DEFAULT_RULES


class ReferenceTests(SynchronousTestCase):
    """
    `policy_sample`, `rules_page` and what they are made of. That they are what is in the tree, the tests of the
    configuration say.
    """

    def test_every_rule(self) -> None:
        """
        What is guarded is said of every rule, and of no other.
        """
        self.assertEqual(sorted(GUARDS), sorted(DEFAULT_RULES))

    def test_sample_changes_nothing(self) -> None:
        """
        The sample as it is sets no rule.
        """
        self.assertIsNone(yaml.safe_load(policy_sample()))

    def test_sample_says_defaults(self) -> None:
        """
        The sample with all its rules taken out of their comments means the defaults.
        """
        taken = "\n".join(line.removeprefix("#") for line in policy_sample().splitlines() if line.startswith('#"'))
        rules = yaml.safe_load(taken)
        self.assertEqual(rules, dict(DEFAULT_RULES))
        PolicyEnforcer(rules)

    def test_routes(self) -> None:
        """
        Every rule is said with the requests that ask for it, in both texts.
        """
        for text in (policy_sample(), rules_page()):
            for name, guard in GUARDS.items():
                after = text[text.index(name) :] if text == rules_page() else text
                for route in guard.routes:
                    self.assertIn(route, after)
