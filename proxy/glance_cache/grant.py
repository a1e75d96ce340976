"""
The right to read one image, and what it depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import frozen

from glance_cache.interfaces import ImageFacts, UpstreamCredentials
from glance_cache.reach import Reach

__all__ = ["Expiry", "Grant", "Holder", "ISeconds", "LivingOn", "Mark", "Marks"]

Expiry = Callable[[UpstreamCredentials], Coroutine[Any, Any, float | None]]
"""
Tells for how many seconds credentials still count; ``None`` where nobody knows. Fails with a `FactualError` where it
cannot be found out now.
"""


class ISeconds(Protocol):
    """
    A clock to measure with.
    """

    def seconds(self) -> float:
        """
        Tell the time, from any beginning.
        """


class Mark:
    """
    Something that grants depend on.

    :ivar ended: It is over.
    """

    def __init__(self) -> None:
        self.ended = False


class Holder(Mark):
    """
    Credentials that the upstream took.

    :ivar expires_at: When they end, by the clock of `Grants`; ``None`` where that is not known.
    :ivar asked: Whether somebody finds that out, or has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.expires_at: float | None = None
        self.asked = False


@frozen
class Marks:
    """
    What an answer depends on.

    :param generation: Nothing happened to the image, nor to who may read it.
    :param holder: The upstream takes these credentials.
    :param era: No change was missed.
    :param image_era: Nor one of this image.
    """

    generation: Mark
    holder: Holder
    era: Mark
    image_era: Mark

    @property
    def void(self) -> bool:
        """
        Whether the upstream has to be asked anew.
        """
        return self.over or self.era.ended or self.image_era.ended

    @property
    def over(self) -> bool:
        """
        Whether it is known that the answer counts no more.
        """
        return self.generation.ended or self.holder.ended


@frozen
class Grant:
    """
    The right to read one image.

    :param facts: What its data is; ``None`` where the download is allowed and there is nothing to cache.
    :param ends_at: By the clock of `Grants`.
    :param marks: What it depends on.
    :param offline: Its time was over, and it lives on as nobody can be asked.
    """

    facts: ImageFacts | None
    ends_at: float
    marks: Marks
    offline: bool = False

    @property
    def revoked(self) -> bool:
        """
        Whether it ended before its time.
        """
        return self.marks.void

    def ends_with_holder(self, ends_at: float) -> float:
        """
        Tell when its time is over, or that of its credentials.
        """
        expires_at = self.marks.holder.expires_at
        return ends_at if expires_at is None else min(ends_at, expires_at)


@frozen
class LivingOn:
    """
    How grants live on while no upstream can be reached.

    :param grace_seconds: For how long after their time.
    :param changed: Told of each image of which it is known that it changed, or ``None`` for any.
    """

    reach: Reach
    grace_seconds: float
    changed: Callable[[str | None], object] = lambda _image_id: None
