"""
Tests of how the daemons start, refuse to, and end, as real processes.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from glance_tx.streaming.units import MiB
from tests.functional.daemons import ALICE, CACHE_CONFIG, TOKENS
from tests.functional.test_cache import SIZE, CacheTestCase

CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = 0
image_cache_dir = {folder}/cache
{more}

[upstream]
urls = http://127.0.0.1:1
"""


@frozen
class Ended:
    """
    A process that has ended.
    """

    status: int
    text: str


class RefusalTests(SynchronousTestCase):
    """
    A daemon that cannot do its work says so in one line, and ends with a status that is not 0.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def run_cache(self, more: str = "", config: str = CONFIG) -> Ended:
        """
        Start glance-cache, which ends by itself.
        """
        path = self.folder / "glance-cache.conf"
        path.write_text(config.format(folder=self.folder, more=more))
        twistd = Path(sys.executable).with_name("twistd")
        command = [twistd, "--nodaemon", "--pidfile=pid", "glance-cache", "--config-file", path]
        ended = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        self.assertFalse((self.folder / "pid").exists())
        return Ended(ended.returncode, ended.stdout + ended.stderr)

    def assert_refused(self, ended: Ended, *texts: str, lines: int = 1) -> None:
        self.assertEqual(ended.status, 1, ended.text)
        self.assertNotIn("Traceback", ended.text)
        for text in texts:
            self.assertIn(text, ended.text)
        said = [line for line in ended.text.splitlines() if "glance-cache: " in line or " critical " in line]
        self.assertEqual(len(said), lines, ended.text)

    def test_bad_configuration(self) -> None:
        """
        Every mistake in the configuration is told at once, each in a line, and nothing is begun.
        """
        ended = self.run_cache("image_cache_max_size = much\ndebug = perhaps")
        self.assert_refused(ended, "image_cache_max_size", "debug", lines=2)
        self.assertFalse((self.folder / "cache").exists())

    def test_taken_port(self) -> None:
        """
        A port that somebody else has is named.
        """
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = self.run_cache(config=CONFIG.replace("bind_port = 0", f"bind_port = {port}"))
        self.assert_refused(ended, f"cannot listen on 127.0.0.1:{port}", "in use")

    def test_unusable_folder(self) -> None:
        """
        A cache folder that is none is named.
        """
        (self.folder / "cache").write_text("")
        self.assert_refused(self.run_cache(), f"{self.folder}/cache")

    def test_unusable_log(self) -> None:
        """
        A log that cannot be written is named, on standard error.
        """
        self.assert_refused(self.run_cache(f"log_file = {self.folder}/missing/log"), "missing/log")

    def test_said_where_it_is_seen(self) -> None:
        """
        Where there is a log file, the reason stands in it and on standard error.
        """
        (self.folder / "cache").write_text("")
        ended = self.run_cache(f"log_file = {self.folder}/log")
        self.assert_refused(ended, f"{self.folder}/cache")
        self.assertIn(f"{self.folder}/cache", (self.folder / "log").read_text())


class EndTests(CacheTestCase):
    """
    A daemon that is asked to end finishes what it is at.
    """

    def test_folder_in_use(self) -> None:
        """
        A second daemon does not start on the folder of the first one.
        """
        path = self.cache.folder / "second.conf"
        path.write_text(CACHE_CONFIG.format(port=0, folder=self.cache.folder) + "\n[upstream]\nurls = http://x:1\n")
        (self.cache.folder / "tokens.yaml").write_text(TOKENS)
        twistd = Path(sys.executable).with_name("twistd")
        command = [twistd, "--nodaemon", "--pidfile=", "glance-cache", "--config-file", path]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("another daemon is using it", ended.stderr)

    def test_drains(self) -> None:
        """
        After SIGTERM nobody new is let in, and who is being served gets all of it.
        """
        with ThreadPoolExecutor(2) as pool:
            download = self.begin(pool, SIZE // 4)
            ending = pool.submit(self.cache.stop)
            self.wait_for(lambda: not self.reachable())
            self.assertFalse(download.done())
            self.relay.release()
            self.assert_right(download.result(), "fill")
            self.assertEqual(ending.result(), 0)
        self.assertNotIn("Traceback", self.cache.log())
        self.cache.start()
        self.assert_right(self.download(), "hit")

    def reachable(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.cache.port), timeout=10).close()
        except ConnectionError:
            return False
        return True

    def test_cut(self) -> None:
        """
        Who takes too long is cut off in the end, and what was fetched is used by the next daemon.
        """
        self.cache.stop()
        self.cache.config = self.cache.config.replace("[DEFAULT]\n", "[DEFAULT]\ngraceful_shutdown_timeout = 1\n")
        self.cache.start()
        with ThreadPoolExecutor(1) as pool:
            download = self.begin(pool, SIZE // 3)
            self.assertEqual(self.cache.stop(), 0)
            self.assertIsInstance(download.exception(), http.client.IncompleteRead | ConnectionError)
        self.assertNotIn("Traceback", self.cache.log())
        self.relay.release()
        self.cache.start()
        self.assert_right(self.download(ALICE), "fill")
        self.assertLess(self.relay.passed_bytes, SIZE + 3 * MiB)
