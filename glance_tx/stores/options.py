"""
Options of the stores.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import frozen
from oslo_config import cfg

from glance_tx.settings import Section, option
from glance_tx.settings.values import AbsolutePath

__all__ = ["FileStoreSettings"]


@frozen(kw_only=True)
class FileStoreSettings(Section):
    """
    Image data in files.
    """

    GROUP: ClassVar[str] = "glance_store"

    folder: Path = option(
        cfg.Opt(
            "filesystem_store_datadir",
            type=AbsolutePath(),
            default="/var/lib/glance/images",
            help="Folder for image data, one file for each image. Stock's default.",
        )
    )
