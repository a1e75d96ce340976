"""
What a store may say instead of doing as asked.
"""

from __future__ import annotations

from attrs import frozen

from glance_tx.errors import FactualError


class StoreError(FactualError):
    """
    A store could not do as asked.
    """


@frozen
class LocationNotFound(StoreError):
    """
    Nothing is stored at a location.
    """

    message = "store {self.store!r} holds nothing at that location"
    store: str


@frozen
class LocationNotAllowed(StoreError):
    """
    A location that this store does not own.
    """

    message = "that location does not belong to store {self.store!r}"
    store: str


@frozen
class LocationTaken(StoreError):
    """
    A location that is already in use.
    """

    message = "something is already stored at that location of store {self.store!r}"
    store: str


@frozen
class StoreFull(StoreError):
    """
    The store ran out of room.
    """

    message = "store {self.store!r} filled up after {self.written} bytes"
    store: str
    written: int


@frozen
class StoreUnavailable(StoreError):
    """
    The store cannot be reached, or does not let us work in it.
    """

    message = "store {self.store!r} is not available: {self.reason}"
    store: str
    reason: str


@frozen
class UnknownStore(StoreError):
    """
    A name that no store of this service has.
    """

    message = "there is no store called {self.store!r}"
    store: str
