"""
What operators and their tools ask a daemon: is it well, and what does it count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from glance_tx.telemetry.access import AccessSink
from glance_tx.telemetry.health import HealthChecks
from glance_tx.telemetry.metrics import Exposition
from glance_tx.web.app import App
from glance_tx.web.faults import FaultTable
from glance_tx.web.request import Request
from glance_tx.web.response import Response

__all__ = ["add_healthcheck", "add_metrics", "management_app"]

# No proxy on the way may remember how a daemon was a minute ago.
_NOT_STORED: Final = ("Cache-Control", "no-store")


def add_healthcheck(app: App, checks: HealthChecks) -> None:
    """
    Serve ``/healthcheck``, without a token: 200 and ``OK``, or 503 and the names of what failed.

    HEAD is answered too, as load balancers ask for it.
    """

    async def healthcheck(request: Request) -> Response:
        report = await checks.run()
        headers = (("Content-Type", "text/plain; charset=UTF-8"), _NOT_STORED)
        return Response(report.status, headers, report.text.encode())

    for method in ("GET", "HEAD"):
        app.add(method, "/healthcheck", healthcheck)


def add_metrics(app: App, read: Callable[[], Exposition]) -> None:
    """
    Serve ``/metrics``. For a port that only operators reach: nobody is asked for a token.

    :param read: Writes all metrics down, at once.
    """

    async def metrics(request: Request) -> Response:
        exposition = read()
        return Response(200, (("Content-Type", exposition.content_type), _NOT_STORED), exposition.body)

    app.add("GET", "/metrics", metrics)


def management_app(
    clock: IReactorTime,
    checks: HealthChecks,
    read_metrics: Callable[[], Exposition],
    note: AccessSink,
    faults: FaultTable,
) -> App:
    """
    Make the application of the management port: health and metrics. Further routes may be added to it.

    :param faults: What becomes of the exceptions of those.
    """
    app = App(clock, faults, note)
    add_healthcheck(app, checks)
    add_metrics(app, read_metrics)
    return app
