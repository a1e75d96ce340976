"""
Both daemons as real processes, started by ``twistd`` in a folder of the test's own.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import define, field, frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.ports import free_port

START_SECONDS = 60.0
END_SECONDS = 60.0

ADMIN = "admin-token"
ALICE = "alice-token"
ALICE_READER = "alice-reader-token"
BOB = "bob-token"
NODE = "node-token"

TOKENS = """\
- {token: admin-token, user_id: root, project_id: ops, roles: [admin, member, reader]}
- {token: alice-token, user_id: alice, project_id: red, roles: [member, reader]}
- {token: alice-reader-token, user_id: rita, project_id: red, roles: [reader]}
- {token: bob-token, user_id: bob, project_id: blue, roles: [member, reader]}
- {token: node-token, user_id: node, project_id: ops, roles: [admin, member, reader]}
"""


@frozen
class Answer:
    """
    One answer. Header names are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@define
class DaemonProcess:
    """
    One daemon. It keeps its folder and its port when it is started again.

    :param name: As ``twistd`` knows it.
    :param config: Its configuration, with ``{port}`` and ``{folder}`` to be filled in.
    """

    name: str
    folder: Path
    config: str
    port: int = field(factory=free_port)
    environment: Mapping[str, str] = field(factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """
        Where it answers.
        """
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """
        What it says, over all its lives.
        """
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """
        Of the process that runs.
        """
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """
        Start it, and wait until it answers.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}.conf"
        path.write_text(self.config.format(port=self.port, folder=self.folder))
        tokens = self.folder / "tokens.yaml"
        tokens.write_text(TOKENS)
        tokens.chmod(0o600)
        twistd = Path(sys.executable).with_name("twistd")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                # A shell that puts the tests into the background has them, and so their children, ignore SIGINT.
                ["env", "--default-signal=INT", twistd, "--nodaemon", "--pidfile=", self.name, "--config-file", path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                # A group of its own, with the workers it may start.
                start_new_session=True,
            )
        if wait:
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """
        Wait until it answers; fail if it ends first.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise AssertionError(f"{self.name} ended while it started:\n{self.log()}")
            with contextlib.suppress(OSError):
                if self.ask("GET", "/healthcheck", None).status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.name} does not answer:\n{self.log()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """
        Ask it to end, and wait for that.

        :return: Its exit status.
        """
        return self._end(number)

    def kill(self) -> None:
        """
        End it without a warning, with all its workers.
        """
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"{self.name} did not end:\n{self.log()}") from None

    def log(self) -> str:
        """
        Everything it said by now.
        """
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def connect(self) -> http.client.HTTPConnection:
        """
        Make a connection, which begins with its first request.
        """
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = ADMIN,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """
        Send one request on a connection of its own, and read the whole answer.

        :raises http.client.IncompleteRead: The answer broke off.
        """
        connection = self.connect()
        try:
            sent = dict(headers or {})
            if token is not None:
                sent["X-Auth-Token"] = token
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())
        finally:
            connection.close()

    def count(self, fragment: str) -> int:
        """
        Tell in how many lines of its log a text stands.
        """
        return sum(fragment in line for line in self.log().splitlines())


API_CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}

[auth]
strategy = tokens
tokens_file = {folder}/tokens.yaml

[database]
connection = sqlite:///{folder}/images.sqlite

[glance_store]
filesystem_store_datadir = {folder}/images
"""

UPSTREAM_CONFIG = API_CONFIG.replace("[DEFAULT]\n", "[DEFAULT]\nworkers = 1\n")
"""For tests of something else than an image service's processes, of which there is one by default for each processor:
starting one takes less than three do."""

CACHE_CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
image_cache_dir = {folder}/cache

[auth]
strategy = tokens
tokens_file = {folder}/tokens.yaml

[cache]
prefetch_token = node-token
"""


class DaemonTestCase(SynchronousTestCase):
    """
    A test with daemons of its own. Blocking clients are fine here: the daemons are other processes.
    """

    def wait_for(self, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """
        Wait until something is so, which may take the start of a process.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"this did not happen within {seconds} seconds")
            time.sleep(0.02)

    def make_daemon(self, name: str, folder: Path, config: str) -> DaemonProcess:
        """
        Make a daemon that ends with the test.
        """
        daemon = DaemonProcess(name, folder, config)
        self.addCleanup(daemon.kill)
        return daemon
