"""
The programs for caching nodes, and daemons that they talk to.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from glance_cache.commands.manage import main
from glance_cache.commands.passes import cleaner, prefetcher, pruner
from tests.functional.daemons import ADMIN, ALICE
from tests.functional.test_cache import CacheTestCase, make_data

UNKNOWN = "44444444-d94f-49cd-a114-e12490b328d9"


class CommandCase(CacheTestCase):
    """
    A service, a node, and a way to call programs.
    """

    def call(self, *words: str, token: str | None = ADMIN, program: Any = main, answer: str = "") -> tuple[int, str]:
        """
        Call a program: its status, and what it says.
        """
        environment = {"OS_TOKEN": token, "OS_AUTH_TOKEN": None, "GLANCE_CACHE_URL": self.cache.url, "COLUMNS": "200"}
        result = CliRunner().invoke(main if program is None else program, words, env=environment, input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output.strip()

    def done(self, *words: str, program: Any = main) -> str:
        """
        Call a program that does as it is told.
        """
        status, said = self.call(*words, program=program)
        self.assertEqual(status, 0, said)
        return said

    def json(self, *words: str) -> Any:
        return json.loads(self.done("--json", *words))

    def offline(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """
        Call a program on the folder of the node.
        """
        code = f"from glance_cache.commands.passes import {program}; {program}()"
        config = str(self.cache.folder / "glance-cache.conf")
        return subprocess.run(
            [sys.executable, "-c", code, "--config-file", config, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


class ManageTests(CommandCase):
    """
    ``glance-cache-manage``.
    """

    def test_life_of_an_image(self) -> None:
        """
        An image is queued, fetched, listed, explained, pinned, verified and removed.
        """
        image = self.image_id
        self.assertEqual(self.done("list-cached"), "No cached images.")
        self.assertEqual(self.done("list-queued"), "No queued images.")
        self.assertEqual(self.done("jobs"), "No jobs.")
        self.assertIn("outcome: fill", self.done("explain", image))
        self.assertEqual(self.call("queue-image", image, answer="n\n")[0], 1)
        self.assertEqual(self.done("list-queued"), "No queued images.")
        said = self.done("-f", "-v", "queue-image", "--wait", image)
        self.assertIn(f"Queued image {image} for caching", said)
        listed = self.done("list-cached").splitlines()
        self.assertEqual(listed[0], "Found 1 cached images...")
        self.assertEqual(listed[1].split()[0:4], ["ID", "Last", "Accessed", "(UTC)"])
        self.assertEqual(listed[2].split()[0::3], [image, str(len(self.data))])
        self.assertEqual(self.json("list-cached")[0]["state"], "complete")
        self.assertIn("outcome: hit", self.done("explain", image))
        self.assertEqual(self.done("-v", "pin", image), f"Pinned image {image}")
        self.assertIn("pinned", self.done("list-cached"))
        self.assertEqual(self.done("verify", image), f"Image {image} is right")
        self.assertEqual(self.json("stats")["disk"]["pinned"], 1)
        self.assertIn("used bytes:", self.done("stats"))
        (node,) = self.json("nodes")
        self.assertEqual((node["entries"], node["used_bytes"] > 0), (1, True))
        self.assertIn(node["node"], self.done("nodes"))
        self.done("unpin", image)
        self.assertEqual(self.done("-f", "-v", "delete-cached-image", image), f"Deleted cached image {image}")
        self.assertEqual(self.done("-f", "-v", "delete-all-cached-images"), "Deleted 0 cached images")
        self.assertEqual(self.done("-f", "-v", "delete-all-queued-images"), "Deleted 0 queued images")

    def test_refusals(self) -> None:
        """
        What cannot be done is said in a line, with status 1; what is not understood with 2.
        """
        for words, token, status, said in (
            (("list-cached",), ALICE, 1, "Not authorized to make this request"),
            (("list-cached",), None, 1, "The token is missing, or not valid"),
            (("-f", "queue-image", UNKNOWN), ADMIN, 1, "404"),
            (("unpin", UNKNOWN), ADMIN, 1, "neither cached nor queued"),
            (("pin", "x"), ADMIN, 2, "is no image id"),
            (("--url", "ftp://x", "stats"), ADMIN, 2, "no address of a node"),
            (("--url", "http://127.0.0.1:1", "stats"), ADMIN, 1, "cannot be reached"),
            (("--url", f"{self.api.url}", "stats"), ADMIN, 1, "The node refused (404)"),
        ):
            got = self.call(*words, token=token)
            self.assertEqual(got[0], status, (words, got))
            self.assertIn(said, got[1])
            self.assertNotIn("Traceback", got[1])
            self.assertNotIn(ADMIN, got[1])

    def test_given_up(self) -> None:
        """
        An image that was given up is shown, and scripts learn of it; damage is told of, too.
        """
        data_file = next((self.api.folder).rglob(f"*{self.image_id}*"))
        data_file.unlink()
        self.done("-f", "queue-image", self.image_id)
        self.wait_for(lambda: self.json_jobs()[0]["last_error"] is not None)
        self.wait_for(lambda: self.call("jobs")[0] == 1)
        self.assertIn(self.image_id, self.call("jobs")[1])
        other = self.upload(make_data(3_000_000))
        self.done("-f", "delete-all-queued-images")
        self.done("-f", "queue-image", other, "--wait")
        (path,) = self.cache.folder.glob(f"**/entries/*/{other}-*.data")
        with path.open("r+b") as file:
            file.seek(2_999_999)
            file.write(b"\0\1")
        status, said = self.call("verify", other)
        self.assertEqual((status, "damaged" in said), (1, True), said)

    def json_jobs(self) -> Any:
        return json.loads(self.call("--json", "jobs")[1])

    def test_watch(self) -> None:
        """
        What happens is told as it does, in both forms.
        """
        command = [
            sys.executable,
            "-c",
            "from glance_cache.commands.manage import main; main()",
            "--url",
            self.cache.url,
        ]
        watching = subprocess.Popen(
            [*command, "-A", ADMIN, "--json", "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(watching.communicate)
        self.addCleanup(watching.kill)
        deadline = threading.Timer(60, watching.kill)
        deadline.start()
        self.addCleanup(deadline.cancel)
        assert watching.stdout is not None
        self.assertEqual(json.loads(watching.stdout.readline())["event"], "health")
        self.done("-f", "queue-image", self.image_id)
        seen = set()
        while ("job", "fetched") not in seen or ("entry", "complete") not in seen:
            event = json.loads(watching.stdout.readline())
            self.assertEqual(event.get("image_id"), self.image_id)
            seen.add((event["event"], event.get("state")))
        self.assertIn("health", self.done("watch", "--count", "1"))
        # A node that stops does not wait for those who watch.
        self.assertEqual(self.cache.stop(signal.SIGTERM), 0)
        self.assertEqual(watching.wait(10), 0)


class PassTests(CommandCase):
    """
    ``glance-cache-cleaner``, ``-pruner`` and ``-prefetcher``.
    """

    def test_running(self) -> None:
        """
        They work through the running daemon; on its folder they do not.
        """
        self.fill()
        self.done("-f", "queue-matching", "--newest", "5")
        self.done("-f", "warm", "3")
        self.assertEqual(self.done(program=cleaner), "")
        self.assertEqual(self.done(program=pruner), "Removed 0 images of 0 bytes")
        self.done(program=prefetcher)
        self.assertEqual(self.call(program=pruner, token=ALICE)[0], 1)
        refused = self.offline("pruner")
        self.assertEqual((refused.returncode, "another daemon is using it" in refused.stderr), (1, True), refused)

    def test_stopped(self) -> None:
        """
        They work on the folder of a daemon that is stopped, and tell what they removed.
        """
        self.fill()
        self.cache.stop()
        self.assertEqual(self.offline("cleaner").stdout, "Removed 0 images of 0 bytes\n")
        config = self.cache.folder / "glance-cache.conf"
        small = config.read_text().replace("[DEFAULT]\n", "[DEFAULT]\nimage_cache_max_size = 2000000\n", 1)
        config.write_text(small)
        pruned = self.offline("pruner")
        self.assertEqual((pruned.returncode, pruned.stderr), (0, ""))
        self.assertRegex(pruned.stdout, "^Removed 1 images of [0-9]{8} bytes\n$")
        self.assertEqual(list(Path(self.cache.folder).glob("**/entries/*/*.data")), [])
