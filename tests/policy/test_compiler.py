"""
Compiled rules answer as oslo.policy does.
"""

from __future__ import annotations

import io
import itertools
import logging
import subprocess
import sys
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import policy
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.policy.compiler import compile_rules
from glance_tx.policy.errors import BadRule
from glance_tx.policy.rules import DEFAULT_RULES

ODD_RULES: Mapping[str, object] = {
    "everybody": "@",
    "also everybody": "",
    "nobody": "!",
    "negation": "not role:admin",
    "nested": "(role:admin and not project_id:%(owner)s) or (rule:negation and not (user_id:u or tenant:blue))",
    "literal": "'public':%(visibility)s or \"shared\":%(visibility)s",
    "true literal": "True:%(protected)s",
    "number literal": "7:%(min_disk)s",
    "none literal": "None:%(name)s",
    "mixed text": "user_id:u-%(id)s",
    "percent": "user_id:100%%",
    "role of target": "role:%(needed)s",
    "path": "token.project.id:%(project_id)s",
    "list in path": "token.groups.name:%(group)s",
    "missing credential": "domain_id:%(project_id)s",
    "old": [["role:member", "project_id:%(project_id)s"], ["role:admin"], "rule:nobody"],
    "old everybody": [],
    "old nobody": ["!"],
}

CREDENTIALS: list[dict[str, object]] = [
    {"roles": list(roles), **facts}
    for roles in ((), ("reader",), ("member", "reader"), ("admin",), ("service",))
    for facts in (
        {},
        {"user_id": "u", "user": "u", "project_id": "red", "tenant": "red"},
        {"user_id": "u-1", "project_id": "blue", "tenant": "blue"},
        {"user_id": "100%", "token": {"project": {"id": "red"}, "groups": [{"name": "x"}, {"name": "g"}]}},
    )
]

TARGETS: list[dict[str, object]] = [
    {},
    {"project_id": "red", "owner": "red", "visibility": "private", "id": "1"},
    {"project_id": "red", "owner": "blue", "visibility": "public", "protected": True, "min_disk": 7},
    {"project_id": "blue", "owner": "blue", "visibility": "shared", "member_id": "red", "needed": "Member"},
    {"visibility": "community", "name": None, "group": "g", "needed": "ADMIN"},
]

ATOMS = st.sampled_from(
    [
        "role:admin",
        "role:member",
        "project_id:%(project_id)s",
        "user_id:u",
        "'public':%(visibility)s",
        "True:%(protected)s",
        "@",
        "!",
    ]
)
TEXTS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} and {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} or {two[1]})"),
        inner.map(lambda one: f"(not ({one}))"),
    ),
    max_leaves=8,
)


def judge(rules: Mapping[str, object]) -> policy.Enforcer:
    """
    The library's own evaluation of some rules.
    """
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[], use_env=False)
    return policy.Enforcer(conf, rules=policy.Rules.from_dict(dict(rules)), use_conf=False)


class AgreementTests(SynchronousTestCase):
    """
    `compile_rules` and oslo.policy say the same.
    """

    def assert_agree(self, rules: Mapping[str, object]) -> None:
        """
        Both give the same answer for every rule, caller and target.
        """
        compiled, enforcer = compile_rules(rules), judge(rules)
        for name, creds, target in itertools.product(rules, CREDENTIALS, TARGETS):
            roles = creds["roles"]
            assert isinstance(roles, list)
            ours = compiled[name](target, {**creds, "roles": frozenset(roles)})
            self.assertIs(ours, bool(enforcer.enforce(name, target, dict(creds))), (name, creds, target))

    def test_default_rules(self) -> None:
        """
        They agree on every built-in rule.
        """
        self.assert_agree(DEFAULT_RULES)

    def test_odd_rules(self) -> None:
        """
        They agree on everything else that the language has.
        """
        self.assert_agree(ODD_RULES)

    @settings(max_examples=40)
    @given(TEXTS)
    def test_any_rule(self, text: str) -> None:
        """
        They agree on whatever can be put together.
        """
        self.assert_agree({"it": text})


class BadRuleTests(SynchronousTestCase):
    """
    Rules that are refused, where the library would go on and refuse, or allow, everybody.
    """

    def reason(self, rules: Mapping[str, object]) -> str:
        """
        Why rules are refused.
        """
        return str(self.assertRaises(BadRule, compile_rules, rules))

    def test_not_understood(self) -> None:
        """
        What has no meaning, in whole or in part, is refused.
        """
        for text in (
            "nonsense",
            "role:admin or",
            "role:a role:b",
            "(role:a",
            "role:a or nonsense",
            "! nonsense",
            "and",
        ):
            self.assertEqual(self.reason({"x": text}), "rule 'x': cannot be understood", text)

    def test_no_text(self) -> None:
        """
        A rule without a value, or with one that is no text, is refused. The library takes nothing for everybody.
        """
        for value in (None, 7, True, {"role": "admin"}, [[7]]):
            self.assertIn("is not a text", self.reason({"x": value}))

    def test_references(self) -> None:
        """
        Rules that do not exist, and rules that come back to themselves, are refused, in any depth.
        """
        self.assertEqual(self.reason({"x": "not rule:y"}), "rule 'x': refers to rule 'y', which does not exist")
        self.assertEqual(self.reason({"x": "rule:x"}), "rule 'x': refers to itself")
        self.assertEqual(self.reason({"x": "role:a or rule:y", "y": "not rule:x"}), "rule 'x': refers to itself")

    def test_remote(self) -> None:
        """
        A rule that would ask another server, and hold everybody up meanwhile, is refused.
        """
        for kind in ("http", "https"):
            self.assertIn("not supported", self.reason({"x": f"role:a or {kind}://example.org/%(id)s"}))

    def test_nothing_is_loaded(self) -> None:
        """
        For these, and for kinds that other packages add, nothing is looked for or loaded, nor is what the library's own
        evaluation takes.
        """
        unwanted = "{'requests', 'oslo_utils.strutils'}"
        program = f"import sys, glance_tx.policy.compiler; sys.exit(not {unwanted}.isdisjoint(sys.modules))"
        self.assertEqual(subprocess.run([sys.executable, "-c", program], check=False).returncode, 0)

    def test_template(self) -> None:
        """
        A text that cannot be filled in is refused at start, and not when it is asked for.
        """
        for text in ("user_id:%(id)d", "user_id:50%"):
            self.assertIn("names no facts", self.reason({"x": text}))

    def test_kind(self) -> None:
        """
        A left side that is neither name nor literal is refused.
        """
        self.assertIn("neither a name nor a literal", self.reason({"x": "a-:b"}))

    def test_quiet(self) -> None:
        """
        No traceback of the library's reaches standard error.
        """
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        self.reason({"x": "nonsense"})
        self.reason({"x": "role:a or"})
        self.assertEqual(out.getvalue(), "")
