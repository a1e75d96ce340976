"""
Calls that run at the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList


async def at_once(*calls: Awaitable[Any]) -> list[Any]:
    """
    Start all calls, and give what each returned or raised.
    """
    outcomes = await DeferredList([Deferred.fromCoroutine(call) for call in calls], consumeErrors=True)
    return [outcome if succeeded else outcome.value for succeeded, outcome in outcomes]
