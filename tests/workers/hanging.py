"""
A worker that hangs when it is told to: its reactor is held by a call that does not return.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, textFileLogObserver

from glance_tx.telemetry.metrics import Metrics
from glance_tx.workers.child import ParentLink
from glance_tx.workers.messages import Handover


def hang_for_ever() -> None:
    """
    Hold the reactor.
    """
    while True:
        time.sleep(3600)


class _Hanging(Service):
    name = "hanging"

    def __init__(self, reactor: Any) -> None:
        self._link = ParentLink(reactor, Metrics("test"), {"hang": hang_for_ever})

    def setServiceParent(self, parent: Any) -> None:
        parent.setComponent(ILogObserver, textFileLogObserver(sys.stderr))
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        Deferred.fromCoroutine(self._begin())

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._link.stop())

    async def _begin(self) -> None:
        await self._link.start()
        self._link.say_ready()


def make_worker(reactor: Any, handover: Handover) -> IService:
    """
    Make it.
    """
    return _Hanging(reactor)
