"""
The built-in rules, person by person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from glance_tx.identity.caller import Caller
from glance_tx.policy.enforcer import PolicyEnforcer
from glance_tx.policy.errors import BadRule
from glance_tx.policy.interfaces import IPolicy
from glance_tx.policy.rules import DEFAULT_RULES

ADMIN = Caller("u", "ops", ("admin", "member", "reader"))
BARE_ADMIN = Caller("u", "ops", ("ADMIN",))
NOBODY_ADMIN = Caller(None, None, ("admin", "member", "reader"))
MEMBER = Caller("u", "red", ("member", "reader"))
READER = Caller("u", "red", ("reader",))
OUTSIDER = Caller("u", "blue", ("member", "reader"))
OUTSIDE_READER = Caller("u", "blue", ("reader",))
SERVICE = Caller("nova", "services", ("service",))
SERVED = Caller("u", "blue", ("auditor",), service_roles=("Service", "admin"))
ROLELESS = Caller("u", "red", ())
PROJECTLESS = Caller("u", None, ("member", "reader"))

EVERYBODY = {
    "admin": ADMIN,
    "bare admin": BARE_ADMIN,
    "nobody admin": NOBODY_ADMIN,
    "member": MEMBER,
    "reader": READER,
    "outsider": OUTSIDER,
    "outside reader": OUTSIDE_READER,
    "service": SERVICE,
    "served": SERVED,
    "roleless": ROLELESS,
    "projectless": PROJECTLESS,
}
ADMINS = {"admin", "bare admin", "nobody admin"}

PRIVATE = {"project_id": "red", "owner": "red", "visibility": "private", "id": "1"}
PUBLIC = PRIVATE | {"visibility": "public"}
COMMUNITY = PRIVATE | {"visibility": "community"}
OWNERLESS = {"visibility": "private", "id": "1"}
SHARED_WITH_BLUE = {"project_id": "red", "owner": "red", "visibility": "shared", "member_id": "blue", "id": "1"}

ADMIN_ONLY = {
    "context_is_admin",
    "publicize_image",
    "delete_image_location",
    "copy_image",
    "manage_image_cache",
    "cache_image",
    "cache_list",
    "cache_delete",
    "cache_clean",
    "cache_prune",
    "list_cached_nodes",
    "tasks_api_access",
    "metadef_admin",
    "add_metadef_namespace",
    "modify_metadef_namespace",
    "delete_metadef_namespace",
    "add_metadef_object",
    "modify_metadef_object",
    "delete_metadef_object",
    "add_metadef_property",
    "modify_metadef_property",
    "remove_metadef_property",
    "add_metadef_tag",
    "modify_metadef_tag",
    "delete_metadef_tag",
    "add_metadef_tags",
    "delete_metadef_tags",
    "add_metadef_resource_type_association",
    "remove_metadef_resource_type_association",
}
OPEN = {"default", "metadef_default", "get_task", "get_tasks", "add_task", "modify_task"}
OF_THE_OWNERS_MEMBERS = {
    "delete_image",
    "modify_image",
    "communitize_image",
    "upload_image",
    "set_image_location",
    "add_member",
    "delete_member",
    "deactivate",
    "reactivate",
}
OF_THE_OWNERS_READERS = {"get_images", "get_image_location", "get_metadef_namespaces"}
SERVICES = {"service_api", "fetch_image_location", "stores_info_detail"}
NAMESPACE = {
    "get_metadef_namespace",
    "get_metadef_object",
    "get_metadef_objects",
    "get_metadef_property",
    "get_metadef_properties",
    "get_metadef_tag",
    "get_metadef_tags",
    "get_metadef_resource_type",
    "list_metadef_resource_types",
}
DOWNLOAD = {"download_image", "download_from_store"}
OTHERS = {"add_image", "add_image_location", "get_image", "get_member", "get_members", "modify_member"}


class DefaultRuleTests(SynchronousTestCase):
    """
    `PolicyEnforcer` without rules of an operator's own.
    """

    def setUp(self) -> None:
        self.policy = PolicyEnforcer()

    def who(self, rule: str, target: Mapping[str, object]) -> set[str]:
        """
        Everybody whom a rule lets pass.
        """
        return {name for name, caller in EVERYBODY.items() if self.policy.allows(rule, caller, target)}

    def assert_passes(self, rules: Iterable[str], target: Mapping[str, object], who: set[str]) -> None:
        """
        Each of the rules lets exactly these pass.
        """
        for rule in rules:
            self.assertEqual(self.who(rule, target), who, rule)

    def test_interface(self) -> None:
        """
        It provides the interface.
        """
        verifyObject(IPolicy, self.policy)

    def test_every_rule_is_tested(self) -> None:
        """
        The table of this module names every rule once.
        """
        tables = [ADMIN_ONLY, OPEN, OF_THE_OWNERS_MEMBERS, OF_THE_OWNERS_READERS, SERVICES, NAMESPACE, DOWNLOAD, OTHERS]
        self.assertEqual(sorted(name for table in tables for name in table), sorted(DEFAULT_RULES))

    def test_admin_only(self) -> None:
        """
        Rules for administrators pass nobody else, whatever the target; a bare admin role is enough.
        """
        for target in ({}, PRIVATE, PUBLIC, SHARED_WITH_BLUE):
            self.assert_passes(ADMIN_ONLY, target, ADMINS)

    def test_open(self) -> None:
        """
        Open rules pass everybody.
        """
        self.assert_passes(OPEN, {}, set(EVERYBODY))

    def test_members_of_the_owner(self) -> None:
        """
        Changing an image takes the role member in its owner, however visible it is.
        """
        for target in (PRIVATE, PUBLIC, COMMUNITY, SHARED_WITH_BLUE):
            self.assert_passes(OF_THE_OWNERS_MEMBERS, target, ADMINS | {"member"})

    def test_readers_of_the_owner(self) -> None:
        """
        Listing takes the role reader.
        """
        self.assert_passes(OF_THE_OWNERS_READERS, {"project_id": "red"}, ADMINS | {"member", "reader"})

    def test_services(self) -> None:
        """
        What services do takes the role service, in the user's own token or in a service's that came along, or an
        administrator.
        """
        self.assert_passes(SERVICES, PRIVATE, ADMINS | {"service", "served"})

    def test_get_image(self) -> None:
        """
        Seeing an image takes the role reader and a reason: owner, member, or an open visibility.
        """
        everybody = {"member", "reader", "outsider", "outside reader", "projectless"}
        self.assert_passes(["get_image"], PRIVATE, ADMINS | {"member", "reader"})
        self.assert_passes(["get_image"], PUBLIC, ADMINS | everybody)
        self.assert_passes(["get_image"], COMMUNITY, ADMINS | everybody)
        self.assert_passes(["get_image"], SHARED_WITH_BLUE, ADMINS | everybody)
        private_member = SHARED_WITH_BLUE | {"visibility": "private"}
        self.assert_passes(["get_image"], private_member, ADMINS | {"member", "reader", "outsider", "outside reader"})

    def test_download(self) -> None:
        """
        A reader may see an image and not download it.
        """
        self.assert_passes(DOWNLOAD, PRIVATE, ADMINS | {"member"})
        self.assert_passes(DOWNLOAD, PUBLIC, ADMINS | {"member", "outsider", "projectless"})
        self.assert_passes(DOWNLOAD, SHARED_WITH_BLUE, ADMINS | {"member", "outsider", "projectless"})

    def test_create(self) -> None:
        """
        Creating takes the role member, and the own project as owner.
        """
        own = {"project_id": "red", "owner": "red"}
        given_away = {"project_id": "red", "owner": "blue"}
        self.assert_passes(["add_image"], own, ADMINS | {"member"})
        self.assert_passes(["add_image"], given_away, ADMINS)
        self.assert_passes(["add_image_location"], own, ADMINS | {"member", "service", "served"})
        self.assert_passes(["add_image_location"], given_away, ADMINS | {"service", "served"})

    def test_members_of_an_image(self) -> None:
        """
        Memberships are seen by the owner and by the member, and answered by the member alone.
        """
        seen = {"get_member", "get_members"}
        target = {"project_id": "red", "member_id": "blue"}
        self.assert_passes(seen, target, ADMINS | {"member", "reader", "outsider", "outside reader"})
        self.assert_passes(["modify_member"], target, ADMINS | {"outsider"})

    def test_namespaces(self) -> None:
        """
        Definitions are read by the owner's readers, and by everybody's where the namespace is public.
        """
        everybody = {"member", "reader", "outsider", "outside reader", "projectless"}
        self.assert_passes(NAMESPACE, PRIVATE, ADMINS | {"member", "reader"})
        self.assert_passes(NAMESPACE, PUBLIC, ADMINS | everybody)

    def test_no_owner_is_nobody(self) -> None:
        """
        A caller without a project owns nothing, not even what has no owner.
        """
        for target in (OWNERLESS, OWNERLESS | {"project_id": None, "owner": None, "member_id": None}):
            self.assert_passes(["get_image", *DOWNLOAD, *OF_THE_OWNERS_MEMBERS], target, ADMINS)

    def test_case_of_roles(self) -> None:
        """
        Roles are the same in any case.
        """
        self.assertTrue(self.policy.allows("modify_image", Caller("u", "red", ("MeMbEr",)), PRIVATE))

    def test_outside_projects(self) -> None:
        """
        Nothing passes for who acts for a domain or for the whole cloud, whatever his roles are there.
        """
        for scope in ({"domain_id": "d"}, {"system_scope": "all"}):
            caller = Caller("u", None, ("admin", "member", "reader", "service"), **scope)
            for rule in DEFAULT_RULES:
                self.assertFalse(self.policy.allows(rule, caller, PUBLIC), rule)

    def test_services_token(self) -> None:
        """
        The role of a service counts by its own token too, where services are meant, and nowhere else.
        """
        caller = Caller("u", "blue", ("member", "reader"), service_roles=("service", "admin"))
        passes = {rule for rule in DEFAULT_RULES if self.policy.allows(rule, caller, PRIVATE)}
        without = {rule for rule in DEFAULT_RULES if self.policy.allows(rule, OUTSIDER, PRIVATE)}
        self.assertEqual(passes - without, SERVICES | {"add_image_location"})

    def test_facts_of_a_token(self) -> None:
        """
        An operator's rules may ask for domains, and for the administrators' project.
        """
        policy = PolicyEnforcer(
            {"a": "user_domain_id:d1", "b": "project_domain_id:d2", "c": "role:admin and is_admin_project:True"}
        )
        known = Caller("u", "p", ("admin",), user_domain_id="d1", project_domain_id="d2")
        other = Caller("u", "p", ("admin",), is_admin_project=False)
        for rule in "abc":
            self.assertTrue(policy.allows(rule, known, {}), rule)
            self.assertFalse(policy.allows(rule, other, {}), rule)

    def test_unknown_rule(self) -> None:
        """
        A rule that does not exist is an error, and not the open rule ``default``.
        """
        self.assertRaises(KeyError, self.policy.allows, "get_imgae", ADMIN, PRIVATE)


class OwnRuleTests(SynchronousTestCase):
    """
    `PolicyEnforcer` with rules of an operator's own.
    """

    def test_what_is_known_of_callers(self) -> None:
        """
        A rule may ask for all that is known of a caller, old names included, and for what tokens of a project never
        have.
        """
        rules = {
            "user": "user_id:u and user:u",
            "project": "project_id:red and tenant:red",
            "served": "service_roles:admin",
            "system": "system_scope:all or domain_id:default",
        }
        policy = PolicyEnforcer(rules)
        for rule, who in {"user": MEMBER, "project": MEMBER, "served": SERVED}.items():
            self.assertTrue(policy.allows(rule, who, {}), rule)
        for caller in EVERYBODY.values():
            self.assertFalse(policy.allows("system", caller, {}))

    def test_what_is_not_known_of_callers(self) -> None:
        """
        A rule that asks for something else is refused: it would never pass, and its negation always.
        """
        for fact in ("user_domain_name:Default", "is_admin:True", "token.project.id:x"):
            for text in (fact, f"role:member and not {fact}"):
                error = self.assertRaises(BadRule, PolicyEnforcer, {"cache_list": text})
                name = fact.partition(":")[0].partition(".")[0]
                self.assertEqual(
                    str(error), f"rule 'cache_list': asks for {name!r}, which is not known of callers", text
                )

    def test_adopt(self) -> None:
        """
        The rules of another take the place of one's own, all of them.
        """
        policy = PolicyEnforcer({"cache_list": "@"})
        policy.adopt(PolicyEnforcer({"cache_clean": "@"}))
        self.assertFalse(policy.allows("cache_list", MEMBER, {}))
        self.assertTrue(policy.allows("cache_clean", MEMBER, {}))
