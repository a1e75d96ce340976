"""
What clients are told of the image service's refusals.
"""

from __future__ import annotations

from typing import Final

from glance_tx.api.v2.patch import PATCH_MEDIA_TYPES
from glance_tx.domain.errors import (
    CatalogUnavailable,
    Forbidden,
    FormatRefused,
    FormatsNotSet,
    ImageExists,
    ImageGone,
    ImageNotFound,
    ImageTooLarge,
    InvalidImage,
    InvalidMember,
    InvalidQuery,
    LeaseLost,
    MemberExists,
    MemberNotFound,
    NoData,
    PropertyConflict,
    QuotaExceeded,
    SizeMismatch,
    StatusConflict,
    StorageQuotaExceeded,
    TagNotFound,
    TooManyUploads,
    UnknownStore,
)
from glance_tx.stores.errors import StoreFull, StoreUnavailable
from glance_tx.streaming.errors import LaneStopped
from glance_tx.web.errors import UnsupportedMediaType
from glance_tx.web.faults import Fault, FaultTable
from glance_tx.web.response import Response

__all__ = ["api_faults"]

_RETRY_AFTER: Final = (("Retry-After", "5"),)


def _try_later(exc: CatalogUnavailable | LaneStopped | StoreUnavailable | TooManyUploads) -> Fault:
    return Fault(503, explanation=str(exc), headers=_RETRY_AFTER)


def _no_data(_: NoData) -> Response:
    # No data is not an error to clients: they get an answer without a body (contract section 3.3).
    return Response(204)


def _unsupported_media_type(exc: UnsupportedMediaType) -> Fault:
    fault = Fault(415, explanation=f"{exc}; use {' or '.join(exc.supported)}")
    if exc.supported == PATCH_MEDIA_TYPES:
        return Fault(415, explanation=fault.explanation, headers=(("Accept-Patch", ", ".join(exc.supported)),))
    return fault


def api_faults(challenge: str = "Keystone") -> FaultTable:
    """
    Make the table of the image service.

    What a store may say and no client can act upon, or should hear (a location that is taken, or not the store's),
    is not listed: it is a defect of this service.

    :param challenge: See `FaultTable`.
    """
    return FaultTable(
        {
            CatalogUnavailable: _try_later,
            Forbidden: 403,
            FormatRefused: 415,
            FormatsNotSet: 400,
            ImageExists: 409,
            ImageGone: 410,
            ImageNotFound: 404,
            ImageTooLarge: 413,
            InvalidImage: 400,
            InvalidMember: 400,
            InvalidQuery: 400,
            LaneStopped: _try_later,
            LeaseLost: 409,
            MemberExists: 409,
            MemberNotFound: 404,
            NoData: _no_data,
            PropertyConflict: 409,
            QuotaExceeded: 413,
            SizeMismatch: 400,
            StatusConflict: 409,
            StorageQuotaExceeded: 413,
            StoreFull: 413,
            StoreUnavailable: _try_later,
            TagNotFound: 404,
            TooManyUploads: _try_later,
            UnknownStore: 400,
            UnsupportedMediaType: _unsupported_media_type,
        },
        challenge,
    )
