"""
A primary, a replica, and a Sentinel that watches them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import TestCase

from glance_tx.redis.address import RedisAddress, Sentinels
from tests.ports import free_port
from tests.services import OwnRedis, _Redis, own_redis
from tests.web.raw import until

__all__ = ["PASSWORD", "PRIMARY", "Failover"]

PRIMARY = "images"
PASSWORD = "hush"


class Failover:
    """
    Two servers and a Sentinel that decides alone, all of the test's own.

    :ivar address: Leads to the primary of the moment. Nobody listens at the first of its Sentinels.
    """

    def __init__(self, case: TestCase) -> None:
        self._case = case
        options = {"repl-diskless-sync-delay": "0"}
        self.primary = own_redis(case, options)
        self.replica = own_redis(case, {**options, "replicaof": f"127.0.0.1 {self.primary.port}"})
        self.sentinel_port = free_port()
        addresses = (("127.0.0.1", free_port()), ("127.0.0.1", self.sentinel_port))
        self.address = RedisAddress("nowhere.invalid", sentinels=Sentinels(addresses, PRIMARY, None, PASSWORD))

    async def start(self) -> None:
        """
        Wait until the replica follows, start the Sentinel, and wait until it knows both.
        """
        await until(lambda: "master_link_status:up" in _tell(self.replica, "INFO", "replication"))
        self._watch()
        await until(lambda: "name=sentinel-" in _tell(self.replica, "CLIENT", "LIST"))

    def _watch(self) -> None:
        folder = Path(self._case.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {self.sentinel_port}\ndir {folder}\nrequirepass {PASSWORD}\n"
            f"sentinel monitor {PRIMARY} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {PRIMARY} 300\n"
            f"sentinel failover-timeout {PRIMARY} 3000\n"
        )
        command = [self.primary.program, str(folder / "sentinel.conf"), "--sentinel"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._case.addCleanup(process.wait)
        self._case.addCleanup(process.kill)

    def keys(self, server: OwnRedis) -> int:
        """
        How many keys a server has.
        """
        return int(_tell(server, "DBSIZE"))


def _tell(server: OwnRedis, *words: str) -> str:
    with _Redis(server.url) as connection:
        return str(connection.command(*words))
