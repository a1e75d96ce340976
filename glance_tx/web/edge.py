"""
The ports of a daemon: one for clients, and one for operators where they want it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IStreamServerEndpoint

from glance_tx.settings import Settings
from glance_tx.streaming.units import KiB
from glance_tx.telemetry.access import AccessLog, AccessRecord
from glance_tx.telemetry.health import HealthChecks
from glance_tx.telemetry.metrics import Metrics, RequestMetrics
from glance_tx.telemetry.transfers import TransferMetrics
from glance_tx.tls.server import ServerTls
from glance_tx.web.admission import Admission
from glance_tx.web.app import App, Rewrite
from glance_tx.web.compression import JsonCompression
from glance_tx.web.connections import DrainingSite
from glance_tx.web.cors import Cors, CorsSettings
from glance_tx.web.endpoint import PublicEndpoint
from glance_tx.web.faults import FaultTable
from glance_tx.web.limits import EdgeLimits
from glance_tx.web.management import add_healthcheck, management_app
from glance_tx.web.options import HttpSettings, ListenSettings, ManagementSettings
from glance_tx.web.ports import PortsTls
from glance_tx.web.proxies import proxy_trust
from glance_tx.web.server import Inherited, WebService, adopted_endpoint, tcp_endpoint

__all__ = ["Edge", "management_port"]


class Edge:
    """
    An application that clients reach, logged and counted; and what operators see of it.

    :param checks: Run for ``/healthcheck``, which both ports have.
    :param prefix: Begins the names of all metrics.
    :param rewrite: See `App`.
    :param compression: See `App`.
    :param tls: What the ports speak.
    :ivar endpoint: Under which address clients reach the application.
    :ivar management: The application of the port for operators, to which routes may be added.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        checks: HealthChecks,
        faults: FaultTable,
        prefix: str,
        *,
        rewrite: Rewrite | None = None,
        compression: JsonCompression | None = None,
        tls: PortsTls = PortsTls(),  # noqa: B008 - a frozen value
    ) -> None:
        self.metrics = Metrics(prefix)
        self._reactor = reactor
        self._settings = settings
        log, count = AccessLog(), RequestMetrics(self.metrics)

        def note(record: AccessRecord) -> None:
            log(record)
            count(record)

        self._tls = tls
        self._admission = Admission(settings[HttpSettings].max_connections, self.metrics)
        trust = proxy_trust(settings)
        self.endpoint = PublicEndpoint(settings[ListenSettings].public_endpoint, trust)
        http = settings[HttpSettings]
        self.app = App(
            reactor,
            faults,
            note,
            stall_seconds=http.stall_seconds,
            rewrite=rewrite,
            cors=Cors.of(settings[CorsSettings]),
            compression=compression,
            trust=trust,
            transfers=TransferMetrics(self.metrics),
        )
        self.metrics.watch("requests_in_progress", "Requests that are being answered.", lambda: self.app.in_progress)
        add_healthcheck(self.app, checks)
        self.management = management_app(reactor, checks, self.metrics.render, log, faults)

    def ports(self) -> Sequence[WebService]:
        """
        Make the services that listen.
        """
        listen = self._settings[ListenSettings]
        endpoint = tcp_endpoint(self._reactor, listen.bind_host, listen.bind_port, listen.backlog)
        return [
            _port(self._reactor, self._settings, self.app, endpoint, self._tls.api, self._admission),
            *management_port(self._reactor, self._settings, self.management, self._tls.management),
        ]

    def inherited_ports(
        self, sockets: Sequence[Inherited], visitors: IStreamServerEndpoint | None = None
    ) -> Sequence[WebService]:
        """
        Make the services that listen in a worker: at its parent's sockets. What operators see is with the parent.

        :param visitors: Where the parent asks what operators want to know and it does not.
        """
        endpoints = [adopted_endpoint(self._reactor, inherited) for inherited in sockets]
        return [
            *(
                _port(self._reactor, self._settings, self.app, endpoint, self._tls.api, self._admission)
                for endpoint in endpoints
            ),
            *([] if visitors is None else [_port(self._reactor, self._settings, self.management, visitors, None)]),
        ]


def management_port(reactor: Any, settings: Settings, app: App, tls: ServerTls | None) -> Sequence[WebService]:
    """
    Make the service that listens for operators, if they want one.

    :param tls: What it speaks; ``None`` for plain HTTP.
    """
    management = settings[ManagementSettings]
    if not management.bind_port:
        return []
    backlog = settings[ListenSettings].backlog
    endpoint = tcp_endpoint(reactor, management.bind_host, management.bind_port, backlog)
    return [_port(reactor, settings, app, endpoint, tls)]


def _port(
    reactor: Any,
    settings: Settings,
    app: App,
    endpoint: IStreamServerEndpoint,
    tls: ServerTls | None,
    admission: Admission | None = None,
) -> WebService:
    http = settings[HttpSettings]
    limits = EdgeLimits(
        timeout_seconds=http.client_timeout_seconds,
        stall_seconds=http.stall_seconds,
        max_header_line_bytes=http.max_header_line_bytes,
        # Room for a token and a service's token, both as long as a line may be.
        max_head_bytes=max(64 * KiB, 3 * http.max_header_line_bytes),
    )
    return WebService(
        reactor,
        endpoint,
        DrainingSite(app.resource(), reactor, limits, app.refuse, admission),
        drain_seconds=settings[ListenSettings].drain_seconds,
        tls=tls,
    )
