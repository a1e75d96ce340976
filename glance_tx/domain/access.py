"""
Who may do what to an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from glance_tx.domain.errors import Forbidden, ImageNotFound
from glance_tx.domain.images import Image, Visibility
from glance_tx.domain.interfaces import IImageRepository, Viewer
from glance_tx.domain.values import is_image_id
from glance_tx.identity.caller import Caller
from glance_tx.policy.interfaces import IPolicy

__all__ = ["Access", "visible_image"]

_VISIBILITY_RULES: Final[Mapping[Visibility, str]] = {
    Visibility.PUBLIC: "publicize_image",
    Visibility.COMMUNITY: "communitize_image",
}


class Access:
    """
    Puts visibility and policy together (contract sections 4.1, 5.3 and 5.4).

    Membership is read from the image, so this has to be one that was fetched for the caller's project. Which status
    the member has does not matter.

    :param policy: The rules.
    """

    def __init__(self, policy: IPolicy) -> None:
        self._policy = policy

    def is_admin(self, caller: Caller) -> bool:
        """
        Tell whether the caller sees the images of all projects.
        """
        return self._policy.allows("context_is_admin", caller, {})

    def viewer(self, caller: Caller) -> Viewer:
        """
        Say which images a query of this caller may cover.
        """
        return Viewer(caller.project_id, self.is_admin(caller))

    def visible(self, image: Image, caller: Caller) -> bool:
        """
        Tell whether the caller may know of an image.
        """
        return self._shown(image, caller) and self._policy.allows("get_image", caller, self.target(image))

    def require_visible(self, image: Image, caller: Caller) -> None:
        """
        Hide an image from whoever may not know of it.

        :raises ImageNotFound: The caller may not.
        """
        if not self.visible(image, caller):
            raise ImageNotFound(image.id)

    def require(self, rule: str, caller: Caller, image: Image) -> None:
        """
        Insist on a rule about an image.

        :raises ImageNotFound: The caller may not even know of the image.
        :raises Forbidden: The rule fails.
        """
        self.require_visible(image, caller)
        self._insist(rule, caller, self.target(image))

    def require_about_member(self, rule: str, caller: Caller, image: Image, member_id: str) -> None:
        """
        Insist on a rule about one member of an image that the caller may know of, and not only about the image.

        :param member_id: What the rule is told as ``member_id``, in place of the caller's own membership.
        :raises Forbidden: The rule fails.
        """
        self._insist(rule, caller, {**self.target(image), "member_id": member_id})

    def permits(self, rule: str, caller: Caller, image: Image) -> bool:
        """
        Tell whether a rule passes about an image that the caller may know of.
        """
        return self._policy.allows(rule, caller, self.target(image))

    def require_global(self, rule: str, caller: Caller, facts: Mapping[str, object] | None = None) -> None:
        """
        Insist on a rule that is about no image yet, or about all of the caller's own.

        :param facts: What else the rule may look at.
        :raises Forbidden: The rule fails.
        """
        self._insist(rule, caller, {"project_id": caller.project_id, **(facts or {})})

    def require_new(self, caller: Caller, image: Image) -> None:
        """
        Insist on everything that it takes to create an image.

        :raises Forbidden: The caller may not create it, not for that owner, or not with that visibility.
        """
        facts = {"owner": image.owner, "visibility": image.visibility.value}
        self.require_global("add_image", caller, facts)
        self.require_owner(image.owner, caller)
        self.require_visibility(image.visibility, caller, image)

    def require_owner(self, owner: str | None, caller: Caller) -> None:
        """
        Leave it to administrators to give images away.

        :raises Forbidden: The owner is not the caller's project, and the caller no administrator.
        """
        if (owner is None or owner != caller.project_id) and not self.is_admin(caller):
            raise Forbidden("only an administrator may set another owner")

    def require_visibility(self, visibility: Visibility, caller: Caller, image: Image) -> None:
        """
        Insist on the rule for giving an image a visibility.

        :raises Forbidden: The rule fails.
        """
        rule = _VISIBILITY_RULES.get(visibility)
        if rule is not None:
            self._insist(rule, caller, self.target(image))

    def target(self, image: Image) -> Mapping[str, object]:
        """
        Say what rules may know of an image.

        Facts stand before custom properties of the same names, which a client may choose at will.
        """
        facts = {
            "id": image.id,
            "project_id": image.owner,
            "owner": image.owner,
            "visibility": image.visibility.value,
            "member_id": image.member_id,
            "status": image.status.value,
            "name": image.name,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "protected": image.protected,
            "os_hidden": image.os_hidden,
            "min_disk": image.min_disk,
            "min_ram": image.min_ram,
            "size": image.size,
        }
        return {**image.properties, **facts}

    def _shown(self, image: Image, caller: Caller) -> bool:
        if image.owner is None or image.visibility is Visibility.PUBLIC or image.visibility is Visibility.COMMUNITY:
            return True
        if image.owner == caller.project_id or image.is_shared_with(caller.project_id):
            return True
        return self.is_admin(caller)

    def _insist(self, rule: str, caller: Caller, target: Mapping[str, object]) -> None:
        if not self._policy.allows(rule, caller, target):
            raise Forbidden(f"policy does not allow {rule}")


async def visible_image(repository: IImageRepository, access: Access, caller: Caller, image_id: str) -> Image:
    """
    Fetch an image for a caller.

    :param image_id: As it came; anything but a UUID names no image.
    :raises ImageNotFound: There is no such image, or the caller may not know of it.
    """
    if not is_image_id(image_id):
        raise ImageNotFound(image_id)
    image = await repository.get(image_id, project_id=caller.project_id)
    access.require_visible(image, caller)
    return image
