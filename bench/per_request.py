"""
What one small request costs: processor time by request, in both daemons, and in nginx where it can answer the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from attrs import frozen

from load import Call, LoadFailed, Measured, measure, require_wrk
from peers import PeerMissing, nginx_files
from processes import HOST, ServerFailed, ServerProcess, free_port, server
from tables import Column, format_table, ratio

KiB, MiB = 1024, 1024**2
PIECE_BYTES = 64 * KiB
RANGES = 2000
"""Different pieces that are asked for, one after another."""
FILL_SECONDS = 120
HERE = Path(__file__).resolve().parents[1]

VERSIONS, SHOW, STORE_RANGE, RELAY, CACHE_RANGE = "versions", "show", "store_range", "relay", "cache_range"
API, CACHE, NGINX = "glance-api", "glance-cache", "nginx"
CASES: Mapping[str, str] = {VERSIONS: API, SHOW: API, STORE_RANGE: API, RELAY: CACHE, CACHE_RANGE: CACHE}
"""Each case, and the daemon that answers it."""

_DATA_HEADERS = {"Content-Type": "application/octet-stream"}


@frozen
class Node:
    """
    Both daemons of one checkout, and the image they have.
    """

    label: str
    daemons: Mapping[str, ServerProcess]
    image_id: str

    def calls(self, case: str, size: int) -> Sequence[Call]:
        """
        Write down the requests of a case.
        """
        match case:
            case "versions":
                return [Call("GET", "/versions")]
            case "show" | "relay":
                return [Call("GET", f"/v2/images/{self.image_id}")]
            case _:
                return ranges(f"/v2/images/{self.image_id}/file", size)


def ranges(path: str, size: int) -> Sequence[Call]:
    """
    Ask for pieces at random offsets, the same ones every time.
    """
    offsets = random.Random(1)
    starts = (offsets.randrange(size - PIECE_BYTES) for _ in range(RANGES))
    return [Call("GET", path, byte_range=f"bytes={start}-{start + PIECE_BYTES - 1}") for start in starts]


@contextmanager
def node(label: str, checkout: Path, folder: Path, data: Path) -> Iterator[Node]:
    """
    Run the daemons of a checkout, one process each, with one image that the cache has whole.
    """
    environment = {"PYTHONPATH": f"{checkout}:{checkout}/proxy", "PYTHONDONTWRITEBYTECODE": "1"}
    folder.mkdir()
    with ExitStack() as stack:
        daemons = {}
        for name in (API, CACHE):
            port = free_port()
            config = folder / f"{name}.conf"
            upstream = daemons[API].port if name == CACHE else 0
            config.write_text(_api_config(port, folder) if name == API else _cache_config(port, upstream, folder))
            twistd = Path(sys.executable).with_name("twistd")
            command = [twistd, "--nodaemon", "--pidfile=", name, "--config-file", config]
            running = server(name, command, port, folder / f"{name}.out", environment, checkout)
            daemons[name] = stack.enter_context(running)
        image_id = _upload(daemons[API], data)
        _fill(daemons[CACHE], image_id)
        yield Node(label, daemons, image_id)


def _api_config(port: int, folder: Path) -> str:
    return f"""\
[DEFAULT]
bind_host = {HOST}
bind_port = {port}
workers = 1
log_file = {folder}/api.log
[auth]
strategy = none
[database]
connection = sqlite:///{folder}/api.sqlite
[glance_store]
filesystem_store_datadir = {folder}/images
[oslo_concurrency]
lock_path = {folder}/locks
"""


def _cache_config(port: int, upstream: int, folder: Path) -> str:
    return f"""\
[DEFAULT]
bind_host = {HOST}
bind_port = {port}
image_cache_dir = {folder}/cache
log_file = {folder}/cache.log
[upstream]
urls = http://{HOST}:{upstream}
[cache]
grant_ttl = 3600
"""


def _upload(api: ServerProcess, data: Path) -> str:
    record = json.dumps({"name": "bench", "disk_format": "raw", "container_format": "bare"})
    created = _ask(api, "POST", "/v2/images", record.encode(), {"Content-Type": "application/json"}, 201)[1]
    image_id: str = json.loads(created)["id"]
    _ask(api, "PUT", f"/v2/images/{image_id}/file", data.read_bytes(), _DATA_HEADERS, 204)
    return image_id


def _fill(cache: ServerProcess, image_id: str) -> None:
    deadline = time.monotonic() + FILL_SECONDS
    while _ask(cache, "GET", f"/v2/images/{image_id}/file", None, {}, 200)[0] != "hit":
        if time.monotonic() > deadline:
            raise LoadFailed(f"{cache.name} does not keep the image")


def _ask(
    target: ServerProcess, method: str, path: str, body: bytes | None, headers: Mapping[str, str], expected: int
) -> tuple[str | None, bytes]:
    connection = HTTPConnection(HOST, target.port, timeout=120)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != expected:
        raise LoadFailed(f"{target.name} answered {response.status} to {method} {path}: {answer[:200]!r}")
    return response.getheader("X-Cache"), answer


Rounds = dict[str, list[Measured]]
"""By server: what came out of each round of one case."""


def measure_case(case: str, nodes: Sequence[Node], files: ServerProcess | None, options: argparse.Namespace) -> Rounds:
    """
    Measure one case, all servers in turn, so that what else the machine does slows all of them.
    """
    size = options.mib * MiB
    targets = {one.label: (one.daemons[CASES[case]], one.calls(case, size)) for one in nodes}
    if files is not None and case in {STORE_RANGE, CACHE_RANGE}:
        targets[NGINX] = (files, ranges("/data", size))
    found: Rounds = {label: [] for label in targets}
    # The first round warms up and does not count.
    for number in range(options.rounds + 1):
        for label, (target, calls) in targets.items():
            seconds = options.seconds if number else 1
            measured = measure(target, calls, options.connections, seconds, options.folder)
            if measured.refused_percent:
                raise LoadFailed(f"{label} refuses {case}")
            if number:
                found[label].append(measured)
    return found


def report(found: Mapping[str, Rounds], first: str) -> str:
    """
    Put everything into one table: medians, in brackets the least and the greatest of the rounds.

    :param first: The server that the others are compared with.
    """
    others = [
        label for label in dict.fromkeys(label for rounds in found.values() for label in rounds) if label != first
    ]
    head = ("case", "figure", first, *(cell for label in others for cell in (label, f"{first} / {label}")))
    rows = []
    for case, rounds in found.items():
        for figure in ("cpu_ms", "requests_per_second", "p99_ms"):
            columns = {label: Column([getattr(one, figure) for one in many]) for label, many in rounds.items()}
            row: list[object] = [case, figure, columns[first]]
            for label in others:
                compared = label in columns
                row += [columns[label], f"{ratio(columns[first], columns[label]):.2f}"] if compared else ["", ""]
            rows.append(row)
    return format_table(head, rows)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of this project, to be measured beside this one")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--connections", type=int, default=16, help="of the load (default 16)")
    parser.add_argument("--rounds", type=int, default=5, help="that count, for each case and server (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of a round (default 3)")
    parser.add_argument("--mib", type=int, default=256, help="size of the image (default 256)")
    return parser.parse_args()


def main() -> int:
    """
    Measure what the command line asks for.
    """
    options = parse_options()
    require_wrk()
    with ExitStack() as stack:
        folder = options.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = folder / "data"
        data.write_bytes(os.urandom(MiB) * options.mib)
        checkouts = {"this": HERE, **({} if options.against is None else {"against": options.against.resolve()})}
        nodes = [stack.enter_context(node(name, path, folder / name, data)) for name, path in checkouts.items()]
        files = None
        try:
            files = stack.enter_context(nginx_files(data, folder))
        except PeerMissing as error:
            print(f"nginx is left out: {error}")
        found = {case: measure_case(case, nodes, files, options) for case in options.cases}
    print(f"\n{report(found, 'this')}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadFailed, ServerFailed) as error:
        sys.exit(f"bench: {error}")
