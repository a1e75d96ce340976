"""
Tests of an image service of several processes that is told to read its configuration again.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

from tests.functional.daemons import ALICE
from tests.functional.service import DATA
from tests.functional.workers import CONFIG, WorkersTestCase, lives


class HangupTests(WorkersTestCase):
    """
    On SIGHUP the workers are replaced.
    """

    def setUp(self) -> None:
        super().setUp()
        self.going = True

    def knock(self) -> list[object]:
        """
        Ask on new connections all the time.

        :return: Whatever was not answered with 200.
        """
        wrong: list[object] = []
        while self.going:
            try:
                status = self.api.ask("GET", "/v2/images", ALICE).status
                if status != 200:
                    wrong.append(status)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(error)
        return wrong

    def hang_up(self) -> None:
        os.kill(self.api.pid, signal.SIGHUP)

    def test_replaced(self) -> None:
        """
        New workers have the new configuration; no request is lost, and a download that began before goes on.
        """
        self.start("limit_param_default = 1")
        image_id = self.create()
        self.create()
        self.assertEqual(self.upload(image_id), 204)
        former = self.api.workers
        response = self.begin_download(image_id)
        received = response.read(1000)
        with ThreadPoolExecutor(4) as pool:
            try:
                knocking = [pool.submit(self.knock) for _ in range(4)]
                self.api.configure("limit_param_default = 2\nworkers = 3", CONFIG.replace("workers = 2\n", ""))
                self.api.rewrite()
                self.hang_up()
                self.wait_for(lambda: self.api.count("reloaded: the workers have the configuration") == 1)
                self.wait_for(lambda: sum(map(lives, former)) == 1)
                listed = json.loads(self.api.ask("GET", "/v2/images", ALICE).body)
            finally:
                self.going = False
            self.assertEqual([wrong for each in knocking for wrong in each.result()], [])
        self.assertEqual(len(listed["images"]), 2)
        self.assertEqual(received + response.read(), DATA)
        response.close()
        self.wait_until_well(3)

    def test_fewer(self) -> None:
        """
        With fewer workers nobody waits in the queue of one that there is no more.
        """
        self.start()
        self.api.configure("workers = 1", CONFIG.replace("workers = 2\n", ""))
        self.api.rewrite()
        self.hang_up()
        self.wait_until_well(1)
        for _ in range(20):
            self.assertEqual(self.api.ask("GET", "/v2/images", ALICE).status, 200)

    def test_wrong(self) -> None:
        """
        A configuration that is wrong, in whatever way, is told of in the log and changes nothing, also not for a
        worker that is started anew later.
        """
        self.start()
        former = self.api.workers
        no_folder = "[glance_store]\nfilesystem_store_datadir = {folder}/tokens.yaml\n[DEFAULT]"
        wrong = {
            "workers = many": "workers = 'many'",
            "bind_host = 127.0.0.2": "bind_host changed, which takes a restart",
            "[oslo_policy]\npolicy_file = missing.yaml\n[DEFAULT]": "missing.yaml",
            no_folder: "worker 1 ended with status 1",
        }
        for count, (more, said) in enumerate(wrong.items(), 1):
            self.api.configure()
            self.api.config = self.api.config + f"\n[DEFAULT]\n{more}\n"
            self.api.rewrite()
            self.hang_up()
            self.wait_for(lambda count=count: self.api.count("not reloaded, all stays as it is") == count)  # type: ignore[misc]
            self.assertIn(said, self.api.log())
        self.wait_until_well()
        self.assertEqual(sorted(self.api.workers), sorted(former))
        os.kill(former[0], signal.SIGKILL)
        self.wait_for(lambda: former[0] not in self.api.workers)
        self.wait_until_well()

    def test_logs(self) -> None:
        """
        All processes go on in a new log file after the old one was renamed, and say which worker they are.
        """
        log = self.folder / "service.log"
        self.start("log_file = {folder}/service.log\nlog_format = json")
        log.rename(self.folder / "old.log")
        self.hang_up()
        self.wait_for(log.exists)
        self.wait_for(lambda: "reloaded: the workers" in log.read_text())
        for _ in range(20):
            self.api.ask("GET", "/v2/images", ALICE)
        self.wait_for(lambda: log.read_text().count('"path":"/v2/images"') == 20)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual({line.get("worker") for line in lines}, {None, 1, 2})

    def test_end_while_reloading(self) -> None:
        """
        A service that is told to end while it reloads ends.
        """
        self.start()
        former = self.api.workers
        self.hang_up()
        self.wait_for(lambda: len(self.api.workers) > 2)
        newcomers = self.api.workers
        self.assertEqual(self.api.stop(), 0)
        self.assertEqual([pid for pid in (*former, *newcomers) if lives(pid)], [])
