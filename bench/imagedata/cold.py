"""
An image that is not in memory: what others notice while it is read from the disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial

from imagedata.downloads import download
from imagedata.probes import P99, probing
from imagedata.rows import OURS, Figures, Goal, Row, Trial
from imagedata.site import Site
from imagedata.transfers import costs

__all__ = ["rows"]

QUIET = "quiet"
"""The same requests while nothing is read: what of their time is the machine's."""

_QUIET_SECONDS = 4.0


def rows(site: Site) -> Iterator[Row]:
    """
    From the file store.
    """
    yield Row(
        case="cold",
        title=f"{site.sizes.cold >> 20} MiB from disk, glance-api",
        trials=[Trial(OURS, partial(_measure, site)), Trial(QUIET, partial(_measure_quiet, site))],
        goals=(Goal(figure=P99, value=20),),
    )


def _measure(site: Site) -> Figures:
    image = site.image(site.api, site.sizes.cold)
    descriptor = os.open(site.stored_file(image), os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    with probing(site.api) as probe:
        load, figures = costs(site.api, lambda: download(site, site.api.port, image.path, 1))
    load.require([200], image.size)
    return {**figures, **probe.figures()}


def _measure_quiet(site: Site) -> Figures:
    with probing(site.api) as probe:
        time.sleep(_QUIET_SECONDS)
    return probe.figures()
