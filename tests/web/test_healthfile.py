"""
The file by which an operator sends load balancers away.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from glance_tx.telemetry.health import HealthChecks
from glance_tx.web.healthfile import HealthcheckSettings, watch_disable_file
from tests.doubles.pools import inline_lanes


class HealthFileTests(TestCase):
    """
    ``[healthcheck] disable_by_file_path``.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    async def test_file(self) -> None:
        """
        A daemon is unfit for requests while the file is there, and no longer.
        """
        path = self.folder / "off"
        checks = HealthChecks(Clock())
        watch_disable_file(checks, HealthcheckSettings(disable_file=path), inline_lanes())
        self.assertEqual((await checks.run()).status, 200)
        path.touch()
        report = await checks.run()
        self.assertEqual((report.status, report.text), (503, "FAILED: disabled_by_file"))
        path.unlink()
        self.assertEqual((await checks.run()).status, 200)

    async def test_none(self) -> None:
        """
        Without a file there is nothing to check.
        """
        checks = HealthChecks(Clock())
        watch_disable_file(checks, HealthcheckSettings(), inline_lanes())
        self.assertEqual((await checks.run()).results, {})
