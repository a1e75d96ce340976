"""
What clients are told of what the caching tier meets.
"""

from __future__ import annotations

from typing import Final

from glance_cache.errors import (
    CacheFull,
    ChunkUnavailable,
    EntryBusy,
    EntryChanged,
    EntryCorrupt,
    EntryNotFound,
    FillFailed,
    FolderUnusable,
    ImageNotActive,
    ImageUnsteady,
    IndexUnavailable,
    InventoryNotShared,
    ManagementForbidden,
    PrefetchImpossible,
    QueueFull,
    TooManyWatchers,
    UpstreamMismatch,
    UpstreamRefused,
    UpstreamUnavailable,
)
from glance_tx.errors import FactualError
from glance_tx.streaming.errors import BodyTooShort, LaneStopped, ShortFile
from glance_tx.web.faults import Fault, FaultTable
from glance_tx.web.response import Response

__all__ = ["cache_faults"]

_RETRY_AFTER: Final = (("Retry-After", "5"),)


def _try_later(exc: FactualError) -> Fault:
    # Never 502 or 504: of these three, clients that boot servers try again only after a 503.
    return Fault(503, explanation=str(exc), headers=_RETRY_AFTER)


def _upstream_unavailable(_: UpstreamUnavailable) -> Fault:
    # Which hosts were asked, and how they failed, is for the log.
    return Fault(503, explanation="The image service cannot be reached now.", headers=_RETRY_AFTER)


def _mismatch(_: UpstreamMismatch) -> Fault:
    return Fault(503, explanation="The image service contradicts itself about this image.", headers=_RETRY_AFTER)


def _not_from_here(_: FactualError) -> Fault:
    # What is wrong with the disk, or with a fill, is for the log; the next try gets the image in another way.
    return Fault(503, explanation="The cache cannot serve this now.", headers=_RETRY_AFTER)


def _refused(exc: UpstreamRefused) -> Response:
    lines = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in exc.headers)
    return Response(exc.status, lines, exc.body)


def cache_faults(challenge: str = "Keystone") -> FaultTable:
    """
    Make the table of the caching tier.

    :param challenge: See `FaultTable`; it goes with the node's own refusals, the upstream's have their own.
    """
    return FaultTable(
        {
            BodyTooShort: _not_from_here,
            CacheFull: _not_from_here,
            ChunkUnavailable: _not_from_here,
            EntryBusy: _not_from_here,
            EntryChanged: _not_from_here,
            EntryCorrupt: _not_from_here,
            EntryNotFound: 404,
            FillFailed: _not_from_here,
            FolderUnusable: _not_from_here,
            ImageNotActive: 400,
            ImageUnsteady: _try_later,
            IndexUnavailable: _try_later,
            LaneStopped: _not_from_here,
            InventoryNotShared: 409,
            ManagementForbidden: 403,
            PrefetchImpossible: 409,
            QueueFull: 413,
            ShortFile: _not_from_here,
            TooManyWatchers: _try_later,
            UpstreamMismatch: _mismatch,
            UpstreamRefused: _refused,
            UpstreamUnavailable: _upstream_unavailable,
        },
        challenge,
    )
