"""
The query of an image list, read strictly (contract section 2.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, cast
from urllib.parse import parse_qsl, urlencode

from glance_tx.api.v2.filters import GREATEST, parse_filter, parse_flag, parse_number, require_one_of
from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.filters import Condition
from glance_tx.domain.images import Visibility
from glance_tx.domain.interfaces import ImageQuery, Viewer
from glance_tx.domain.listing import SORT_KEYS
from glance_tx.domain.members import MemberStatus
from glance_tx.web.errors import BadRequest

__all__ = ["Direction", "Pairs", "first_link", "next_link", "parse_image_query", "query_pairs"]

Direction = Literal["asc", "desc"]
Pairs = Sequence[tuple[str, str]]

_DIRECTIONS: Final = ("asc", "desc")
# As many as an image has by the usual quotas. Each is compared with all that an image has; SQLite refuses a thousand.
_MOST_PROPERTIES: Final = 128
_MOST_TAGS: Final = 128


def query_pairs(query: bytes) -> Pairs:
    """
    Split a query string into names and values, in order and with every repetition.

    :raises BadRequest: It is not UTF-8.
    """
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("the query is not UTF-8, percent-encoded, or has too many parts") from error


def first_link(path: str, pairs: Pairs) -> str:
    """
    Link to the first page of the same list.
    """
    return _link(path, [pair for pair in pairs if pair[0] != "marker"])


def next_link(path: str, pairs: Pairs, marker: str) -> str:
    """
    Link to the page that begins after an image. Parameters that were repeated stay so.
    """
    return _link(path, [*(pair for pair in pairs if pair[0] != "marker"), ("marker", marker)])


def parse_image_query(pairs: Pairs, default_limit: int) -> ImageQuery:
    """
    Read what a client wants listed.

    Of a parameter that is there more than once, and means one thing only, the last counts, as in stock Glance.

    :param default_limit: Images in a page where the client does not say.
    :return: A query without its viewer's project, which is the caller's to tell.
    :raises InvalidQuery: A parameter cannot be what it is.
    """
    last = dict(pairs)
    filters: list[Condition] = []
    properties: dict[str, str] = {}
    for name, value in last.items():
        if name in _PARAMETERS:
            continue
        condition = parse_filter(name, value)
        if condition is not None:
            filters.append(condition)
        else:
            properties[name] = value
    tags = frozenset(value for name, value in pairs if name == "tag")
    if len(properties) > _MOST_PROPERTIES:
        raise InvalidQuery(f"a list cannot be filtered by more than {_MOST_PROPERTIES} properties")
    if len(tags) > _MOST_TAGS:
        raise InvalidQuery(f"a list cannot be filtered by more than {_MOST_TAGS} tags")
    return ImageQuery(
        viewer=Viewer(None, is_admin=False),
        filters=filters,
        properties=properties,
        tags=tags,
        visibility=_visibility(last.get("visibility")),
        member_status=_member_status(last.get("member_status")),
        os_hidden=parse_flag("os_hidden", last["os_hidden"]) if "os_hidden" in last else False,
        sort=_sort(pairs),
        limit=_limit(last["limit"]) if "limit" in last else default_limit,
        marker=last.get("marker"),
    )


_PARAMETERS: Final = frozenset(
    {"limit", "marker", "member_status", "os_hidden", "sort", "sort_dir", "sort_key", "tag", "visibility"}
)


def _link(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(pairs))
    return f"{path}?{query}" if query else path


def _limit(value: str) -> int:
    # However great, it is cut to the longest page and not refused.
    return GREATEST if value.isascii() and value.isdecimal() and len(value) > 18 else parse_number("limit", value)


def _visibility(value: str | None) -> Visibility | Literal["all"] | None:
    if value is None:
        return None
    require_one_of("visibility", value, (*Visibility, "all"))
    return "all" if value == "all" else Visibility(value)


def _member_status(value: str | None) -> MemberStatus | Literal["all"]:
    if value is None:
        return MemberStatus.ACCEPTED
    require_one_of("member_status", value, (*MemberStatus, "all"))
    return "all" if value == "all" else MemberStatus(value)


def _sort(pairs: Pairs) -> tuple[tuple[str, Direction], ...]:
    keys = [value for name, value in pairs if name == "sort_key"]
    directions = [value for name, value in pairs if name == "sort_dir"]
    together = [value for name, value in pairs if name == "sort"]
    if together and (keys or directions):
        raise InvalidQuery("'sort' cannot be used together with 'sort_key' or 'sort_dir'")
    if together:
        return _checked(_split_sort(together[-1]))
    if not keys and not directions:
        return (("created_at", "desc"),)
    keys = keys or ["created_at"]
    directions = directions or ["desc"]
    if len(directions) == 1:
        directions *= len(keys)
    if len(directions) != len(keys):
        raise InvalidQuery(f"{len(directions)} of 'sort_dir' do not fit {len(keys)} of 'sort_key'")
    return _checked(zip(keys, directions, strict=True))


def _split_sort(value: str) -> Iterable[tuple[str, str]]:
    for part in value.split(","):
        key, _, direction = part.partition(":")
        yield key.strip(), direction.strip() or "desc"


def _checked(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, Direction], ...]:
    keys: dict[str, Direction] = {}
    for key, direction in pairs:
        require_one_of("sort_key", key, sorted(SORT_KEYS))
        # Where images are equal by a key already, the same key once more decides nothing.
        keys.setdefault(key, cast(Direction, require_one_of("sort_dir", direction, _DIRECTIONS)))
    return tuple(keys.items())
