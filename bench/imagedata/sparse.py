"""
An image that is mostly zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from imagedata.client import Load
from imagedata.downloads import download
from imagedata.rows import OURS, Figures, Row, Trial
from imagedata.site import GIB, Image, Site, ask, create
from imagedata.transfers import CPU, RATE, costs
from peers import STOCK
from processes import HOST, ServerProcess

__all__ = ["qcow2_header", "rows"]

_ROUNDS = 1
_CLUSTER_BITS = 16


def rows(site: Site) -> Iterator[Row]:
    """
    A qcow2 image with nothing in it, up and down again; both are reported.
    """
    targets = {OURS: site.api, STOCK: site.stock_uncached}
    yield Row(
        case="sparse",
        title=f"{site.sizes.sparse // GIB} GiB sparse qcow2",
        trials=[Trial(name, partial(_measure, site, each)) for name, each in targets.items() if each is not None],
        rounds=_ROUNDS,
        warm_up=False,
    )


def _measure(site: Site, target: ServerProcess) -> Figures:
    source = _source(site)
    image = Image(create(target, "qcow2"), site.sizes.sparse)
    words = ["put", "-f", source, f"http://{HOST}:{target.port}{image.path}"]

    def upload() -> Load:
        return site.client.run(words).require([204])

    try:
        _, there = costs(target, upload, image.size)
        load, back = costs(target, lambda: download(site, target.port, image.path, 1))
        load.require([200], image.size)
    finally:
        ask(target, "DELETE", f"/v2/images/{image.id}")
    return {
        f"{way}_{name}": figures[name]
        for way, figures in (("upload", there), ("download", back))
        for name in (RATE, CPU)
    }


def _source(site: Site) -> Path:
    path = site.folder / "sparse.qcow2"
    with path.open("wb") as out:
        out.write(qcow2_header(site.sizes.sparse))
        out.truncate(site.sizes.sparse)
    return path


def qcow2_header(virtual_bytes: int) -> bytes:
    """
    Begin an image in version 3 of the format, without data: its tables lie behind the header, and are all zeros.
    """
    cluster = 1 << _CLUSTER_BITS
    tables = -(-virtual_bytes // (cluster * cluster // 8))
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb", 3, 0, 0, _CLUSTER_BITS, virtual_bytes, 0, tables, cluster, 2 * cluster, 1, 0, 0, 0, 0, 0, 4, 104,
    )  # fmt: skip
