"""
The time of day at which images are prefetched.
"""

from __future__ import annotations

import re
import time
from typing import Final

from attrs import frozen

from glance_tx.settings.values import Described

__all__ = ["DailyWindow", "WindowText", "minute_of_day"]

_WINDOW: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


@frozen
class DailyWindow:
    """
    A part of each day, over midnight where it ends earlier than it begins.

    :param begins: In minutes after midnight.
    :param ends: Likewise; the first minute after it.
    """

    begins: int
    ends: int

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in (self.begins, self.ends))

    def has(self, minute: int) -> bool:
        """
        Tell whether a minute of the day lies in it.
        """
        if self.begins < self.ends:
            return self.begins <= minute < self.ends
        return minute >= self.begins or minute < self.ends


class WindowText(Described):
    """
    A window as it is written down.
    """

    description = "two times of day such as 22:00-06:00, not the same one twice"

    def __call__(self, value: object) -> DailyWindow:
        """
        Convert text.
        """
        matched = _WINDOW.fullmatch(str(value).strip())
        if matched is None:
            raise ValueError("not two times of day")
        begin_hour, begin_minute, end_hour, end_minute = (int(text) for text in matched.groups())
        window = DailyWindow(60 * begin_hour + begin_minute, 60 * end_hour + end_minute)
        if window.begins == window.ends:
            raise ValueError("it begins when it ends")
        return window


def minute_of_day(seconds: float) -> int:
    """
    Tell which minute of the day it is in the time zone of this machine.

    :param seconds: Since the epoch.
    """
    local = time.localtime(seconds)
    return 60 * local.tm_hour + local.tm_min
