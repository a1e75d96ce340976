"""
The clients of a soak: threads that do one thing after another, and check every answer.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from attrs import define, field, frozen

from processes import HOST
from soak_images import MIB, Content, Image, Images, Pool

__all__ = ["Client", "Ports", "Tally", "Wrong", "check_all"]

TOKEN = "soak-token"  # noqa: S105
_TIMEOUT_SECONDS = 120
_GRANTS_ENDED_SECONDS = 10.0
_QUEUED_SECONDS = 20.0
_RECEIVE_BYTES = 256 * 1024


class Wrong(Exception):
    """
    An answer is not what it has to be.
    """


@frozen
class Ports:
    """
    Where the daemons answer.
    """

    api: int
    cache: int


@define
class Tally:
    """
    What all clients did, and what they complain about.
    """

    lock: threading.Lock = field(factory=threading.Lock)
    done: Counter[str] = field(factory=Counter)
    states: Counter[str] = field(factory=Counter)
    moved_bytes: int = 0
    wrong: list[str] = field(factory=list)

    def count(self, what: str, moved_bytes: int) -> None:
        """
        Note one thing done.
        """
        with self.lock:
            self.done[what] += 1
            self.moved_bytes += moved_bytes

    def complain(self, text: str) -> None:
        """
        Note what must not be.
        """
        with self.lock:
            self.wrong.append(text)
            print(f"  WRONG: {text}", flush=True)


class Connection:
    """
    Requests to one daemon on one connection, kept open while it may be.
    """

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS, blocksize=_RECEIVE_BYTES)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        self._http.request(method, path, body, {"X-Auth-Token": TOKEN, **(headers or {})})
        return self._http.getresponse()

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """
        Send a small request, and read the whole answer.
        """
        headers = {} if document is None else {"Content-Type": "application/json"}
        response = self.send(method, path, None if document is None else json.dumps(document).encode(), headers)
        text = response.read()
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        return response.status, json.loads(text) if is_json and text else text

    def begin(self, path: str, length: int, sent: Iterator[bytes]) -> None:
        """
        Send an upload's head and some of its body.
        """
        self._http.putrequest("PUT", path)
        for name, value in (("X-Auth-Token", TOKEN), ("Content-Type", "application/octet-stream")):
            self._http.putheader(name, value)
        self._http.putheader("Content-Length", str(length))
        self._http.endheaders()
        for piece in sent:
            self._http.send(piece)

    def close(self, *, rudely: bool = False) -> None:
        """
        Close it, or reset it.
        """
        if rudely and self._http.sock is not None:
            self._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._http.close()


class Client(threading.Thread):
    """
    One client.

    :param seed: Decides what it does.
    :param keep: How many images there should be, more or less.
    """

    def __init__(
        self, seed: str, ports: Ports, images: Images, pool: Pool, tally: Tally, stop: threading.Event, keep: int
    ) -> None:
        super().__init__(name=seed, daemon=True)
        self._rng = random.Random(seed)
        self._ports = ports
        self._images = images
        self._pool = pool
        self._tally = tally
        self._stop_now = stop
        self._keep = keep
        self._moved = 0
        self._open: dict[int, Connection] = {}
        self._things: tuple[tuple[int, str, Callable[[], None]], ...] = (
            (30, "download", partial(self._download, ports.cache)),
            (8, "download past the cache", partial(self._download, ports.api)),
            (24, "range", partial(self._range, ports.cache)),
            (8, "range past the cache", partial(self._range, ports.api)),
            (6, "aborted download", partial(self._leave, ports.cache)),
            (3, "aborted download past the cache", partial(self._leave, ports.api)),
            (8, "upload", self._renew),
            (4, "aborted upload", self._abort_upload),
            (3, "show", self._show),
            (2, "prefetch", self._prefetch),
            (2, "evict", self._evict),
            (2, "ask for what was deleted", self._ask_dead),
        )

    def run(self) -> None:
        """
        Go on until told to stop.
        """
        weights = [weight for weight, _, _ in self._things]
        while not self._stop_now.is_set():
            ((_, name, do),) = self._rng.choices(self._things, weights)
            self._moved = 0
            try:
                do()
            except Wrong as wrong:
                self._tally.complain(f"{name}: {wrong}")
            except Exception as error:
                self._tally.complain(f"{name}: {type(error).__name__}: {error}")
                self._hang_up()
            self._tally.count(name, self._moved)
            if self._rng.random() < 0.3:
                self._hang_up()
        self._hang_up()

    def _to(self, port: int) -> Connection:
        if port not in self._open:
            self._open[port] = Connection(port)
        return self._open[port]

    def _either(self) -> Connection:
        return self._to(self._rng.choice([self._ports.api, self._ports.cache]))

    def _hang_up(self, *, rudely: bool = False) -> None:
        for connection in self._open.values():
            connection.close(rudely=rudely)
        self._open.clear()

    # Coming in.

    def _size(self) -> int:
        kind, rng = self._rng.random(), self._rng
        if kind < 0.05:
            return rng.choice([0, 1, 4096, MIB - 1, MIB, MIB + 1])
        if kind < 0.6:
            return rng.randrange(1, 4 * MIB)
        if kind < 0.95:
            return rng.randrange(4 * MIB, 24 * MIB)
        return rng.randrange(48 * MIB, 96 * MIB)

    def _create(self, connection: Connection) -> str:
        status, made = connection.ask(
            "POST", "/v2/images", {"disk_format": "raw", "container_format": "bare", "name": self.name}
        )
        _require(status == 201, f"creating is answered {status}: {made}")
        image_id: str = made["id"]
        return image_id

    def _renew(self) -> None:
        while len(self._images.live()) >= self._keep:
            self._delete()
        self._upload()

    def _upload(self) -> None:
        content = Content.make(self._pool, self._rng, self._size())
        connection = self._either()
        image_id = self._create(connection)
        headers = {"Content-Type": "application/octet-stream"}
        if self._rng.random() < 0.5:
            headers["Content-Length"] = str(content.size)
        response = connection.send("PUT", f"/v2/images/{image_id}/file", content.pieces(), headers)
        text = response.read()
        _require(response.status == 204, f"the upload of {content.size} bytes is answered {response.status}: {text!r}")
        self._moved += content.size
        _, shown = self._to(self._ports.api).ask("GET", f"/v2/images/{image_id}")
        found = (shown["status"], shown["size"], shown["checksum"], shown["os_hash_value"])
        _require(found == ("active", content.size, content.md5, content.sha512), f"the record of {image_id} is {found}")
        self._images.add(Image(image_id, content))

    def _abort_upload(self) -> None:
        content = Content.make(self._pool, self._rng, self._size() + 2)
        connection = self._either()
        image_id = self._create(connection)
        part = self._rng.randrange(content.size)
        connection.begin(f"/v2/images/{image_id}/file", content.size, content.pieces(0, part))
        self._moved += part
        self._hang_up(rudely=self._rng.random() < 0.5)
        direct = self._to(self._ports.api)
        deadline = time.monotonic() + _QUEUED_SECONDS
        while (status := direct.ask("GET", f"/v2/images/{image_id}")[1]["status"]) != "queued":
            _require(time.monotonic() < deadline, f"{image_id} is {status} long after its upload was broken off")
            time.sleep(0.05)
        status, text = direct.ask("DELETE", f"/v2/images/{image_id}")
        _require(status == 204, f"deleting the queued {image_id} is answered {status}: {text}")

    def _delete(self) -> None:
        image = self._images.doom(self._rng)
        if image is not None:
            status, text = self._either().ask("DELETE", f"/v2/images/{image.id}")
            _require(status == 204, f"deleting {image.id} is answered {status}: {text}")
            self._images.bury(image)
            self._tally.count("delete", 0)

    # Going out.

    def _download(self, port: int) -> None:
        image = self._images.pick(self._rng)
        if image is not None:
            self._fetch(port, image, 0, image.content.size, {})

    def _range(self, port: int) -> None:
        for _ in range(self._rng.randrange(1, 12)):
            image = self._images.pick(self._rng)
            if image is None or not image.content.size:
                return
            offset = self._rng.randrange(image.content.size)
            most = self._rng.choice([1, 65536, 65536, 65536, MIB, 8 * MIB])
            length = min(most, image.content.size - offset)
            self._fetch(port, image, offset, length, {"Range": f"bytes={offset}-{offset + length - 1}"})

    def _fetch(self, port: int, image: Image, offset: int, length: int, headers: Mapping[str, str]) -> None:
        try:
            response = self._to(port).send("GET", f"/v2/images/{image.id}/file", headers=headers)
            if response.status == 404 and image.doomed:
                response.read()
                return
            self._check_head(response, image, length, 206 if headers else 200)
            self._check_body(response, image, offset, length)
        except (http.client.HTTPException, ConnectionError):
            self._hang_up()
            # Whoever is in the middle of a body that is deleted may be cut off.
            if not image.doomed:
                raise

    def _check_head(self, response: http.client.HTTPResponse, image: Image, length: int, status: int) -> None:
        if response.status != status:
            raise Wrong(f"{image.id} is answered {response.status}: {response.read(300)!r}")
        announced = response.getheader("Content-Length")
        _require(announced == str(length), f"{image.id} announces {announced} bytes where {length} are wanted")
        with self._tally.lock:
            self._tally.states[response.getheader("X-Cache", "none")] += 1

    def _check_body(self, response: http.client.HTTPResponse, image: Image, offset: int, length: int) -> None:
        got = 0
        while data := response.read(min(MIB, length - got)) if got < length else b"":
            _require(image.content.matches(offset + got, data), f"{image.id} has wrong bytes after {offset + got}")
            got += len(data)
        self._moved += got
        _require(got == length, f"{image.id} ended tidily after {got} of {length} bytes")
        response.read()  # so that the connection can be used again

    def _leave(self, port: int) -> None:
        image = self._images.pick(self._rng)
        if image is None:
            return
        try:
            response = self._to(port).send("GET", f"/v2/images/{image.id}/file")
            if response.status == 200:
                part = self._rng.randrange(image.content.size + 1)
                while part > 0 and (data := response.read(min(part, MIB))):
                    part -= len(data)
                    self._moved += len(data)
            elif not (response.status == 404 and image.doomed):
                raise Wrong(f"{image.id} is answered {response.status}: {response.read(300)!r}")
        except (http.client.HTTPException, ConnectionError):
            if not image.doomed:
                raise
        self._hang_up(rudely=self._rng.random() < 0.5)

    # The rest.

    def _show(self) -> None:
        image = self._images.pick(self._rng)
        if image is None:
            return
        status, shown = self._either().ask("GET", f"/v2/images/{image.id}")
        right = status == 200 and shown["size"] == image.content.size and shown["status"] == "active"
        _require(right or (status == 404 and image.doomed), f"showing {image.id} is answered {status}: {shown}")
        status, listed = self._either().ask("GET", "/v2/images?limit=50")
        _require(status == 200 and "images" in listed, f"a list is answered {status}: {listed}")

    def _prefetch(self) -> None:
        image = self._images.pick(self._rng)
        if image is not None:
            status, text = self._to(self._ports.cache).ask("PUT", f"/v2/cache/{image.id}")
            _require(status in {202, 204} or image.doomed, f"prefetching {image.id} is answered {status}: {text}")

    def _evict(self) -> None:
        image = self._images.pick(self._rng)
        if image is not None:
            status, text = self._to(self._ports.cache).ask("DELETE", f"/v2/cache/{image.id}")
            _require(status in {204, 404}, f"evicting {image.id} is answered {status}: {text}")

    def _ask_dead(self) -> None:
        image = self._images.dead(self._rng, _GRANTS_ENDED_SECONDS)
        if image is not None:
            for port in (self._ports.cache, self._ports.api):
                status, text = self._to(port).ask("GET", f"/v2/images/{image.id}/file")
                _require(status == 404, f"the deleted {image.id} is answered {status}: {text[:100]!r}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


class _Checker(Client):
    """
    Downloads all there is, once from each daemon.
    """

    def run(self) -> None:
        """
        Do it.
        """
        for image in self._images.live():
            for port in (self._ports.cache, self._ports.api):
                try:
                    self._fetch(port, image, 0, image.content.size, {})
                except Exception as error:
                    self._tally.complain(f"at the end: {type(error).__name__}: {error}")
                    self._hang_up()
        self._hang_up()


def check_all(ports: Ports, images: Images, pool: Pool, tally: Tally) -> None:
    """
    Download all images, when nothing else is going on.
    """
    checker = _Checker("checker", ports, images, pool, tally, threading.Event(), 0)
    checker.start()
    checker.join()
