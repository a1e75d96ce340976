"""
The servers that carry image data: our caching tier, and what others put in its place.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from peers import PeerMissing
from processes import HOST, ServerProcess, free_port, server

__all__ = ["Caches", "TlsFiles", "cache_workers", "glance_cache", "nginx", "varnish"]

NGINX, VARNISH = "nginx", "varnish"

_LONG_SECONDS = 600
_GIB = 1 << 30


@frozen
class TlsFiles:
    """
    What a server shows to clients over TLS.
    """

    certificate: Path
    key: Path


@frozen
class Caches:
    """
    A server, and where its several caches answer.

    :param upstreams: Each upstream's port, and the port of the cache before it.
    :param static: Where it serves files as they are; 0 where it does not.
    :param static_tls: The same over TLS.
    """

    process: ServerProcess
    upstreams: dict[int, int]
    static: int = 0
    static_tls: int = 0


def cache_workers(processes: int) -> str:
    """
    Say how many processes glance-cache has, in its configuration.

    It knows no such option where it cannot have more than one.

    :raises PeerMissing: It was asked for more than it can have.
    """
    from glance_cache.configuration import GLANCE_CACHE  # noqa: PLC0415  # slow to import, and wanted by few

    can = any(hasattr(section, "workers") for section in GLANCE_CACHE.sections)
    if not can and processes > 1:
        raise PeerMissing("this glance-cache has one process: --processes 1 compares like with like")
    return f"workers = {processes}" if can else ""


@contextmanager
def glance_cache(
    folder: Path, upstream_port: int, processes: int, tls: TlsFiles | None = None
) -> Iterator[ServerProcess]:
    """
    Run our caching tier before an image service.
    """
    port = free_port()
    folder.mkdir(exist_ok=True)
    config = folder / "glance-cache.conf"
    certificates = f"cert_file = {tls.certificate}\nkey_file = {tls.key}" if tls else ""
    config.write_text(f"""\
[DEFAULT]
bind_host = {HOST}
bind_port = {port}
{cache_workers(processes)}
{certificates}
log_file = {folder}/glance-cache.log
image_cache_dir = {folder}/cache
image_cache_max_size = {64 * _GIB}
[auth]
strategy = none
[upstream]
urls = http://{HOST}:{upstream_port}
[cache]
grant_ttl = 600
""")
    twistd = Path(sys.executable).with_name("twistd")
    command = [twistd, "--nodaemon", "--pidfile=", "glance-cache", "--config-file", config]
    with server("glance-cache", command, port, folder / "output.log", tls=tls is not None) as running:
        yield running


@contextmanager
def nginx(
    folder: Path, upstream_ports: Sequence[int], processes: int, root: Path, tls: TlsFiles | None = None
) -> Iterator[Caches]:
    """
    Run nginx: a folder of files by sendfile, and before each upstream a cache that lets one request through.

    :raises PeerMissing: It is not installed.
    """
    program = _program("nginx", "nginx-light")
    folder.mkdir()
    static, static_tls = free_port(), free_port() if tls else 0
    ports = {upstream: free_port() for upstream in upstream_ports}
    config = folder / "nginx.conf"
    caches = "".join(_nginx_cache(folder, upstream, port) for upstream, port in ports.items())
    over_tls = (
        f"""\
  server {{ listen {HOST}:{static_tls} ssl; root {root};
    ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key}; ssl_protocols TLSv1.3; }}
"""
        if tls
        else ""
    )
    config.write_text(f"""\
{"user root;" if os.geteuid() == 0 else ""}
daemon off; worker_processes {processes}; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log;
  sendfile on; sendfile_max_chunk 2m; default_type application/octet-stream; keepalive_timeout 65;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen {HOST}:{static}; root {root}; }}
{over_tls}{caches}}}
""")
    command = [program, "-p", folder, "-c", config]
    with server(NGINX, command, static, folder / "output.log") as running:
        yield Caches(running, ports, static, static_tls)


def _nginx_cache(folder: Path, upstream: int, port: int) -> str:
    return f"""\
  proxy_cache_path {folder}/cache{port} levels=1:2 keys_zone=cache{port}:10m max_size=64g inactive=7d use_temp_path=off;
  server {{ listen {HOST}:{port};
    location ~ ^/v2/images/[^/]+/file$ {{
      proxy_pass http://{HOST}:{upstream}; proxy_cache cache{port}; proxy_cache_key $uri$is_args$args;
      proxy_cache_valid 200 7d; proxy_cache_lock on; proxy_cache_lock_timeout {_LONG_SECONDS}s;
      proxy_cache_lock_age {_LONG_SECONDS}s; proxy_read_timeout {_LONG_SECONDS}s;
      add_header X-Cache $upstream_cache_status; }}
    location / {{ proxy_pass http://{HOST}:{upstream}; }} }}
"""


@contextmanager
def varnish(folder: Path, upstream_ports: Sequence[int], processes: int, memory_bytes: int) -> Iterator[Caches]:
    """
    Run Varnish, which keeps images in memory and streams them while they come.

    :param memory_bytes: For images.
    :raises PeerMissing: It is not installed.
    """
    program = _program("varnishd", "varnish")
    folder.mkdir()
    ports = {upstream: free_port() for upstream in upstream_ports}
    backends = "".join(
        f'backend at{each} {{ .host = "{HOST}"; .port = "{each}"; .first_byte_timeout = {_LONG_SECONDS}s; '
        f".between_bytes_timeout = {_LONG_SECONDS}s; }}\n"
        for each in ports
    )
    chosen = "".join(f'  if (local.socket == "at{each}") {{ set req.backend_hint = at{each}; }}\n' for each in ports)
    config = folder / "cache.vcl"
    config.write_text(f"""\
vcl 4.1;
{backends}
sub vcl_recv {{
{chosen}
  if (req.method == "PURGE") {{ return (purge); }}
  if (req.method == "GET" && req.url ~ "^/v2/images/[^/]+/file") {{ return (hash); }}
  return (pass);
}}
sub vcl_hash {{ hash_data(local.socket); }}
sub vcl_backend_response {{
  if (bereq.url ~ "/file" && beresp.status == 200) {{ set beresp.ttl = 7d; set beresp.do_stream = true; }}
}}
""")
    command = [program, "-F", "-j", "none", "-n", folder / "work", "-f", config]
    command += ["-s", f"malloc,{memory_bytes}", "-p", f"thread_pools={processes}"]
    for upstream, port in ports.items():
        command += ["-a", f"at{upstream}={HOST}:{port}"]
    with server(VARNISH, command, next(iter(ports.values())), folder / "output.log") as running:
        yield Caches(running, ports)


def _program(name: str, package: str) -> Path:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise PeerMissing(f"{name} is not installed (Debian: apt install {package})")
    return Path(found)
