"""
The operator's file of property protections.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.custom.options import ProtectionSettings
from glance_tx.custom.protection_file import load_protections
from glance_tx.domain.protections import PropertyAction, Protections
from glance_tx.identity.caller import Caller
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.settings import SettingsError

MEMBER = Caller("u1", "p1", {"Member", "reader"})
BILLING = Caller("u2", "p2", {"billing"})
ADMIN = Caller("u3", "p0", {"admin"})

ROLES = """\
# who pays
[^x_billing_.*]
create = admin, Billing
read = admin,BILLING , member
update = billing
delete = billing

[^x_none%$]
create = !
read = @
update = @, member
delete = member, !

[^x_partly$]
read = admin
delete =

[^x_[a-z]+$]
create = @
read = @
update = @
delete = @
"""

MALFORMED: list[tuple[str, str]] = [
    ("read = admin\n", "malformed"),
    ("[a]\nread\n", "malformed"),
    ("[a\nread = @\n", "malformed"),
    ("[a]\nread = @\n[a]\nread = !\n", "section [a] stands twice"),
    ("[a]\nread = @\nread = !\n", "section [a]: 'read' stands twice"),
    ("[a(]\nread = @\n", "section [a(]: is no regular expression"),
    ("[a]\nwrite = @\n", "section [a]: 'write' is none of"),
    ("[a]\nread = @, !\n", "section [a]: 'read' is for everybody (@) and for nobody (!)"),
]
"""Files that cannot be used, whatever the format, and what is said of them."""


class ProtectionFileTests(SynchronousTestCase):
    """
    `load_protections`.
    """

    def setUp(self) -> None:
        self.folder, self.system = Path(self.mktemp()), Path(self.mktemp())
        self.folder.mkdir()
        self.system.mkdir()
        self.policy = PolicyEnforcer({"payers": "role:billing"})
        self.path = self.folder / "protections.conf"

    def load(self, text: str | None = None, form: str = "roles", file: str = "protections.conf") -> Protections:
        if text is not None:
            self.path.write_text(text)
        settings = ProtectionSettings(file=file, rule_format=form)
        return load_protections(settings, [self.folder], self.policy, self.system)

    def allowed(self, protections: Protections, caller: Caller, name: str) -> str:
        """
        The initials of what a caller may do to a property.
        """
        return "".join(action[0] for action in PropertyAction if protections.allows(action, name, caller))

    def test_none(self) -> None:
        """
        Without a file nothing is protected but what is the service's own.
        """
        protections = load_protections(ProtectionSettings(file=None, rule_format="roles"), [], self.policy)
        self.assertEqual(self.allowed(protections, MEMBER, "anything"), "crud")
        self.assertEqual(self.allowed(protections, ADMIN, "os_glance_import_task"), "r")

    def test_roles(self) -> None:
        """
        The first section that fits decides by role, in any case; without one nobody does anything, administrators
        included.
        """
        protections = self.load(ROLES)
        for name, member, billing, admin in [
            ("x_billing_code", "r", "crud", "cr"),
            ("x_none%", "ru", "ru", "ru"),
            ("x_partly", "", "", "r"),
            ("x_open", "crud", "crud", "crud"),
            ("x_OPEN", "", "", ""),
            ("other", "", "", ""),
            ("os_glance_import_task", "r", "r", "r"),
        ]:
            found = tuple(self.allowed(protections, caller, name) for caller in (MEMBER, BILLING, ADMIN))
            self.assertEqual((name, found), (name, (member, billing, admin)))

    def test_patterns_are_searched_for(self) -> None:
        """
        A pattern without anchors fits wherever it is found.
        """
        protections = self.load("[secret]\nread = 50%, admin\n[.*]\nread = @\n")
        self.assertEqual(self.allowed(protections, MEMBER, "my_secret_key"), "")
        self.assertEqual(self.allowed(protections, MEMBER, "my_key"), "r")

    def test_default_is_a_name(self) -> None:
        """
        A section that is called DEFAULT is one like others, and lends no other its words.
        """
        protections = self.load("[DEFAULT]\nread = @\n[.*]\ncreate = @\n")
        self.assertEqual(self.allowed(protections, MEMBER, "DEFAULT"), "r")
        self.assertEqual(self.allowed(protections, MEMBER, "x"), "c")

    def test_the_service_goes_first(self) -> None:
        """
        No section opens what is the service's own.
        """
        protections = self.load("[.*]\ncreate = @\nread = !\nupdate = @\ndelete = @\n")
        self.assertEqual(self.allowed(protections, ADMIN, "os_glance_x"), "r")

    def test_policies(self) -> None:
        """
        In the other format each word is a rule of the policy, or everybody or nobody.
        """
        text = "[^a$]\ncreate = payers\nread = @\nupdate = !\n[.*]\nread = context_is_admin\n"
        protections = self.load(text, "policies")
        for name, member, billing, admin in [("a", "r", "cr", "r"), ("b", "", "", "r")]:
            found = tuple(self.allowed(protections, caller, name) for caller in (MEMBER, BILLING, ADMIN))
            self.assertEqual((name, found), (name, (member, billing, admin)))
        self.policy.adopt(PolicyEnforcer({"payers": "role:member"}))
        self.assertEqual(self.allowed(protections, MEMBER, "a"), "cr")
        self.policy.adopt(PolicyEnforcer())
        self.assertEqual(self.allowed(protections, BILLING, "a"), "r")

    def test_malformed(self) -> None:
        """
        A file that cannot be used is refused by its name, and by the section where that is known.
        """
        for text, reason in MALFORMED:
            error = str(self.assertRaises(SettingsError, self.load, text))
            self.assertIn(f"{self.path}: ", error)
            self.assertIn(reason, error)
        for text, reason in [
            ("[a]\nread = admin, payers\n", "section [a]: 'read' must name one policy rule"),
            ("[a]\nread = no_such\n", "section [a]: 'read': there is no policy rule 'no_such'"),
        ]:
            self.assertIn(reason, str(self.assertRaises(SettingsError, self.load, text, "policies")))
        error = self.assertRaises(SettingsError, self.load, "[a(]\n[b]\nx = y\n[c]\n")
        self.assertEqual(len(error.problems), 2)

    def test_places(self) -> None:
        """
        A name is looked for beside the configuration and then in the system's folder; a path is itself; a file that is
        named and missing is refused.
        """
        (self.system / "protections.conf").write_text("[s]\nread = @\n")
        self.assertEqual(self.allowed(self.load(), MEMBER, "s"), "r")
        self.assertEqual(self.allowed(self.load("[f]\nread = @\n"), MEMBER, "s"), "")
        self.assertEqual(self.allowed(self.load(file=str(self.path.absolute())), MEMBER, "f"), "r")
        error = str(self.assertRaises(SettingsError, self.load, file="missing.conf"))
        self.assertIn("property_protection_file = 'missing.conf'", error)
        self.path.write_bytes(b"[\xff]\n")
        self.assertIn("is not text in UTF-8", str(self.assertRaises(SettingsError, self.load)))
        self.path.unlink()
        self.path.mkdir()
        self.assertIn("cannot be read", str(self.assertRaises(SettingsError, self.load)))
