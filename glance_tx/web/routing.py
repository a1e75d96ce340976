"""
Which handler answers which method on which path.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from attrs import frozen
from klein import Klein
from werkzeug import exceptions as werkzeug_exceptions
from werkzeug.routing import Rule

from glance_tx.web.errors import BadRequest, MethodNotAllowed, RouteNotFound
from glance_tx.web.response import Response

__all__ = ["BodyRule", "Handler", "Route", "Router", "decode_path"]

Handler = Callable[..., Coroutine[Any, Any, Response]]
"""Answers a request: takes it, and what the path's converters found as keyword arguments."""

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Stands for any method that no route can have: methods are case-sensitive, and the matcher below is not.
_NO_METHOD: Final = "-"
# A route's path of literal segments, and of such as may be any.
_SEGMENT: Final = r"/(?:<[A-Za-z_]\w*>|[^/<>|\\]*)"
_PLAIN: Final = re.compile(f"(?:{_SEGMENT})+", re.ASCII)
_PLAIN_BUT_FOR_THE_REST: Final = re.compile(f"(?:{_SEGMENT})*/<path:[A-Za-z_]\\w*>", re.ASCII)


class BodyRule(enum.Enum):
    """
    What a route does with a request body.
    """

    NONE = "none"
    """It takes none: a request with one is refused."""

    JSON = "json"
    """It reads a short document (`glance_tx.web.jsonbody.read_json`)."""

    STREAM = "stream"
    """It pulls the body at its own pace, and may take as long as the body does."""


@frozen
class Route:
    """
    One method on one path.

    :param label: Names the route in logs and metrics.
    :param handler: Answers what is asked of it, with the arguments that its path holds.
    :param deadline_seconds: Time for the handler to come up with a response; ``None`` means as long as it takes.
    """

    label: str
    body: BodyRule
    deadline_seconds: float | None
    handler: Handler


class _Place:
    """
    A place in the tree of paths: how it goes on there, and what is found where it ends there.
    """

    def __init__(self) -> None:
        self.named: dict[str, _Place] = {}
        self.any: _Place | None = None
        self.routes: dict[str, tuple[Route, Sequence[str]]] = {}
        """By method: the route, and what it calls the segments that may be any."""


class _Tree:
    """
    Finds what most requests ask for faster than the matcher does.

    It knows the routes whose variables are whole segments, and says only what the matcher would say too: on each
    level a literal segment goes before any, and where that leads to nothing the matcher has to look for itself. A
    variable with a converter might go before a plain one: where a route has one, all paths with variables are left to
    the matcher.
    """

    def __init__(self) -> None:
        self._root = _Place()
        self._trusted = True

    def add(self, method: str, path: str, route: Route) -> None:
        """
        Take in a route, if it is one to be kept here.
        """
        if _PLAIN.fullmatch(path) is None:
            # A variable for all the rest comes after every plain one, so it takes nothing from what is kept.
            self._trusted = self._trusted and _PLAIN_BUT_FOR_THE_REST.fullmatch(path) is not None
            return
        place, names = self._root, []
        for segment in path[1:].split("/"):
            if segment.startswith("<"):
                names.append(segment[1:-1])
                place.any = place = place.any or _Place()
            else:
                place = place.named.setdefault(segment, _Place())
        place.routes.setdefault(method, (route, names))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """
        Find the route for a request.

        :return: ``None`` where the matcher is to be asked.
        """
        place, values = self._root, []
        for segment in path[1:].split("/"):
            following = place.named.get(segment)
            if following is None:
                following = place.any
                if following is None or not segment or not self._trusted:
                    return None
                values.append(segment)
            place = following
        found = place.routes.get(method)
        return None if found is None else (found[0], dict(zip(found[1], values, strict=True)))


class _MatchedRule(Rule):
    """
    A rule that is matched, and never asked to make a path.

    Werkzeug compiles two functions for each rule that would make one: a sixth of the start of a daemon with its two
    hundred routes. The method is private to it; where it goes by another name some day, starts are slower again.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _make_no_path


def _make_no_path(*_: object, **__: object) -> tuple[str, str]:
    raise NotImplementedError("paths are matched here, and not made")


class Router:
    """
    The routes of an application.

    Klein's route table, asked strictly: no redirects, no HEAD that nobody wrote, no second spelling of a path.
    """

    def __init__(self) -> None:
        self._klein = Klein()
        # There are no redirects here, so the matcher need not look for them.
        self._klein.url_map.merge_slashes = False
        self._klein.url_map.redirect_defaults = False
        self._matcher = self._klein.url_map.bind("")
        self._routes: dict[str, Route] = {}
        self._tree = _Tree()

    @property
    def labels(self) -> Sequence[str]:
        """
        The labels of all routes, in the order in which they were added.
        """
        return tuple(self._routes)

    def add(self, method: str, path: str, handler: Handler, body: BodyRule, deadline_seconds: float | None) -> None:
        """
        Add a route.

        :param method: In upper case. Adding GET does not add HEAD.
        :param path: With converters as Klein and Werkzeug have them: ``/v2/images/<image_id>``.
        :raises ValueError: There is one already.
        """
        label = f"{method} {path}"
        if label in self._routes:
            raise ValueError(f"there is a route for {label} already")
        rule = _MatchedRule(path, methods=[method], endpoint=label)
        rule.methods = {method}  # Werkzeug added HEAD to GET
        self._klein.url_map.add(rule)
        route = self._routes[label] = Route(label, body, deadline_seconds, handler)
        self._tree.add(method, path, route)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, Any]]:
        """
        Find the route for a request.

        :param path: Decoded.
        :return: The route, and the arguments that its path holds.
        :raises RouteNotFound: No route has that path.
        :raises MethodNotAllowed: None of those that have it has that method.
        """
        # The matcher would put right how many slashes a path begins with.
        if not path.startswith("/") or path.startswith("//"):
            raise RouteNotFound(path)
        found = self._tree.find(method, path)
        if found is not None:
            return found
        try:
            rule, arguments = self._matcher.match(path, method if method.isupper() else _NO_METHOD, return_rule=True)
        except werkzeug_exceptions.MethodNotAllowed as exc:
            raise MethodNotAllowed(method, tuple(sorted(exc.valid_methods or ()))) from exc
        except werkzeug_exceptions.HTTPException as exc:
            raise RouteNotFound(path) from exc
        return self._routes[rule.endpoint], arguments


def decode_path(path: bytes) -> str:
    """
    Undo a path's percent-encoding.

    :raises BadRequest: It is broken, or what comes out is not UTF-8, or has a NUL.
    """
    if _BROKEN_ESCAPE.search(path):
        raise BadRequest("the path has a broken percent-encoding")
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadRequest("the path is not UTF-8") from exc
    if "\0" in decoded:
        raise BadRequest("the path has a NUL character")
    return decoded
