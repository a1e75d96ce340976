"""
The built-in rules: names and meanings of stock Glance's.

Three kinds of people: a reader sees what its project may see, a member works with it (downloads included), an
administrator does everything. ``project_id`` of a target is the image's owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["ADMIN_RULE", "DEFAULT_RULES"]

ADMIN_RULE: Final = "context_is_admin"

_ADMIN = f"rule:{ADMIN_RULE}"
_MEMBER = f"{_ADMIN} or (role:member and project_id:%(project_id)s)"
_READER = f"{_ADMIN} or (role:reader and project_id:%(project_id)s)"
_NEW = "role:member and project_id:%(project_id)s and project_id:%(owner)s"
_SHOWN = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s"
    " or 'public':%(visibility)s or 'shared':%(visibility)s)"
)
_MEMBERSHIP = f"{_ADMIN} or role:reader and (project_id:%(project_id)s or project_id:%(member_id)s)"
_NAMESPACE = f"{_ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"
_DOWNLOAD = f"{_ADMIN} or (role:member and {_SHOWN})"

_IMAGES: Final = {
    "add_image": f"{_ADMIN} or ({_NEW})",
    "delete_image": _MEMBER,
    "get_image": f"{_ADMIN} or (role:reader and {_SHOWN})",
    "get_images": _READER,
    "modify_image": _MEMBER,
    "publicize_image": _ADMIN,
    "communitize_image": _MEMBER,
    # A reader sees an image and may still not have its data, as in stock Glance.
    "download_image": _DOWNLOAD,
    "download_from_store": _DOWNLOAD,
    "upload_image": _MEMBER,
    "get_image_location": _READER,
    "set_image_location": _MEMBER,
    "delete_image_location": _ADMIN,
    "add_image_location": f"rule:service_api or ({_NEW})",
    "fetch_image_location": "rule:service_api",
    "add_member": _MEMBER,
    "delete_member": _MEMBER,
    "get_member": _MEMBERSHIP,
    "get_members": _MEMBERSHIP,
    "modify_member": f"{_ADMIN} or (role:member and project_id:%(member_id)s)",
    "deactivate": _MEMBER,
    "reactivate": _MEMBER,
    "copy_image": _ADMIN,
}

_SERVICE: Final = {
    "manage_image_cache": _ADMIN,
    "cache_image": _ADMIN,
    "cache_list": _ADMIN,
    "cache_delete": _ADMIN,
    "cache_clean": _ADMIN,
    "cache_prune": _ADMIN,
    "list_cached_nodes": _ADMIN,
    "stores_info_detail": f"{_ADMIN} or rule:service_api",
    "tasks_api_access": _ADMIN,
    # All behind tasks_api_access.
    "get_task": "rule:default",
    "get_tasks": "rule:default",
    "add_task": "rule:default",
    "modify_task": "rule:default",
}

_METADEFS: Final = {
    "metadef_default": "",
    "metadef_admin": _ADMIN,
    "get_metadef_namespace": _NAMESPACE,
    "get_metadef_namespaces": _READER,
    "get_metadef_object": _NAMESPACE,
    "get_metadef_objects": _NAMESPACE,
    "get_metadef_property": _NAMESPACE,
    "get_metadef_properties": _NAMESPACE,
    "get_metadef_tag": _NAMESPACE,
    "get_metadef_tags": _NAMESPACE,
    "get_metadef_resource_type": _NAMESPACE,
    "list_metadef_resource_types": _NAMESPACE,
    "add_metadef_namespace": "rule:metadef_admin",
    "modify_metadef_namespace": "rule:metadef_admin",
    "delete_metadef_namespace": "rule:metadef_admin",
    "add_metadef_object": "rule:metadef_admin",
    "modify_metadef_object": "rule:metadef_admin",
    "delete_metadef_object": "rule:metadef_admin",
    "add_metadef_property": "rule:metadef_admin",
    "modify_metadef_property": "rule:metadef_admin",
    "remove_metadef_property": "rule:metadef_admin",
    "add_metadef_tag": "rule:metadef_admin",
    "modify_metadef_tag": "rule:metadef_admin",
    "delete_metadef_tag": "rule:metadef_admin",
    "add_metadef_tags": "rule:metadef_admin",
    "delete_metadef_tags": "rule:metadef_admin",
    "add_metadef_resource_type_association": "rule:metadef_admin",
    "remove_metadef_resource_type_association": "rule:metadef_admin",
}

DEFAULT_RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # An operator's rules may refer to it; it never stands in for a rule that is missing.
        "default": "",
        ADMIN_RULE: "role:admin",
        # The user's own token is a service's, or a service's token came along. Releases of stock Glance differ in
        # which of the two they take.
        "service_api": "role:service or role:admin or service_roles:service",
        **_IMAGES,
        **_SERVICE,
        **_METADEFS,
    }
)
"""All rules by name, in the language of oslo.policy."""
