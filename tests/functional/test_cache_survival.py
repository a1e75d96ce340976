"""
What a cache makes of a folder after it was killed, and after somebody or something else changed it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from glance_cache.catalog import MARK_BYTES, MARK_OFFSET, RECORD_BYTES
from glance_tx.streaming.units import MiB
from tests.functional.daemons import ALICE, TOKENS
from tests.functional.test_cache import SIZE, CacheTestCase, make_data

ROUNDS = 5
CLIENTS = 6
SMALL_IMAGES = 5


class KillTests(CacheTestCase):
    """
    A cache that is killed at random moments while many clients ask it for images.
    """

    def setUp(self) -> None:
        super().setUp()
        self.images = {self.image_id: self.data}
        for number in range(SMALL_IMAGES):
            data = make_data((number + 1) * MiB + 1000 * number)
            self.images[self.upload(data)] = data
        self.seed = int(os.environ.get("GLANCE_TX_SEED") or random.SystemRandom().randrange(2**32))
        self.chance = random.Random(self.seed)
        self.wrong: list[str] = []
        self.complete = 0
        self.harmed: list[str] = []
        self.over = threading.Event()

    def test_killed_at_random_moments(self) -> None:
        """
        No client ever completes wrong bytes; in the end every image is served, none is stuck, and the room that is
        taken is what lies on the disk. Whatever is removed, the log says so.
        """
        self.relay.bytes_per_second = 40 * MiB
        clients = [threading.Thread(target=self.ask_for_images, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for _ in range(ROUNDS):
                time.sleep(self.chance.uniform(0.05, 1.5))
                self.cache.kill()
                if self.chance.random() < 0.5:  # half of the fills begin anew in the next round
                    self.forget_an_image()
                self.harm_an_entry()
                left, said = self.files(), len(self.cache.log())
                self.cache.start()
                self.wait_for(lambda left=left, said=said: self.is_all_said(left, said))  # type: ignore[misc]
        finally:
            self.over.set()
            for client in clients:
                client.join()
        self.relay.bytes_per_second = None
        self.assertEqual(self.wrong, [], f"GLANCE_TX_SEED={self.seed}")
        self.assertGreater(self.complete, 0, f"GLANCE_TX_SEED={self.seed}")
        self.assert_all_is_well()

    def forget_an_image(self) -> None:
        for path in self.chance.choice([*(self.cache.folder / "cache" / "entries").iterdir(), Path("/nowhere")]).glob(
            "*"
        ):
            path.unlink()

    def harm_an_entry(self) -> None:
        """
        Leave something that is garbage: a half of an entry, a file that was cut off, or data of a removed entry.
        """
        cache = self.cache.folder / "cache"
        self.harmed = [f"{self.chance.getrandbits(64):016x}"]
        (cache / "removed" / self.harmed[0]).write_bytes(bytes(5000))
        there = sorted((cache / "entries").glob("*/*"))
        if there:
            path = self.chance.choice(there)
            self.harmed.append(path.name.partition(".")[0])
            if path.suffix == ".part" or self.chance.random() < 0.5:
                path.unlink()
            else:
                os.truncate(path, path.stat().st_size // 2)

    def files(self) -> dict[int, str]:
        """
        Tell to which entry each file belongs, by inode: a fill that ends renames its catalog.
        """
        cache, found = self.cache.folder / "cache", {}
        for path in (*cache.glob("entries/*/*"), *cache.glob("removed/*")):
            with contextlib.suppress(FileNotFoundError):
                found[path.stat().st_ino] = path.name.partition(".")[0]
        return found

    def is_all_said(self, left: dict[int, str], since: int) -> bool:
        """
        Whether the log of this life names what was harmed, and everything that is not there any more.
        """
        there, log = self.files(), self.cache.log()[since:]
        gone = {name for inode, name in left.items() if there.get(inode) != name}
        return all(
            f"removed {name}" in log or f"/{name}: " in log or f"entry {name} is removed" in log
            for name in {*gone, *self.harmed}
        )

    def ask_for_images(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        while not self.over.is_set():
            image_id, data = chance.choice(list(self.images.items()))
            begin = chance.choice((0, 0, chance.randrange(len(data))))
            headers = {"Range": f"bytes={begin}-"} if begin else {}
            try:
                answer = self.download(ALICE, image_id, **headers)
            except (http.client.HTTPException, OSError):
                time.sleep(0.02)  # it was killed, or is not up again yet
                continue
            if answer.status not in {200, 206} or answer.body != data[begin:]:
                self.wrong.append(f"{image_id} from {begin}: {answer.status}, {len(answer.body)} bytes")
            self.complete += 1

    def assert_all_is_well(self) -> None:
        seed = f"GLANCE_TX_SEED={self.seed}"
        for image_id, data in self.images.items():
            answer = self.download(ALICE, image_id)
            self.assertEqual((answer.status, answer.body == data), (200, True), seed)
        entries = self.cache.folder / "cache" / "entries"
        self.wait_for(lambda: len(list(entries.glob("*/*.catalog"))) == len(self.images))
        self.wait_for(lambda: not list((self.cache.folder / "cache" / "removed").iterdir()))
        self.assertEqual(len(list(entries.glob("*/*"))), 2 * len(self.images), seed)
        self.assertNotIn("Traceback", self.cache.log(), seed)


class ResumeTests(CacheTestCase):
    """
    What a killed cache has of an image is not fetched again.
    """

    def test_resumed(self) -> None:
        """
        A fill goes on at most two chunks before where the killed one was.
        """
        self.relay.bytes_per_second = 20 * MiB
        failed: list[BaseException] = []
        client = threading.Thread(target=self.try_download, args=(failed,))
        client.start()
        self.relay.wait_for(SIZE // 2)
        self.cache.kill()
        client.join()
        self.assertEqual(len(failed), 1)
        present = self.marked()
        self.assertGreater(present, SIZE // 4)
        self.relay.passed_bytes = 0
        self.cache.start()
        self.fill()
        heads = 8 * 1024
        self.assertLessEqual(self.relay.passed_bytes, SIZE - present + 2 * MiB + heads)

    def try_download(self, failed: list[BaseException]) -> None:
        try:
            self.download()
        except (http.client.HTTPException, OSError) as error:
            failed.append(error)

    def marked(self) -> int:
        """
        How far the fill that was killed had written, by its own mark.
        """
        (part,) = (self.cache.folder / "cache").rglob("*.catalog.part")
        mark = part.read_bytes()[MARK_OFFSET : MARK_OFFSET + MARK_BYTES]
        return int.from_bytes(mark[8:16], "big")


class DamagedFolderTests(CacheTestCase):
    """
    A cache that finds other files than those it wrote.
    """

    def restart_after(self, change: Callable[[Path], None], pattern: str) -> None:
        """
        Change a file of the cached image while no daemon runs.
        """
        self.fill()
        self.cache.stop()
        (path,) = (self.cache.folder / "cache").rglob(pattern)
        change(path)
        self.cache.start()

    def assert_served_again(self) -> None:
        """
        Nobody completes a wrong download, and soon there are right ones, hits at last.
        """
        self.wait_for(self.is_hit)
        self.assertNotIn("Traceback", self.cache.log())

    def is_hit(self) -> bool:
        try:
            answer = self.download()
        except (http.client.IncompleteRead, ConnectionError):
            return False
        self.assert_right(answer)
        return answer.headers["x-cache"] == "hit"

    def test_torn_catalog(self) -> None:
        """
        A catalog that is cut off is removed with its data, and that is said.
        """
        self.restart_after(lambda path: os.truncate(path, path.stat().st_size // 2), "*.catalog")
        self.assert_served_again()
        self.assertIn("the catalog is not that of", self.cache.log())

    def test_catalog_with_a_torn_header(self) -> None:
        """
        A catalog whose header is damaged is removed with its data, and that is said.
        """
        self.restart_after(lambda path: flip(path, 100), "*.catalog")
        self.assert_served_again()
        self.assertIn("the catalog's header is damaged", self.cache.log())

    def test_catalog_with_a_torn_record(self) -> None:
        """
        A chunk without a digest is not served.
        """
        self.restart_after(lambda path: flip(path, path.stat().st_size - 5 * RECORD_BYTES), "*.catalog")
        self.assert_served_again()

    def test_truncated_data(self) -> None:
        """
        Data that is cut off is removed, and that is said.
        """
        self.restart_after(lambda path: os.truncate(path, SIZE // 2), "*.data")
        self.assert_served_again()
        self.assertIn("the catalog is not that of", self.cache.log())

    def test_flipped_bit(self) -> None:
        """
        One bit that changed is noticed, and no more than its chunk is fetched again.
        """
        self.restart_after(lambda path: flip(path, SIZE // 2), "*.data")
        self.relay.passed_bytes = 0
        verified = self.cache.ask("POST", f"/v2/cache/{self.image_id}/verify")
        self.assertEqual(json.loads(verified.body), {"image_id": self.image_id, "right": False, "kept": True})
        self.wait_for(lambda: self.cache.count("is whole again") == 1)
        self.assertLess(self.relay.passed_bytes, MiB + 64 * 1024)
        self.assert_right(self.download(), "hit")
        self.assertIn("does not match its digest", self.cache.log())

    def test_flipped_bit_found_by_a_client(self) -> None:
        """
        So it is where a client finds it, who never gets wrong bytes to the end.
        """
        self.restart_after(lambda path: flip(path, SIZE // 2), "*.data")
        self.assert_served_again()
        self.assertEqual(self.cache.count("is whole again"), 1)

    def test_folder_of_another_version(self) -> None:
        """
        A folder that was written in another format is begun anew, which is said, and nothing of it stays.
        """
        cache = self.cache.folder / "cache"

        def change(path: Path) -> None:
            path.write_text("glance-cache folder, version 0\n")
            (cache / "entries" / "zz").mkdir()
            (cache / "entries" / "zz" / "something").touch()

        self.restart_after(change, "format")
        self.assert_right(self.download(), "fill")
        self.wait_for(lambda: not list(cache.glob("outdated-*")))
        self.assertIn("was written in format 0", self.cache.log())
        self.wait_for(lambda: self.listed() is not None)
        self.assert_right(self.download(), "hit")

    def test_folder_that_others_can_write(self) -> None:
        """
        A folder to which its group may write is refused, and so is one in which everybody may.
        """
        self.cache.stop()
        for part, mode in (("", 0o770), ("", 0o702), ("entries", 0o720)):
            path = self.cache.folder / "cache" / part
            before = path.stat().st_mode
            path.chmod(mode)
            ended = self.run_cache()
            path.chmod(before)
            self.assertEqual(ended.returncode, 1, ended.stderr)
            self.assertIn("its group, or everyone, may write to it", ended.stderr)
        self.assertEqual(hashlib.sha256(self.data).hexdigest(), self.start_and_download())

    def run_cache(self) -> subprocess.CompletedProcess[str]:
        (self.cache.folder / "tokens.yaml").write_text(TOKENS)
        twistd = Path(sys.executable).with_name("twistd")
        path = self.cache.folder / "glance-cache.conf"
        command = [twistd, "--nodaemon", "--pidfile=", "glance-cache", "--config-file", path]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def start_and_download(self) -> str:
        self.cache.start()
        return hashlib.sha256(self.download().body).hexdigest()


def flip(path: Path, offset: int) -> None:
    """
    Change one bit of a file.
    """
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ 1]))
