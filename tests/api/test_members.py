"""
Sharing images with other projects.
"""

from __future__ import annotations

from typing import Any

from glance_tx.domain.members import MemberStatus
from tests.api.service import OCTETS, PATCH_TYPE, UNKNOWN_ID, Reply, ServiceTestCase, SqlServiceTestCase

PEOPLE = ("owner", "reader", "stranger", "foreign-reader", "third", "roleless", "admin")

# What comes of each call for each of `PEOPLE`; "stranger" and "foreign-reader" are of the member p2, "third" of p3.
OUTCOMES: dict[str, dict[str, tuple[int, ...]]] = {
    "shared": {
        "list": (200, 200, 200, 200, 404, 404, 200),
        "show": (200, 200, 200, 200, 404, 404, 200),
        "show another": (200, 200, 404, 404, 404, 404, 200),
        "show nobody": (404, 404, 404, 404, 404, 404, 404),
        "add": (200, 403, 403, 403, 404, 404, 200),
        "add again": (409, 403, 403, 403, 404, 404, 409),
        "change": (403, 403, 200, 403, 404, 404, 200),
        "change another": (403, 403, 404, 404, 404, 404, 200),
        "change nobody": (404, 404, 404, 404, 404, 404, 404),
        "remove": (204, 403, 403, 403, 404, 404, 204),
        "remove another": (204, 403, 404, 404, 404, 404, 204),
        "remove nobody": (404, 404, 404, 404, 404, 404, 404),
    },
    "private": {"any": (403, 403, 404, 404, 404, 404, 403)},
    "community": {"any": (403, 403, 403, 403, 403, 404, 403)},
    "public": {"any": (403, 403, 403, 403, 403, 404, 403)},
}
WHOM = {"": "p2", "another": "p9", "nobody": "p4"}
ACTIONS = tuple(OUTCOMES["shared"])


class MembersCase(ServiceTestCase):
    """
    A service, and images of p1 that are shared with p2 and p9.
    """

    async def share(self, image_id: str, member_id: object = "p2", *, token: str = "owner") -> Reply:
        return await self.call("POST", f"/v2/images/{image_id}/members", {"member": member_id}, token=token)

    async def say(self, image_id: str, status: object, *, token: str = "stranger", member_id: str = "p2") -> Reply:
        return await self.call("PUT", f"/v2/images/{image_id}/members/{member_id}", {"status": status}, token=token)

    async def shared(self, *members: str, **values: object) -> str:
        image_id = await self.create(**values)
        for member_id in members:
            reply = await self.share(image_id, member_id, token="admin")
            assert reply.status == 200, reply
        return image_id

    async def members(self, image_id: str, *, token: str = "owner") -> list[Any]:
        reply = await self.call("GET", f"/v2/images/{image_id}/members", token=token)
        assert reply.status == 200, reply
        return [(member["member_id"], member["status"]) for member in reply.json["members"]]

    async def names(self, query: str = "", *, token: str = "stranger") -> list[str]:
        reply = await self.call("GET", f"/v2/images?sort=name:asc&{query}", token=token)
        assert reply.status == 200, reply
        return [image["name"] for image in reply.json["images"]]


class MembersTests(MembersCase):
    """
    The calls that are about members.
    """

    async def act(self, action: str, image_id: str, token: str) -> int:
        """
        Do something to members and tell the status of the answer.
        """
        path = f"/v2/images/{image_id}/members"
        verb, _, whom = action.partition(" ")
        member = f"{path}/{WHOM.get(whom)}"
        match verb:
            case "list":
                reply = await self.call("GET", path, token=token)
            case "show":
                reply = await self.call("GET", member, token=token)
            case "add":
                reply = await self.share(image_id, "p2" if whom else "p5", token=token)
            case "change":
                reply = await self.call("PUT", member, {"status": "accepted"}, token=token)
            case _:
                reply = await self.call("DELETE", member, token=token)
        return reply.status

    async def test_people(self) -> None:
        """
        Members are their image's owner's business and administrators'; a member knows of itself, and speaks for itself.
        """
        for action, statuses in OUTCOMES["shared"].items():
            expected = dict(zip(PEOPLE, statuses, strict=True))
            found = {}
            for token in PEOPLE:
                image_id = await self.shared("p2", "p9")
                found[token] = await self.act(action, image_id, token)
            self.assertEqual((action, found), (action, expected))

    async def test_images_that_are_not_shared(self) -> None:
        """
        Other images have no members to speak of, though they may have had: that is forbidden, or not found, as ever.
        """
        for visibility in ("private", "community", "public"):
            image_id = await self.shared("p2", "p9")
            replace = [{"op": "replace", "path": "/visibility", "value": visibility}]
            self.assertEqual((await self.patch(image_id, replace, token="admin")).status, 200)
            for token, status in zip(PEOPLE, OUTCOMES[visibility]["any"], strict=True):
                found = [await self.act(action, image_id, token) for action in ACTIONS]
                self.assertEqual((visibility, token, found), (visibility, token, [status] * len(ACTIONS)))

    async def test_images_that_are_not_there(self) -> None:
        """
        Unknown and deleted images, and what is no id, are not found, by administrators either.
        """
        deleted = await self.shared("p2", "p9")
        await self.call("DELETE", f"/v2/images/{deleted}")
        for image_id in (deleted, UNKNOWN_ID, "nonsense"):
            for token in ("owner", "stranger", "admin"):
                found = [await self.act(action, image_id, token) for action in ACTIONS]
                self.assertEqual((image_id, token, found), (image_id, token, [404] * len(ACTIONS)))

    async def test_without_a_token(self) -> None:
        """
        Who is not known is told nothing.
        """
        image_id = await self.shared("p2", "p9")
        found = [await self.act(action, image_id, "garbage") for action in ACTIONS]
        self.assertEqual(found, [401] * len(ACTIONS))

    async def test_an_image_without_an_owner(self) -> None:
        """
        Everybody sees it, and nobody but administrators its members, except each member itself.
        """
        image_id = await self.create(token="admin", owner=None)
        await self.share(image_id, "p2", token="admin")
        for token, list_status, show_status, add_status in [
            ("owner", 403, 404, 403),
            ("third", 403, 404, 403),
            ("stranger", 200, 200, 403),
            ("admin", 200, 200, 200),
        ]:
            found = [await self.act(action, image_id, token) for action in ("list", "show", "add")]
            self.assertEqual((token, found), (token, [list_status, show_status, add_status]))

    async def test_documents(self) -> None:
        """
        A member is answered alike wherever it is; adding one is answered 200, as stock has it.
        """
        image_id = await self.create()
        added = await self.share(image_id)
        member = added.json
        self.assertEqual(added.status, 200)
        self.assertEqual(
            member,
            {
                "member_id": "p2",
                "image_id": image_id,
                "status": "pending",
                "created_at": member["created_at"],
                "updated_at": member["created_at"],
                "schema": "/v2/schemas/member",
            },
        )
        self.assertRegex(member["created_at"], r"^2024-05-06T07:\d\d:\d\dZ$")
        path = f"/v2/images/{image_id}/members"
        self.assertEqual((await self.call("GET", f"{path}/p2")).json, member)
        listed = await self.call("GET", path)
        self.assertEqual(listed.json, {"members": [member], "schema": "/v2/schemas/members"})
        changed = (await self.say(image_id, "rejected")).json
        self.assertEqual(changed, {**member, "status": "rejected", "updated_at": changed["updated_at"]})
        self.assertGreater(changed["updated_at"], member["updated_at"])
        removed = await self.call("DELETE", f"{path}/p2")
        self.assertEqual((removed.status, removed.body), (204, b""))
        self.assertEqual((await self.call("GET", path)).json["members"], [])

    async def test_who_is_listed(self) -> None:
        """
        Owner and administrator have all members listed, the oldest first; a member itself alone.
        """
        image_id = await self.shared("p9", "p2", "p3")
        for token, expected in [
            ("owner", ["p9", "p2", "p3"]),
            ("reader", ["p9", "p2", "p3"]),
            ("admin", ["p9", "p2", "p3"]),
            ("stranger", ["p2"]),
            ("foreign-reader", ["p2"]),
            ("third", ["p3"]),
        ]:
            listed = await self.members(image_id, token=token)
            self.assertEqual((token, listed), (token, [(member_id, "pending") for member_id in expected]))

    async def test_bodies(self) -> None:
        """
        A body that is missing, is no object, or lacks a fitting value is refused before anything is looked for.
        """
        image_id = await self.shared("p2")
        path = f"/v2/images/{image_id}/members"
        for method, target, name in (("POST", path, "member"), ("PUT", f"{path}/p2", "status")):
            bad = [None, True, 7, ["accepted"], {}, "", "p\0", "x" * 256]
            documents: list[Any] = [{}, [], ["p5"], {"members": "p5"}, *({name: value} for value in bad)]
            for document in documents:
                for token in ("owner", "stranger", "admin"):
                    reply = await self.call(method, target, document, token=token)
                    self.assertEqual((method, document, reply.status), (method, document, 400))
            for body in (b"", b"{", b'"p5"', b'{"member": "\\ud800"}', b'{"status": "\\ud800"}'):
                reply = await self.call(method, target, body=body)
                self.assertEqual((method, body, reply.status), (method, body, 400))
        for status in ("Accepted", "deleted", " accepted"):
            self.assertEqual((await self.say(image_id, status)).status, 400)
        for method, target in (("GET", path), ("GET", f"{path}/p2"), ("DELETE", f"{path}/p2")):
            self.assertEqual((await self.call(method, target, {"member": "p2"})).status, 400)
        self.assertEqual(await self.members(image_id), [("p2", "pending")])

    async def test_ids(self) -> None:
        """
        Any text of up to 255 characters may be a project; in a path it is escaped, and what cannot be one is not found.
        """
        image_id = await self.create()
        path = f"/v2/images/{image_id}/members"
        for member_id, escaped in [("x" * 255, "x" * 255), ("größe 1", "gr%C3%B6%C3%9Fe%201"), ("P2", "P2")]:
            self.assertEqual((await self.share(image_id, member_id)).status, 200)
            self.assertEqual((await self.call("GET", f"{path}/{escaped}")).json["member_id"], member_id)
        for nobody in ("x" * 256, "p2", "P2%20", "%20P2"):
            for method in ("GET", "DELETE"):
                self.assertEqual((nobody, (await self.call(method, f"{path}/{nobody}")).status), (nobody, 404))
        self.assertEqual((await self.call("GET", f"{path}/")).status, 404)
        self.assertEqual((await self.call("GET", f"/v2/images/{image_id.upper()}/members/P2")).status, 200)

    async def test_extra_keys(self) -> None:
        """
        What a body has beside what is asked for is ignored.
        """
        image_id = await self.create()
        body = {"member": "p2", "status": "accepted", "can_share": True}
        reply = await self.call("POST", f"/v2/images/{image_id}/members", body)
        self.assertEqual((reply.status, reply.json["status"]), (200, "pending"))
        reply = await self.call("PUT", f"/v2/images/{image_id}/members/p2", {**body, "member": 1}, token="stranger")
        self.assertEqual((reply.status, reply.json["status"]), (200, "accepted"))

    async def test_methods(self) -> None:
        """
        Other methods are not for members.
        """
        image_id = await self.shared("p2")
        path = f"/v2/images/{image_id}/members"
        for method, target, allowed in [
            ("PUT", path, {"GET", "POST"}),
            ("DELETE", path, {"GET", "POST"}),
            ("POST", f"{path}/p2", {"GET", "PUT", "DELETE"}),
            ("PATCH", f"{path}/p2", {"GET", "PUT", "DELETE"}),
        ]:
            reply = await self.call(method, target)
            self.assertEqual((reply.status, set(reply.headers["allow"].split(", "))), (405, allowed))

    async def test_coming_and_going(self) -> None:
        """
        A member is added once; one that was removed may come back, and is pending again.
        """
        image_id = await self.shared("p2")
        await self.say(image_id, "accepted")
        self.assertEqual((await self.share(image_id)).status, 409)
        self.assertEqual(await self.members(image_id), [("p2", "accepted")])
        for status in (204, 404):
            self.assertEqual((await self.call("DELETE", f"/v2/images/{image_id}/members/p2")).status, status)
        self.assertEqual((await self.share(image_id)).status, 200)
        self.assertEqual(await self.members(image_id), [("p2", "pending")])

    async def test_an_owner_that_is_a_member(self) -> None:
        """
        An owner may add itself; it speaks for itself then, and sees what it saw before.
        """
        image_id = await self.shared("p1", name="own")
        self.assertEqual((await self.say(image_id, "rejected", token="owner", member_id="p1")).status, 200)
        self.assertEqual(await self.members(image_id), [("p1", "rejected")])
        self.assertEqual(await self.names(token="owner"), ["own"])

    async def test_statuses(self) -> None:
        """
        A member may change its mind any number of times, also back to pending.
        """
        image_id = await self.shared("p2")
        for status in ("accepted", "accepted", "rejected", "pending", "rejected", "accepted"):
            reply = await self.say(image_id, status)
            self.assertEqual((reply.status, reply.json["status"]), (200, status))


class QuotaTests(MembersCase):
    """
    An operator allows two members.
    """

    member_quota = 2

    async def test_quota(self) -> None:
        """
        One more than allowed is refused; a removed one makes room.
        """
        image_id = await self.shared("p2", "p3")
        self.assertEqual((await self.share(image_id, "p4")).status, 413)
        await self.call("DELETE", f"/v2/images/{image_id}/members/p2")
        self.assertEqual((await self.share(image_id, "p4")).status, 200)
        self.assertEqual((await self.share(image_id, "p2", token="admin")).status, 413)
        self.assertEqual(await self.members(image_id), [("p3", "pending"), ("p4", "pending")])


class UnlimitedTests(MembersCase):
    """
    An operator allows any number of members.
    """

    member_quota = -1

    async def test_no_quota(self) -> None:
        """
        There is no last one.
        """
        image_id = await self.shared(*(f"q{n}" for n in range(130)))
        self.assertEqual(len(await self.members(image_id)), 130)


class OperatorRulesTests(MembersCase):
    """
    An operator lets members share on, and leave, by themselves, and keeps who they are from readers.
    """

    policy_rules = {
        "delete_member": "role:member and (project_id:%(owner)s or project_id:%(member_id)s)",
        "get_members": "role:member and (project_id:%(owner)s or project_id:%(member_id)s)",
        "get_member": "!",
        "add_member": "project_id:%(member_id)s",
    }

    async def test_rules(self) -> None:
        """
        Rules are asked about the member in question, or about the caller's membership where it is about all of them.
        """
        image_id = await self.create()
        for member_id in ("p2", "p3"):
            await self.members_repository.add(image_id, member_id, quota=-1)
        path = f"/v2/images/{image_id}/members"
        for token, status in (("owner", 200), ("reader", 403), ("stranger", 200), ("foreign-reader", 403)):
            self.assertEqual((token, (await self.call("GET", path, token=token)).status), (token, status))
        self.assertEqual((await self.call("GET", f"{path}/p2")).status, 403)
        self.assertEqual((await self.call("GET", f"{path}/p4")).status, 404)
        for token, status in (("owner", 403), ("stranger", 200)):
            self.assertEqual((token, (await self.share(image_id, "p5", token=token)).status), (token, status))
        self.assertEqual((await self.call("DELETE", f"{path}/p3", token="stranger")).status, 404)
        self.assertEqual((await self.call("DELETE", f"{path}/p2", token="stranger")).status, 204)
        self.assertEqual((await self.call("GET", path, token="stranger")).status, 404)


class SharingTests(MembersCase):
    """
    What it means to be a member.
    """

    async def image_statuses(self, image_id: str, token: str) -> list[int]:
        path = f"/v2/images/{image_id}"
        patch = [{"op": "add", "path": "/by", "value": "somebody"}]
        replies = [
            await self.call("GET", path, token=token),
            await self.call("GET", f"{path}/file", token=token),
            await self.call("HEAD", f"{path}/file", token=token),
            await self.call("PATCH", path, patch, token=token, Content_Type=PATCH_TYPE),
            await self.call("PUT", f"{path}/file", token=token, body=b"x", Content_Type=OCTETS),
            await self.call("DELETE", path, token=token),
        ]
        return [reply.status for reply in replies]

    async def test_what_members_may_do(self) -> None:
        """
        A member sees and downloads the image, whatever its status is, and changes nothing; its readers only see it.
        """
        image_id = await self.active()
        self.assertEqual(await self.image_statuses(image_id, "stranger"), [404] * 6)
        await self.share(image_id)
        for status in MemberStatus:
            await self.say(image_id, status)
            self.assertEqual(await self.image_statuses(image_id, "stranger"), [200, 200, 200, 403, 403, 403])
            self.assertEqual(await self.image_statuses(image_id, "foreign-reader"), [200, 403, 403, 403, 403, 403])
            self.assertEqual(await self.image_statuses(image_id, "third"), [404] * 6)
        await self.call("DELETE", f"/v2/images/{image_id}/members/p2")
        self.assertEqual(await self.image_statuses(image_id, "stranger"), [404] * 6)

    async def test_visibility(self) -> None:
        """
        Members of an image that is made private see it no more, and do again when it is shared again.
        """
        image_id = await self.shared("p2", name="x")
        await self.say(image_id, "accepted")
        for visibility, status, listed in [("private", 404, []), ("shared", 200, ["x"])]:
            await self.patch(image_id, [{"op": "replace", "path": "/visibility", "value": visibility}])
            self.assertEqual((await self.call("GET", f"/v2/images/{image_id}", token="stranger")).status, status)
            self.assertEqual(await self.names(), listed)

    async def test_lists(self) -> None:
        """
        A member's lists have the images that are shared with it in the status it asks for; accepted, if it does not.
        """
        for name, status in [("a", "accepted"), ("p", "pending"), ("r", "rejected")]:
            await self.say(await self.shared("p2", name=name), status)
        await self.create(name="not shared")
        await self.create(name="own", token="stranger")
        for query, expected in [
            ("", ["a", "own"]),
            ("member_status=accepted", ["a", "own"]),
            ("member_status=pending", ["own", "p"]),
            ("member_status=rejected", ["own", "r"]),
            ("member_status=all", ["a", "own", "p", "r"]),
            ("member_status=all&visibility=shared", ["a", "own", "p", "r"]),
            ("member_status=all&visibility=all", ["a", "own", "p", "r"]),
            ("member_status=all&visibility=public", []),
            ("member_status=all&owner=p1", ["a", "p", "r"]),
            ("member_status=pending&visibility=shared&name=p", ["p"]),
            ("member_status=pending&member_status=rejected", ["own", "r"]),
        ]:
            self.assertEqual((query, await self.names(query)), (query, expected))
        self.assertEqual(await self.names("member_status=pending", token="admin"), ["a", "not shared", "own", "p", "r"])
        self.assertEqual(await self.names("member_status=all", token="third"), [])

    async def test_pages(self) -> None:
        """
        A list goes on after an image that is shared with the member, also where the list itself would leave it out.
        """
        for name in ("a", "b", "c"):
            await self.say(await self.shared("p2", name=name), "accepted")
        pending = await self.shared("p2", name="b2")
        unseen = await self.shared("p3", name="b3")
        pages, target = [], "/v2/images?limit=2&sort=name:asc&member_status=accepted"
        while target:
            reply = await self.call("GET", target, token="stranger")
            pages.append([image["name"] for image in reply.json["images"]])
            target = reply.json.get("next")
        self.assertEqual(pages, [["a", "b"], ["c"]])
        self.assertEqual(await self.names(f"marker={pending}"), ["c"])
        reply = await self.call("GET", f"/v2/images?marker={unseen}", token="stranger")
        self.assertEqual(reply.status, 400)


class SqlSharingTests(SqlServiceTestCase, SharingTests):
    """
    The same with images and members in a database.
    """


class SqlMembersTests(SqlServiceTestCase, MembersTests):
    """
    The same with images and members in a database.
    """
