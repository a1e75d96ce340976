"""
What one client may take of the HTTP edge: bytes, lines and seconds.
"""

from __future__ import annotations

from attrs import field, frozen, validators

from glance_tx.streaming.units import KiB, MiB

__all__ = ["EdgeLimits"]


def _positive(default: float) -> float:
    positive: float = field(default=default, validator=validators.gt(0))
    return positive


def _count(default: int) -> int:
    count: int = field(default=default, validator=validators.ge(0))
    return count


@frozen(kw_only=True)
class EdgeLimits:
    """
    The bounds that hold for every connection.

    :param small_body_bytes: A body announced no longer than this is in before its request is dispatched, so that
        an early answer does not cost the connection.
    :param high_water_bytes: With this many bytes of a body waiting for the handler, the socket is not read.
    :param low_water_bytes: Below this many, it is read again. Also the most that one read waits for.
    :param upload_read_bytes: What one read of the socket takes at most while a long body comes in.
    :param linger_bytes: What is thrown away of a body after its request was answered early.
    :param linger_seconds: How long it is thrown away.
    :param timeout_seconds: How long a connection may be idle between requests, a head may take from its first byte
        to its last, and a small body may stand still.
    :param stall_seconds: How long a client may send nothing while a handler waits for its body.
    :param close_seconds: How long the client of a closing connection may take nothing of what was written to it.
    :param last_request_seconds: How long a client that has just connected may take to send a request when the server
        is about to end.
    :param max_uri_bytes: The longest request target.
    :param max_header_line_bytes: The longest header line.
    :param max_head_bytes: The longest head: request line and all header lines.
    :param max_header_count: The most header lines.
    :param max_pipelined_bytes: With this many bytes of later requests waiting, the socket is not read.
    """

    small_body_bytes: int = _count(64 * KiB)
    high_water_bytes: int = _count(4 * MiB)
    low_water_bytes: int = field(default=2 * MiB, validator=validators.gt(0))
    upload_read_bytes: int = field(default=256 * KiB, validator=validators.gt(0))
    linger_bytes: int = _count(64 * MiB)
    linger_seconds: float = _positive(5.0)
    timeout_seconds: float = _positive(60.0)
    stall_seconds: float = _positive(60.0)
    close_seconds: float = _positive(15.0)
    last_request_seconds: float = _positive(5.0)
    max_uri_bytes: int = field(default=8 * KiB, validator=validators.gt(0))
    max_header_line_bytes: int = field(default=16 * KiB, validator=validators.gt(0))
    max_head_bytes: int = field(default=64 * KiB, validator=validators.gt(0))
    max_header_count: int = _count(256)
    max_pipelined_bytes: int = _count(16 * KiB)

    def __attrs_post_init__(self) -> None:
        if self.low_water_bytes > self.high_water_bytes:
            raise ValueError("low_water_bytes must not be above high_water_bytes")
        if self.small_body_bytes > self.high_water_bytes:
            raise ValueError("small_body_bytes must not be above high_water_bytes")
