"""
Who may do what: people against visibilities, for everything that can be done to an image.
"""

from __future__ import annotations

from attrs import evolve

from glance_tx.domain.images import ImageStatus
from tests.api.service import ACTIONS, UNKNOWN_ID, ServiceTestCase

OWN_MEMBER = (200, 200, 200, 200, 409, 204)
OWN_READER = (200, 403, 403, 403, 403, 403)
SEEN_BY_MEMBER = (200, 200, 200, 403, 403, 403)
SEEN_BY_READER = (200, 403, 403, 403, 403, 403)
UNSEEN = (404,) * 6
UNKNOWN = (401,) * 6

OUTCOMES = {
    "private": {
        "owner": OWN_MEMBER,
        "reader": OWN_READER,
        "stranger": UNSEEN,
        "foreign-reader": UNSEEN,
        "roleless": UNSEEN,
        "admin": OWN_MEMBER,
    },
    "shared": {
        "owner": OWN_MEMBER,
        "reader": OWN_READER,
        "stranger": UNSEEN,
        "foreign-reader": UNSEEN,
        "roleless": UNSEEN,
        "admin": OWN_MEMBER,
    },
    "community": {
        "owner": OWN_MEMBER,
        "reader": OWN_READER,
        "stranger": SEEN_BY_MEMBER,
        "foreign-reader": SEEN_BY_READER,
        "roleless": UNSEEN,
        "admin": OWN_MEMBER,
    },
    "public": {
        "owner": OWN_MEMBER,
        "reader": OWN_READER,
        "stranger": SEEN_BY_MEMBER,
        "foreign-reader": SEEN_BY_READER,
        "roleless": UNSEEN,
        "admin": OWN_MEMBER,
    },
}
"""Statuses of all `ACTIONS` on an active image of project ``p1``, by its visibility and by who tries."""

STRANGERS = {
    "garbage": "garbage",
    "nobody": None,
    "empty": "",
    "padded": "owner x",
    "umlaut": "own\u00e9r",
    "long": "x" * 9000,
}
"""Tokens that nobody has."""


class AccessTests(ServiceTestCase):
    """
    What is answered depends on who asks, and on whose the image is.
    """

    async def test_people(self) -> None:
        """
        The owner's members do everything, its readers look, others do what the visibility lets them; administrators
        do all. What somebody may not see is not found, whatever is tried.
        """
        for visibility, outcomes in OUTCOMES.items():
            for token, statuses in outcomes.items():
                image_id = await self.active(token="admin", owner="p1", visibility=visibility)
                found = [await self.attempt(action, image_id, token) for action in ACTIONS]
                self.assertEqual((visibility, token, tuple(found)), (visibility, token, statuses))

    async def test_strangers(self) -> None:
        """
        Without a valid token nothing can be had, not even of a public image, and nothing tells what there is.
        """
        image_id = await self.active(token="admin", visibility="public")
        for name, token in STRANGERS.items():
            found = [await self.attempt(action, image_id, token) for action in ACTIONS]
            self.assertEqual((name, tuple(found)), (name, UNKNOWN))
        for method, path in [
            ("GET", "/v2/images"),
            ("POST", "/v2/images"),
            ("GET", "/v2/schemas/image"),
            ("GET", "/v2/schemas/images"),
            ("GET", "/v2/images/nonsense"),
        ]:
            reply = await self.call(method, path, token=None)
            self.assertEqual((method, path, reply.status), (method, path, 401))
            self.assertEqual(reply.headers["www-authenticate"], "Keystone")

    async def test_upload_to_a_queued_image(self) -> None:
        """
        Who may send data is who may work with the owner's images.
        """
        for token, status in [
            ("owner", 204),
            ("admin", 204),
            ("reader", 403),
            ("stranger", 403),
            ("foreign-reader", 403),
            ("roleless", 404),
        ]:
            image_id = await self.create(token="admin", owner="p1", visibility="public")
            self.assertEqual((token, await self.attempt("upload", image_id, token)), (token, status))

    async def test_no_owner(self) -> None:
        """
        An image without an owner is seen by those who know its id, and worked with by administrators alone.
        """
        for token, statuses in [
            ("owner", SEEN_BY_MEMBER),
            ("foreign-reader", SEEN_BY_READER),
            ("roleless", UNSEEN),
            ("admin", OWN_MEMBER),
        ]:
            image_id = await self.active(token="admin", owner=None)
            found = [await self.attempt(action, image_id, token) for action in ACTIONS]
            self.assertEqual((token, tuple(found)), (token, statuses))

    async def test_other_credentials(self) -> None:
        """
        A token may come in its older header; the newer one counts more. A service's token changes nothing.
        """
        image_id = await self.create(visibility="private")
        path = f"/v2/images/{image_id}"
        for headers, status in [
            ("X-Storage-Token: owner\r\n", 200),
            ("X-Storage-Token: owner\r\nX-Auth-Token: stranger\r\n", 404),
            ("X-Storage-Token: stranger\r\nX-Auth-Token: owner\r\n", 200),
            ("X-Storage-Token: owner\r\nX-Auth-Token: \r\n", 200),
            ("X-Service-Token: owner\r\n", 401),
            ("X-Auth-Token: stranger\r\nX-Service-Token: admin\r\n", 404),
            ("X-Auth-Token: owner\r\nX-Auth-Token: stranger\r\n", 400),
            ("X-Auth-Token: owner\r\nx-auth-token: owner\r\n", 400),
            ("X-Storage-Token: owner\r\nX-Storage-Token: owner\r\n", 400),
            ("X-Auth-Token: owner\r\nX-Service-Token: a\r\nX-Service-Token: b\r\n", 400),
            ("Authorization: Bearer owner\r\n", 401),
        ]:
            answer = await self.ask("GET", path, headers)
            self.assertEqual((headers, answer.status), (headers, status))

    async def test_claimed_identity(self) -> None:
        """
        What only a token filter may say is not believed from outside.
        """
        image_id = await self.create(visibility="private")
        claims = (
            "X-Identity-Status: Confirmed\r\nX-Roles: admin\r\nX-Project-Id: p1\r\nX-Tenant-Id: p1\r\n"
            "X-User-Id: u-owner\r\nX-Is-Admin-Project: true\r\nX_Roles: admin\r\n"
        )
        for token, status in [("", 401), ("X-Auth-Token: stranger\r\n", 404)]:
            answer = await self.ask("GET", f"/v2/images/{image_id}", claims + token)
            self.assertEqual((token, answer.status), (token, status))

    async def test_deactivated(self) -> None:
        """
        A deactivated image's data are the administrators' alone; its record stays what it was.
        """
        active = await self.images.get(await self.active())
        image_id = UNKNOWN_ID
        await self.images.add(evolve(active, id=image_id, status=ImageStatus.DEACTIVATED))
        for token, statuses in [
            ("owner", (200, 403, 403)),
            ("admin", (200, 200, 200)),
            ("stranger", (404, 404, 404)),
        ]:
            found = [await self.attempt(action, image_id, token) for action in ("show", "download", "facts")]
            self.assertEqual((token, tuple(found)), (token, statuses))

    async def test_the_log_knows_the_project(self) -> None:
        """
        The access record of a request names the caller's project, once it is known.
        """
        await self.call("GET", "/v2/images", token="stranger")
        await self.call("GET", "/v2/images", token=None)
        known, unknown = await self.record_of("GET", 200), await self.record_of("GET", 401)
        self.assertEqual((known.project_id, unknown.project_id), ("p2", None))
