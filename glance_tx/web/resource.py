"""
The one resource of a site.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

__all__ = ["ApplicationResource"]


@implementer(IResource)
class ApplicationResource:
    """
    Hands every request to an application, whatever its path and method.

    Klein's own resource does the same with more around it (nested resources, error handlers, renderables, ``url_for``),
    which costs more than half the time of a small request.

    :param handle: Takes a request over: it is answered later.
    """

    isLeaf = True

    def __init__(self, handle: Callable[[Any], None]) -> None:
        self._handle = handle

    def render(self, request: IRequest) -> int:
        """
        Take a request.
        """
        self._handle(request)
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: IRequest) -> IResource:
        """
        Say where paths lead: here.
        """
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """
        Refuse: routes are added to the application.
        """
        raise NotImplementedError("routes are added to the application")
