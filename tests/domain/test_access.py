"""
Who may do what to an image.
"""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase, TestCase

from glance_tx.domain.access import Access, visible_image
from glance_tx.domain.errors import Forbidden, ImageNotFound
from glance_tx.domain.images import Image, ImageStatus, Visibility
from glance_tx.domain.interfaces import Viewer
from glance_tx.identity.caller import Caller
from glance_tx.policy.enforcer import PolicyEnforcer
from tests.domain.world import ADMIN, EPOCH, ID, NOBODY, OWNER, READER, STRANGER, Trouble, World

ROLELESS = Caller("u6", "p1", set())


def image(visibility: str, owner: str | None = "p1", /, **properties: str) -> Image:
    return Image(
        id=ID,
        created_at=EPOCH,
        updated_at=EPOCH,
        owner=owner,
        visibility=Visibility(visibility),
        properties=properties,
    )


# visibility: who of owner, reader of the same project, stranger, caller without project, administrator sees it
SEEN = {
    "private": (True, True, False, False, True),
    "shared": (True, True, False, False, True),
    "community": (True, True, True, True, True),
    "public": (True, True, True, True, True),
}
PERSONAS = (OWNER, READER, STRANGER, NOBODY, ADMIN)

# rule: what comes of it for owner, reader of the same project, stranger and administrator, for a public image
RULES = {
    "get_image": (None, None, None, None),
    "download_image": (None, Forbidden, None, None),
    "upload_image": (None, Forbidden, Forbidden, None),
    "modify_image": (None, Forbidden, Forbidden, None),
    "delete_image": (None, Forbidden, Forbidden, None),
}


class AccessTests(SynchronousTestCase):
    """
    `Access`, with the default policy.
    """

    def setUp(self) -> None:
        self.access = Access(PolicyEnforcer())

    def outcome(self, call, *args) -> type[Exception] | None:
        try:
            call(*args)
        except (Forbidden, ImageNotFound) as error:
            return type(error)
        return None

    def test_visible(self) -> None:
        """
        An image is seen by whom its visibility says.
        """
        for visibility, seen in SEEN.items():
            found = tuple(self.access.visible(image(visibility), persona) for persona in PERSONAS)
            self.assertEqual(found, seen, visibility)

    def test_ownerless(self) -> None:
        """
        A shared image without an owner is seen and read by everybody, and changed by administrators only.
        """
        ownerless = image("shared", None)
        for persona in PERSONAS:
            self.assertTrue(self.access.visible(ownerless, persona), persona)
        self.access.require("download_image", STRANGER, ownerless)
        for persona in (OWNER, STRANGER, NOBODY):
            self.assertEqual(self.outcome(self.access.require, "modify_image", persona, ownerless), Forbidden)
        self.access.require("modify_image", ADMIN, ownerless)

    def test_member(self) -> None:
        """
        A member sees and reads a shared image, and does not change it.
        """
        shared = evolve(image("shared"), member_id="p2")
        self.assertTrue(self.access.visible(shared, STRANGER))
        self.access.require("download_image", STRANGER, shared)
        with self.assertRaises(Forbidden):
            self.access.require("modify_image", STRANGER, shared)

    def test_fetched_for_another(self) -> None:
        """
        An image that was fetched for a member tells nothing about other callers.
        """
        shared = evolve(image("shared"), member_id="p2")
        for persona in (Caller("u7", "p3", {"member", "reader"}), NOBODY):
            self.assertFalse(self.access.visible(shared, persona), persona)
        self.assertFalse(self.access.visible(image("shared"), NOBODY))

    def test_member_of_private(self) -> None:
        """
        Membership counts for nothing while an image is not shared.
        """
        self.assertFalse(self.access.visible(evolve(image("private"), member_id="p2"), STRANGER))

    def test_no_roles(self) -> None:
        """
        A caller without any role sees nothing, not even of its own project.
        """
        self.assertFalse(self.access.visible(image("private"), ROLELESS))
        self.assertFalse(self.access.visible(image("public"), ROLELESS))

    def test_rules(self) -> None:
        """
        Each rule is for whom the defaults say; who sees the image is told that it is forbidden.
        """
        for rule, outcomes in RULES.items():
            found = tuple(
                self.outcome(self.access.require, rule, persona, image("public"))
                for persona in (OWNER, READER, STRANGER, ADMIN)
            )
            self.assertEqual(found, outcomes, rule)

    def test_invisible(self) -> None:
        """
        Whatever the rule, an image that the caller does not see is not found.
        """
        for rule in RULES:
            self.assertEqual(self.outcome(self.access.require, rule, STRANGER, image("private")), ImageNotFound, rule)

    def test_global(self) -> None:
        """
        A rule without an image is forbidden or not, never not found.
        """
        self.access.require_global("get_images", READER)
        self.assertEqual(self.outcome(self.access.require_global, "get_images", ROLELESS), Forbidden)
        self.assertEqual(self.outcome(self.access.require_global, "get_images", NOBODY), Forbidden)

    def test_properties_do_not_pose(self) -> None:
        """
        A custom property does not stand in for a fact of the same name.
        """
        posing = image("private", project_id="p2", member_id="p2", id="x", colour="red")
        self.assertFalse(self.access.visible(posing, STRANGER))
        facts = {"id": ID, "project_id": "p1", "owner": "p1", "visibility": "private", "member_id": None}
        target = self.access.target(posing)
        self.assertEqual({name: target[name] for name in facts}, facts)
        self.assertEqual(target["colour"], "red")

    def test_facts(self) -> None:
        """
        Rules may look at what an image says of itself.
        """
        for rule, passes in {
            "'raw':%(disk_format)s": True,
            "'bare':%(container_format)s": True,
            "'active':%(status)s": True,
            "True:%(protected)s": True,
            "False:%(os_hidden)s": True,
            "7:%(min_disk)s": True,
            "0:%(min_ram)s": True,
            "'it':%(name)s": True,
            "'other':%(name)s": False,
            "None:%(size)s": False,
        }.items():
            access = Access(PolicyEnforcer({"deactivate": f"role:member and {rule}"}))
            shown = evolve(
                image("public"),
                name="it",
                status=ImageStatus.ACTIVE,
                disk_format="raw",
                container_format="bare",
                protected=True,
                min_disk=7,
            )
            self.assertIs(self.outcome(access.require, "deactivate", OWNER, shown) is None, passes, rule)

    def test_member_in_target(self) -> None:
        """
        Rules are told of the caller's membership.
        """
        self.assertEqual(self.access.target(evolve(image("shared"), member_id="p2"))["member_id"], "p2")

    def test_viewer(self) -> None:
        """
        A list covers the caller's project, or everything for an administrator.
        """
        self.assertEqual(self.access.viewer(OWNER), Viewer("p1", is_admin=False))
        self.assertEqual(self.access.viewer(ADMIN), Viewer("p0", is_admin=True))


class VisibleImageTests(TestCase):
    """
    `visible_image`.
    """

    async def test_found(self) -> None:
        """
        An image that the caller sees is fetched.
        """
        world = World()
        created = await world.create()
        self.assertEqual(await visible_image(world.repository, world.access, OWNER, created.id), created)

    async def test_not_found(self) -> None:
        """
        An invisible image, an unknown one and a malformed id are not told apart.
        """
        world = World()
        created = await world.create()
        for caller, image_id in [(STRANGER, created.id), (OWNER, ID), (OWNER, "x"), (OWNER, "\0"), (OWNER, "\ud800")]:
            with self.assertRaises(ImageNotFound):
                await visible_image(world.repository, world.access, caller, image_id)

    async def test_malformed(self) -> None:
        """
        The database is not asked for what cannot be an id, and need not be able to hold it.
        """
        trouble = Trouble()
        world = World()
        repository, _, _ = world.parts(trouble)
        for image_id in ("x", "\0", "\ud800", ""):
            with self.assertRaises(ImageNotFound):
                await visible_image(repository, world.access, OWNER, image_id)
        self.assertEqual(trouble.passed, [])
