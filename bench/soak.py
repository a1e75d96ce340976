"""
Full load of all kinds on glance-api, glance-cache and a Redis, for a long time, with every answer checked.

Clients upload, download whole images and ranges, by way of the cache and past it, break off both, delete, prefetch and
evict, as a seed decides. Every byte that comes is compared with the byte that has to be there. At the end nothing may
be left over: no descriptor, no thread, no memory, no file, no line in a log at level error.

Exit status 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen

from processes import HOST, ServerProcess, free_port, server
from soak_clients import TOKEN, Client, Connection, Ports, Tally, check_all
from soak_images import MIB, Images, Pool
from soak_watch import Sample, Watch, by_minute, loud_lines, open_files, read_metrics, slope_per_minute

_CACHE_BYTES = 128 * MIB
_QUIET_SECONDS = 30.0
_LEFT_DESCRIPTORS = 16
"""How many more there may be: so many connections the cache keeps open to the service, for its next request."""

_LATE_THREADS = 8
"""How many more there may be in the second half: those of a pool are made when there is work for them, and stay."""

_TOKENS = f"- {{token: {TOKEN}, user_id: root, project_id: ops, roles: [admin, member, reader]}}\n"

_COMMON = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
workers = {workers}
{more}
[auth]
strategy = tokens
tokens_file = {folder}/tokens.yaml
[redis]
url = {redis}
prefix = {prefix}
[management]
bind_port = {side}
"""

_API = (
    _COMMON
    + """\
[database]
connection = sqlite:///{folder}/images.sqlite
[glance_store]
filesystem_store_datadirs = {folder}/images-a:1
filesystem_store_datadirs = {folder}/images-b:1
filesystem_thin_provisioning = true
"""
)

_CACHE = (
    _COMMON
    + """\
[upstream]
urls = http://127.0.0.1:{upstream}
[cache]
grant_ttl = 2
prefetch_token = {token}
"""
)


@frozen
class Options:
    """
    What is to be done.
    """

    seconds: float
    seed: int
    clients: int
    images: int
    workers: int
    slope_mib: float
    redis: str | None
    folder: Path


@frozen
class _Daemons:
    """
    Both daemons, and the ports that tell metrics of them.
    """

    api: ServerProcess
    cache: ServerProcess
    sides: tuple[int, int]


def main() -> int:
    """
    Run the program.
    """
    options = _parse_options()
    print(
        f"soak: seed {options.seed}, {options.seconds:g} s, {options.clients} clients, in {options.folder}", flush=True
    )
    with ExitStack() as stack:
        redis = options.redis or stack.enter_context(_own_redis(options.folder))
        tally = Tally()
        with ExitStack() as daemons:
            _Soak(options, _start(daemons, options, redis), tally).run()
    # The last lines are written while they stop.
    _judge_logs(options, tally)
    if tally.wrong:
        print(f"{len(tally.wrong)} things are wrong; the seed was {options.seed}; see {options.folder}")
        return 1
    print("nothing is wrong")
    shutil.rmtree(options.folder)
    return 0


def _parse_options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long (default 600)")
    parser.add_argument("--seed", type=int, help="decides what clients do (default: any; it is printed)")
    parser.add_argument("--clients", type=int, default=12, help="how many at once (default 12)")
    parser.add_argument("--images", type=int, default=24, help="how many there are, more or less (default 24)")
    parser.add_argument("--workers", type=int, default=2, help="processes of glance-api (default 2)")
    parser.add_argument(
        "--slope-mib", type=float, default=1.0, help="growth of memory in MiB a minute that is too much (default 1)"
    )
    parser.add_argument("--redis", metavar="URL", help="a server to use (default: one of our own)")
    parser.add_argument("--folder", type=Path, help="where (default: a temporary one; kept when something is wrong)")
    given = parser.parse_args()
    return Options(
        given.seconds,
        secrets.randbelow(1 << 32) if given.seed is None else given.seed,
        given.clients,
        given.images,
        given.workers,
        given.slope_mib,
        given.redis,
        (given.folder or Path(tempfile.mkdtemp(prefix="soak-"))).absolute(),
    )


@contextmanager
def _own_redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--bind", HOST, "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://{HOST}:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _start(stack: ExitStack, options: Options, redis: str) -> _Daemons:
    folder, prefix = options.folder, f"soak{secrets.token_hex(4)}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.yaml").write_text(_TOKENS)
    (folder / "tokens.yaml").chmod(0o600)
    common = {"folder": folder, "redis": redis, "prefix": prefix, "token": TOKEN}
    api_port, cache_port, api_side, cache_side = (free_port() for _ in range(4))
    api = _API.format(port=api_port, side=api_side, workers=options.workers, more="", **common)
    more = f"image_cache_dir = {folder}/cache\nimage_cache_max_size = {_CACHE_BYTES}\n"
    cache = _CACHE.format(port=cache_port, side=cache_side, workers=1, more=more, upstream=api_port, **common)
    servers = []
    for name, port, text in (("glance-api", api_port, api), ("glance-cache", cache_port, cache)):
        path = folder / f"{name}.conf"
        path.write_text(text)
        twistd = Path(sys.executable).with_name("twistd")
        command: list[str | Path] = [twistd, "--nodaemon", "--pidfile=", name, "--config-file", path]
        servers.append(stack.enter_context(server(name, command, port, folder / f"{name}.log")))
    return _Daemons(servers[0], servers[1], (api_side, cache_side))


class _Soak:
    """
    One run.
    """

    def __init__(self, options: Options, daemons: _Daemons, tally: Tally) -> None:
        api, cache = daemons.api, daemons.cache
        self._sides = daemons.sides
        self._options = options
        self._servers = (api, cache)
        self._ports = Ports(api.port, cache.port)
        self._tally = tally
        self._images = Images()
        self._pool = Pool(random.Random(options.seed))
        self._watch = Watch(self._servers, options.folder / "cache", _CACHE_BYTES)

    def run(self) -> None:
        """
        Do it, and judge it.
        """
        # Whatever is made once is made now: threads, connections, entries of all kinds.
        self._load(min(20.0, self._options.seconds / 5), "warm")
        rested = {one.name: self._rest(one, None) for one in self._servers}
        self._watch.start()
        self._load(self._options.seconds, "soak")
        self._watch.stop()
        for one in self._servers:
            self._judge_leaks(one, rested[one.name])
        for one, side in zip(self._servers, self._sides, strict=True):
            self._judge_metrics(one, side)
        check_all(self._ports, self._images, self._pool, self._tally)
        self._judge_files()
        self._report()

    def _load(self, seconds: float, what: str) -> None:
        stop = threading.Event()
        options = self._options
        clients = [
            Client(
                f"{options.seed}-{what}-{number}",
                self._ports,
                self._images,
                self._pool,
                self._tally,
                stop,
                options.images,
            )
            for number in range(options.clients)
        ]
        for client in clients:
            client.start()
        stop.wait(seconds)
        stop.set()
        for client in clients:
            client.join()

    def _rest(self, one: ServerProcess, before: Sample | None) -> Sample:
        """
        Wait until a server has let go of what it had for its clients.
        """
        deadline = time.monotonic() + (_QUIET_SECONDS if before is not None else 3.0)
        while True:
            sample = Sample.take(one)
            calm = before is not None and sample.descriptors <= before.descriptors + _LEFT_DESCRIPTORS
            if calm or time.monotonic() > deadline:
                return sample
            time.sleep(0.2)

    def _judge_leaks(self, one: ServerProcess, before: Sample) -> None:
        after, tally = self._rest(one, before), self._tally
        if after.descriptors > before.descriptors + _LEFT_DESCRIPTORS:
            tally.complain(f"{one.name} has {after.descriptors} descriptors where {before.descriptors} were enough")
            print(f"  {json.dumps(dict(open_files(one).most_common()))}")
        samples = self._watch.samples[one.name]
        most = [max((s.threads for s in half), default=0) for half in _halves(samples)]
        if most[1] > most[0] + _LATE_THREADS:
            tally.complain(f"{one.name} has up to {most[1]} threads in the second half and {most[0]} in the first")
        slope = slope_per_minute(samples) / MIB
        if slope >= self._options.slope_mib:
            tally.complain(f"{one.name} grows by {slope:.2f} MiB a minute")
        peak = max((sample.rss_bytes for sample in samples), default=0)
        minutes = [f"{rss / MIB:.0f}" for rss in by_minute(samples)]
        print(
            f"{one.name}: memory by minute {' '.join(minutes)} MiB;"
            f" {before.rss_bytes / MIB:.1f} MiB warm, {peak / MIB:.1f} at most,"
            f" {after.rss_bytes / MIB:.1f} at the end, {slope:+.2f} a minute; descriptors {before.descriptors} and"
            f" {after.descriptors}; threads {before.threads} and {after.threads}"
        )

    def _judge_metrics(self, one: ServerProcess, side: int) -> None:
        """
        Find what a daemon believes to be under way while nobody asks it for anything.
        """
        # A worker reports once a second.
        time.sleep(2)
        for name, value in read_metrics(side, "transfers_in_progress", "uploads_in_progress", "_jobs_waiting"):
            if value:
                self._tally.complain(f"{one.name} says {name} {value:g} when all clients have left")
        late = dict(read_metrics(side, "reactor_lag_seconds_bucket"))
        within = {bound: value for name, value in late.items() for bound in (name.split('"')[1],)}
        shares = [
            f"{100 * within[bound] / within['+Inf']:.1f} % within {bound} s" for bound in ("0.005", "0.05", "0.5")
        ]
        print(f"{one.name}: calls of the reactor are late by {', '.join(shares)}")

    def _judge_files(self) -> None:
        """
        Find files that no image has any more, and images that nobody knows of.
        """
        folder, live = self._options.folder, {image.id for image in self._images.live()}
        files = [file.name for name in ("images-a", "images-b") for file in (folder / name).iterdir()]
        if sorted(name.partition(".")[0] for name in files) != sorted(live):
            self._tally.complain(f"the store has {sorted(files)} where the images are {sorted(live)}")
        _, listed = Connection(self._ports.api).ask("GET", "/v2/images?limit=1000")
        if {image["id"] for image in listed["images"]} != live:
            self._tally.complain(f"the service lists {len(listed['images'])} images where there are {len(live)}")
        if self._watch.most_bytes > self._watch.limit_bytes:
            self._tally.complain(f"the cache had {self._watch.most_bytes} bytes where {_CACHE_BYTES} are allowed")

    def _report(self) -> None:
        tally = self._tally
        print(f"{tally.moved_bytes / (1 << 30):.1f} GiB moved; cache at most {self._watch.most_bytes / MIB:.0f} MiB")
        print(f"done: {json.dumps(dict(tally.done.most_common()))}")
        print(f"answers: {json.dumps(dict(tally.states.most_common()))}")


def _halves(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    middle = len(samples) // 2
    return samples[:middle], samples[middle:]


def _judge_logs(options: Options, tally: Tally) -> None:
    for name in ("glance-api", "glance-cache"):
        errors, warnings = loud_lines(options.folder / f"{name}.log")
        for line in errors[:20]:
            tally.complain(f"{name} logs: {line[:500]}")
        for text, count in warnings.most_common(8):
            print(f"{name} warns {count} times: {text[:160]}")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "default")
    sys.exit(main())
