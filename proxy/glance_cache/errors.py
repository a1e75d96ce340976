"""
What the caching tier may meet.
"""

from __future__ import annotations

from attrs import field, frozen

from glance_tx.errors import FactualError


class CacheError(FactualError):
    """
    The caching tier could not do as asked.
    """


@frozen
class UpstreamRefused(CacheError):
    """
    The upstream answered, and not with what was asked for. Its answer goes to the client as it is.

    :param headers: End-to-end header lines, in order.
    :param body: At most 64 KiB of it.
    """

    message = "the upstream answered {self.status}"
    status: int
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)


@frozen
class UpstreamUnavailable(CacheError):
    """
    No upstream can be reached, or none answers as an image service does.
    """

    message = "no upstream image service is available: {self.reason}"
    reason: str


@frozen
class UpstreamBrokeOff(UpstreamUnavailable):
    """
    The upstream began to answer and did not end.
    """

    message = "the upstream's answer broke off: {self.reason}"


@frozen
class ImageUnsteady(CacheError):
    """
    An image, or who may read it, changed each time its permission was asked for.
    """

    message = "image {self.image_id} changes too often for anything to be remembered of it"
    image_id: str


@frozen
class UpstreamMismatch(CacheError):
    """
    The upstream's data is not what its own record says of it.
    """

    message = "image {self.image_id}: {self.reason}"
    image_id: str
    reason: str


@frozen
class CacheFull(CacheError):
    """
    Not enough room can be made for a fill.
    """

    message = "{self.wanted} bytes do not fit into the cache ({self.available} bytes can be made free)"
    wanted: int
    available: int


@frozen
class EntryNotFound(CacheError):
    """
    Nothing of that image is cached or queued.
    """

    message = "image {self.image_id} is neither cached nor queued"
    image_id: str


@frozen
class EntryCorrupt(CacheError):
    """
    A cached chunk is not what was once verified.
    """

    message = "chunk {self.chunk} of the cached image {self.image_id} does not match its digest"
    image_id: str
    chunk: int


@frozen
class ChunkUnavailable(CacheError):
    """
    A damaged chunk cannot be had again.
    """

    message = "a part of image {self.image_id} cannot be fetched again: {self.reason}"
    image_id: str
    reason: str


@frozen
class EntryChanged(CacheError):
    """
    A cached file was changed by somebody else while it was being read.
    """

    message = "the data of the cached image {self.image_id} changed while it was being read"
    image_id: str


@frozen
class EntryBusy(CacheError):
    """
    There is nothing to fill: the image's data is complete, or another fill writes it.
    """

    message = "the data of image {self.image_id} is in the cache, or on its way there, already"
    image_id: str


@frozen
class FilledElsewhere(EntryBusy):
    """
    Another process of this node fills the entry.
    """

    message = "the data of image {self.image_id} is on its way into the cache, by another process of this node"


@frozen
class FillFailed(CacheError):
    """
    A fill ended without a verified image.
    """

    message = "the fill of image {self.image_id} failed: {self.reason}"
    image_id: str
    reason: str


@frozen
class IndexUnavailable(CacheError):
    """
    The index of hits and queues cannot be reached, or did not answer in time.
    """

    message = "the cache index is not available: {self.reason}"
    reason: str


@frozen
class FolderUnusable(CacheError):
    """
    The cache folder is in use by another daemon, writable by others, or not ours to write.
    """

    message = "the cache folder {self.path} cannot be used: {self.reason}"
    path: str
    reason: str


@frozen
class ManagementForbidden(CacheError):
    """
    The caller may not manage this node, or nobody may.
    """

    message = "{self.reason}"
    reason: str


@frozen
class ImageNotActive(CacheError):
    """
    An image that has no data to be fetched.
    """

    message = "image {self.image_id} is {self.status} and cannot be fetched before it is active"
    image_id: str
    status: str


@frozen
class PrefetchImpossible(CacheError):
    """
    This node has no credentials of its own to fetch images with.
    """

    message = "this node cannot fetch images by itself: {self.reason}"
    reason: str


@frozen
class QueueFull(CacheError):
    """
    More images are to be queued than may be.
    """

    message = "no more than {self.limit} images can be queued ([cache] prefetch_queue_limit)"
    limit: int


@frozen
class InventoryNotShared(CacheError):
    """
    Nodes do not know of each other's entries.
    """

    message = "nodes do not tell each other which images they have; ask each one for its own"


@frozen
class TooManyWatchers(CacheError):
    """
    As many clients watch this node as may.
    """

    message = "{self.limit} clients watch this node already ([cache] event_clients)"
    limit: int
