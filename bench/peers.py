"""
The servers that are compared: our glance-api, and stock Glance as PyPI has it.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import sqlalchemy as sa
from attrs import frozen

from processes import HOST, ServerProcess, free_port, server

__all__ = ["GLANCE_TX", "STOCK", "Peer", "PeerMissing", "StockGlance", "glance_tx", "installed", "nginx_files"]

GLANCE_TX = "glance_tx"
STOCK = "stock"

_STOCK_REQUIREMENTS = ("glance", "uwsgi", "psycopg2-binary", "PyMySQL", "python-memcached")
_STOCK_THREADS = 16


class PeerMissing(Exception):
    """
    A server to compare with cannot be had here.
    """


Peer = Callable[[sa.URL, Path, int], AbstractContextManager[ServerProcess]]
"""Runs a server on an empty database, with a folder of its own and so many processes."""


@contextmanager
def glance_tx(url: sa.URL, folder: Path, processes: int) -> Iterator[ServerProcess]:
    """
    Run our glance-api, out of the environment that this program runs in.
    """
    port = free_port()
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    config = folder / "glance-api.conf"
    config.write_text(f"""\
[DEFAULT]
bind_host = {HOST}
bind_port = {port}
workers = {processes}
log_file = {folder}/glance-api.log
[auth]
strategy = none
[database]
connection = {url.render_as_string(hide_password=False)}
[glance_store]
filesystem_store_datadir = {folder}/images
[oslo_concurrency]
lock_path = {folder}/locks
""")
    twistd = Path(sys.executable).with_name("twistd")
    command = [twistd, "--nodaemon", "--pidfile=", "glance-api", "--config-file", config]
    with server(GLANCE_TX, command, port, folder / "output.log") as running:
        yield running


@frozen
class StockGlance:
    """
    Stock Glance under uWSGI, set up as devstack does that.

    ``http-socket`` and ``Connection: close`` are devstack's: a connection carries one request. It asks for no token,
    as ours does, and so has its older policy defaults, without which nobody could create an image. The access log of
    uWSGI is off; ours is on.

    :param environment: A virtual environment with Glance and uWSGI.
    :param caches: Whether it has its image cache before its store, with the driver that is its default.
    """

    environment: Path
    caches: bool = False

    @contextmanager
    def __call__(self, url: sa.URL, folder: Path, processes: int) -> Iterator[ServerProcess]:
        """
        Run it.
        """
        port = free_port()
        shutil.copy(self.environment / "etc/glance/glance-api-paste.ini", folder)
        config = folder / "glance-api.conf"
        config.write_text(_stock_config(url, folder, port) + (_stock_cache(folder, port) if self.caches else ""))
        (folder / "uwsgi.ini").write_text(_uwsgi_config(port, processes))
        programs = self.environment / "bin"
        _run([programs / "glance-manage", "--config-file", config, "db_sync"])
        command = [programs / "uwsgi", "--ini", folder / "uwsgi.ini"]
        environment = {"OS_GLANCE_CONFIG_DIR": str(folder)}
        with server(STOCK, command, port, folder / "output.log", environment) as running:
            yield running


@contextmanager
def nginx_files(file: Path, folder: Path) -> Iterator[ServerProcess]:
    """
    Run nginx, one worker, serving one file by sendfile, without an access log.

    :raises PeerMissing: It is not installed.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise PeerMissing("there is no nginx")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_nginx_config(port, file.parent, folder))
    command = [program, "-c", config, "-p", folder, "-e", folder / "nginx.err"]
    with server("nginx", command, port, folder / "nginx.out") as running:
        yield running


def installed(cache: Path, name: str, requirements: Sequence[str] = _STOCK_REQUIREMENTS) -> Path:
    """
    Find a virtual environment with some packages in a folder, or make it, of the Python that this program runs on.

    :raises PeerMissing: It cannot be made.
    """
    environment = cache.resolve() / f"venv-{name}"
    mark = environment / f".installed-{hashlib.sha256(repr(requirements).encode()).hexdigest()[:12]}"
    if not mark.exists():
        print(f"installing {' '.join(requirements)} into {environment}", flush=True)
        _run([sys.executable, "-m", "venv", environment])
        _run([environment / "bin/pip", "install", "--quiet", "--upgrade", "pip", "wheel", "setuptools"])
        _run([environment / "bin/pip", "install", "--quiet", *requirements])
        mark.touch()
    return environment


def _run(command: Sequence[str | Path]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        raise PeerMissing(f"{Path(command[0]).name}: {output.strip().splitlines()[-1]}") from error


def _stock_config(url: sa.URL, folder: Path, port: int) -> str:
    if url.get_backend_name() == "sqlite":
        # Or it answers 500 where its own processes are in each other's way.
        url = url.update_query_dict({"timeout": "60"})
    else:
        url = url.set(drivername="postgresql+psycopg2")
    for name in ("images", "staging", "tasks", "locks"):
        (folder / name).mkdir(exist_ok=True)
    return f"""\
[DEFAULT]
log_file = {folder}/glance-api.log
bind_port = {port}
enabled_backends = file:file
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = {url.render_as_string(hide_password=False)}
[oslo_concurrency]
lock_path = {folder}/locks
[oslo_policy]
enforce_scope = false
enforce_new_defaults = false
[paste_deploy]
config_file = {folder}/glance-api-paste.ini
"""


def _stock_cache(folder: Path, port: int) -> str:
    # It follows the section [paste_deploy].
    return f"""\
flavor = cachemanagement
[DEFAULT]
image_cache_dir = {folder}/cache
image_cache_max_size = 53687091200
worker_self_reference_url = http://{HOST}:{port}
"""


def _nginx_config(port: int, root: Path, folder: Path) -> str:
    # Started by root, its worker would else be somebody who may not read the file.
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    return f"""\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  server {{ listen {HOST}:{port}; root {root}; }}
}}
"""


def _uwsgi_config(port: int, processes: int) -> str:
    return f"""\
[uwsgi]
module = glance.wsgi.api
http-socket = {HOST}:{port}
processes = {processes}
threads = {_STOCK_THREADS}
master = true
die-on-term = true
enable-threads = true
thunder-lock = true
buffer-size = 65535
lazy-apps = true
add-header = Connection: close
http-raw-body = true
http-chunked-input = true
http-auto-chunked = true
socket-timeout = 300
http-timeout = 300
listen = 128
need-app = true
disable-logging = true
"""
