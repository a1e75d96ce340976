"""
A stock Glance, from PyPI: SQLite, files, several threads, on a port of 127.0.0.1, with the Keystone that runs for all
tests.

It is set up and started once for each run of the tests.
"""

from __future__ import annotations

import atexit
import http.client
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from attrs import define, field

from tests.functional.keystone import Keystone, shared_keystone
from tests.functional.peers import PeerMissing, clean_environment, installed, run
from tests.ports import free_port
from tests.services import ServiceCase, lacking

__all__ = ["StockGlance", "shared_stock_glance"]

REQUIREMENTS = ("glance>=30", "waitress>=3")
SET_UP_SECONDS = 180
START_SECONDS = 120

CONFIG = """\
[DEFAULT]
log_file = {folder}/glance-api.log
bind_port = {port}
enabled_backends = files:file
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = sqlite:///{folder}/glance.db?timeout=60
[paste_deploy]
config_file = {folder}/glance-api-paste.ini
flavor = keystone
[oslo_concurrency]
lock_path = {folder}/locks
[oslo_policy]
enforce_scope = true
enforce_new_defaults = true
[keystone_authtoken]
www_authenticate_uri = {keystone}/v3
auth_url = {keystone}/v3
auth_type = password
username = glance
password = glancepw
project_name = service
user_domain_id = default
project_domain_id = default
token_cache_time = 300
service_token_roles_required = true
"""

# It takes the arguments of whatever program it is in for its own, so there are none.
SERVER = """\
from glance.wsgi.api import application
from waitress import serve
serve(application, host="127.0.0.1", port={port}, threads=8)
"""


@define
class StockGlance:
    """
    One server.
    """

    python: Path
    folder: Path
    keystone: Keystone
    port: int = field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """
        Where it answers.
        """
        return f"http://127.0.0.1:{self.port}"

    def set_up(self) -> None:
        """
        Make what it needs.

        :raises PeerMissing: It cannot be done.
        """
        for name in ("images", "staging", "tasks", "locks"):
            (self.folder / name).mkdir()
        shutil.copy(self.python.parent.parent / "etc" / "glance" / "glance-api-paste.ini", self.folder)
        config = self.folder / "glance-api.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, keystone=self.keystone.url))
        command = [self.python.with_name("glance-manage"), "--config-file", config, "db_sync"]
        run(command, clean_environment(), SET_UP_SECONDS, self.folder)

    def start(self) -> None:
        """
        Start it, and wait until it answers.
        """
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-c", SERVER.format(port=self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**clean_environment(), "OS_GLANCE_CONFIG_DIR": str(self.folder)},
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.request("GET", "/versions")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.05)
            else:
                return
            finally:
                connection.close()
        said = (self.folder / "server.log").read_text(errors="replace")
        self.kill()
        raise AssertionError(f"the stock Glance does not answer:\n{said[-4000:]}")

    def kill(self) -> None:
        """
        End it at once. Harmless when it is gone.
        """
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def shared_stock_glance(case: ServiceCase) -> StockGlance:
    """
    Give the stock Glance that runs for all tests. It must not be stopped.
    """
    shared_keystone(case)
    try:
        return _running(case)
    except PeerMissing as error:
        raise lacking(case, f"no stock Glance: {error}") from error


class _Once:
    """
    The one that runs.
    """

    server: StockGlance | None = None


def _running(case: ServiceCase) -> StockGlance:
    if _Once.server is None:
        folder = Path(tempfile.mkdtemp(prefix="glance_tx-stock-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        server = StockGlance(installed("glance", REQUIREMENTS), folder, shared_keystone(case))
        atexit.register(server.kill)
        server.set_up()
        server.start()
        _Once.server = server
    return _Once.server
