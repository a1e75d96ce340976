"""
A file by which an operator takes a daemon out of its load balancer.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.errors import FactualError
from glance_tx.settings import Section, option
from glance_tx.settings.values import AbsolutePath
from glance_tx.streaming.lanes import Lanes
from glance_tx.telemetry.health import HealthChecks

__all__ = ["HealthcheckSettings", "watch_disable_file"]


@frozen(kw_only=True)
class HealthcheckSettings(Section):
    """
    What ``/healthcheck`` looks at besides the daemon itself.
    """

    GROUP: ClassVar[str] = "healthcheck"

    disable_file: Path | None = option(
        cfg.Opt(
            "disable_by_file_path",
            type=AbsolutePath(),
            help="While this file is there, /healthcheck answers 503: create it before maintenance, and load balancers "
            "send no more requests. Everything else goes on. Unset, there is no such file.",
        )
    )


@frozen
class DisabledByFile(FactualError):
    """
    An operator wants no requests here.
    """

    message = "{self.path} is there"

    path: Path


def watch_disable_file(checks: HealthChecks, settings: HealthcheckSettings, lanes: Lanes) -> None:
    """
    Add a check for the file, where one is configured.
    """
    path = settings.disable_file
    if path is None:
        return

    async def check() -> None:
        if await lanes.run(path.exists):
            raise DisabledByFile(path)

    checks.add("disabled_by_file", check)
