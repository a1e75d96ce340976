"""
Tests of how the caching tier is put together.
"""

from __future__ import annotations

from pathlib import Path

from twisted.application.service import IService
from twisted.trial.unittest import TestCase

from glance_cache.tap import Options, makeService
from glance_tx.web.daemon import Daemon
from tests.proxy.nodes import open_sockets
from tests.web.raw import until

CONFIG = """\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = 0
image_cache_dir = {folder}/cache

[upstream]
urls = http://127.0.0.1:1
"""


class MakeServiceTests(TestCase):
    """
    `makeService` makes a daemon of a configuration.
    """

    timeout = 20

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def options(self, more: str = "") -> Options:
        path = self.folder / "glance-cache.conf"
        path.write_text(CONFIG.format(folder=self.folder) + more)
        options = Options()
        options.parseOptions(["--config-file", str(path)])
        return options

    def daemon(self, more: str = "") -> Daemon:
        service: IService = makeService(self.options(more))
        assert isinstance(service, Daemon)
        return service

    def test_defaults(self) -> None:
        """
        Nothing is read that was not named.
        """
        options = Options()
        options.parseOptions([])
        self.assertEqual(dict(options), {"config_files": [], "config_dirs": []})

    def test_ports(self) -> None:
        """
        There is a port for clients, and one for operators who want it.
        """
        self.assertEqual(len(self.daemon().ports), 1)
        self.assertEqual(len(self.daemon("\n[management]\nbind_port = 1\n").ports), 2)

    def test_touches_nothing(self) -> None:
        """
        Making it touches no disk and no network.
        """
        sockets = open_sockets()
        self.daemon("\n[redis]\nurl = redis://127.0.0.1:1\n")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["glance-cache.conf"])
        self.assertEqual(open_sockets(), sockets)

    async def test_life(self) -> None:
        """
        It starts, serves, and ends with nothing left behind.
        """
        sockets = open_sockets()
        daemon = self.daemon("\n[cache]\nprefetch_token = t\n")
        daemon.startService()
        await until(lambda: daemon.ports[0].running)
        await daemon.stopService()
        await until(lambda: open_sockets() <= sockets)

    def test_refusals(self) -> None:
        """
        What is wrong with the configuration ends the program before it begins.
        """
        for more in (
            "\n[auth]\nstrategy = tokens\n",
            "\n[oslo_policy]\npolicy_file = /nowhere\n",
            "\n[cache]\ngrant_ttl = x\n",
            "\n[cache]\noffline_grants = true\n",
        ):
            with self.assertRaises(SystemExit):
                makeService(self.options(more))
