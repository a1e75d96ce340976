"""
Requests to a caching node, for programs that wait for the answer.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
from attrs import field, frozen

__all__ = ["NodeClient", "node_options"]

F = TypeVar("F", bound=Callable[..., object])

_SECONDS: Final = 60.0
_STREAM_SECONDS: Final = 60.0
"""A node that is silent for longer is gone: it shows every 15 seconds that it is not."""


class _Refusing(urllib.request.HTTPRedirectHandler):
    """
    Follows nobody: a token is for the node, and for no other address.
    """

    def redirect_request(self, *_: object) -> None:
        return None


@frozen
class NodeClient:
    """
    One node.

    :param url: Its address, without a path.
    :param token: Sent as ``X-Auth-Token``; ``None`` for a node that wants none.
    """

    url: str
    token: str | None = field(repr=False)
    context: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, document: object = None, seconds: float | None = _SECONDS) -> Any:
        """
        Send a request.

        :param document: Goes as its JSON body.
        :param seconds: To wait for each part of the answer; ``None`` for as long as it takes.
        :return: The JSON document that comes back; ``None`` where there is none.
        :raises click.ClickException: The node refused, or cannot be reached.
        """
        with self._open(method, path, document, seconds) as answer:
            body = answer.read()
        try:
            return orjson.loads(body) if body else None
        except orjson.JSONDecodeError as error:
            raise click.ClickException(f"{self.url} is no caching node: it answers {body[:60]!r}") from error

    def events(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """
        Follow what happens on the node: kind and facts of each event, until it ends the stream.

        :raises click.ClickException: It refused, cannot be reached, or fell silent.
        """
        kind = ""
        with self._open("GET", "/v2/cache/events", None, _STREAM_SECONDS) as answer:
            try:
                for line in answer:
                    name, _, value = line.rstrip(b"\r\n").partition(b": ")
                    if name == b"event":
                        kind = value.decode()
                    elif name == b"data":
                        yield kind, orjson.loads(value)
            except OSError as error:
                raise click.ClickException(f"{self.url} tells nothing any more: {error}") from error

    def _open(self, method: str, path: str, document: object, seconds: float | None) -> Any:
        headers = {"Accept": "application/json"}
        if self.token is not None:
            headers["X-Auth-Token"] = self.token
        data = None
        if document is not None:
            data, headers["Content-Type"] = orjson.dumps(document), "application/json"
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310  (see node_options)
        handlers: list[Any] = [_Refusing(), urllib.request.ProxyHandler({})]
        if self.context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self.context))
        try:
            return urllib.request.build_opener(*handlers).open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            with error:
                raise click.ClickException(_refusal(error.code, error.read(64 * 1024))) from error
        except (urllib.error.URLError, OSError) as error:
            raise click.ClickException(f"{self.url} cannot be reached: {getattr(error, 'reason', error)}") from error


def _refusal(status: int, body: bytes) -> str:
    try:
        document = orjson.loads(body)
        message = document.get("message") if isinstance(document, dict) else None
    except orjson.JSONDecodeError:
        message = None
    said = f": {message}" if message else ""
    match status:
        case 401:
            return f"The token is missing, or not valid (--os-auth-token, OS_TOKEN){said}"
        case 403:
            return f"Not authorized to make this request{said}"
        case _:
            return f"The node refused ({status}){said}"


def _make(
    url: str | None, host: str, port: int, token: str | None, cacert: Path | None, *, insecure: bool
) -> NodeClient:
    address = (url or f"http://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise click.UsageError(f"{address} is no address of a node: it must begin with http:// or https://")
    context = None
    if address.startswith("https://"):
        try:
            context = ssl.create_default_context(cafile=cacert)
        except (ssl.SSLError, OSError) as error:
            raise click.ClickException(f"{cacert} has no certificates: {error}") from error
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    return NodeClient(address, token, context)


def node_options(command: F) -> F:
    """
    Give a command the options that say which node it talks to, and as whom. It gets a ``node`` for them.
    """

    def called(
        *args: Any,
        node_url: str | None,
        host: str,
        port: int,
        os_auth_token: str | None,
        os_cacert: Path | None,
        insecure: bool,
        **kwargs: Any,
    ) -> object:
        node = _make(node_url, host, port, os_auth_token, os_cacert, insecure=insecure)
        return command(*args, node=node, **kwargs)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    path = click.Path(path_type=Path, exists=True, dir_okay=False)
    wrapped: Any = called
    wrapped.__click_params__ = list(getattr(command, "__click_params__", []))
    for option in reversed(
        (
            click.option(
                "--url", "node_url", envvar="GLANCE_CACHE_URL", help="Address of the node, instead of host and port."
            ),
            click.option("-H", "--host", default="127.0.0.1", show_default=True, help="Host of the node."),
            click.option(
                "-p", "--port", default=9293, show_default=True, type=click.IntRange(1, 65535), help="Its port."
            ),
            click.option(
                "-A",
                "--os-auth-token",
                envvar=["OS_TOKEN", "OS_AUTH_TOKEN"],
                help="Token of an administrator [OS_TOKEN].",
            ),
            click.option("--os-cacert", envvar="OS_CACERT", type=path, help="Authorities of its certificate, in PEM."),
            click.option("-k", "--insecure", is_flag=True, help="Believe any certificate: for a test, if at all."),
        )
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]
