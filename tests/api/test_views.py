"""
How images are shown.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from glance_tx.api.v2.views import timestamp


class TimestampTests(SynchronousTestCase):
    """
    `timestamp`.
    """

    def test_it_is_utc_in_whole_seconds(self) -> None:
        """
        Whatever zone a time is in, it is told in UTC; fractions are left out, not rounded.
        """
        moment = datetime(2024, 5, 6, 23, 8, 9, 999999, tzinfo=UTC)
        for zone in (
            UTC,
            timezone(timedelta(0)),
            timezone(timedelta(hours=5, minutes=30)),
            timezone(-timedelta(1) / 2),
        ):
            self.assertEqual(timestamp(moment.astimezone(zone)), "2024-05-06T23:08:09Z")
        self.assertEqual(timestamp(moment.replace(microsecond=0)), "2024-05-06T23:08:09Z")
