"""
Image data through our daemons, and through nginx, Varnish and stock Glance beside them: ``make bench``.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from databases import POSTGRESQL
from imagedata.cases import CASES, UnknownCase, choose
from imagedata.chart import chart
from imagedata.client import ClientFailed
from imagedata.congestion import NOT_FOR_LOOPBACK, CongestionRefused, congestion
from imagedata.report import (
    Measured,
    conditions,
    figures_table,
    goals_table,
    peer_versions,
    remarks,
    write_json,
)
from imagedata.rows import measure_row
from imagedata.site import GIB, MIB, Site, Sizes
from peers import STOCK, PeerMissing
from processes import ServerFailed

FULL = Sizes(image=1 * GIB, cold=4 * GIB, sparse=8 * GIB)
QUICK = Sizes(image=256 * MIB, cold=1 * GIB, sparse=1 * GIB)
QUICK_ROUNDS = 3

_IMAGES_AT_ONCE = 14
"""How many times an image lies on the disk, in stores, caches and uploads under way."""


def parse_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default="", help=f"some of {', '.join(CASES)}; all of them by default")
    parser.add_argument("--rounds", type=int, help="that count, for each server (default 5, and 15 for hits)")
    parser.add_argument("--quick", action="store_true", help="smaller images and 3 rounds, to try it out")
    parser.add_argument("--cache", type=Path, help="folder of stock Glance's environment; without it, it is left out")
    parser.add_argument("--leave-out", default="", help="peers that are not wanted, with commas")
    parser.add_argument("--processes", type=int, default=1, help="of each server (default 1)")
    parser.add_argument("--postgresql", default=POSTGRESQL, help=f"administrative database (default {POSTGRESQL})")
    parser.add_argument("--congestion", help="TCP's congestion control meanwhile, such as cubic; only as root")
    parser.add_argument("--folder", type=Path, help="where images are put; a temporary folder by default")
    parser.add_argument("--out", type=Path, help="folder for image-data.json, with all rounds, and image-data.svg")
    return parser.parse_args(words)


def measure(site: Site, names: Sequence[str], rounds: int | None) -> list[Measured]:
    """
    Measure cases, one row after the other.
    """
    measured = []
    for name in names:
        for row in CASES[name](site):
            found = measure_row(row, rounds or row.rounds, lambda text: print(text, flush=True))
            measured.append(Measured(row, found))
    return measured


def check_room(folder: Path, sizes: Sizes) -> None:
    """
    See that the images fit.

    :raises OSError: They do not.
    """
    wanted = _IMAGES_AT_ONCE * sizes.image + 2 * sizes.cold
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OSError(f"{folder} has {free // GIB} GiB of room, and {wanted // GIB} are wanted: --folder, or --quick")


def report(site: Site, measured: Sequence[Measured]) -> None:
    """
    Print everything.
    """
    print(f"\n{figures_table(measured)}\n\n{goals_table(measured)}\n")
    if not site.client.is_compiled:
        print("no C compiler was found: the load client is the one in Python, which is slower")
    for text in remarks(measured):
        print(text)
    for name, why in site.missing.items():
        print(f"{name} is left out: {why}")


def run(options: argparse.Namespace) -> int:
    """
    Measure what the command line asks for.
    """
    names = choose(options.cases)
    sizes = QUICK if options.quick else FULL
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else None)
    leave_out = frozenset(word for word in options.leave_out.split(",") if word)
    with ExitStack() as stack:
        control = stack.enter_context(congestion(options.congestion))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-")))
        folder.chmod(0o755)
        check_room(folder, sizes)
        site = Site(stack, folder, options.cache, options.processes, sizes, options.postgresql, leave_out)
        measured = measure(site, names, rounds)
        report(site, measured)
        if control == NOT_FOR_LOOPBACK:
            print(
                f"TCP's congestion control is {control}, of which figures on loopback differ widely: --congestion cubic"
            )
        if options.out is not None:
            write(options.out, site, measured, control)
    return 0


def write(folder: Path, site: Site, measured: Sequence[Measured], control: str) -> None:
    """
    Keep what was found.

    :param control: TCP's congestion control.
    """
    stock = None if STOCK in site.missing else site.stock_environment()
    facts = {**conditions(site.processes, peer_versions(stock)), "image_bytes": site.sizes.image}
    facts["congestion_control"] = control
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "image-data.json", measured, facts, site.missing)
    (folder / "image-data.svg").write_text(chart(measured))


def main() -> int:
    """
    Measure, and leave nothing behind however it ends.
    """

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(*_: object) -> None:
        # Once: ending the servers takes seconds, and must not be ended itself.
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, end)
    try:
        return run(parse_options())
    except KeyboardInterrupt:
        return 130
    except (ClientFailed, CongestionRefused, OSError, PeerMissing, ServerFailed, UnknownCase) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
