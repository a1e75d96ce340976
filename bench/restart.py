"""
How long a killed glance-cache with many entries takes until it answers, and until it knows all of them.

    python bench/restart.py --entries 10000

Entries are small: their number is what costs. The time begins with the start of the process, so Python's own is in it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from glance_cache.catalog import Header
from glance_cache.files import FileOps
from glance_cache.fillfile import FillFile
from glance_cache.folder import CacheFolder
from glance_cache.interfaces import ImageFacts
from glance_cache.names import EntryName
from glance_tx.streaming.units import GiB
from tests.ports import free_port

CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
image_cache_dir = {folder}/cache

[auth]
strategy = none

[management]
bind_port = {management_port}

[upstream]
urls = http://127.0.0.1:1
"""


class _Unsynced(FileOps):
    """
    Waits for no disk: what is measured comes later.
    """

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


def fill(path: Path, count: int) -> None:
    """
    Put entries into a folder.
    """
    folder = CacheFolder(path, _Unsynced())
    lock = folder.take()
    for number in range(count):
        data = b"%d" % number
        digest = hashlib.sha512(data).hexdigest()
        facts = ImageFacts(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), len(data), None, "sha512", digest)
        file = FillFile(folder, EntryName.of(facts), Header(facts, time.time()), GiB)
        file.create()
        file.append(data)
        file.publish()
        file.close()
    folder.files.close(lock)


def ask(port: int, path: str) -> tuple[int, str]:
    """
    Ask the daemon.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def known(port: int, count: int) -> bool:
    """
    Tell whether the daemon has found all of its entries.
    """
    _, text = ask(port, "/v2/cache/stats")
    return f'"complete":{count}' in text.replace(" ", "")


def wait(condition: object, began_at: float) -> float:
    """
    Wait until something is so, and tell how long that took since a moment.
    """
    assert callable(condition)
    while time.monotonic() < began_at + 300:
        try:
            if condition():
                return time.monotonic() - began_at
        except OSError:
            pass
        time.sleep(0.005)
    raise SystemExit("that did not happen within 300 seconds")


def main() -> None:
    """
    Measure.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="restart-"))
    try:
        fill(folder / "cache", options.entries)
        port = free_port()
        path = folder / "glance-cache.conf"
        path.write_text(CONFIG.format(port=port, management_port=free_port(), folder=folder))
        command = [Path(sys.executable).with_name("twistd"), "--nodaemon", "--pidfile=", "glance-cache"]
        answers, all_known = [], []
        for _ in range(options.rounds):
            began_at = time.monotonic()
            with (folder / "log").open("ab") as log:
                process = subprocess.Popen([*command, "--config-file", path], stdout=log, stderr=log, cwd=folder)
            try:
                answers.append(wait(lambda: ask(port, "/healthcheck")[0] == 200, began_at))
                all_known.append(wait(lambda: known(port, options.entries), began_at))
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
        for what, seconds in (("answers", answers), ("knows all entries", all_known)):
            print(f"{what:18} median {statistics.median(seconds):6.2f} s, worst {max(seconds):6.2f} s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
