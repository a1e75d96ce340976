"""
Connections that can be brought to an end without cutting a transfer.
"""

from __future__ import annotations

from functools import partial

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from glance_tx.web.admission import Admission
from glance_tx.web.channel import Channel
from glance_tx.web.deadlines import StallTimer
from glance_tx.web.head import RequestHead
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.request import EdgeSite, Refuse, plain_refusal

__all__ = ["DrainingChannel", "DrainingSite"]


class DrainingChannel(Channel):
    """
    A connection that its site knows of, and may ask to end.
    """

    site: DrainingSite

    def __init__(self, clock: IReactorTime, limits: EdgeLimits) -> None:
        super().__init__(clock, limits)
        self._served = False
        self._retired = False
        self._last_request = StallTimer(clock, limits.last_request_seconds, self._end_unused)

    def connectionMade(self) -> None:
        """
        Tell the site.
        """
        super().connectionMade()
        self.site.joined(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Tell the site.
        """
        self._last_request.stop()
        super().connectionLost(reason)
        self.site.left(self)

    def _head_received(self, head: RequestHead) -> None:
        self._served = True
        self._last_request.stop()
        super()._head_received(evolve(head, persistent=False) if self._retired else head)

    def retire(self) -> None:
        """
        End after the answer that is under way, or now if there is none. A client that has just connected, or is in the
        middle of a request's head, is let finish: it could not tell that its request was not carried out.
        """
        self._retired = True
        # One that is not persistent ends by itself; it may be waiting for its client to read an early answer.
        if not self.persistent:
            return
        self.persistent = False
        if self._head.begun or not self._served:
            self._last_request.start()
        elif not self.requests:
            self.loseConnection()

    def _end_unused(self) -> None:
        if not self.requests:
            self.loseConnection()


class DrainingSite(EdgeSite):
    """
    A site that can be left in peace.

    :param resource: Gets the requests.
    :param reactor: The clock of all deadlines.
    :param refuse: Answers what does not get as far as the resource.
    :ivar admission: Counts its connections, together with those of other sites; ``None`` for no limit.
    """

    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        limits: EdgeLimits = EdgeLimits(),  # noqa: B008 - a frozen value
        refuse: Refuse = plain_refusal,
        admission: Admission | None = None,
    ) -> None:
        super().__init__(resource, reactor, limits, refuse)
        self.admission = admission
        self.protocol = partial(DrainingChannel, reactor, limits)  # type: ignore[assignment]
        self._channels: set[DrainingChannel] = set()
        self._draining: list[Deferred[None]] = []

    @property
    def connection_count(self) -> int:
        """
        How many connections there are.
        """
        return len(self._channels)

    def drain(self) -> Deferred[None]:
        """
        Ask all connections to end. New ones are to be kept away by whoever lets them in.

        :return: Fires when there is none left.
        """
        drained: Deferred[None] = Deferred()
        self._draining.append(drained)
        for channel in list(self._channels):
            channel.retire()
        self._check()
        return drained

    def drop_all(self) -> None:
        """
        Cut all connections.
        """
        for channel in list(self._channels):
            channel.drop()

    def joined(self, channel: DrainingChannel) -> None:
        """
        Take note of a new connection.
        """
        self._channels.add(channel)
        if self.admission is not None:
            self.admission.joined()
        # One may have been accepted in the very moment in which the port was closed; it has time for a request.
        if self._draining:
            channel.retire()

    def left(self, channel: DrainingChannel) -> None:
        """
        Take note of the end of a connection.
        """
        self._channels.discard(channel)
        if self.admission is not None:
            self.admission.left()
        self._check()

    def _check(self) -> None:
        if not self._channels:
            draining, self._draining = self._draining, []
            for drained in draining:
                drained.callback(None)
