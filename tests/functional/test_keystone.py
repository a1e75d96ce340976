"""
Both daemons with a real Keystone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.functional.daemons import API_CONFIG, CACHE_CONFIG, UPSTREAM_CONFIG, Answer, DaemonProcess, DaemonTestCase
from tests.functional.images import iso
from tests.functional.keystone import Keystone, own_keystone, shared_keystone

DATA = bytes(range(256)) * 1000
OCTETS = {"Content-Type": "application/octet-stream"}

PASSWORD = """\
username = {user}
password = {user}pw
user_domain_name = Default
project_name = service
project_domain_name = Default
"""


def with_keystone(config: str, keystone: Keystone, account: str, more: str = "") -> str:
    """
    A daemon's configuration with this strategy in place of the file of tokens.
    """
    head, _, rest = config.partition("strategy = tokens\ntokens_file = {folder}/tokens.yaml\n")
    section = f"strategy = keystone\n[keystone_authtoken]\nauth_url = {keystone.url}\n"
    # On a busy machine a Keystone that is asked again after ten seconds is busier still.
    section += "http_connect_timeout = 60\n"
    return f"{head}{section}www_authenticate_uri = {keystone.url}/v3\n{account}{more}{rest}"


class KeystoneTestCase(DaemonTestCase):
    """
    An image service that asks Keystone.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.keystone = self.find_keystone()

    def find_keystone(self) -> Keystone:
        return shared_keystone(self)

    def start_api(
        self, account: str = PASSWORD.format(user="glance"), more: str = "", config: str = UPSTREAM_CONFIG
    ) -> DaemonProcess:
        """
        Start it.
        """
        config = with_keystone(config, self.keystone, account, more)
        api = self.make_daemon("glance-api", self.folder / "api", config)
        api.start()
        return api

    def create(self, daemon: DaemonProcess, token: str, **fields: str) -> str:
        """
        Create an image with data, and return its id.
        """
        document = {"disk_format": "raw", "container_format": "bare", **fields}
        made = daemon.ask("POST", "/v2/images", token, json.dumps(document).encode())
        self.assertEqual(made.status, 201, made.body)
        image_id: str = json.loads(made.body)["id"]
        self.assertEqual(daemon.ask("PUT", f"/v2/images/{image_id}/file", token, DATA, OCTETS).status, 204)
        return image_id

    def show(self, daemon: DaemonProcess, token: str, image_id: str) -> Answer:
        return daemon.ask("GET", f"/v2/images/{image_id}", token)

    def status(self, daemon: DaemonProcess, token: str | None) -> int:
        """
        Tell what somebody gets who asks for the list.
        """
        return daemon.ask("GET", "/v2/images", token).status


class PersonTests(KeystoneTestCase):
    """
    Who is known, and as whom.
    """

    def test_people(self) -> None:
        """
        Members, readers, strangers and administrators do what their roles let them, and own what they create; whichever
        worker they reach.
        """
        api = self.start_api(config=API_CONFIG)
        tokens = {name: self.keystone.token(name) for name in ("alice", "rita", "bob", "admin")}
        image_id = self.create(api, tokens["alice"])
        record = json.loads(self.show(api, tokens["alice"], image_id).body)
        self.assertEqual(record["owner"], self.keystone.id_of("projects", "demo"))
        seen = {name: self.show(api, token, image_id).status for name, token in tokens.items()}
        self.assertEqual(seen, {"alice": 200, "rita": 200, "bob": 404, "admin": 200})
        path = f"/v2/images/{image_id}/file"
        got = {name: api.ask("GET", path, token).status for name, token in tokens.items()}
        self.assertEqual(got, {"alice": 200, "rita": 403, "bob": 404, "admin": 200})
        listed = {
            name: [each["id"] for each in json.loads(api.ask("GET", "/v2/images", token).body)["images"]]
            for name, token in tokens.items()
        }
        self.assertEqual(listed, {"alice": [image_id], "rita": [image_id], "bob": [], "admin": [image_id]})
        made = {name: api.ask("POST", "/v2/images", token, b"{}").status for name, token in tokens.items()}
        self.assertEqual(made, {"alice": 201, "rita": 403, "bob": 201, "admin": 201})

    def test_unknown(self) -> None:
        """
        Without a token, or with one that is none, there is a 401 that says where Keystone is.
        """
        api = self.start_api()
        for token in (None, "garbage", "g" * 8000, self.keystone.token("alice") + "x"):
            answer = api.ask("GET", "/v2/images", token)
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["www-authenticate"], f'Keystone uri="{self.keystone.url}/v3"')
        self.assertEqual(api.ask("GET", "/versions", None).status, 200)

    def test_other_scopes(self) -> None:
        """
        The administrator of a domain, or of the system, is not the image service's.
        """
        api = self.start_api()
        user, role = self.keystone.id_of("users", "admin"), self.keystone.call("GET", "/roles?name=admin")["roles"][0]
        self.keystone.call("PUT", f"/domains/default/users/{user}/roles/{role['id']}")
        for scope in ({"domain": {"id": "default"}}, {"system": {"all": True}}):
            token = self.keystone.token("admin", scope)
            self.assertEqual(self.status(api, token), 403)
            self.assertEqual(api.ask("POST", "/v2/images", token, b"{}").status, 403)

    def test_application_credential(self) -> None:
        """
        The service can use an application credential for itself.
        """
        made = self.keystone.application_credential("glance")
        api = self.start_api(
            "auth_type = v3applicationcredential\n"
            f"application_credential_id = {made['id']}\napplication_credential_secret = {made['secret']}\n"
        )
        self.assertEqual(self.status(api, self.keystone.token("alice")), 200)
        self.assertNotIn(made["secret"], api.log())

    def test_wrong_account(self) -> None:
        """
        A service that Keystone does not know, or does not let validate tokens, is no reason to refuse anybody.
        """
        for user, said in (("nobody", "it answered 401"), ("bob", "answered 40")):
            account = PASSWORD.format(user=user).replace("service", "other")
            api = self.start_api(account)
            answer = api.ask("GET", "/v2/images", self.keystone.token("alice"))
            self.assertEqual((answer.status, "retry-after" in answer.headers), (503, True))
            self.assertIn(said, api.log())
            api.stop()


class TimeTests(KeystoneTestCase):
    """
    What is remembered, and what ends.
    """

    def test_revoked(self) -> None:
        """
        A token that was taken back counts until what is remembered of it ends, and not after.
        """
        api = self.start_api(more="token_cache_time = 4\n")
        token = self.keystone.token("alice")
        self.assertEqual(self.status(api, token), 200)
        self.keystone.revoke(token)
        self.wait_for(lambda: self.status(api, token) == 401)
        self.assertEqual(self.status(api, self.keystone.token("alice")), 200)


class OwnKeystoneTests(KeystoneTestCase):
    """
    A Keystone whose tokens are short-lived, and that goes away.
    """

    def find_keystone(self) -> Keystone:
        return own_keystone(self, token_seconds=12)

    def test_expired(self) -> None:
        """
        A token that has ended is refused though it was remembered, unless a service vouches for its user; the
        service's own token is renewed meanwhile.
        """
        api = self.start_api()
        token = self.keystone.token("alice")
        self.assertEqual(self.status(api, token), 200)
        self.wait_for(lambda: self.status(api, token) == 401)
        fresh = self.keystone.token("alice")
        self.assertEqual(self.status(api, fresh), 200)
        for user, status in (("glance", 200), ("bob", 401)):
            vouched = {"X-Service-Token": self.keystone.token(user)}
            self.assertEqual(api.ask("GET", "/v2/images", token, headers=vouched).status, status)

    def test_keystone_away(self) -> None:
        """
        While Keystone is away those who are remembered go on and others get 503; afterwards all is as before.
        """
        self.keystone.kill()
        self.keystone.token_seconds = 3600
        self.keystone.start()
        # One process: what one remembers another has to ask.
        api = self.start_api(more="http_request_max_retries = 1\n")
        known, unknown = self.keystone.token("alice"), self.keystone.token("rita")
        self.assertEqual(self.status(api, known), 200)
        self.keystone.kill()
        answer = api.ask("GET", "/v2/images", unknown)
        self.assertEqual((answer.status, "retry-after" in answer.headers), (503, True))
        self.assertNotIn("www-authenticate", answer.headers)
        image_id = self.create(api, known)
        self.assertEqual(api.ask("GET", f"/v2/images/{image_id}/file", known).body, DATA)
        self.keystone.start()
        self.assertEqual(self.status(api, unknown), 200)
        self.assertNotIn(known, api.log())


class ProgramTests(KeystoneTestCase):
    """
    The ``openstack`` and ``glance`` programs, with nothing but the usual environment.
    """

    def run_program(self, *command: str | Path, user: str = "alice") -> str:
        """
        Run a program as somebody, and return what it printed; fail when it fails.
        """
        name, *arguments = command
        path = Path(sys.executable).with_name(str(name))
        environment = {**os.environ, "HOME": str(self.folder), "PYTHONWARNINGS": "ignore"}
        environment |= self.keystone.credentials(user)
        # Without a standard input: the glance program would upload it.
        closed = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", path, *arguments]
        done = subprocess.run(closed, capture_output=True, text=True, timeout=180, env=environment, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.api.log()[-2000:]}")
        return done.stdout

    def setUp(self) -> None:
        super().setUp()
        self.api = self.start_api()
        self.keystone.serve_images(self.api.url)
        self.image = iso(self)

    def test_openstack(self) -> None:
        """
        ``openstack`` creates with data, lists, shows and saves, by the catalog alone.
        """
        created = json.loads(
            self.run_program(
                *(
                    "openstack",
                    "image",
                    "create",
                    "osc",
                    "--disk-format",
                    "iso",
                    "--file",
                    self.image.path,
                    "-f",
                    "json",
                )
            )
        )
        listed = json.loads(self.run_program("openstack", "image", "list", "-f", "json"))
        self.assertIn((created["id"], "active"), [(each["ID"], each["Status"]) for each in listed])
        others = json.loads(self.run_program("openstack", "image", "list", "-f", "json", user="bob"))
        self.assertNotIn(created["id"], [each["ID"] for each in others])
        copy = self.folder / "copy"
        self.run_program("openstack", "image", "save", created["id"], "--file", copy)
        self.assertEqual(copy.read_bytes(), self.image.data)

    def test_glance(self) -> None:
        """
        So does ``glance``.
        """
        formats = ("--disk-format", "iso", "--container-format", "bare")
        created = self.run_program("glance", "image-create", "--name", "gc", *formats)
        image_id = self.id_in(created)
        self.run_program("glance", "image-upload", image_id, "--file", self.image.path)
        self.assertIn(image_id, self.run_program("glance", "image-list"))
        copy = self.folder / "copy"
        self.run_program("glance", "image-download", image_id, "--file", copy)
        self.assertEqual(copy.read_bytes(), self.image.data)

    @staticmethod
    def id_in(table: str) -> str:
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
        return dict(row[:2] for row in rows)["id"]


class CacheTests(KeystoneTestCase):
    """
    glance-cache before a service with Keystone.
    """

    def setUp(self) -> None:
        super().setUp()
        self.api = self.start_api()
        config = with_keystone(CACHE_CONFIG, self.keystone, PASSWORD.format(user="glance"))
        config = config.replace("[cache]\nprefetch_token = node-token\n", "")
        user = f"[service_user]\nauth_url = {self.keystone.url}\n{PASSWORD.format(user='node')}"
        self.cache = self.make_daemon(
            "glance-cache", self.folder / "node", f"{config}\n[upstream]\nurls = {self.api.url}\n{user}"
        )
        self.cache.start()

    def test_prefetch(self) -> None:
        """
        An administrator has an image fetched, which the node reads as its own account; then it is served to those whom
        the service lets have it, and managed by none but administrators.
        """
        alice, admin = self.keystone.token("alice"), self.keystone.token("admin")
        image_id = self.create(self.api, alice)
        path = f"/v2/cache/{image_id}"
        self.assertEqual(self.cache.ask("PUT", path, alice).status, 403)
        self.assertEqual(self.cache.ask("PUT", path, admin).status, 202)
        self.wait_for(lambda: image_id in self.cached(admin))
        answer = self.cache.ask("GET", f"/v2/images/{image_id}/file", alice)
        self.assertEqual((answer.status, answer.headers["x-cache"], answer.body), (200, "hit", DATA))
        for name, status in (("rita", 403), ("bob", 404)):
            refused = self.cache.ask("GET", f"/v2/images/{image_id}/file", self.keystone.token(name))
            self.assertEqual(refused.status, status)

    def test_refusals(self) -> None:
        """
        Its own refusals say where Keystone is, as do those of the service that it passes on.
        """
        for path in ("/v2/cache", "/v2/images"):
            answer = self.cache.ask("GET", path, "garbage")
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["www-authenticate"], f'Keystone uri="{self.keystone.url}/v3"')

    def cached(self, token: str) -> list[str]:
        listing: Mapping[str, Any] = json.loads(self.cache.ask("GET", "/v2/cache", token).body)
        return [each["image_id"] for each in listing["cached_images"]]
