"""
All servers of one run, each started when the first case asks for it, and the images that they have.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from attrs import frozen

from databases import DatabaseMissing, database
from imagedata.client import ClientFailed, LoadClient
from imagedata.relay import Relay, relay
from imagedata.servers import NGINX, VARNISH, Caches, TlsFiles, glance_cache, nginx, varnish
from imagedata.tls import make_certificate
from peers import STOCK, PeerMissing, StockGlance, glance_tx, installed
from processes import HOST, ServerProcess

__all__ = ["GIB", "KIB", "MIB", "THROTTLE", "Image", "Site", "Sizes", "ask", "create", "wait_until"]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

THROTTLE = 100 * MIB
"""What the slow upstream gives, in bytes a second."""

_T = TypeVar("_T")

Starter = Callable[[], AbstractContextManager[ServerProcess]]
"""Runs a server."""

_WAIT_SECONDS = 60.0
_WRITE_BYTES = 16 * MIB


@frozen
class Sizes:
    """
    How much data there is.

    :param image: Of an image, as most cases use it.
    :param cold: Of the one that is dropped from memory.
    :param sparse: Of the one that is mostly zeros.
    """

    image: int
    cold: int
    sparse: int


@frozen
class Image:
    """
    One image of one service.

    :param path: Of its data.
    """

    id: str
    size: int

    @property
    def path(self) -> str:
        """
        Where its data is.
        """
        return f"/v2/images/{self.id}/file"


class Site:
    """
    What cases measure.

    :param stack: Ends the servers.
    :param folder: Holds all files, for as long as the run takes.
    :param environments: Where stock Glance is installed; ``None`` leaves it out.
    :param processes: Of every server.
    :param postgresql: Administrative database of the server that has everybody's records, where there is one.
    :param leave_out: Peers that are not wanted.
    """

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        environments: Path | None,
        processes: int,
        sizes: Sizes,
        postgresql: str,
        leave_out: frozenset[str] = frozenset(),
    ) -> None:
        self.folder = folder
        self.processes = processes
        self.sizes = sizes
        self.missing: dict[str, str] = dict.fromkeys(leave_out, "left out by the command line")
        self._stack = stack
        self._environments = environments
        self._postgresql = postgresql
        self._images: dict[tuple[int, int], Image] = {}

    @cached_property
    def client(self) -> LoadClient:
        """
        The load.
        """
        return LoadClient.make(self.folder)

    @cached_property
    def tls(self) -> TlsFiles:
        """
        What servers show over TLS.
        """
        return TlsFiles(*make_certificate(self.folder))

    @cached_property
    def api(self) -> ServerProcess:
        """
        Our image service.
        """
        return self._run(self.fresh_api("glance-api")())

    @cached_property
    def cache(self) -> ServerProcess:
        """
        Our caching tier before it.
        """
        return self._run(self.fresh_cache("glance-cache")())

    @cached_property
    def cache_tls(self) -> ServerProcess:
        """
        The same, to its clients over TLS.
        """
        return self._run(glance_cache(self.folder / "glance-cache-tls", self.api.port, self.processes, self.tls))

    @cached_property
    def slow_line(self) -> Relay:
        """
        The image service behind a line of 100 MiB/s.
        """
        return self._stack.enter_context(relay(self.api.port, THROTTLE))

    @cached_property
    def slow_cache(self) -> ServerProcess:
        """
        Our caching tier at the other end of that line.
        """
        return self._run(glance_cache(self.folder / "glance-cache-slow", self.slow_line.port, self.processes))

    @cached_property
    def nginx(self) -> Caches | None:
        """
        Files, and caches before the image service.
        """
        upstreams = (self.api.port, self.slow_line.port)
        return self._try(NGINX, lambda: nginx(self.folder / NGINX, upstreams, self.processes, self.root, self.tls))

    @cached_property
    def varnish(self) -> Caches | None:
        """
        Caches before the image service.
        """
        upstreams = (self.api.port, self.slow_line.port)
        # What is being fetched, what was, and room for what it keeps of each object.
        memory = 3 * self.sizes.image
        return self._try(VARNISH, lambda: varnish(self.folder / VARNISH, upstreams, self.processes, memory))

    @cached_property
    def stock(self) -> ServerProcess | None:
        """
        Stock Glance with its image cache before its file store.
        """
        return self._start_stock("stock", caches=True)

    @cached_property
    def stock_uncached(self) -> ServerProcess | None:
        """
        Stock Glance as it is without a cache: how uploads, and a start, are compared.
        """
        return self._start_stock("stock-uncached", caches=False)

    @cached_property
    def root(self) -> Path:
        """
        What nginx serves as files.
        """
        return self._subfolder("root")

    def stock_environment(self) -> Path:
        """
        Find stock Glance, or install it.

        :raises PeerMissing: It cannot be had.
        """
        if self._environments is None:
            raise PeerMissing("no folder for its environment was named (--cache)")
        return installed(self._environments, "glance")

    def source(self, size: int) -> Path:
        """
        Make a file of random bytes.
        """
        path = self.folder / f"source-{size}"
        if not path.exists():
            with path.open("wb") as out:
                for done in range(0, size, _WRITE_BYTES):
                    out.write(os.urandom(min(_WRITE_BYTES, size - done)))
        return path

    def image(self, target: ServerProcess, size: int | None = None) -> Image:
        """
        Upload an image to a service, unless it has it from before.
        """
        size = self.sizes.image if size is None else size
        key = (target.port, size)
        if key not in self._images:
            created = create(target)
            self.upload(target, [created], self.source(size))
            self._images[key] = Image(created, size)
        return self._images[key]

    def upload(self, target: ServerProcess, ids: list[str], source: Path, chunked: bool = False) -> None:
        """
        Upload a file into images.
        """
        urls = [f"http://{HOST}:{target.port}/v2/images/{each}/file" for each in ids]
        words = ["put", "-n", len(urls), *(["-c"] if chunked else []), "-f", source, *urls]
        self.client.run(words).require([204])

    def static(self, file: Path) -> str:
        """
        Let nginx serve the very file that one of our daemons serves: the same pages of memory.

        :return: Its path in URLs.
        """
        name = str(file.stat().st_ino)
        there = self.root / name
        if not there.exists():
            there.hardlink_to(file)
        return f"/{name}"

    def stored_file(self, image: Image) -> Path:
        """
        Find an image in our file store.
        """
        return _file_of(self.folder / "glance-api/images", image)

    def cached_file(self, folder: str, image: Image) -> Path:
        """
        Find an image in a cache of ours.
        """
        return _file_of(self.folder / folder / "cache", image)

    def _subfolder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def fresh_api(self, name: str = "fresh-api") -> Starter:
        """
        Prepare an image service of ours, to be started any number of times.
        """
        folder = self._subfolder(name)
        return partial(glance_tx, self._database(folder), folder, self.processes)

    def fresh_cache(self, name: str = "fresh-cache") -> Starter:
        """
        Prepare a caching tier of ours, to be started any number of times.
        """
        return partial(glance_cache, self.folder / name, self.api.port, self.processes)

    def fresh_stock(self, name: str = "fresh-stock", caches: bool = False) -> Starter | None:
        """
        Prepare a stock Glance, to be started any number of times; ``None`` where it cannot be had.
        """
        if STOCK in self.missing:
            return None
        folder = self._subfolder(name)
        try:
            stock = StockGlance(self.stock_environment(), caches)
        except PeerMissing as error:
            self.missing[STOCK] = str(error)
            return None
        return partial(stock, self._database(folder), folder, self.processes)

    def _start_stock(self, name: str, caches: bool) -> ServerProcess | None:
        start = self.fresh_stock(name, caches)
        return None if start is None else self._try(STOCK, start)

    def _database(self, folder: Path) -> sa.URL:
        # On SQLite, stock Glance refuses uploads that begin at the same time ("database is locked").
        try:
            return self._stack.enter_context(database("postgresql", folder, self._postgresql))
        except DatabaseMissing as error:
            self.missing["postgresql"] = f"{error}; SQLite takes its place"
            return self._stack.enter_context(database("sqlite", folder, self._postgresql))

    def _run(self, server: AbstractContextManager[ServerProcess]) -> ServerProcess:
        return self._stack.enter_context(server)

    def _try(self, name: str, start: Callable[[], AbstractContextManager[_T]]) -> _T | None:
        if name not in self.missing:
            try:
                return self._stack.enter_context(start())
            except PeerMissing as error:
                self.missing[name] = str(error)
        return None


def ask(target: ServerProcess, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
    """
    Send one request.

    :raises ClientFailed: The answer is no success.
    """
    connection = http.client.HTTPConnection(HOST, target.port, timeout=_WAIT_SECONDS)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        answered = response.read()
    finally:
        connection.close()
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise ClientFailed(f"{target.name} answered {response.status} to {method} {path}: {answered[:200]!r}")
    return answered


def create(target: ServerProcess, disk_format: str = "raw") -> str:
    """
    Create an image without data.

    :return: Its id.
    """
    document = {"name": "bench", "disk_format": disk_format, "container_format": "bare"}
    identity: str = json.loads(ask(target, "POST", "/v2/images", document))["id"]
    return identity


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """
    Wait for something.

    :raises ClientFailed: It takes too long.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ClientFailed(f"{what} did not happen within {_WAIT_SECONDS:g} seconds")
        time.sleep(0.02)


def _file_of(folder: Path, image: Image) -> Path:
    found = [path for path in folder.rglob(f"*{image.id}*") if path.is_file() and path.stat().st_size == image.size]
    if len(found) != 1:
        raise ClientFailed(f"expected one file of {image.id} in {folder}, found {found}")
    return found[0]
