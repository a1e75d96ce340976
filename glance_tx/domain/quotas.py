"""
How much data a project may keep (contract section 3.12).

Note [Quota of storage]
-----------------------
What counts against a project's quota is what its images take in the database, and what the uploads to its images that
this process takes in now have declared. So of uploads that together are too much the later ones are refused before
their first byte. Uploads of unknown length count once they are whole, and those of other processes not before they are
active: so everybody asks once more when the data have come, before they are made durable. What is left is the moment
between that question and the end of the upload, for uploads of two processes that end at the same time.
"""

from __future__ import annotations

from types import TracebackType

from glance_tx.domain.errors import StorageQuotaExceeded
from glance_tx.domain.images import Image
from glance_tx.domain.interfaces import IImageRepository

__all__ = ["Claim", "StorageQuota"]


class Claim:
    """
    What one upload may add to its project's data, until it ends: to be used in a ``with`` statement.

    :param image_id: Whose data they are.
    :param owner: The project; ``None`` where no quota counts.
    :param size: How long they are, as far as that is known.
    """

    def __init__(self, quota: StorageQuota, image_id: str, owner: str | None, size: int | None) -> None:
        self.image_id = image_id
        self.owner = owner
        self.size = size
        self.room: int | None = None
        self._quota = quota

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quota.release(self)

    async def confirm(self, size: int) -> None:
        """
        Ask once more, now that all data have come.

        :raises StorageQuotaExceeded: There is no room for them any more.
        :raises CatalogUnavailable: The database is away.
        """
        self.size = size
        await self._quota.check(self)

    def exceeded(self) -> StorageQuotaExceeded:
        """
        Make the refusal of data that outgrew `room`.
        """
        return StorageQuotaExceeded(self.owner or "", self.room or 0, self._quota.limit_bytes)


class StorageQuota:
    """
    The quota of every project. See Note [Quota of storage].

    :param limit_bytes: Most bytes of data that a project may keep; 0 for any number.
    """

    def __init__(self, repository: IImageRepository, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._repository = repository
        self._claims: set[Claim] = set()

    async def claim(self, image: Image, size: int | None) -> Claim:
        """
        Ask for room for one upload. What it is granted is to be given back: see `Claim`.

        :param size: Bytes it has declared, if any.
        :return: Whose ``room`` is the most bytes that it may bring; ``None`` for any number.
        :raises StorageQuotaExceeded: It has declared more than that.
        :raises CatalogUnavailable: The database is away.
        """
        claim = Claim(self, image.id, image.owner if self.limit_bytes else None, size)
        self._claims.add(claim)
        try:
            await self.check(claim)
        except BaseException:
            self.release(claim)
            raise
        return claim

    async def check(self, claim: Claim) -> None:
        """
        Find out how much room a claim has, by everything else that counts now.

        :raises StorageQuotaExceeded: It needs more.
        """
        if claim.owner is None:
            return
        others = [other for other in self._claims if other is not claim and other.owner == claim.owner]
        # These are left out of what is asked for: one that ends just now must not count twice.
        used = await self._repository.storage_used(claim.owner, without=frozenset(other.image_id for other in others))
        claim.room = max(0, self.limit_bytes - used - sum(other.size or 0 for other in others))
        if claim.size is not None and claim.size > claim.room:
            raise claim.exceeded()

    def release(self, claim: Claim) -> None:
        """
        Forget a claim.
        """
        self._claims.discard(claim)
