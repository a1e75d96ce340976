"""
Tests of the image service as a real process: what survives it, and how it starts and ends.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.functional.daemons import ADMIN, ALICE, API_CONFIG
from tests.functional.service import DATA, OCTETS, ApiTestCase


class UploadTests(ApiTestCase):
    """
    An upload that does not come to its end leaves nothing behind.
    """

    def assert_clean(self, image_id: str) -> None:
        """
        The image is queued, nothing is in the store, and an upload works.
        """
        self.wait_for(lambda: self.status(image_id) == "queued" and not self.stored())
        self.assertEqual(self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, DATA, OCTETS).status, 204)
        self.assertEqual(self.api.ask("GET", f"/v2/images/{image_id}/file", ALICE).body, DATA)

    def test_killed(self) -> None:
        """
        The service is killed during an upload: after a restart the image is queued again, its partial data is gone,
        and a retried upload works.
        """
        image_id = self.create()
        self.begin_upload(image_id)
        self.api.kill()
        self.assertEqual(len(self.stored()), 1)
        self.api.start()
        self.assert_clean(image_id)

    def test_client_leaves(self) -> None:
        """
        The client leaves in the middle: the image is queued again at once.
        """
        image_id = self.create()
        self.begin_upload(image_id).close()
        self.assert_clean(image_id)

    def test_deleted_meanwhile(self) -> None:
        """
        The image is deleted during its upload: the upload is answered 410, and nothing is left.
        """
        image_id = self.create()
        connection = self.begin_upload(image_id)
        self.assertEqual(self.api.ask("DELETE", f"/v2/images/{image_id}", ALICE).status, 204)
        connection.sendall(DATA[len(DATA) // 2 :])
        self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 410 "))
        self.wait_for(lambda: not self.stored())

    def test_race(self) -> None:
        """
        Of twenty clients that upload to one image at once exactly one succeeds, and the others are told 409.
        """
        image_id = self.create()
        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda _: self.upload(image_id), range(20)))
        self.assertEqual(sorted(statuses), [204] + [409] * 19)
        self.assertEqual(len(self.stored()), 1)

    def test_acknowledged_survives(self) -> None:
        """
        What was acknowledged survives a kill right after it.
        """
        image_id = self.create()
        self.assertEqual(self.upload(image_id), 204)
        self.api.kill()
        self.api.start()
        self.assertEqual(self.status(image_id), "active")
        self.assertEqual(self.api.ask("GET", f"/v2/images/{image_id}/file", ALICE).body, DATA)

    def test_killed_while_deleting(self) -> None:
        """
        Of a deleted image no data stay, whenever the service was killed.
        """
        image_id = self.create()
        self.upload(image_id)
        with ThreadPoolExecutor(1) as pool:
            deletion = pool.submit(self.api.ask, "DELETE", f"/v2/images/{image_id}", ALICE)
            self.wait_for(lambda: self.api.ask("GET", f"/v2/images/{image_id}", ADMIN).status == 404)
            self.api.kill()
            deletion.exception()
        self.api.start()
        self.wait_for(lambda: not self.stored())


class LifeTests(ApiTestCase):
    """
    How the daemon starts and ends.
    """

    def test_drains(self) -> None:
        """
        Told to end, the daemon refuses new connections, lets a download finish, and then ends with status 0.
        """
        image_id = self.create()
        self.api.ask("PUT", f"/v2/images/{image_id}/file", ALICE, DATA, OCTETS)
        connection = http.client.HTTPConnection("127.0.0.1", self.api.port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", f"/v2/images/{image_id}/file", headers={"X-Auth-Token": ALICE})
        response = connection.getresponse()
        received = response.read(1000)
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(self.api.stop)
            self.wait_for(self.refuses)
            self.assertEqual(received + response.read(), DATA)
            connection.close()
            self.assertEqual(ending.result(), 0)

    def refusal(self, config: str) -> str:
        """
        What the daemon says when it does not start.
        """
        path = self.folder / "other.conf"
        path.write_text(config)
        twistd = Path(sys.executable).with_name("twistd")
        command = [twistd, "--nodaemon", "--pidfile=", "glance-api", "--config-file", path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder)
        self.assertGreater(done.returncode, 0, done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_bad_configuration(self) -> None:
        """
        Everything that is wrong with the configuration is said at once.
        """
        said = self.refusal("[DEFAULT]\nbind_port = many\nlog_format = xml\n[auth]\nstrategy = magic\n")
        for option in ("bind_port", "log_format", "strategy"):
            self.assertIn(option, said)

    def test_no_strategy(self) -> None:
        """
        Without a strategy the daemon does not start, whatever a stock configuration says of flavors.
        """
        self.assertIn("strategy", self.refusal("[paste_deploy]\nflavor = keystone\n"))

    def test_taken_port(self) -> None:
        """
        A taken port is said in a line.
        """
        config = API_CONFIG.format(port=self.api.port, folder=self.folder)
        self.assertIn(f"cannot listen on 127.0.0.1:{self.api.port}", self.refusal(config))

    def test_restart(self) -> None:
        """
        A restarted daemon serves soon.
        """
        self.api.kill()
        began = time.monotonic()
        self.api.start()
        self.assertLess(time.monotonic() - began, 30)

    def test_interrupted(self) -> None:
        """
        SIGINT ends it as SIGTERM does.
        """
        self.assertEqual(self.api.stop(signal.SIGINT), 0)
        self.assertIn("Server Shut Down", self.api.log())
