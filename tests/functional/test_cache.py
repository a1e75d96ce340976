"""
Tests of the cache before the image service, as real processes.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from glance_tx.streaming.units import MiB
from tests.functional.daemons import (
    ADMIN,
    ALICE,
    ALICE_READER,
    BOB,
    CACHE_CONFIG,
    UPSTREAM_CONFIG,
    Answer,
    DaemonProcess,
    DaemonTestCase,
)
from tests.functional.relay import PIECE_BYTES, Relay
from tests.services import lacking, own_redis

SIZE = 24 * MiB + 4321
MOST_HEAD_BYTES = 4096
"""Of the answers on one connection of the relay, data aside."""


def make_data(size: int = SIZE) -> bytes:
    """
    Make data of which no two chunks are equal, the same each time.
    """
    return random.Random(size).randbytes(size)


class CacheTestCase(DaemonTestCase):
    """
    Images go into the service, and come out through a relay and the cache.
    """

    cache_options = ""
    """Further configuration of the cache, which goes on in its section ``[cache]``."""

    def setUp(self) -> None:
        folder = self.folder = Path(self.mktemp()).absolute()
        self.api = self.make_daemon("glance-api", folder / "api", UPSTREAM_CONFIG)
        self.api.start()
        self.relay = Relay(self.api.port)
        self.addCleanup(self.relay.close)
        self.cache = self.make_cache(folder / "node")
        self.cache.start()
        self.data = make_data()
        self.image_id = self.upload(self.data)

    def make_cache(self, folder: Path) -> DaemonProcess:
        """
        Make the cache; it is not started.
        """
        upstream = f"\n[upstream]\nurls = http://127.0.0.1:{self.relay.port}\n"
        return self.make_daemon("glance-cache", folder, CACHE_CONFIG + self.cache_options + upstream)

    def upload(self, data: bytes, token: str = ALICE, **values: object) -> str:
        """
        Put an image into the service, past the cache.
        """
        document = {"disk_format": "raw", "container_format": "bare", "visibility": "private", **values}
        created = self.api.ask("POST", "/v2/images", token, json.dumps(document).encode())
        self.assertEqual(created.status, 201, created.body)
        image_id: str = json.loads(created.body)["id"]
        headers = {"Content-Type": "application/octet-stream"}
        stored = self.api.ask("PUT", f"/v2/images/{image_id}/file", token, data, headers)
        self.assertEqual(stored.status, 204, stored.body)
        return image_id

    def download(self, token: str | None = ALICE, image_id: str | None = None, **headers: str) -> Answer:
        """
        Fetch an image's data by way of the cache.
        """
        return self.cache.ask("GET", f"/v2/images/{image_id or self.image_id}/file", token, headers=headers)

    def assert_right(self, answer: Answer, state: str | None = None) -> None:
        """
        The answer is the image, whole, and came about as expected.
        """
        self.assertEqual(answer.status, 200, answer.body[:300])
        self.assertEqual(hashlib.sha256(answer.body).digest(), hashlib.sha256(self.data).digest())
        if state is not None:
            self.assertEqual(answer.headers["x-cache"], state)

    def fill(self) -> None:
        """
        Bring the image into the cache.
        """
        self.assert_right(self.download(), "fill")
        # The last byte goes out when the image is verified, a moment before it is durable.
        self.wait_for(lambda: self.listed() is not None)

    def listed(self) -> dict[str, Any] | None:
        """
        What the cache has to say of the image.
        """
        cached = json.loads(self.cache.ask("GET", "/v2/cache", ADMIN).body)["cached_images"]
        return next((each for each in cached if each["image_id"] == self.image_id), None)

    def begin(self, pool: ThreadPoolExecutor, present_bytes: int) -> Future[Answer]:
        """
        Begin a fill, of which so much comes, and the rest when the relay holds it no longer.
        """
        self.relay.hold(present_bytes)
        download = pool.submit(self.download)
        self.wait_until_held(present_bytes)
        return download

    def wait_until_held(self, limit_bytes: int) -> None:
        """
        Wait until the cache has all that the relay lets through, and nothing is on its way.
        """
        self.wait_for(lambda: self.present_bytes() > limit_bytes - PIECE_BYTES - MOST_HEAD_BYTES)

    def present_bytes(self) -> int:
        """
        How much of the image the cache has.
        """
        answer = self.cache.ask("GET", f"/v2/cache/{self.image_id}", ADMIN)
        entry = json.loads(answer.body)["entry"] if answer.status == 200 else None
        return 0 if entry is None else int(entry["present_bytes"])

    def transfers(self, image_id: str | None = None) -> int:
        """
        How many downloads of the image the service answered.
        """
        return self.api.count(f"GET /v2/images/{image_id or self.image_id}/file 20")

    def hits(self) -> int:
        """
        How many hits the cache has counted for the image.
        """
        listed = self.listed()
        return 0 if listed is None else listed["hits"]


class DownloadTests(CacheTestCase):
    """
    The cache asks the service once and serves everybody.
    """

    def test_fill_then_hit(self) -> None:
        """
        The first download is a fill, the second a hit that the service is not asked for.
        """
        self.fill()
        self.assert_right(self.download(), "hit")
        self.assertEqual(self.transfers(), 1)

    def test_herd(self) -> None:
        """
        Sixteen clients that ask for a cold image at once all get it, by one transfer from the service.
        """
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: self.download(), range(16)))
        for answer in answers:
            self.assert_right(answer)
        self.assertEqual(sum(answer.headers["x-cache"] == "fill" for answer in answers), 1)
        self.assertEqual(self.transfers(), 1)

    def test_ranges_of_a_hit(self) -> None:
        """
        Ranges of a cached image come from the cache, and are exact.
        """
        self.fill()
        for header, expected in (
            ("bytes=0-0", self.data[:1]),
            ("bytes=1048570-1048580", self.data[1048570:1048581]),
            (f"bytes={SIZE - 10}-", self.data[-10:]),
            ("bytes=-5000000", self.data[-5000000:]),
        ):
            answer = self.download(Range=header)
            self.assertEqual((answer.status, answer.headers["x-cache"]), (206, "hit"))
            self.assertEqual(answer.body, expected)
        self.assertEqual(self.download(Range=f"bytes={SIZE}-").status, 416)
        self.assertEqual(self.transfers(), 1)

    def test_leaving_client(self) -> None:
        """
        The client that caused a fill leaves: the fill goes on, and the next download finds the image.
        """
        self.relay.hold(SIZE // 2)
        connection = http.client.HTTPConnection("127.0.0.1", self.cache.port, timeout=60)
        connection.request("GET", f"/v2/images/{self.image_id}/file", headers={"X-Auth-Token": ALICE})
        self.assertEqual(len(connection.getresponse().read(1000)), 1000)
        connection.close()
        self.relay.release()
        self.wait_for(lambda: self.download(Range="bytes=0-0").headers["x-cache"] == "hit")
        self.assert_right(self.download(), "hit")

    def test_upstream_breaks_off(self) -> None:
        """
        A fill whose connection breaks goes on where it stopped; its client notices nothing.
        """
        with ThreadPoolExecutor(1) as pool:
            download = self.begin(pool, SIZE // 2)
            self.relay.cut()
            self.relay.release()
            self.assert_right(download.result(), "fill")
        # What the relay still held is counted, too.
        self.assertLess(self.relay.passed_bytes, SIZE + MiB)


class KilledTests(CacheTestCase):
    """
    What a ``kill -9`` of the cache leaves behind is used again.
    """

    def test_killed_in_mid_fill(self) -> None:
        """
        After a kill in the middle of a fill the next download is right, and what was there is not fetched again.
        """
        with ThreadPoolExecutor(1) as pool:
            download = self.begin(pool, 2 * SIZE // 3)
            self.cache.kill()
            self.assertIsInstance(download.exception(), http.client.IncompleteRead | ConnectionError)
        self.relay.release()
        self.cache.start()
        self.fill()
        self.assert_right(self.download(), "hit")
        # The chunk that was not whole, and what the relay still held.
        self.assertLess(self.relay.passed_bytes, SIZE + 2 * MiB)

    def test_killed_after_hits(self) -> None:
        """
        Hits that were counted survive a kill, and a restart of a full cache needs nothing from the service.
        """
        self.fill()
        for _ in range(3):
            self.assert_right(self.download(), "hit")
        self.wait_for(lambda: self.hits() == 3)
        self.cache.kill()
        self.cache.start()
        self.assert_right(self.download(), "hit")
        self.wait_for(lambda: self.hits() == 4)
        self.assertEqual(self.transfers(), 1)


class AuthorizationTests(CacheTestCase):
    """
    Whoever the service would refuse is refused by the cache, whatever it has.
    """

    def refusals(self) -> dict[str, int]:
        """
        What everybody who may not download is told.
        """
        callers = {"other project": BOB, "garbage": "garbage", "reader": ALICE_READER, "nobody": None}
        return {who: self.download(token).status for who, token in callers.items()}

    def test_refused(self) -> None:
        """
        Another project gets 404, a garbage token and none 401, a reader 403: before a fill, during one, and after.
        """
        expected = {"other project": 404, "garbage": 401, "reader": 403, "nobody": 401}
        self.assertEqual(self.refusals(), expected)
        self.assertEqual(self.transfers(), 0)

        with ThreadPoolExecutor(1) as pool:
            fill = self.begin(pool, SIZE // 4)
            self.assertEqual(self.refusals(), expected)
            self.assertFalse(fill.done())
            self.relay.release()
            self.assert_right(fill.result(), "fill")

        self.wait_for(lambda: self.listed() is not None)
        self.assertEqual(self.refusals(), expected)
        self.assert_right(self.download(), "hit")
        self.assertEqual(self.transfers(), 1)

    def test_no_token_is_logged(self) -> None:
        """
        No log, and no file in the cache folder, has a token in it.
        """
        self.refusals()
        self.download()
        self.download()
        for daemon in (self.api, self.cache):
            for token in (ALICE, ALICE_READER, BOB, "garbage"):
                self.assertNotIn(token, daemon.log())
        for path in (self.cache.folder / "cache").rglob("*"):
            if path.is_file():
                self.assertNotIn(ALICE.encode(), path.read_bytes())


class DamageTests(CacheTestCase):
    """
    A cached file that was changed behind the cache's back never reaches a client as the image.
    """

    def damage(self) -> None:
        """
        Overwrite 4 KiB in the middle of the cached data.
        """
        (path,) = (self.cache.folder / "cache").rglob("*.data")
        with path.open("r+b") as file:
            file.seek(SIZE // 2)
            file.write(os.urandom(4096))

    def assert_never_wrong(self) -> None:
        """
        Every download is right or breaks off, and soon they are right again.
        """
        for _ in range(10):
            try:
                answer = self.download()
            except (http.client.IncompleteRead, ConnectionError):
                continue
            self.assert_right(answer)
            return
        self.fail("no download was complete")

    def test_running(self) -> None:
        """
        The change is noticed by a cache that has served the image before.
        """
        self.fill()
        self.assert_right(self.download(), "hit")
        self.damage()
        self.assert_never_wrong()
        self.assertIn("does not match its digest", self.cache.log())

    def test_restarted(self) -> None:
        """
        The change is noticed by a cache that was started after it.
        """
        self.fill()
        self.cache.stop()
        self.damage()
        self.cache.start()
        self.assert_never_wrong()
        self.assertIn("does not match its digest", self.cache.log())


class RedisTests(CacheTestCase):
    """
    Hits reach Redis, through an outage in which it loses everything.
    """

    def setUp(self) -> None:
        self.redis = own_redis(self)
        self.cache_options = f"node_name = test-node\n\n[redis]\nurl = {self.redis.url}\n"
        super().setUp()

    def test_redis_comes_back_empty(self) -> None:
        """
        Redis is killed and started again empty: no download fails, and the hits add up exactly.
        """
        self.fill()
        for _ in range(5):
            self.assert_right(self.download(), "hit")
        self.redis.kill()
        with ThreadPoolExecutor(4) as pool:
            for answer in pool.map(lambda _: self.download(), range(12)):
                self.assert_right(answer, "hit")
        self.redis.start()
        for _ in range(3):
            self.assert_right(self.download(), "hit")
        self.wait_for(lambda: self.hits() == 20)
        self.wait_for(lambda: self.redis_hits() == 20)

    def test_redis_stops_answering_and_the_daemon_is_killed(self) -> None:
        """
        While Redis holds its connections and answers nothing, downloads are served; the daemon is killed in that time,
        and all its hits add up afterwards, by image, node, project and hour.
        """
        self.fill()
        self.assert_right(self.download(), "hit")
        self.wait_for(lambda: self.redis_hits() == 1)
        frozen = self.redis._process
        assert frozen is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            for _ in range(4):
                self.assert_right(self.download(), "hit")
            # A hit is written down right after its last byte, not before it.
            self.wait_for(lambda: f'["{self.image_id}",5,'.encode() in self.journal().read_bytes())
            self.cache.kill()
            self.cache.start()
            for _ in range(3):
                self.assert_right(self.download(), "hit")
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        self.wait_for(lambda: self.redis_hits() == 8)
        stats = json.loads(self.cache.ask("GET", "/v2/cache/stats", ADMIN).body)
        self.assertEqual(stats["all_nodes"], {"images": 1, "hits": 8, "bytes_sent": 8 * len(self.data)})
        for by in ("by_node", "by_project", "by_hour"):
            self.assertEqual(sum(each["hits"] for each in stats[by].values()), 8, by)
        self.assertEqual(stats["by_project"], {"red": {"hits": 8, "bytes_sent": 8 * len(self.data)}})

    def journal(self) -> Path:
        """
        Where the cache writes hits down.
        """
        (path,) = self.folder.glob("node/**/hits.journal")
        return path

    def redis_hits(self) -> int:
        """
        How many hits Redis knows of for the image.
        """
        with socket.create_connection(("127.0.0.1", self.redis.port), timeout=10) as connection:
            connection.sendall(f"HGET glance_tx:hits:test-node {self.image_id}\r\n".encode())
            lines = connection.recv(4096).split(b"\r\n")
        # A bulk string: its length, then "<hits> <bytes> <last time>".
        return int(lines[1].split()[0]) if len(lines) > 1 and lines[1] else 0


class FullDiskTests(CacheTestCase):
    """
    A full disk costs an upload, and never a download.
    """

    def mount(self, path: Path, megabytes: int) -> None:
        """
        Put a small file system at a path.
        """
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise lacking(self, f"mounting a tmpfs is not allowed here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(path)], check=False)

    def test_upload(self) -> None:
        """
        An upload that does not fit is answered 413, leaves the image queued, and a smaller one works.
        """
        self.api.stop()
        self.mount(self.api.folder / "small", 8)
        self.api.config = UPSTREAM_CONFIG.replace("{folder}/images\n", "{folder}/small\n")
        self.api.start()
        document = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
        image_id = json.loads(self.api.ask("POST", "/v2/images", ALICE, document).body)["id"]
        for body in (self.data, iter([self.data])):
            answer = self.put(image_id, body)
            self.assertEqual(answer.status, 413, answer.body)
            self.assertEqual(json.loads(self.api.ask("GET", f"/v2/images/{image_id}").body)["status"], "queued")
        self.assertEqual([path for path in (self.api.folder / "small").rglob("*") if path.is_file()], [])
        self.assertEqual(self.put(image_id, self.data[:MiB]).status, 204)

    def put(self, image_id: str, data: bytes | Iterator[bytes]) -> Answer:
        """
        Upload: an iterator goes out chunked.
        """
        headers = {"Content-Type": "application/octet-stream"}
        return self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, data, headers)

    def test_fill(self) -> None:
        """
        An image that does not fit on the cache's disk is served whole, past the cache, each time.
        """
        self.cache.stop()
        self.mount(self.cache.folder / "cache", 8)
        self.cache.start()
        for _ in range(2):
            self.assert_right(self.download(), "bypass")
        self.assertEqual(self.transfers(), 2)

    def test_larger_than_the_cache(self) -> None:
        """
        An image larger than the cache may be is served whole, past the cache.
        """
        self.cache.stop()
        self.cache.config = (
            CACHE_CONFIG.replace("[auth]", "image_cache_max_size = 16777216\n\n[auth]")
            + f"\n[upstream]\nurls = http://127.0.0.1:{self.relay.port}\n"
        )
        self.cache.start()
        self.assert_right(self.download(), "bypass")
