"""
How TCP of this machine paces what it sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NOT_FOR_LOOPBACK", "CongestionRefused", "congestion"]

NOT_FOR_LOOPBACK = "bbr"
"""
Lets data go by a clock, which on the loopback interface costs several times what moving them does, and differs from one
run to the next.
"""

_SETTING = Path("/proc/sys/net/ipv4/tcp_congestion_control")


class CongestionRefused(Exception):
    """
    The system does not let it be changed.
    """


@contextmanager
def congestion(wanted: str | None, setting: Path = _SETTING) -> Iterator[str]:
    """
    Have new connections of the whole machine controlled in one way, and in the former way again afterwards.

    :param wanted: How the kernel calls it (``cubic``, ``reno``); ``None`` changes nothing.
    :return: What is in force.
    :raises CongestionRefused: It is no such way, or we are not the administrator.
    """
    former = setting.read_text().strip() if setting.exists() else "unknown"
    if wanted in {None, former}:
        yield former
        return
    try:
        setting.write_text(f"{wanted}\n")
    except OSError as error:
        raise CongestionRefused(
            f"TCP's congestion control cannot be {wanted!r}: {setting}: {error.strerror}"
        ) from error
    try:
        yield str(wanted)
    finally:
        setting.write_text(f"{former}\n")
