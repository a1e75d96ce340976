"""
What the caching tier needs: an image service before it, and an index beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen
from zope.interface import Attribute, Interface

from glance_tx.streaming.interfaces import IBodySource

__all__ = ["HitTotals", "ICacheIndex", "IUpstream", "ImageFacts", "UpstreamCredentials"]


@frozen
class UpstreamCredentials:
    """
    The credential headers of one request, to be shown to the upstream as they came. Never shown in a text.
    """

    auth_token: str | None = field(default=None, repr=False)
    storage_token: str | None = field(default=None, repr=False)
    service_token: str | None = field(default=None, repr=False)


@frozen
class ImageFacts:
    """
    What the upstream says of an image's data.

    :param image_id: In lower case.
    :param size: Bytes.
    :param checksum: MD5 in hex, where known.
    :param os_hash_algo: A hashlib name; ``None`` where the image has no strong hash.
    :param os_hash_value: Hex.
    """

    image_id: str
    size: int
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


class IUpstream(Interface):
    """
    The Image API of the service before which the cache stands.
    """

    async def authorize(image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        """
        Ask whether the holder of these credentials may download an image now (design section 6).

        :return: What the data is; ``None`` where the download is allowed and there is no data (204).
        :raises UpstreamRefused: They may not; the upstream's own answer is inside.
        :raises UpstreamUnavailable: Nobody can be asked.
        """

    async def open_data(image_id: str, credentials: UpstreamCredentials, offset: int = 0) -> IBodySource:
        """
        Begin to read an image's data.

        The body's ``length`` is what is left from ``offset`` on, where the upstream says. Whoever stops before its
        end cancels it.

        :param offset: First byte wanted. Where the upstream's store cannot seek, the bytes before are read and
            thrown away.
        :raises UpstreamRefused: The upstream answered with anything but the data.
        :raises UpstreamMismatch: It sent another range than it was asked for.
        :raises UpstreamUnavailable: Nobody can be asked.
        """

    async def show(image_id: str, credentials: UpstreamCredentials) -> Mapping[str, object]:
        """
        Fetch an image's record.

        :raises UpstreamRefused: The upstream answered with anything but the record.
        :raises UpstreamUnavailable: Nobody can be asked.
        """


@frozen
class HitTotals:
    """
    How often an image was served from the cache, since counting began.

    :param hits: Complete answers to GET from a complete entry.
    :param bytes_sent: In those answers.
    :param last_at: When the last of them ended, in seconds since the epoch.
    """

    hits: int = 0
    bytes_sent: int = 0
    last_at: float = 0.0


class ICacheIndex(Interface):
    """
    What nodes keep about their caches: hits and prefetch queues. Everything in it can be rebuilt or resent.

    Image ids are in lower case. Every method ends within the index's own deadline; it raises
    ``IndexUnavailable`` then, and when the index cannot be reached.
    """

    name: str = Attribute("``redis`` or ``sqlite``, for logs and metrics.")

    async def start() -> None:
        """
        Get ready. An index that cannot be reached yet is no failure.
        """

    async def stop() -> None:
        """
        Let go of connections and files.
        """

    async def merge_hits(node: str, totals: Mapping[str, HitTotals]) -> None:
        """
        Take over a node's absolute totals. Each number only ever grows: the greater of what is there and what
        comes is kept, so resending is harmless.
        """

    async def hits(image_ids: Sequence[str] | None = None) -> Mapping[str, HitTotals]:
        """
        Sum totals over all nodes (``last_at`` is the latest).

        :param image_ids: ``None`` for every image known.
        """

    async def node_hits(node: str) -> Mapping[str, HitTotals]:
        """
        Fetch what is known of one node.
        """

    async def enqueue(node: str, image_id: str, at: float) -> bool:
        """
        Put an image at the end of a node's prefetch queue.

        :param at: When it was asked for, in seconds since the epoch; the queue is ordered by it.
        :return: Whether it was not queued before; a queued one keeps its place.
        """

    async def dequeue(node: str, image_id: str) -> bool:
        """
        Take an image out of a node's prefetch queue.

        :return: Whether it was there.
        """

    async def clear_queue(node: str) -> int:
        """
        Empty a node's prefetch queue and tell how many were in it.
        """

    async def queue(node: str) -> Sequence[str]:
        """
        List a node's prefetch queue, oldest first.
        """
