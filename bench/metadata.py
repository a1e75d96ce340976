"""
What showing, listing and creating images costs in our glance-api, and in stock Glance next to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path

from attrs import asdict, fields, frozen

from databases import POSTGRESQL, DatabaseMissing, database
from load import Call, LoadFailed, Measured, measure, require_wrk
from peers import GLANCE_TX, STOCK, Peer, PeerMissing, StockGlance, glance_tx, installed
from processes import HOST, ServerFailed, ServerProcess
from tables import Column, format_table, ratio

ENGINES = ("sqlite", "postgresql")
CONNECTIONS = (1, 16)
IMAGES = 1000
PAGE = 25
SHOW, LIST, CREATE = "show", "list", "create"

CPU_GOALS: Mapping[str, float] = {SHOW: 1 / 12, LIST: 1 / 8, CREATE: 1 / 8}
"""Of stock's processor time for a request, at most so much."""
RATE_GOAL, TAIL_GOAL = 8.0, 1 / 4
"""Requests per second, and the 99th percentile, next to stock's."""

Rounds = list[Measured]
"""Of one case and one server."""
Found = dict["Case", dict[str, Rounds]]


@frozen
class Case:
    """
    One kind of request under one load.
    """

    engine: str
    name: str
    connections: int

    def __str__(self) -> str:
        return f"{self.engine} {self.name} c={self.connections}"


def image(number: int) -> str:
    """
    Describe an image with three properties and two tags, as clients send it.
    """
    return json.dumps(
        {
            "name": f"image-{number:04}",
            "disk_format": "qcow2",
            "container_format": "bare",
            "min_ram": 512,
            "os_distro": ("debian", "ubuntu", "fedora")[number % 3],
            "architecture": "x86_64",
            "hw_disk_bus": "virtio",
            "tags": ["all", f"t{number % 10}"],
        }
    )


def fill(target: ServerProcess, count: int) -> list[str]:
    """
    Create images; return their ids.
    """
    ids = []
    for number in range(count):
        connection = HTTPConnection(HOST, target.port, timeout=60)
        connection.request("POST", "/v2/images", image(number), {"Content-Type": "application/json"})
        response = connection.getresponse()
        created = response.read()
        connection.close()
        if response.status != 201:
            raise LoadFailed(f"{target.name} answered {response.status} to a new image: {created[:200]!r}")
        ids.append(json.loads(created)["id"])
    return ids


def calls(name: str, ids: Sequence[str]) -> list[Call]:
    """
    Write down the requests of a case.
    """
    match name:
        case "show":
            return [Call("GET", f"/v2/images/{image_id}") for image_id in ids]
        case "list":
            return [Call("GET", f"/v2/images?limit={PAGE}")]
        case _:
            return [Call("POST", "/v2/images", image(number)) for number in range(IMAGES)]


def measure_engine(engine: str, peers: Mapping[str, Peer], options: argparse.Namespace) -> Found:
    """
    Measure all cases on one engine: every server on an empty database of its own, all of them running, in turn.
    """
    found: Found = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        running: dict[ServerProcess, list[str]] = {}
        for name, peer in peers.items():
            own = folder / name
            own.mkdir()
            url = stack.enter_context(database(engine, own, options.postgresql))
            target = stack.enter_context(peer(url, own, options.processes))
            running[target] = fill(target, IMAGES)
            print(f"{name} has {IMAGES} images in {engine}", flush=True)
        # The last case adds images, of which the lists before it know nothing.
        for name in options.cases:
            for connections in options.connections:
                case = Case(engine, name, connections)
                found[case] = dict(_rounds(case, running, options, folder))
                print(f"{case} is measured", flush=True)
    return found


def _rounds(
    case: Case, running: Mapping[ServerProcess, Sequence[str]], options: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Rounds]]:
    rounds: dict[str, Rounds] = {target.name: [] for target in running}
    # The first round warms up and does not count. In turn, so that what else the machine does slows all of them down.
    for number in range(options.rounds + 1):
        for target, ids in running.items():
            seconds = options.seconds if number else 1
            measured = measure(target, calls(case.name, ids), case.connections, seconds, folder)
            if number:
                rounds[target.name].append(measured)
    yield from rounds.items()


def report(found: Found) -> str:
    """
    Put everything into one table: medians, in brackets the least and the greatest of the rounds.
    """
    compared = any(STOCK in rounds for rounds in found.values())
    head = ("case", "figure", GLANCE_TX, *((STOCK, "ratio", "goal", "") if compared else ()))
    rows = []
    for case, rounds in found.items():
        goals = {"cpu_ms": CPU_GOALS[case.name], "requests_per_second": RATE_GOAL, "p99_ms": TAIL_GOAL}
        for field in fields(Measured):
            columns = {name: Column([getattr(one, field.name) for one in many]) for name, many in rounds.items()}
            if field.name == "refused_percent" and not any(column.median for column in columns.values()):
                continue
            row: list[object] = [case, field.name, columns[GLANCE_TX]]
            if STOCK in columns:
                row += [columns[STOCK], *_verdict(ratio(columns[GLANCE_TX], columns[STOCK]), goals.get(field.name))]
            rows.append(row)
    return format_table(head, rows)


def _verdict(reached: float, goal: float | None) -> tuple[str, str, str]:
    shown = f"{reached:.1f}" if reached >= 1 or not reached else f"1/{1 / reached:.1f}"
    if goal is None:
        return shown, "", ""
    if goal > 1:
        return shown, f">= {goal:g}", "ok" if reached >= goal else "missed"
    return shown, f"<= 1/{1 / goal:g}", "ok" if reached <= goal else "missed"


def write_json(path: Path, found: Found, options: argparse.Namespace) -> None:
    """
    Keep every round, and under which conditions it was measured.
    """
    document = {
        "conditions": {
            "python": platform.python_version(),
            "twisted": version("twisted"),
            "sqlalchemy": version("sqlalchemy"),
            "processors": os.cpu_count(),
            "machine": platform.platform(),
            "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "processes": options.processes,
            "seconds": options.seconds,
            "images": IMAGES,
        },
        "cases": [
            {**asdict(case), "rounds": {name: [asdict(one) for one in many] for name, many in rounds.items()}}
            for case, rounds in found.items()
        ],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder of stock Glance's environment; without it, ours alone")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--cases", nargs="+", choices=tuple(CPU_GOALS), default=list(CPU_GOALS))
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--rounds", type=int, default=5, help="that count, for each case and server (default 5)")
    parser.add_argument("--seconds", type=float, default=4, help="of a round (default 4)")
    parser.add_argument("--processes", type=int, default=2, help="of each server (default 2)")
    parser.add_argument("--postgresql", default=POSTGRESQL, help=f"administrative database (default {POSTGRESQL})")
    parser.add_argument("--folder", type=Path, help="where SQLite's files are put; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="file to write all rounds to")
    return parser.parse_args()


def main() -> int:
    """
    Measure what the command line asks for.
    """
    options = parse_options()
    require_wrk()
    peers: dict[str, Peer] = {GLANCE_TX: glance_tx}
    try:
        if options.cache is not None:
            peers[STOCK] = StockGlance(installed(options.cache, "glance"))
    except PeerMissing as error:
        print(f"{STOCK} is left out: {error}")
    found: Found = {}
    for engine in options.engines:
        try:
            found |= measure_engine(engine, peers, options)
        except DatabaseMissing as error:
            print(f"{engine} is left out: {error}")
    print(f"\n{report(found)}")
    if options.json is not None:
        write_json(options.json, found, options)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadFailed, PeerMissing, ServerFailed) as error:
        sys.exit(f"bench: {error}")
