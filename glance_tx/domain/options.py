"""
Options that say what images may be like, and how long an upload lives without a sign of its owner.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen
from oslo_config import cfg, types

from glance_tx.domain.values import STOCK_CONTAINER_FORMATS, STOCK_DISK_FORMATS
from glance_tx.settings import Section, option
from glance_tx.settings.values import AbsolutePath, ByteCount, Word, Words

__all__ = ["HASHES", "FormatSettings", "LimitSettings", "LocationSettings", "LockSettings", "UploadSettings"]

HASHES: Final = ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s")
"""Names of hashlib that stand up to collisions and that clients can compute by name."""

_FORMAT: Final = Word(r"[A-Za-z0-9._-]{1,20}", "1 to 20 letters, digits, dots, dashes and underscores")


@frozen(kw_only=True)
class LimitSettings(Section):
    """
    Limits of images and of answers.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    image_size_cap_bytes: int = option(
        cfg.IntOpt(
            "image_size_cap",
            min=1,
            max=2**63 - 1,
            default=2**40,
            help="Most bytes that the data of one image may have. Stock's default, 1 TiB.",
        )
    )
    storage_quota_bytes: int = option(
        cfg.Opt(
            "user_storage_quota",
            type=ByteCount(),
            default="0",
            help="Most data that the images of one project may take, counted for each of their locations; 0 for any "
            "amount. More are answered 413. Stock's default.",
        )
    )
    property_quota: int = option(
        cfg.IntOpt(
            "image_property_quota",
            min=-1,
            max=100_000,
            default=128,
            help="Most custom properties of one image; -1 for any number. Stock's default.",
        )
    )
    tag_quota: int = option(
        cfg.IntOpt(
            "image_tag_quota",
            min=-1,
            max=100_000,
            default=128,
            help="Most tags of one image; -1 for any number. Stock's default.",
        )
    )
    member_quota: int = option(
        cfg.IntOpt(
            "image_member_quota",
            min=-1,
            max=100_000,
            default=128,
            help="Most projects that one image is shared with; -1 for any number. Stock's default.",
        )
    )
    page_limit_default: int = option(
        cfg.IntOpt(
            "limit_param_default",
            min=1,
            max=100_000,
            default=25,
            help="Images in one page of a list where the client does not say. Stock's default.",
        )
    )
    page_limit_max: int = option(
        cfg.IntOpt(
            "api_limit_max",
            min=1,
            max=100_000,
            default=1000,
            help="Most images in one page of a list, whatever the client says. Stock's default.",
        )
    )
    hashing_algorithm: str = option(
        cfg.StrOpt(
            "hashing_algorithm",
            choices=HASHES,
            default="sha512",
            help="How os_hash_value is computed for new data. Stock's default; hashes that can be forged are not "
            "accepted, as downloads are verified by this one.",
        )
    )


@frozen(kw_only=True)
class LocationSettings(Section):
    """
    Where the data of images lie.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    show_direct_url: bool = option(
        cfg.BoolOpt(
            "show_image_direct_url",
            default=False,
            help="Show where the data lie, as direct_url, to those whom get_image_location allows it. The URL may hold "
            "credentials of the store, so it is off, as in stock.",
        )
    )
    show_multiple: bool = option(
        cfg.BoolOpt(
            "show_multiple_locations",
            default=False,
            help="Show all locations, and let clients add and remove them. Whoever may add one can have the service "
            "hand out, and delete, anything it reaches in its stores. Off, as in stock.",
        )
    )
    quota: int = option(
        cfg.IntOpt(
            "image_location_quota",
            min=-1,
            max=1000,
            default=10,
            help="Most locations of one image; -1 for any number. Stock's default.",
        )
    )


@frozen(kw_only=True)
class FormatSettings(Section):
    """
    Formats that an image may have.
    """

    GROUP: ClassVar[str] = "image_format"

    container_formats: tuple[str, ...] = option(
        cfg.Opt(
            "container_formats",
            type=types.List(item_type=_FORMAT, min_length=1),
            default=list(STOCK_CONTAINER_FORMATS),
            help="Values of container_format. Stock's default.",
        )
    )
    disk_formats: tuple[str, ...] = option(
        cfg.Opt(
            "disk_formats",
            type=types.List(item_type=_FORMAT, min_length=1),
            default=list(STOCK_DISK_FORMATS),
            help="Values of disk_format. Stock's default.",
        )
    )
    require_match: bool = option(
        cfg.BoolOpt(
            "require_image_format_match",
            default=True,
            help="Refuse data that are not of the image's disk_format, where container_format is bare; false: only "
            "note it in the log. Data that are not safe are refused in any case. Stock's default.",
        )
    )
    gpt_safety_checks_nonfatal: tuple[str, ...] = option(
        cfg.Opt(
            "gpt_safety_checks_nonfatal",
            type=Words(_FORMAT),
            default=[],
            sample_default="<none>",
            help="Safety checks of partition tables that data need not pass; oslo.utils has one, mbr. Stock's "
            "default: all of them have to be passed.",
        )
    )
    vmdk_allowed_types: tuple[str, ...] = option(
        cfg.Opt(
            "vmdk_allowed_types",
            type=Words(_FORMAT),
            default=["streamOptimized", "monolithicSparse"],
            help="Kinds of VMDK (createType) that are accepted; none where this is empty. Stock's default. Kinds other "
            "than these two name further files, and are refused even where they stand here.",
        )
    )


@frozen(kw_only=True)
class UploadSettings(Section):
    """
    Uploads in progress.
    """

    GROUP: ClassVar[str] = "upload"

    lease_seconds: int = option(
        cfg.IntOpt(
            "lease_timeout",
            min=10,
            max=86400,
            default=60,
            help="Seconds without a sign of life from the process that takes an upload in, after which another one "
            "puts the image back to queued and clears what is left. Every node that shares the database should "
            "have the same. Long enough for a database to restart; the dead of the node itself are found at once.",
        )
    )
    max_uploads: int = option(
        cfg.IntOpt(
            "max_uploads",
            min=1,
            max=100_000,
            default=100,
            help="Most uploads that a process takes in at a time; more are answered 503 and may be tried again. Each "
            "may hold up to 8 MiB of data in memory when the store is slow.",
        )
    )


@frozen(kw_only=True)
class LockSettings(Section):
    """
    Locks between the processes of one machine.
    """

    GROUP: ClassVar[str] = "oslo_concurrency"

    lock_path: Path | None = option(
        cfg.Opt(
            "lock_path",
            type=AbsolutePath(),
            sample_default="the folder locks beside filesystem_store_datadir",
            help="Folder for lock files, on a disk of the machine itself. They tell which processes of this node "
            "live. Unset: the folder locks beside filesystem_store_datadir, or beside the first of "
            "filesystem_store_datadirs.",
        )
    )
