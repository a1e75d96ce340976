"""
Where a message broker is.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from attrs import field, frozen

__all__ = ["Broker", "BrokerHost"]

_PORT = 5672


@frozen
class BrokerHost:
    """
    One server of a broker, and how to log in. Its text shows no password.
    """

    host: str
    port: int = _PORT
    username: str = "guest"
    password: str = field(default="guest", repr=False)


@frozen
class Broker:
    """
    A RabbitMQ: any of its servers will do.

    :param virtual_host: The part of it that is used.
    """

    hosts: tuple[BrokerHost, ...]
    virtual_host: str = "/"

    @classmethod
    def parse(cls, url: str) -> Broker:
        """
        Read ``rabbit://[user:password@]host[:port][,[user:password@]host[:port]...][/virtual host]``, the transport
        URL of oslo.messaging.

        :raises ValueError: It is none. The text does not repeat it, as it may hold a password.
        """
        scheme, separator, rest = url.partition("://")
        if not url.isprintable() or " " in url:
            raise ValueError("not a transport URL: it holds blanks or control characters")
        if not separator or scheme not in {"rabbit", "amqp", "kombu+amqp", "kombu"}:
            raise ValueError("not a transport URL: it does not begin with rabbit://")
        if "?" in rest or "#" in rest:
            raise ValueError("not a transport URL: it has a query or a fragment; use [oslo_messaging_rabbit]")
        places, slash, path = rest.partition("/")
        # As in oslo.messaging: without a slash, and with nothing after it, the broker's own default.
        return cls(tuple(_host(place) for place in places.split(",")), unquote(path) if slash and path else "/")


def _host(place: str) -> BrokerHost:
    try:
        parts = urlsplit(f"//{place}")
        port = parts.port
    except ValueError:
        raise ValueError("not a transport URL: host and port cannot be told apart") from None
    if not parts.hostname:
        raise ValueError("not a transport URL: it names no host")
    if port == 0:
        raise ValueError("not a transport URL: its port is 0")
    if parts.username is None:
        return BrokerHost(parts.hostname, port or _PORT)
    return BrokerHost(parts.hostname, port or _PORT, unquote(parts.username), unquote(parts.password or ""))
