"""
Which project a caller belongs to, for counting only.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from glance_cache.hit_keys import NO_PROJECT
from glance_tx.identity.errors import IdentityUnavailable, NotAuthenticated
from glance_tx.identity.interfaces import IIdentity
from glance_tx.web.callers import Callers
from glance_tx.web.errors import BadRequest
from glance_tx.web.request import Request

__all__ = ["Projects"]


class Projects:
    """
    Finds out projects beside the downloads they are asked for: nobody waits for an answer.

    :param identity: This node's own; what it says permits nothing. ``None`` where there is none: nobody is known.
    """

    _log = Logger()

    def __init__(self, identity: IIdentity | None) -> None:
        self._callers = None if identity is None else Callers(identity)
        self._asking: set[Deferred[str]] = set()

    def look_up(self, request: Request) -> Callable[[], str]:
        """
        Begin to find out who sent a request.

        :return: Tells the project as far as it is known by then; `NO_PROJECT` where it is not, or there is none.
        """
        found = NO_PROJECT

        def keep(project: str) -> None:
            nonlocal found
            found = project

        asking = Deferred.fromCoroutine(self._ask(request))
        self._asking.add(asking)
        asking.addCallback(keep)
        asking.addErrback(lambda failure: self._log.failure("a project cannot be found out", failure))
        asking.addBoth(lambda _: self._asking.discard(asking))
        return lambda: found

    def stop(self) -> None:
        """
        Ask no more.
        """
        for asking in tuple(self._asking):
            asking.cancel()

    async def _ask(self, request: Request) -> str:
        if self._callers is None:
            return NO_PROJECT
        try:
            return (await self._callers.of(request)).project_id or NO_PROJECT
        except (NotAuthenticated, IdentityUnavailable, BadRequest, CancelledError):
            return NO_PROJECT
