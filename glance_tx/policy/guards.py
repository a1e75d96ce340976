"""
What each built-in rule guards, for whoever writes rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

__all__ = ["GUARDS", "Guard"]


@frozen
class Guard:
    """
    What is decided by a rule.

    :param meaning: Who passes may do this, or counts as that.
    :param routes: Requests that ask for it. None where it is asked for in the course of others.
    """

    meaning: str
    routes: tuple[str, ...] = ()


_IMAGE: Final = "/v2/images/{image_id}"
_NAMESPACES: Final = "/v2/metadefs/namespaces"
_NAMESPACE: Final = f"{_NAMESPACES}/{{namespace}}"


_HELPERS: Final = {
    "default": Guard("stands for everybody, where other rules refer to it"),
    "context_is_admin": Guard("counts as an administrator: sees the images of all projects"),
    "service_api": Guard("counts as a service of the cloud, such as Nova or Cinder"),
}

_IMAGES: Final = {
    "add_image": Guard("create an image", ("POST /v2/images",)),
    "delete_image": Guard("delete an image", (f"DELETE {_IMAGE}",)),
    "get_image": Guard(
        "know of an image; what else is asked of an image counts only for those who pass", (f"GET {_IMAGE}",)
    ),
    "get_images": Guard("list images; of these, those are listed that get_image lets pass", ("GET /v2/images",)),
    "modify_image": Guard(
        "change an image, its tags, and stage or import its data",
        (
            f"PATCH {_IMAGE}",
            f"PUT {_IMAGE}/tags/{{tag}}",
            f"DELETE {_IMAGE}/tags/{{tag}}",
            f"PUT {_IMAGE}/stage",
            f"POST {_IMAGE}/import",
        ),
    ),
    "publicize_image": Guard("give an image the visibility public", ("POST /v2/images", f"PATCH {_IMAGE}")),
    "communitize_image": Guard("give an image the visibility community", ("POST /v2/images", f"PATCH {_IMAGE}")),
    "download_image": Guard("have an image's data, from a cache too", (f"GET {_IMAGE}/file", f"HEAD {_IMAGE}/file")),
    "download_from_store": Guard("choose the store that an image's data come from", (f"GET {_IMAGE}/file",)),
    "upload_image": Guard("bring in an image's data", (f"PUT {_IMAGE}/file",)),
    "get_image_location": Guard("see where an image's data lie (locations, direct_url)", (f"GET {_IMAGE}",)),
    "set_image_location": Guard("add a location to an image, or replace its locations", (f"PATCH {_IMAGE}",)),
    "delete_image_location": Guard(
        "take a location from an image", (f"PATCH {_IMAGE}", "DELETE /v2/stores/{store_id}/{image_id}")
    ),
    "add_image_location": Guard("register data that lie in a store", (f"POST {_IMAGE}/locations",)),
    "fetch_image_location": Guard("see where an image's data lie, as a service", (f"GET {_IMAGE}/locations",)),
    "add_member": Guard("share an image with a project", (f"POST {_IMAGE}/members",)),
    "delete_member": Guard("share an image no longer", (f"DELETE {_IMAGE}/members/{{member_id}}",)),
    "get_member": Guard("see one membership", (f"GET {_IMAGE}/members/{{member_id}}",)),
    "get_members": Guard("list the projects that an image is shared with", (f"GET {_IMAGE}/members",)),
    "modify_member": Guard("accept or reject an image that is shared", (f"PUT {_IMAGE}/members/{{member_id}}",)),
    "deactivate": Guard("withhold an image's data", (f"POST {_IMAGE}/actions/deactivate",)),
    "reactivate": Guard("give a deactivated image's data again", (f"POST {_IMAGE}/actions/reactivate",)),
    "copy_image": Guard("copy an image's data to further stores", (f"POST {_IMAGE}/import",)),
}

_SERVICE: Final = {
    "manage_image_cache": Guard(
        "manage a cache by the routes of old",
        (
            "GET /v2/cached_images",
            "DELETE /v2/cached_images",
            "DELETE /v2/cached_images/{image_id}",
            "GET /v2/queued_images",
            "DELETE /v2/queued_images",
            "PUT /v2/queued_images/{image_id}",
            "DELETE /v2/queued_images/{image_id}",
        ),
    ),
    "cache_image": Guard(
        "have an image cached, or kept from eviction",
        (
            "PUT /v2/cache/{image_id}",
            "POST /v2/cache/jobs",
            "PUT /v2/cache/{image_id}/pin",
            "DELETE /v2/cache/{image_id}/pin",
        ),
    ),
    "cache_list": Guard(
        "see what is cached, what is to be, and why",
        (
            "GET /v2/cache",
            "GET /v2/cache/{image_id}",
            "GET /v2/cache/{image_id}/explain",
            "GET /v2/cache/jobs",
            "GET /v2/cache/stats",
            "GET /v2/cache/events",
        ),
    ),
    "cache_delete": Guard("remove images from a cache", ("DELETE /v2/cache", "DELETE /v2/cache/{image_id}")),
    "cache_clean": Guard(
        "have a cache look for what is broken or stale", ("POST /v2/cache/clean", "POST /v2/cache/{image_id}/verify")
    ),
    "cache_prune": Guard("have a cache make room down to its limit", ("POST /v2/cache/prune",)),
    "list_cached_nodes": Guard("list the nodes that have an image cached", ("GET /v2/cache/nodes/{image_id}",)),
    "stores_info_detail": Guard("see how stores are configured", ("GET /v2/info/stores/detail",)),
    "tasks_api_access": Guard(
        "use tasks at all",
        ("GET /v2/tasks", "POST /v2/tasks", "GET /v2/tasks/{task_id}", "DELETE /v2/tasks/{task_id}"),
    ),
    "get_task": Guard("see a task, after tasks_api_access", ("GET /v2/tasks/{task_id}",)),
    "get_tasks": Guard("list tasks, after tasks_api_access", ("GET /v2/tasks",)),
    "add_task": Guard("create a task, after tasks_api_access", ("POST /v2/tasks",)),
    "modify_task": Guard("change a task, after tasks_api_access", ("DELETE /v2/tasks/{task_id}",)),
}


def _part(word: str, plural: str, words: str) -> dict[str, Guard]:
    """
    Say what guards one kind of part of a namespace.
    """
    every, one = f"{_NAMESPACE}/{plural}", f"{_NAMESPACE}/{plural}/{{name}}"
    remove = "remove" if word == "property" else "delete"
    return {
        f"get_metadef_{word}": Guard(f"see {words} of a namespace", (f"GET {one}",)),
        f"get_metadef_{plural}": Guard(f"list a namespace's {plural}", (f"GET {every}",)),
        f"add_metadef_{word}": Guard(f"add {words} to a namespace", (f"POST {one if word == 'tag' else every}",)),
        f"modify_metadef_{word}": Guard(f"change {words} of a namespace", (f"PUT {one}",)),
        f"{remove}_metadef_{word}": Guard(f"remove {words} from a namespace", (f"DELETE {one}",)),
    }


_METADEFS: Final = {
    "metadef_default": Guard("stands for everybody, where other rules refer to it"),
    "metadef_admin": Guard("may write definitions of metadata, where other rules refer to it"),
    "get_metadef_namespace": Guard("see a namespace", (f"GET {_NAMESPACE}",)),
    "get_metadef_namespaces": Guard("list namespaces", (f"GET {_NAMESPACES}",)),
    "add_metadef_namespace": Guard("create a namespace", (f"POST {_NAMESPACES}",)),
    "modify_metadef_namespace": Guard("change a namespace", (f"PUT {_NAMESPACE}",)),
    "delete_metadef_namespace": Guard(
        "delete a namespace, or all of its objects or properties",
        (f"DELETE {_NAMESPACE}", f"DELETE {_NAMESPACE}/objects", f"DELETE {_NAMESPACE}/properties"),
    ),
    **_part("object", "objects", "an object"),
    **_part("property", "properties", "a property"),
    **_part("tag", "tags", "a tag"),
    "add_metadef_tags": Guard("give a namespace a list of tags", (f"POST {_NAMESPACE}/tags",)),
    "delete_metadef_tags": Guard("remove all of a namespace's tags", (f"DELETE {_NAMESPACE}/tags",)),
    "list_metadef_resource_types": Guard("list types of resources", ("GET /v2/metadefs/resource_types",)),
    "get_metadef_resource_type": Guard("see a namespace's types of resources", (f"GET {_NAMESPACE}/resource_types",)),
    "add_metadef_resource_type_association": Guard(
        "associate a type of resources with a namespace", (f"POST {_NAMESPACE}/resource_types",)
    ),
    "remove_metadef_resource_type_association": Guard(
        "take a type of resources from a namespace", (f"DELETE {_NAMESPACE}/resource_types/{{name}}",)
    ),
}

GUARDS: Final[Mapping[str, Guard]] = MappingProxyType({**_HELPERS, **_IMAGES, **_SERVICE, **_METADEFS})
"""By the names of `glance_tx.policy.rules.DEFAULT_RULES`, in the order of the sample file."""
