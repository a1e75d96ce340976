"""
Tests for `imagedata.congestion`.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from imagedata.congestion import CongestionRefused, congestion


class CongestionTests(SynchronousTestCase):
    """
    `congestion` with a file in the setting's place.
    """

    def setUp(self) -> None:
        self.setting = Path(self.mktemp())
        self.setting.write_text("bbr\n")

    def test_changed_and_put_back(self) -> None:
        """
        What was there before is there again, whatever happened meanwhile.
        """
        with self.assertRaises(ZeroDivisionError), congestion("cubic", self.setting) as control:
            self.assertEqual((control, self.setting.read_text()), ("cubic", "cubic\n"))
            raise ZeroDivisionError
        self.assertEqual(self.setting.read_text(), "bbr\n")

    def test_left_alone(self) -> None:
        """
        Without a wish nothing is changed, and what is in force is told.
        """
        with congestion(None, self.setting) as control:
            self.assertEqual(control, "bbr")

    def test_unknown(self) -> None:
        """
        A machine that has no such setting says so, and takes no wish.
        """
        missing = self.setting.with_name("missing") / "setting"
        with congestion(None, missing) as control:
            self.assertEqual(control, "unknown")
        with self.assertRaisesRegex(CongestionRefused, "cannot be 'cubic'"), congestion("cubic", missing):
            self.fail("it cannot have been set")
