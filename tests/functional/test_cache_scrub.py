"""
Tests of the scrub, and of repairs, in a cache of one process and of several.
"""

from __future__ import annotations

import http.client
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ADMIN, CACHE_CONFIG, DaemonProcess
from tests.functional.test_cache import SIZE, CacheTestCase, make_data
from tests.functional.test_cache_survival import flip
from tests.functional.test_cache_workers import MANY, CacheWorkersTestCase
from tests.functional.workers import Service
from tests.ports import free_port
from tests.services import lacking

BANDWIDTH = 8 * MiB
SCRUB = f"scrub_interval = 1\nscrub_bandwidth = {BANDWIDTH}\n"
SMALL = 4 * MiB + 123
CHUNK_AND_HEADS = MiB + 64 * 1024


def read_bytes(pid: int) -> int:
    """
    How much a process has read by system calls, from the disk or not.
    """
    return int(Path(f"/proc/{pid}/io").read_text().split("rchar: ")[1].split()[0])


class ScrubTests(CacheTestCase):
    """
    A cache that reads its images anew every second.
    """

    cache: Service

    def make_cache(self, folder: Path) -> DaemonProcess:
        cache = Service("glance-cache", folder, "", side=DaemonProcess("management", folder, "", free_port()))
        self.addCleanup(cache.kill)
        upstream = f"\n[upstream]\nurls = http://127.0.0.1:{self.relay.port}\n"
        cache.configure(config=CACHE_CONFIG + SCRUB + upstream + "\n[management]\nbind_port = {side}\n")
        return cache

    def test_damage_that_nobody_asked_for(self) -> None:
        """
        A bit that changes while the daemon runs is found without a client, and said; its chunk, and no more, is fetched
        again. Meanwhile, and before, no more is read in a second than was set.
        """
        self.fill()
        (path,) = (self.cache.folder / "cache").rglob("*.data")
        self.relay.passed_bytes = 0
        began_at, before = time.monotonic(), read_bytes(self.cache.pid)
        flip(path, SIZE // 2)
        self.wait_for(lambda: self.cache.count("is whole again: 1 chunks were fetched") == 1)
        self.wait_for(lambda: self.metric("scrubbed_bytes") > 3 * SIZE // 2)
        read, seconds = read_bytes(self.cache.pid) - before, time.monotonic() - began_at
        self.assertGreater(read, SIZE)
        # Beside images it reads what it is asked, and a chunk that was wrong once more to be sure.
        self.assertLess(read, BANDWIDTH * seconds + 4 * MiB)
        self.assertLess(self.relay.passed_bytes, CHUNK_AND_HEADS)
        self.assertEqual(self.cache.count(f"chunk {SIZE // 2 // MiB} of the cached image"), 1)
        for name in ("scrub_wrong_chunks", "repaired_chunks", "corrupt_entries_total", "scrub_running"):
            self.assertEqual(self.metric(name), 1, name)
        self.assertEqual(self.metric("data_answers_total"), 1)
        self.assert_right(self.download(), "hit")
        self.assertEqual(self.transfers(), 2)

    def metric(self, name: str) -> float:
        return self.cache.metric(f"glance_cache_{name}")


class ScrubbingWorkersTests(CacheWorkersTestCase):
    """
    Three workers on a folder in memory, where a byte can be changed without a trace, as a bad disk does.
    """

    def configure(self, cache: Service, workers: int) -> None:
        super().configure(cache, workers)
        shared = Path("/dev/shm")
        if subprocess.run(["stat", "-f", "-c", "%T", shared], capture_output=True, check=False).stdout != b"tmpfs\n":
            raise lacking(self, "/dev/shm is not in memory")
        self.memory = Path(tempfile.mkdtemp(dir=shared))
        self.addCleanup(shutil.rmtree, self.memory)
        config = cache.config.replace("{folder}/cache", str(self.memory / "cache"))
        cache.config = config.replace("[cache]\n", f"[cache]\n{SCRUB}")

    def setUp(self) -> None:
        super().setUp()
        self.data = make_data(SMALL)
        self.image_id = self.upload(self.data)
        self.fill()
        self.relay.passed_bytes = 0

    def rot(self, offset: int) -> None:
        """
        Change one bit of the cached image; the file's times stay what they are.
        """
        (path,) = self.memory.rglob("*.data")
        before = path.stat()
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
            view[offset] ^= 1
        self.assertEqual(path.stat(), before)

    def scrubbers(self) -> list[int]:
        """
        Tell which workers scrub.
        """
        found = []
        for pid in self.cache.workers:
            links = Path(f"/proc/{pid}/fd").iterdir()
            if any(os.path.realpath(link) == str(self.memory / "cache" / "scrub") for link in links):
                found.append(pid)
        return found

    def whole(self) -> int:
        return self.cache.count("is whole again")

    def try_download(self) -> str:
        """
        Download, and tell how that came out; wrong bytes are never complete.
        """
        try:
            answer = self.download()
        except (http.client.HTTPException, ConnectionError):
            return "reset"
        if answer.status == 200:
            self.assert_right(answer)
            return answer.headers["x-cache"]
        return str(answer.status)

    def test_one_scrubs(self) -> None:
        """
        One worker scrubs; when it is killed another one does. What it finds while the upstream is away no worker sends
        any more, though each had found it right before; when the upstream is back the chunk is repaired and all serve.
        """
        for answer in self.many(self.download):
            self.assert_right(answer, "hit")
        self.wait_for(lambda: len(self.scrubbers()) == 1 and self.cache.metric("glance_cache_scrub_running") == 1)
        (first,) = self.scrubbers()
        os.kill(first, signal.SIGKILL)
        self.wait_for(lambda: first not in self.cache.workers)
        self.wait_until_well()
        self.wait_for(lambda: len(self.scrubbers()) == 1)
        for answer in self.many(self.download):
            self.assert_right(answer, "hit")
        self.relay.close()
        self.rot(SMALL // 2)
        self.wait_for(lambda: self.cache.count("does not match its digest") > 0)
        # The others are told right after; the pipes to and from their parent are no clock.
        time.sleep(0.5)
        with ThreadPoolExecutor(8) as pool:
            outcomes = set(pool.map(lambda _: self.try_download(), range(MANY)))
        self.assertNotIn("hit", outcomes)
        self.relay.reopen()
        self.wait_for(lambda: {self.try_download() for _ in range(MANY)} == {"hit"})
        self.assertEqual(self.cache.count("Traceback"), 0)

    def test_repaired_while_it_is_served(self) -> None:
        """
        Chunks go bad again and again while clients of all workers read the image, and all workers are told to verify
        it: nobody completes wrong bytes, few chunks are fetched more than once, and in the end all serve.
        """
        chance = random.Random(os.environ.get("GLANCE_TX_SEED", "1"))
        over, rounds = threading.Event(), 3
        with ThreadPoolExecutor(12) as pool:
            asking = [pool.submit(self.ask_until, over) for _ in range(3)]
            for _ in range(rounds):
                before = self.whole()
                (path,) = self.memory.rglob("*.data")
                flip(path, chance.randrange(SMALL))
                list(pool.map(lambda _: self.verify(), range(4)))
                self.wait_for(lambda before=before: self.whole() > before)  # type: ignore[misc]
            over.set()
            outcomes = [outcome for each in asking for outcome in each.result()]
        self.assertIn("hit", outcomes)
        self.wait_for(lambda: {self.try_download() for _ in range(MANY)} == {"hit"})
        # A chunk for each worker at worst, and what clients were passed through meanwhile.
        passed_through = sum(outcome == "bypass" for outcome in outcomes)
        self.assertLess(self.relay.passed_bytes, (rounds * 3 + 2) * CHUNK_AND_HEADS + (passed_through + 30) * SMALL)
        self.assertEqual(self.cache.count("is removed"), 0)
        self.assertEqual(self.cache.count("Traceback"), 0)

    def ask_until(self, over: threading.Event) -> list[str]:
        outcomes = []
        while not over.is_set():
            outcomes.append(self.try_download())
        return outcomes

    def verify(self) -> None:
        answer = self.cache.ask("POST", f"/v2/cache/{self.image_id}/verify", ADMIN)
        self.assertIn(answer.status, {200, 404}, answer.body)
        json.loads(answer.body)
