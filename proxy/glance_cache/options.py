"""
Options of the caching tier.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from attrs import frozen
from oslo_config import cfg, types

from glance_cache.prefetch_options import PrefetchSettings
from glance_tx.identity.keystone.options import ServiceUserSettings
from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.daemon import node_name_option
from glance_tx.settings.values import AbsolutePath, ByteCount, HttpUrl
from glance_tx.streaming.units import GiB, KiB, MiB
from glance_tx.tls.client import ClientFiles
from glance_tx.web.options import ListenSettings

__all__ = [
    "CacheListenSettings",
    "CacheSettings",
    "StorageSettings",
    "UpstreamSettings",
    "find_half_identity",
    "find_two_accounts",
]


@frozen(kw_only=True)
class CacheListenSettings(ListenSettings):
    """
    Where the API is served.
    """

    bind_port: int = option(
        cfg.PortOpt(
            "bind_port",
            default=9293,
            help="TCP port to listen at. The port after Glance's own, so that both fit on one machine; 0 takes any "
            "free one.",
        )
    )


@frozen(kw_only=True)
class StorageSettings(Section):
    """
    Where cached image data lies, and how much of it.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    folder: Path = option(
        cfg.Opt(
            "image_cache_dir",
            type=AbsolutePath(),
            help="Folder for cached image data, of one daemon only. There is no default: it takes all the room that "
            "image_cache_max_size grants.",
        ),
        required=True,
    )
    max_size_bytes: int = option(
        cfg.IntOpt(
            "image_cache_max_size",
            min=MiB,
            max=2**63 - 1,
            default=10 * GiB,
            help="Most bytes of image data in the folder. Unlike stock's option of that name it is a limit, kept "
            "before a download is cached and not restored some time after. Stock's default.",
        )
    )
    stall_seconds: int = option(
        cfg.IntOpt(
            "image_cache_stall_time",
            min=0,
            max=2**31,
            default=86400,
            help="Seconds after which a download that was left is removed when the cache is cleaned (POST "
            "/v2/cache/clean). Until then it is gone on with, or makes room for others. Stock's default.",
        )
    )


@frozen(kw_only=True)
class UpstreamSettings(Section):
    """
    The image service behind the cache: glance-api, or a stock Glance.
    """

    GROUP: ClassVar[str] = "upstream"

    urls: tuple[str, ...] = option(
        cfg.Opt(
            "urls",
            type=types.List(item_type=HttpUrl(), min_length=1),
            sample_default="http://127.0.0.1:9292",
            help="Its addresses, without /v2, the best one first. All of them must serve the same images; the next one "
            "is asked when one does not answer, breaks off, or says that it cannot work now.",
        ),
        required=True,
    )
    cafile: Path | None = option(
        cfg.Opt(
            "cafile",
            type=AbsolutePath(),
            help="Authorities, in PEM, for the certificates of addresses with https. Unset, those of the machine. Read "
            "at start.",
        )
    )
    certfile: Path | None = option(
        cfg.Opt(
            "certfile",
            type=AbsolutePath(),
            help="This node's own certificate in PEM, for an image service that asks for one. Read at start.",
        )
    )
    keyfile: Path | None = option(
        cfg.Opt("keyfile", type=AbsolutePath(), help="The key of certfile in PEM, without a passphrase.")
    )
    insecure: bool = option(
        cfg.BoolOpt(
            "insecure",
            default=False,
            help="Believe any certificate, of any name. Whoever gets between this node and the image service then gets "
            "the tokens of all its clients: for a test, if at all.",
        )
    )
    connect_seconds: int = option(
        cfg.IntOpt(
            "connect_timeout",
            min=1,
            max=3600,
            default=5,
            help="Seconds for one attempt to connect. Short, as there may be another address to try.",
        )
    )
    head_seconds: int = option(
        cfg.IntOpt(
            "response_timeout",
            min=1,
            max=3600,
            default=60,
            help="Seconds from a request to the head of its answer. As long as a loaded stock Glance may need.",
        )
    )
    stall_seconds: int = option(
        cfg.IntOpt(
            "stall_timeout",
            min=1,
            max=3600,
            default=60,
            help="Seconds without a byte after which an answer is given up and resumed elsewhere.",
        )
    )
    progress_window_seconds: int = option(
        cfg.IntOpt(
            "progress_window",
            min=1,
            max=3600,
            default=60,
            help="Seconds of waiting for data in which a download into the cache has to get progress_bytes; else it is "
            "gone on with at the next address, or by another connection where there is one address only.",
        )
    )
    progress_bytes: int = option(
        cfg.Opt(
            "progress_bytes",
            type=ByteCount(),
            default=64 * KiB,
            help="See progress_window. 0: any byte is progress. The default, 1 KiB a second, is below any line that "
            "images can be used over.",
        )
    )
    longest_rest_seconds: int = option(
        cfg.IntOpt(
            "longest_rest",
            min=1,
            max=3600,
            default=60,
            help="An address that failed is left to the last for a second, and for twice as long after each further "
            "failure, up to so many seconds. Then one request tries it.",
        )
    )

    @property
    def tls_files(self) -> ClientFiles:
        """
        Say whom this node believes, and how it says who it is.
        """
        return ClientFiles(self.cafile, self.certfile, self.keyfile, self.insecure)


def find_half_identity(settings: Settings) -> Iterator[Conflict]:
    """
    Find a certificate without its key, and files that would not be looked at.
    """
    upstream = settings[UpstreamSettings]
    if (upstream.certfile is None) != (upstream.keyfile is None):
        present, missing = ("keyfile", "certfile") if upstream.certfile is None else ("certfile", "keyfile")
        yield Conflict("upstream", present, f"needs [upstream] {missing}")
    if upstream.insecure and upstream.cafile is not None:
        yield Conflict("upstream", "insecure", "is true, which makes cafile pointless; remove one of them")


@frozen(kw_only=True)
class CacheSettings(Section):
    """
    How the cache works.
    """

    GROUP: ClassVar[str] = "cache"

    node_name: str = option(node_name_option(), default=socket.gethostname)
    event_clients: int = option(
        cfg.IntOpt(
            "event_clients",
            min=0,
            max=1000,
            default=16,
            help="Most clients at a time that follow what happens (GET /v2/cache/events). Each has a connection of its "
            "own, and up to 256 KiB that it has not taken yet.",
        )
    )
    grant_ttl_seconds: int = option(
        cfg.IntOpt(
            "grant_ttl",
            min=0,
            max=3600,
            default=60,
            help="Seconds for which the upstream's permission to download an image is remembered for the same "
            "credentials; 0 asks every time. The price of a longer time is that a permission withdrawn upstream "
            "still counts here until it ends.",
        )
    )
    recheck_per_second: int = option(
        cfg.IntOpt(
            "recheck_rate",
            min=0,
            max=1000,
            default=20,
            help="With a Redis: each time the node begins to hear of changes it asks the image service for every "
            "cached image, so many a second, and removes those that were deleted meanwhile. It asks with "
            "prefetch_token or [service_user], as an account that has to see all images, and without either not at "
            "all. The default takes eight minutes for 10000 images. 0: none is asked for, and images deleted while "
            "Redis was away stay until their room is needed.",
        )
    )


def find_two_accounts(settings: Settings) -> Iterator[Conflict]:
    """
    Find a cache that is told to read images as two accounts.
    """
    if settings[PrefetchSettings].token is not None and settings[ServiceUserSettings].auth_url is not None:
        yield Conflict("cache", "prefetch_token", "is set, and so is [service_user]; remove one of them")
