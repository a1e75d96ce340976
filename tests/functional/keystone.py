"""
A real Keystone, from PyPI: SQLite, Fernet tokens, one thread, on a port of 127.0.0.1.

It is set up once, beside where it is installed, with these people and projects. Each process of tests starts a copy,
and tests that want one of their own another one.

=========  ===========  ======================
user       project      roles
=========  ===========  ======================
admin      admin        admin
glance     service      service
node       service      admin
alice      demo         member
rita       demo         reader
bob        other        member
=========  ===========  ======================

The password of each is the name with ``pw`` behind it.
"""

from __future__ import annotations

import atexit
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.functional.peers import PeerMissing, clean_environment, installed, made_once, run
from tests.ports import free_port
from tests.services import ServiceCase, lacking

__all__ = ["PEOPLE", "Keystone", "own_keystone", "shared_keystone"]

REQUIREMENTS = ("keystone>=27", "waitress>=3")
SET_UP_SECONDS = 180
START_SECONDS = 120

PEOPLE = {
    "admin": ("admin", ("admin",)),
    "glance": ("service", ("service",)),
    "node": ("service", ("admin",)),
    "alice": ("demo", ("member",)),
    "rita": ("demo", ("reader",)),
    "bob": ("other", ("member",)),
}
"""Users: their projects, and their roles there."""

CONFIG = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db?timeout=60
[token]
provider = fernet
expiration = {token_seconds}
[fernet_tokens]
key_repository = {folder}/fernet-keys
[fernet_receipts]
key_repository = {folder}/fernet-keys
[credential]
key_repository = {folder}/credential-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = false
[oslo_policy]
enforce_scope = true
enforce_new_defaults = true
"""


# Keystone takes the arguments of whatever program it is in for its own, so there are none. One thread: of several, some
# would find SQLite's file locked.
SERVER = """\
from keystone.wsgi.api import application
from waitress import serve
serve(application, host="127.0.0.1", port={port}, threads=1)
"""


@define
class Keystone:
    """
    One server. It keeps its folder and its port when it is started again.
    """

    python: Path
    folder: Path
    token_seconds: int = 3600
    port: int = field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """
        Where it answers.
        """
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """
        Start it, and wait until it answers.
        """
        self.configure()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "-c", SERVER.format(port=self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._ask("GET", "", None, None)
                return
            except OSError:
                time.sleep(0.05)
        said = (self.folder / "server.log").read_text(errors="replace")
        self.kill()
        raise AssertionError(f"Keystone does not answer:\n{said[-4000:]}")

    def kill(self) -> None:
        """
        End it at once. Harmless when it is gone.
        """
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def configure(self) -> None:
        """
        Write its configuration.
        """
        text = CONFIG.format(folder=self.folder, token_seconds=self.token_seconds)
        (self.folder / "keystone.conf").write_text(text)

    def manage(self, *arguments: str) -> None:
        """
        Run ``keystone-manage``.
        """
        program = self.python.with_name("keystone-manage")
        command = [program, "--config-file", self.folder / "keystone.conf", *arguments]
        run(command, self._environment(), SET_UP_SECONDS, self.folder)

    def _environment(self) -> Mapping[str, str]:
        return {**clean_environment(), "OS_KEYSTONE_CONFIG_DIR": str(self.folder)}

    def credentials(self, user: str) -> Mapping[str, str]:
        """
        What clients find in their environment.
        """
        return {
            "OS_AUTH_URL": f"{self.url}/v3",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": user,
            "OS_PASSWORD": f"{user}pw",
            "OS_PROJECT_NAME": PEOPLE[user][0],
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "RegionOne",
        }

    def token(self, user: str, scope: Mapping[str, object] | None = None) -> str:
        """
        Log somebody in.

        :param scope: Another one than the user's project.
        """
        named = {"name": user, "domain": {"id": "default"}, "password": f"{user}pw"}
        project = {"project": {"name": PEOPLE[user][0], "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": named}}
        document = {"auth": {"identity": identity, "scope": project if scope is None else scope}}
        return self._ask("POST", "/auth/tokens", None, document)[0]["X-Subject-Token"]

    def revoke(self, token: str) -> None:
        """
        Take a token back.
        """
        self._ask("DELETE", "/auth/tokens", token, None, {"X-Subject-Token": token})

    def application_credential(self, user: str) -> Mapping[str, str]:
        """
        Make an application credential of a user's; return its id and its secret.
        """
        token = self.token(user)
        document = {"application_credential": {"name": f"of-{user}-{time.monotonic_ns()}"}}
        path = f"/users/{self.id_of('users', user)}/application_credentials"
        made = self._ask("POST", path, token, document)[1]["application_credential"]
        return {"id": made["id"], "secret": made["secret"]}

    def id_of(self, kind: str, name: str) -> str:
        """
        Find the id of a user or a project.
        """
        found: str = self.call("GET", f"/{kind}?name={name}")[kind][0]["id"]
        return found

    def serve_images(self, url: str) -> None:
        """
        Say in the catalog where images are served.
        """
        services = self.call("GET", "/services?type=image")["services"]
        if not services:
            services = [self.call("POST", "/services", {"service": {"type": "image", "name": "glance"}})["service"]]
        service_id = services[0]["id"]
        for endpoint in self.call("GET", f"/endpoints?service_id={service_id}")["endpoints"]:
            self.call("DELETE", f"/endpoints/{endpoint['id']}")
        for interface in ("public", "internal", "admin"):
            endpoint = {"service_id": service_id, "url": url, "interface": interface, "region_id": "RegionOne"}
            self.call("POST", "/endpoints", {"endpoint": endpoint})

    def call(self, method: str, path: str, document: Mapping[str, object] | None = None) -> dict[str, Any]:
        """
        Ask as the administrator.
        """
        return self._ask(method, path, self.token("admin"), document)[1]

    def _ask(
        self,
        method: str,
        path: str,
        token: str | None,
        document: Mapping[str, object] | None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Mapping[str, str], dict[str, Any]]:
        sent = {
            "Content-Type": "application/json",
            **(headers or {}),
            **({} if token is None else {"X-Auth-Token": token}),
        }
        body = None if document is None else json.dumps(document).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"/v3{path}", body, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise AssertionError(f"{method} {path}: {response.status} {text!r}")
        return response.headers, json.loads(text) if text else {}


def shared_keystone(case: ServiceCase) -> Keystone:
    """
    Give the Keystone that runs for all tests. It must not be stopped.
    """
    try:
        return _shared()
    except PeerMissing as error:
        raise lacking(case, f"no Keystone: {error}") from error


def own_keystone(case: ServiceCase, **options: Any) -> Keystone:
    """
    Start a Keystone that belongs to the test: the same people, in a database of its own.
    """
    try:
        keystone = _copy(Path(case.mktemp()).absolute(), **options)
    except PeerMissing as error:
        raise lacking(case, f"no Keystone: {error}") from error
    case.addCleanup(keystone.kill)
    keystone.start()
    return keystone


@cache
def _shared() -> Keystone:
    folder = Path(tempfile.mkdtemp(prefix="glance_tx-keystone-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    keystone = _copy(folder)
    atexit.register(keystone.kill)
    keystone.start()
    for endpoint in keystone.call("GET", "/endpoints")["endpoints"]:
        keystone.call("PATCH", f"/endpoints/{endpoint['id']}", {"endpoint": {"url": f"{keystone.url}/v3"}})
    return keystone


def _copy(folder: Path, **options: Any) -> Keystone:
    python, template = _prepared()
    return Keystone(python, shutil.copytree(template, folder, dirs_exist_ok=True), **options)


@cache
def _prepared() -> tuple[Path, Path]:
    """
    Give the interpreter that has Keystone, and the folder to copy.
    """
    python = installed("keystone", REQUIREMENTS)
    made_of = hashlib.sha256(f"{CONFIG}{PEOPLE}".encode()).hexdigest()[:8]
    template = python.parent.parent / f"template-{made_of}"
    made_once(template, lambda folder: _set_up(Keystone(python, folder)))
    return python, template


def _set_up(keystone: Keystone) -> None:
    keystone.folder.mkdir()
    keystone.configure()
    for name in ("fernet-keys", "credential-keys"):
        (keystone.folder / name).mkdir(mode=0o700)
    keystone.manage("db_sync")
    owner = ("--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid()))
    keystone.manage("fernet_setup", *owner)
    keystone.manage("credential_setup", *owner)
    url = f"{keystone.url}/v3"
    urls = [part for kind in ("public", "internal", "admin") for part in (f"--bootstrap-{kind}-url", url)]
    keystone.manage("bootstrap", "--bootstrap-password", "adminpw", "--bootstrap-region-id", "RegionOne", *urls)
    keystone.start()
    try:
        _populate(keystone)
    finally:
        keystone.kill()


def _populate(keystone: Keystone) -> None:
    roles = {role["name"]: role["id"] for role in keystone.call("GET", "/roles")["roles"]}
    projects = {project["name"]: project["id"] for project in keystone.call("GET", "/projects")["projects"]}
    for user, (project, names) in PEOPLE.items():
        if user == "admin":
            continue
        if project not in projects:
            made = keystone.call("POST", "/projects", {"project": {"name": project, "domain_id": "default"}})
            projects[project] = made["project"]["id"]
        document = {"name": user, "domain_id": "default", "password": f"{user}pw"}
        user_id = keystone.call("POST", "/users", {"user": document})["user"]["id"]
        for name in names:
            keystone.call("PUT", f"/projects/{projects[project]}/users/{user_id}/roles/{roles[name]}")
