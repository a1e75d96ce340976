"""
Tokens, and where they must not be found: with both daemons at their most talkative.
"""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

from tests.functional.daemons import API_CONFIG, CACHE_CONFIG, DaemonProcess, DaemonTestCase
from tests.ports import free_port
from tests.services import OwnRedis, own_redis

DATA = bytes(range(256)) * 5000
OCTETS = {"Content-Type": "application/octet-stream"}

MARK = "T0k3nMark"
"""Each token has it."""

PEOPLE = {
    f"{MARK}-admin": "user_id: root, project_id: ops, roles: [admin, member, reader]",
    f"{MARK}-alice": "user_id: alice, project_id: red, roles: [member, reader]",
    f"{MARK}-reader": "user_id: rita, project_id: red, roles: [reader]",
    f"{MARK}-bob": "user_id: bob, project_id: blue, roles: [member, reader]",
    f"{MARK}-node": "user_id: node, project_id: ops, roles: [admin, member, reader]",
}
ADMIN, ALICE, READER, BOB, NODE = PEOPLE
GARBAGE = f"{MARK}-of-nobody"


class TraceTests(DaemonTestCase):
    """
    An image service and a cache that log all they can.
    """

    def setUp(self) -> None:
        self.redis: OwnRedis = own_redis(self)
        folder = Path(self.mktemp()).absolute()
        self.tokens = folder / "tokens"
        folder.mkdir(parents=True)
        self.tokens.write_text("".join(f"- {{token: {token}, {rest}}}\n" for token, rest in PEOPLE.items()))
        self.tokens.chmod(0o600)
        self.management: dict[str, int] = {}
        self.api = self.talkative("glance-api", folder / "api", API_CONFIG, "")
        self.api.start()
        more = f"[upstream]\nurls = {self.api.url}\n"
        self.cache = self.talkative("glance-cache", folder / "node", CACHE_CONFIG.replace("node-token", NODE), more)
        self.cache.start()

    def talkative(self, name: str, folder: Path, config: str, more: str) -> DaemonProcess:
        port = self.management[name] = free_port()
        config = config.replace("{folder}/tokens.yaml", str(self.tokens)).replace(
            "[DEFAULT]", "[DEFAULT]\ndebug = true"
        )
        sections = f"[redis]\nurl = {self.redis.url}\n[management]\nbind_port = {port}\n"
        told = "[oslo_messaging_notifications]\ndriver = log\n"
        return self.make_daemon(name, folder, f"{config}\n{more}{sections}{told}")

    def live(self) -> None:
        """
        Do everything that a token is needed for, well and badly.
        """
        document = {"disk_format": "raw", "container_format": "bare", "visibility": "shared"}
        made = self.cache.ask("POST", "/v2/images", ALICE, json.dumps(document).encode())
        path = f"/v2/images/{json.loads(made.body)['id']}"
        self.assertEqual(self.cache.ask("PUT", f"{path}/file", ALICE, DATA, OCTETS).status, 204)
        self.assertEqual(self.cache.ask("PUT", path.replace("images", "cache"), ADMIN).status, 202)
        self.wait_for(lambda: self.cache.ask("GET", f"{path}/file", ALICE).headers.get("x-cache") == "hit")
        for daemon in (self.api, self.cache):
            for token in (*PEOPLE, GARBAGE, f"{GARBAGE} with blanks", f"{GARBAGE}\x7f", GARBAGE * 1000):
                for method, target in (("GET", f"{path}/file"), ("GET", path), ("GET", "/v2/cache"), ("GET", "/v2/x")):
                    daemon.ask(method, target, token)
                service = {"X-Service-Token": f"{MARK}-service", "X-Storage-Token": f"{MARK}-storage"}
                daemon.ask("GET", f"{path}/file", token, headers=service)
            self.assertEqual(daemon.ask("GET", f"{path}/file", READER).status, 403)
            self.raw(daemon, f"GET {path}/file HTTP/1.1", f"X-Auth-Token: {BOB}", f"X-Auth-Token: {ALICE}")
            self.raw(daemon, f"GET {path}/file HTTP/1.1", f"X-Auth-Token: {BOB}\x00")
            self.raw(daemon, f"GET {path}/file HTTP/1.1", f"X-Auth-Token : {BOB}")
            self.raw(daemon, f"GET {path}/file HTTP/1.1", f"X_Auth_Token: {BOB}", f"Cookie: t={BOB}")
        # Nobody answers: the failures are told at length.
        self.api.kill()
        for method, target in (("GET", f"{path}/file"), ("GET", path), ("DELETE", path)):
            self.cache.ask(method, target, GARBAGE)
        self.cache.stop()
        self.cache.start()
        self.api.start()

    def raw(self, daemon: DaemonProcess, *lines: str) -> None:
        head = "\r\n".join([lines[0], "Host: a", "Connection: close", *lines[1:], "", ""])
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as connection:
            connection.sendall(head.encode("latin-1"))
            while connection.recv(65536):
                pass

    def metrics(self, name: str) -> str:
        """
        Every number of a daemon. Its port for operators may open a moment after the other one.
        """
        operators = DaemonProcess(name, self.api.folder, "", self.management[name])
        said: list[str] = []

        def asked() -> bool:
            try:
                said.append(operators.ask("GET", "/metrics", None).body.decode())
            except ConnectionError:
                return False
            return True

        self.wait_for(asked)
        return said[0]

    def redis_dump(self) -> str:
        """
        Every key of the Redis, with all of its value.
        """
        said = []
        with socket.create_connection(("127.0.0.1", self.redis.port), timeout=20) as connection:
            reader = connection.makefile("rb")
            connection.sendall(b"KEYS *\r\n")
            keys = [reader.readline() and reader.readline().strip() for _ in range(int(reader.readline()[1:]))]
            for key in keys:
                connection.sendall(b"DUMP %s\r\n" % key)
                size = int(reader.readline()[1:])
                said.append(key + reader.read(size + 2))
        return b"\n".join(said).decode("latin-1")

    def test_traces(self) -> None:
        """
        No token, nor a plain digest of one, is in a log, in Redis, in a file of either daemon or in a metric.
        """
        self.live()
        places = {"Redis": self.redis_dump()}
        for daemon in (self.api, self.cache):
            self.assertIn("access", daemon.log())
            for path in daemon.folder.rglob("*"):
                # What the test itself has written.
                if path.is_file() and path.suffix not in {".conf", ".yaml"}:
                    places[str(path.relative_to(daemon.folder.parent))] = path.read_bytes().decode("latin-1")
        for name in self.management:
            places[f"metrics of {name}"] = self.metrics(name)
        self.assertIn("glance_cache_grants", places["metrics of glance-cache"])
        self.assertIn(":hits:", places["Redis"])
        self.assertIn("node/cache/hits.journal", places)
        forbidden = [MARK, MARK.lower()]
        for token in (*PEOPLE, GARBAGE):
            forbidden += [hashlib.new(name, token.encode()).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")]
        found = [(name, text) for name, content in places.items() for text in forbidden if text in content]
        self.assertEqual(found, [])
