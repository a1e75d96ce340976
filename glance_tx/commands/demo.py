"""
Shows both daemons at work on this machine: ``make demo``.

Starts glance-api (SQLite and files under one folder) and glance-cache before it, uploads an image, downloads it twice
through the cache, and stays up to be tried out. ``DEMO_ONCE=1`` ends it after the downloads.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from glance_tx.streaming.units import MiB

IMAGE_BYTES: Final = 64 * MiB
START_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 30.0
HOST: Final = "127.0.0.1"
IMAGE_NAME: Final = "demo"


class DemoError(Exception):
    """
    The demonstration cannot go on; the text says why in one line.
    """


@frozen
class Answer:
    """
    One answer of a daemon.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def check_port(name: str, port: int) -> None:
    """
    See that nobody else has a port.

    :param name: Who wants it.
    :raises DemoError: Somebody has.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            variable = name.upper().replace("-", "_")
            raise DemoError(
                f"port {port}, wanted for {name}, is taken ({error.strerror}): stop what listens there, "
                f"or name another one, as in {variable}_PORT=1{port:04} make demo"
            ) from error


@frozen
class Daemon:
    """
    One daemon of the demonstration.

    :param name: As `twistd` knows it.
    :param folder: Where its configuration and its log are.
    """

    name: str
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """
        Where it answers.
        """
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """
        What it has to say.
        """
        return self.folder / f"{self.name}.log"

    @contextmanager
    def running(self, config: str) -> Iterator[None]:
        """
        Run it with this configuration until the block is left.
        """
        path = self.folder / f"{self.name}.conf"
        path.write_text(config)
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "--nodaemon", "--pidfile=", self.name, "--config-file", str(path)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # our own program
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            self._wait_until_up(process)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(
        self, method: str, path: str, token: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> Answer:
        """
        Send one request.

        :raises DemoError: It is not answered.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            headers = {"X-Auth-Token": token, "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = content_type
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"{self.name} did not answer {method} {path}: {error} (see {self.log})") from error
        finally:
            connection.close()

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                last = (self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
                raise DemoError(f"{self.name} did not start: {last} (see {self.log})")
            try:
                if self.ask("GET", "/healthcheck", "").status == http.HTTPStatus.OK:
                    return
            except DemoError:
                time.sleep(0.05)
        raise DemoError(f"{self.name} does not answer on {self.url} after {START_SECONDS:g} seconds (see {self.log})")


def api_config(api: Daemon) -> str:
    """
    Configuration of the image service: everything under one folder.
    """
    return f"""\
[DEFAULT]
bind_host = {HOST}
bind_port = {api.port}

[auth]
strategy = tokens
tokens_file = {api.folder}/tokens.yaml

[database]
connection = sqlite:///{api.folder}/images.sqlite

[glance_store]
filesystem_store_datadir = {api.folder}/images

[oslo_concurrency]
lock_path = {api.folder}/locks
"""


def cache_config(cache: Daemon, api: Daemon, token: str, dashboard_port: int) -> str:
    """
    Configuration of the caching tier before it.
    """
    return f"""\
[DEFAULT]
bind_host = {HOST}
bind_port = {cache.port}
image_cache_dir = {cache.folder}/cache

[auth]
strategy = tokens
tokens_file = {cache.folder}/tokens.yaml

[upstream]
urls = {api.url}

[cache]
prefetch_token = {token}

[management]
bind_port = {dashboard_port}
"""


def write_tokens(folder: Path) -> str:
    """
    Give the demonstration a token of its own, the same one each time.

    :return: The token.
    """
    path = folder / "token"
    if not path.exists():
        path.write_text(secrets.token_urlsafe(24))
        path.chmod(0o600)
    token = path.read_text()
    tokens = folder / "tokens.yaml"
    entry = f"token: {token}, user_id: demo, project_id: demo, roles: [admin, member, reader]"
    tokens.write_text(f"- {{{entry}}}\n")
    tokens.chmod(0o600)
    return token


def expect(answer: Answer, status: int, what: str) -> Answer:
    """
    See that a step did what it should.

    :raises DemoError: It did not.
    """
    if answer.status != status:
        raise DemoError(f"{what}: answered {answer.status} instead of {status}: {answer.body[:300]!r}")
    return answer


def remove_earlier(cache: Daemon, token: str) -> None:
    """
    Delete the image of an earlier demonstration: by way of the cache, so that its copy goes too.
    """
    listed = expect(cache.ask("GET", f"/v2/images?name={IMAGE_NAME}", token), 200, "listing images")
    for image in json.loads(listed.body)["images"]:
        expect(cache.ask("DELETE", f"/v2/images/{image['id']}", token), 204, "deleting the earlier image")


def upload(api: Daemon, token: str, data: bytes) -> str:
    """
    Create an image and upload its data.

    :return: The image's id.
    """
    document = {"name": IMAGE_NAME, "disk_format": "raw", "container_format": "bare"}
    created = expect(api.ask("POST", "/v2/images", token, json.dumps(document).encode()), 201, "creating the image")
    image_id: str = json.loads(created.body)["id"]
    began = time.monotonic()
    answer = api.ask("PUT", f"/v2/images/{image_id}/file", token, data, "application/octet-stream")
    expect(answer, 204, "uploading the image")
    step("upload", f"{api.url}/v2/images/{image_id}/file", speed(len(data), time.monotonic() - began))
    return image_id


def download(cache: Daemon, token: str, image_id: str, expected_sha512: str) -> str:
    """
    Download the image through the cache and check it.

    :return: What the cache says that it did (``X-Cache``).
    """
    began = time.monotonic()
    answer = expect(cache.ask("GET", f"/v2/images/{image_id}/file", token), 200, "downloading the image")
    seconds = time.monotonic() - began
    if hashlib.sha512(answer.body).hexdigest() != expected_sha512:
        raise DemoError("the downloaded image is not the uploaded one")
    state = answer.headers.get("x-cache", "none")
    step("download", f"X-Cache: {state}", f"{speed(len(answer.body), seconds)}, SHA-512 verified")
    return state


def listed(cache: Daemon, token: str, image_id: str) -> Mapping[str, object] | None:
    """
    Ask the cache what it has of the image.
    """
    answer = expect(cache.ask("GET", "/v2/cache", token), 200, "listing the cache")
    return next((each for each in json.loads(answer.body)["cached_images"] if each["image_id"] == image_id), None)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """
    Wait for something that takes a moment.

    :raises DemoError: It takes too long.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"{what} did not happen within {WAIT_SECONDS:g} seconds")
        time.sleep(0.02)


def step(what: str, where: str, how: str = "") -> None:
    """
    Show one step.
    """
    print(f"  {what:<9} {where:<78} {how}".rstrip(), flush=True)


def speed(size_bytes: int, seconds: float) -> str:
    """
    Say how fast something went.
    """
    return f"{size_bytes // MiB} MiB in {seconds:.2f} s, {size_bytes / MiB / max(seconds, 1e-6):.0f} MiB/s"


def show(api: Daemon, cache: Daemon, token: str, dashboard_port: int) -> None:
    """
    Run the main job once, step by step.
    """
    print("An image goes in through glance-api and comes out through glance-cache:")
    remove_earlier(cache, token)
    data = os.urandom(MiB) * (IMAGE_BYTES // MiB)
    digest = hashlib.sha512(data).hexdigest()
    image_id = upload(api, token, data)
    states = [download(cache, token, image_id, digest)]
    # The last byte is sent when the image was verified, a moment before it is safely on the disk.
    wait_until(lambda: listed(cache, token, image_id) is not None, "keeping the image")
    states.append(download(cache, token, image_id, digest))
    if states != ["fill", "hit"]:
        raise DemoError(f"a fill and a hit were expected, and the cache said {states}")
    wait_until(lambda: (listed(cache, token, image_id) or {}).get("hits") == 1, "counting the hit")
    step("hits", f"{cache.url}/v2/cache", "1 counted")
    print(f"""
glance-api    {api.url}
glance-cache  {cache.url}
dashboard     http://{HOST}:{dashboard_port}/dashboard
token         {token}

Try, in another terminal:

  curl -H 'X-Auth-Token: {token}' {api.url}/v2/images
  curl -H 'X-Auth-Token: {token}' -D - -o image {cache.url}/v2/images/{image_id}/file
  curl -H 'X-Auth-Token: {token}' {cache.url}/v2/cache

  pip install python-glanceclient python-openstackclient
  glance --os-auth-token {token} --os-image-url {cache.url} image-list
  glance --os-auth-token {token} --os-image-url {cache.url} cache-list
  openstack --os-auth-type admin_token --os-token {token} --os-endpoint {cache.url}/v2 image list
""")


def wait_for_end() -> None:
    """
    Stay until Ctrl-C, or until somebody ends this program.
    """
    print("Both daemons are up. Ctrl-C ends them.", flush=True)
    signal.pause()


def chosen_port(variable: str, default: int) -> int:
    """
    Read a port from the environment.

    :raises DemoError: What is there is no port.
    """
    text = os.environ.get(variable) or str(default)
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= 65535:
        raise DemoError(f"{variable} must be a port from 1 to 65535, not {text!r}")
    return int(text)


def prepare(folder: Path) -> tuple[Daemon, Daemon]:
    """
    Make the folder, and see that both daemons have a port.

    :return: glance-api and glance-cache, not yet running.
    :raises DemoError: Something is in the way.
    """
    api = Daemon("glance-api", chosen_port("GLANCE_API_PORT", 9292), folder)
    cache = Daemon("glance-cache", chosen_port("GLANCE_CACHE_PORT", 9293), folder)
    if api.port == cache.port:
        raise DemoError(f"GLANCE_API_PORT and GLANCE_CACHE_PORT must differ, and both are {api.port}")
    for daemon in (api, cache):
        check_port(daemon.name, daemon.port)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DemoError(f"the folder {folder} cannot be made: {error.strerror}") from error
    return api, cache


def main() -> int:
    """
    Run the demonstration.

    :return: The exit status.
    """
    folder = Path(os.environ.get("DEMO_DIR") or "demo-data").absolute()

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        api, cache = prepare(folder)
        dashboard_port = chosen_port("DASHBOARD_PORT", 9393)
        check_port("dashboard", dashboard_port)
        token = write_tokens(folder)
        with api.running(api_config(api)), cache.running(cache_config(cache, api, token, dashboard_port)):
            show(api, cache, token, dashboard_port)
            if os.environ.get("DEMO_ONCE", "") not in {"1", "true", "yes"}:
                wait_for_end()
    except (DemoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
