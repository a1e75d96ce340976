"""
What the caching tier needs: an image service before it, and an index beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import field, frozen
from zope.interface import Attribute, Interface

from glance_cache.jobs import Job
from glance_tx.streaming.interfaces import IBodySource

__all__ = [
    "Announcement",
    "HitTotals",
    "ICacheIndex",
    "IChunkSource",
    "IEvictionPolicy",
    "IOwnCredentials",
    "ISiblings",
    "IUpstream",
    "IUpstreamData",
    "ImageFacts",
    "UpstreamCredentials",
]


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


class IUpstreamData(IBodySource):
    """
    Image data on its way from one of the upstreams.
    """

    def distrust() -> None:
        """
        Say that this was not the image: others are asked first for a while, where there are any.
        """


class IUpstream(Interface):
    """
    The Image API of the service before which the cache stands.
    """

    async def authorize(image_id: str, credentials: UpstreamCredentials) -> ImageFacts | None:
        """
        Ask whether the holder of these credentials may download an image now (docs/architecture, Cached download).

        :return: What the data is; ``None`` where the download is allowed and there is no data (204).
        :raises UpstreamRefused: They may not; the upstream's own answer is inside.
        :raises UpstreamUnavailable: Nobody can be asked.
        """

    async def open_data(
        image_id: str, credentials: UpstreamCredentials, offset: int = 0, length: int | None = None
    ) -> IUpstreamData:
        """
        Begin to read an image's data.

        The body's ``length`` is what is left from ``offset`` on, where the upstream says. Whoever stops before its
        end cancels it.

        :param offset: First byte wanted. Where the upstream's store cannot seek, the bytes before are read and
            thrown away.
        :param length: How many are wanted; more may come. ``None`` for all the rest.
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

    async def find(query: Sequence[tuple[str, str]], credentials: UpstreamCredentials, most: int) -> Sequence[str]:
        """
        List images.

        :param query: As the Image API has it, without ``limit`` and ``marker``.
        :param most: How many at most.
        :return: Their ids, in lower case, in the upstream's order.
        :raises UpstreamRefused: The upstream answered with anything but a list.
        :raises UpstreamUnavailable: Nobody can be asked.
        """


class IChunkSource(Interface):
    """
    Where parts of images are had from when what is here is damaged.
    """

    async def fetch(image_id: str, offset: int, length: int) -> bytes:
        """
        Fetch a part of an image; may take long. Nobody vouches for what comes.

        :raises ChunkUnavailable: It cannot be had.
        """

    def offer(image_id: str, credentials: UpstreamCredentials) -> None:
        """
        Say that somebody may read an image, in whose name a part of it can be fetched if nobody else can.
        """


class IOwnCredentials(Interface):
    """
    The node's own credentials.
    """

    async def get() -> UpstreamCredentials:
        """
        Tell them.

        :raises IdentityUnavailable: There are none to be had now.
        """

    def reject(credentials: UpstreamCredentials) -> bool:
        """
        Say that the upstream did not take them (401).

        :return: Whether `get` may have others now.
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

    def plus(self, other: HitTotals) -> HitTotals:
        """
        Add up what was counted apart.
        """
        return HitTotals(self.hits + other.hits, self.bytes_sent + other.bytes_sent, max(self.last_at, other.last_at))

    def at_least(self, other: HitTotals) -> HitTotals:
        """
        Take the greater of each number: what two states of one count know together.
        """
        return HitTotals(
            max(self.hits, other.hits), max(self.bytes_sent, other.bytes_sent), max(self.last_at, other.last_at)
        )


@frozen
class Announcement:
    """
    What a node said of itself.

    :param at: When, in seconds since the epoch, by the clock of the index.
    """

    node: str
    at: float
    report: Mapping[str, object]


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

    async def merge_hits(node: str, totals: Mapping[str, HitTotals], *, after: str, mark: str) -> bool:
        """
        Take over a node's absolute totals. Each number only ever grows: the greater of what is there and what
        comes is kept, so resending is harmless.

        Merges of a node form a chain: each one carries the mark of the one before. That is how an index which came
        back empty, or older than it was, is found out although no call failed.

        :param totals: Those that changed; may be empty, to ask whether all is well.
        :param after: The mark of the merge before this one.
        :param mark: This merge's own, not used before; ``after`` again where ``totals`` is empty.
        :return: Whether the index had ``after`` as its last merge of this node. If not, it may have lost any of its
            totals, and wants all of them again.
        """

    async def forget_hits(node: str, keys: Sequence[str]) -> None:
        """
        Drop some of a node's totals.
        """

    async def hits(image_ids: Sequence[str] | None = None) -> Mapping[str, HitTotals]:
        """
        Sum totals over all nodes (``last_at`` is the latest).

        :param image_ids: ``None`` for every image known.
        """

    async def all_hits() -> Mapping[str, Mapping[str, HitTotals]]:
        """
        Fetch everything that is known: by node, and there by what hits are counted by (see `glance_cache.hit_sums`).
        """

    async def node_hits(node: str) -> Mapping[str, HitTotals]:
        """
        Fetch what is known of one node, whatever it is counted by.
        """

    async def announce(node: str, report: Mapping[str, object], kept_seconds: int) -> None:
        """
        Have nodes know of this one.

        :param report: What they are told; JSON can say it.
        :param kept_seconds: For how long it counts, unless the node is announced again.
        """

    async def announced() -> Sequence[Announcement]:
        """
        List the nodes whose announcement still counts, in the order of their names.
        """

    async def add_jobs(node: str, image_ids: Sequence[str], priority: int, at: float) -> int:
        """
        Put images into a node's prefetch queue, in this order.

        An image that waits there already keeps its place, may be claimed at once, and gets the priority if that is
        higher than its own; one that was given up begins anew.

        :param priority: From -`HIGHEST_PRIORITY` to `HIGHEST_PRIORITY`.
        :param at: Now, in seconds since the epoch.
        :return: How many there are that did not wait or run before.
        """

    async def claim_job(node: str, worker: str, now: float, lease_until: float, most_running: int) -> Job | None:
        """
        Take the next job of a node that may begin: the first that is queued, or whose worker let its lease run out.

        Whatever else asks at the same time, a job has one holder. Each claim counts as an attempt.

        :param worker: Who will hold it.
        :param lease_until: For how long, unless `update_job` says otherwise.
        :param most_running: Claim none where that many are running on the node.
        """

    async def update_job(node: str, job: Job) -> bool:
        """
        Say what has become of a job that was claimed: where it is, that it waits again, or that it is given up.

        Its priority and its place stay what they are.

        :return: Whether the claim still counts; if not, nothing is changed.
        """

    async def remove_job(node: str, image_id: str, claim: Job | None = None) -> bool:
        """
        Take an image out of a node's prefetch queue, whatever its job's state.

        :param claim: The job as it was claimed, to do so only while that claim counts.
        :return: Whether there was anything to take out.
        """

    async def clear_jobs(node: str) -> int:
        """
        Empty a node's prefetch queue and tell how many were in it.
        """

    async def jobs(node: str) -> Sequence[Job]:
        """
        List a node's jobs, in the order in which they are claimed; those that were given up are among them.
        """


class ISiblings(Interface):
    """
    The other processes of this node. What one tells reaches those that run within moments, or never.
    """

    def tell(subject: str, value: object) -> None:
        """
        Tell all others something that JSON can say. Returns at once.
        """

    def hear(subject: str, listener: Callable[[object], object]) -> None:
        """
        Be told what others say of a subject, from now on. Its last listener counts.
        """

    def hear_of_ends(listener: Callable[[int], object]) -> None:
        """
        Be told of each of the others that has ended, by its number in the system, after all that it said. The last
        listener counts.
        """


class IEvictionPolicy(Interface):
    """
    Knows which entries are worth least. Asked in the reactor, so it does not wait.

    Entries go by their file name without suffix.
    """

    def touch(name: str, at: float) -> None:
        """
        Take note of an entry, or of a use of it.

        :param at: When it was used, in seconds since the epoch. One that is older than what is known changes nothing.
        """

    def used_before(name: str, uses: int) -> None:
        """
        Take note of how often an entry was used before this start, which `touch` was not told of. Harmless where the
        entry is not known.
        """

    def forget(name: str) -> None:
        """
        Drop what is known of an entry that is gone. Harmless when nothing is.
        """

    def candidates() -> Iterable[str]:
        """
        Go through all entries known, the one to go first at the front; they are not changed meanwhile.
        """
