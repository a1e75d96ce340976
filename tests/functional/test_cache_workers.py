"""
Tests of a cache that is several processes on one folder.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from glance_cache.catalog import MARK_BYTES, MARK_OFFSET
from glance_tx.streaming.units import MiB
from tests.functional.daemons import ADMIN, ALICE, BOB, CACHE_CONFIG, START_SECONDS, Answer, DaemonProcess
from tests.functional.relay import PIECE_BYTES
from tests.functional.test_cache import MOST_HEAD_BYTES, SIZE, CacheTestCase, make_data
from tests.functional.workers import Service, lives
from tests.ports import free_port

WORKERS = 3
CLIENTS = 60
MANY = 30
"""So many connections reach every worker, or one would have to be very unlucky: one in 60000."""


class CacheWorkersTestCase(CacheTestCase):
    """
    A cache with three workers.
    """

    cache: Service
    more = ""
    """Further options in ``[DEFAULT]``."""

    def make_cache(self, folder: Path) -> DaemonProcess:
        side = DaemonProcess("management", folder, "", free_port())
        cache = Service("glance-cache", folder, "", side=side)
        self.addCleanup(cache.kill)
        self.configure(cache, WORKERS)
        return cache

    def configure(self, cache: Service, workers: int) -> None:
        """
        Say how many workers it has from its next start on.
        """
        config = CACHE_CONFIG.replace("[DEFAULT]\n", f"[DEFAULT]\nworkers = {workers}\n{self.more}\n")
        upstream = f"\n[upstream]\nurls = http://127.0.0.1:{self.relay.port}\n"
        cache.configure(config=config + upstream + "\n[management]\nbind_port = {side}\n")

    def setUp(self) -> None:
        super().setUp()
        self.wait_until_well()

    def wait_until_well(self) -> None:
        """
        Wait until all workers serve, and no others are left.
        """
        self.wait_for(self.is_well, START_SECONDS)

    def is_well(self) -> bool:
        try:
            ready = self.cache.metric("glance_cache_workers_ready")
        except OSError:  # the port for operators opens last
            return False
        return ready == WORKERS and len(self.cache.workers) == WORKERS

    def many(self, ask: Callable[[], Answer]) -> list[Answer]:
        """
        Ask so often that every worker is asked.
        """
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: ask(), range(MANY)))

    def filler(self) -> int | None:
        """
        Tell which worker writes an entry.
        """
        for pid in self.cache.workers:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    flags = int((Path(f"/proc/{pid}/fdinfo") / link.name).read_text().split("flags:")[1].split()[0], 8)
                    if str(link.readlink()).endswith(".data") and flags & os.O_ACCMODE != os.O_RDONLY:
                        return pid
                except OSError:
                    continue
        return None

    def begin_slow(self) -> http.client.HTTPResponse:
        """
        Begin a download, and read little of it.
        """
        connection = self.cache.connect()
        self.addCleanup(connection.close)
        connection.request("GET", f"/v2/images/{self.image_id}/file", headers={"X-Auth-Token": ALICE})
        response = connection.getresponse()
        self.assertGreater(len(response.peek(1)), 0)
        return response


class FillTests(CacheWorkersTestCase):
    """
    All workers together fetch an image once.
    """

    def test_herd(self) -> None:
        """
        Sixty clients that ask for a cold image at once all get it, whichever worker they reached, by one transfer.
        """
        with ThreadPoolExecutor(CLIENTS) as pool:
            for answer in pool.map(lambda _: self.download(), range(CLIENTS)):
                self.assert_right(answer)
        self.assertEqual(self.transfers(), 1)
        self.assertLess(self.relay.passed_bytes, SIZE + MiB)
        for answer in self.many(self.download):
            self.assert_right(answer, "hit")
        self.assertEqual(self.transfers(), 1)

    def test_killed_in_mid_fill(self) -> None:
        """
        The worker that fetches is killed: clients of the others get all of the image, and what was there is not fetched
        again.
        """
        self.relay.hold(SIZE // 2)
        with ThreadPoolExecutor(MANY) as pool:
            downloads = [pool.submit(self.download) for _ in range(MANY)]
            # All that the relay let through: what lies in buffers of the kernel is lost with the process.
            self.wait_for(lambda: self.marked() > SIZE // 2 - PIECE_BYTES - MOST_HEAD_BYTES)
            victim = self.filler()
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            # On a busy machine it is a while until it dies, and its buffers would take some MiB until then.
            self.wait_for(lambda: not lives(victim))
            self.relay.release()
            errors = [download.exception() for download in downloads]
        whole = [d.result() for d, error in zip(downloads, errors, strict=True) if error is None]
        for error in filter(None, errors):
            self.assertIsInstance(error, http.client.HTTPException | ConnectionError)
        self.assertGreater(len(whole), 0)
        self.assertLess(len(whole), MANY)
        for answer in whole:
            self.assert_right(answer)
        self.wait_until_well()
        for answer in self.many(self.download):
            self.assert_right(answer)
        # One that broke off, and one that went on. Each is in the log when it has ended.
        self.wait_for(lambda: self.transfers() >= 2)
        self.assertEqual(self.transfers(), 2)
        # What the relay still held for the dead one is counted, too.
        self.assertLess(self.relay.passed_bytes, SIZE + MiB)
        self.assertNotIn("Traceback", self.cache.log())

    def marked(self) -> int:
        """
        How far the fill is, by its own mark.
        """
        for part in (self.cache.folder / "cache").rglob("*.catalog.part"):
            mark = part.read_bytes()[MARK_OFFSET : MARK_OFFSET + MARK_BYTES]
            return int.from_bytes(mark[8:16], "big")
        return 0

    def test_second_daemon(self) -> None:
        """
        Another daemon cannot have the folder, and says so.
        """
        other = Service("glance-cache", self.cache.folder, self.cache.config.replace(f"{self.cache.side.port}", "0"))  # type: ignore[union-attr]
        self.addCleanup(other.kill)
        other.start(wait=False)
        self.assertEqual(other.wait(), 1)
        self.assertIn("another daemon is using it", other.log())
        self.assert_right(self.download())


class CountTests(CacheWorkersTestCase):
    """
    Hits of all workers are one count.
    """

    def test_hits_add_up(self) -> None:
        """
        Every hit counts once, whichever worker made it, over the kill of a worker, and with fewer workers later on; and
        every worker tells the same.
        """
        self.data = make_data(MiB)
        self.image_id = self.upload(self.data)
        self.fill()
        for expected in (MANY, 2 * MANY):
            for answer in self.many(self.download):
                self.assert_right(answer, "hit")
            self.assert_told(expected)
            self.kill(self.cache.workers[0])
            self.wait_until_well()
            self.assert_told(expected)
        self.cache.kill()
        # A new index, which has to hear of everything again.
        for path in (self.cache.folder / "cache").glob("index.sqlite*"):
            path.unlink()
        self.configure(self.cache, 1)
        self.cache.start()
        self.assert_right(self.download(), "hit")
        self.assert_told(2 * MANY + 1)

    def assert_told(self, expected: int) -> None:
        """
        Soon every worker tells so many hits, and the index knows of them.
        """
        self.wait_for(lambda: self.told() == {expected})
        self.wait_for(lambda: self.indexed() == expected)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: pid not in self.cache.workers)

    def told(self) -> set[int]:
        """
        What workers say of the image's hits.
        """
        answers = self.many(lambda: self.cache.ask("GET", f"/v2/cache/{self.image_id}", ADMIN))
        return {json.loads(answer.body)["entry"]["hits"] for answer in answers if answer.status == 200}

    def indexed(self) -> int:
        """
        What the index knows of this node, by its name.
        """
        answer = self.cache.ask("GET", "/v2/cache/stats", ADMIN)
        if answer.status != 200:
            return -1
        stats = json.loads(answer.body)
        self.assertLessEqual(set(stats["by_node"]), {stats["node"]})
        return int(stats["all_nodes"]["hits"])


class ChangeTests(CacheWorkersTestCase):
    """
    What one worker learns, all know.
    """

    def test_permission_withdrawn(self) -> None:
        """
        A project that loses an image by way of one worker is refused by all, long before its grants would end.
        """
        self.share()
        self.fill()
        for answer in self.many(lambda: self.download(BOB)):
            self.assert_right(answer, "hit")
        withdrawn = self.cache.ask("DELETE", f"/v2/images/{self.image_id}/members/blue", ALICE)
        self.assertEqual(withdrawn.status, 204, withdrawn.body)
        self.wait_for(lambda: {answer.status for answer in self.many(lambda: self.download(BOB))} == {404}, 10)
        self.assert_right(self.download(), "hit")

    def share(self) -> None:
        change = json.dumps([{"op": "replace", "path": "/visibility", "value": "shared"}]).encode()
        patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        self.assertEqual(self.api.ask("PATCH", f"/v2/images/{self.image_id}", ALICE, change, patch).status, 200)
        member = self.api.ask("POST", f"/v2/images/{self.image_id}/members", ALICE, b'{"member": "blue"}')
        self.assertEqual(member.status, 200, member.body)

    def test_deleted(self) -> None:
        """
        An image that is deleted by way of one worker is gone from all, and so are its files.
        """
        self.fill()
        self.many(self.download)
        self.assertEqual(self.cache.ask("DELETE", f"/v2/images/{self.image_id}", ALICE).status, 204)
        self.wait_for(lambda: {answer.status for answer in self.many(self.download)} == {404}, 10)
        self.wait_for(lambda: not list((self.cache.folder / "cache" / "entries").glob("*/*")))

    def test_pinned(self) -> None:
        """
        A pin, and its end, show in every worker.
        """
        self.fill()
        for method, pinned in (("PUT", True), ("DELETE", False)):
            self.assertEqual(self.cache.ask(method, f"/v2/cache/{self.image_id}/pin", ADMIN).status, 204)
            self.wait_for(lambda expected=pinned: self.pins() == {expected})  # type: ignore[misc]

    def pins(self) -> set[bool]:
        answers = self.many(lambda: self.cache.ask("GET", f"/v2/cache/{self.image_id}", ADMIN))
        return {json.loads(answer.body)["entry"]["pinned"] for answer in answers}


class WholeTests(CacheWorkersTestCase):
    """
    Whichever worker is asked tells of the node.
    """

    def test_a_fill_in_all(self) -> None:
        """
        A fill, who follows it, and what was answered is the same by way of every worker, and those who watch hear of
        its end by way of each.
        """
        self.relay.hold(SIZE // 2)
        slow = self.begin_slow()
        self.wait_for(lambda: all(self.has_fill(node) for node in self.nodes()))
        self.wait_for(lambda: {json.dumps(node["answers"]) for node in self.nodes()} == {'{"fill": 1}'})
        streams = [self.watch() for _ in range(8)]
        self.relay.release()
        self.assertEqual(slow.read(), self.data)
        for stream in streams:
            complete = json.dumps({"image_id": self.image_id, "state": "complete"}, separators=(",", ":"))
            while complete[1:].encode() not in stream.readline():
                pass
        self.wait_for(lambda: not any(node["fills"] for node in self.nodes()))

    def nodes(self) -> list[dict[str, Any]]:
        """
        What workers say of the node.
        """
        return [json.loads(a.body) for a in self.many(lambda: self.cache.ask("GET", "/v2/cache/node", ADMIN))]

    def has_fill(self, node: dict[str, Any]) -> bool:
        """
        Whether one fill is told, on its way and with one who follows it.
        """
        return [(fill["image_id"], fill["followers"], fill["present_bytes"] > 0) for fill in node["fills"]] == [
            (self.image_id, 1, True)
        ]

    def watch(self) -> http.client.HTTPResponse:
        """
        Begin to watch.
        """
        connection = self.cache.connect()
        self.addCleanup(connection.close)
        connection.request("GET", "/v2/cache/events", headers={"X-Auth-Token": ADMIN})
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        return response


class RoomTests(CacheWorkersTestCase):
    """
    There is room for two images and a half.
    """

    more = f"image_cache_max_size = {SIZE * 5 // 2}"

    def test_read_elsewhere(self) -> None:
        """
        What one worker reads is not evicted by any.
        """
        self.fill()
        response = self.begin_slow()
        (kept,) = (self.cache.folder / "cache" / "entries").glob("*/*.data")
        for number in range(4):
            data = make_data(SIZE + number)
            self.assertEqual(self.download(image_id=self.upload(data)).body, data)
        self.wait_for(lambda: len(list(kept.parent.parent.glob("*/*.catalog"))) == 2)
        self.assertTrue(kept.exists())
        self.assertEqual(response.read(), self.data)


class LifeTests(CacheWorkersTestCase):
    """
    Workers come and go, and no client is cut off.
    """

    def test_drains(self) -> None:
        """
        Told to end, it finishes what it sends, and leaves a folder that can be used again at once.
        """
        self.fill()
        workers = self.cache.workers
        response = self.begin_slow()
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(self.cache.stop)
            self.wait_for(lambda: sum(map(lives, workers)) == 1)
            self.assertFalse(ending.done())
            self.assertEqual(response.read(), self.data)
            response.close()
            self.assertEqual(ending.result(), 0)
        self.assertNotIn("Traceback", self.cache.log())
        self.cache.start()
        self.assert_right(self.download(), "hit")

    def test_reload(self) -> None:
        """
        All workers are replaced: a download that is under way ends well, and every other one that is begun meanwhile.
        """
        self.fill()
        workers = set(self.cache.workers)
        response = self.begin_slow()
        over, wrong = threading.Event(), []

        def ask() -> None:
            while not over.is_set():
                answer = self.download(Range="bytes=0-9")
                if (answer.status, answer.body) != (206, self.data[:10]):
                    wrong.append(answer)

        with ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(ask) for _ in range(2)]
            os.kill(self.cache.pid, signal.SIGHUP)
            self.wait_for(lambda: len(workers & set(self.cache.workers)) == 1, 60)
            self.assertEqual(response.read(), self.data)
            response.close()
            self.wait_for(lambda: not workers & set(self.cache.workers))
            over.set()
            for each in asking:
                each.result()
        self.assertEqual(wrong, [])
        self.wait_until_well()
        self.assert_right(self.download(), "hit")
        self.assertNotIn("Traceback", self.cache.log())
