"""
What tests need that look at a node.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Counted", "health_view", "outage_view"]


class Counted:
    """
    A counter of hits.
    """

    def __init__(self) -> None:
        self.hits: list[tuple[str, int]] = []

    def record(self, image_id: str, bytes_sent: int, project: str | None = None) -> None:
        self.hits.append((image_id, bytes_sent))


def health_view(*, reachable: bool = True, unsent: int = 0, **more: Any) -> dict[str, Any]:
    """
    Say what `Vitals.view` does, where all is well but for what is said.
    """
    return {
        "upstreams": [],
        "index": {"kind": "sqlite", "reachable": reachable, "unsent": unsent},
        "offline_since": None,
        "changes_heard": None,
        "disk_full": False,
        **more,
    }


def outage_view(since: float | None = None, times: int = 0, repeated: int = 0) -> dict[str, Any]:
    """
    Say what `Outage.view` does.
    """
    return {"grace_seconds": 0.0, "since": since, "times": times, "repeated": repeated}
