"""
Tests of the time of day.
"""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from glance_cache.schedule import DailyWindow, WindowText, minute_of_day


class WindowTests(SynchronousTestCase):
    """
    `DailyWindow` and `WindowText`.
    """

    def test_by_day(self) -> None:
        """
        A window begins with its first minute and ends before its last.
        """
        window = WindowText()("09:30-17:00")
        self.assertEqual(window, DailyWindow(570, 1020))
        self.assertEqual(
            [window.has(minute) for minute in (0, 569, 570, 1019, 1020)], [False, False, True, True, False]
        )

    def test_over_midnight(self) -> None:
        """
        A window that ends before it begins lasts over midnight.
        """
        window = WindowText()(" 22:00-06:00 ")
        asked = (0, 359, 360, 720, 1319, 1320, 1439)
        self.assertEqual([window.has(minute) for minute in asked], [True, True, False, False, False, True, True])
        self.assertEqual(str(window), "22:00-06:00")

    def test_refused(self) -> None:
        """
        What is no window is refused.
        """
        for text in ("", "22-6", "22:00", "24:00-06:00", "22:60-06:00", "9:00-10:00", "08:00-08:00", "22:00/06:00"):
            self.assertRaises(ValueError, WindowText(), text)

    def test_minute(self) -> None:
        """
        The minute of the day is that of this machine's clock.
        """
        seconds = time.mktime((2026, 5, 4, 13, 37, 59, 0, 0, -1))
        self.assertEqual(minute_of_day(seconds), 13 * 60 + 37)
