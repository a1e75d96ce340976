"""
From an operator's words to clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import evolve

from glance_tx.redis.address import RedisAddress, Sentinels
from glance_tx.redis.client import RedisClient
from glance_tx.redis.subscription import IListener, RedisSubscription
from glance_tx.settings import Conflict, Settings
from glance_tx.settings.daemon import RedisSettings
from glance_tx.tls.client import ClientFiles, ClientTls

__all__ = ["find_half_redis_identity", "find_lonely_sentinels", "make_redis", "make_subscription", "redis_tls"]


def find_half_redis_identity(settings: Settings) -> Iterator[Conflict]:
    """
    Find a certificate without its key, and certificates for a server that is not spoken TLS with.
    """
    redis = settings[RedisSettings]
    if (redis.certfile is None) != (redis.keyfile is None):
        present, missing = ("keyfile", "certfile") if redis.certfile is None else ("certfile", "keyfile")
        yield Conflict("redis", present, f"needs [redis] {missing}")
    if redis.url is not None and not RedisAddress.parse(redis.url).tls:
        for name in ("cafile", "certfile"):
            if getattr(redis, name) is not None:
                yield Conflict("redis", name, "has no effect without TLS; url must begin with rediss://")


def find_lonely_sentinels(settings: Settings) -> Iterator[Conflict]:
    """
    Find Sentinels for no Redis, and half a login at them.
    """
    redis = settings[RedisSettings]
    if redis.sentinels and redis.url is None:
        yield Conflict("redis", "sentinels", "needs [redis] url, for how to speak with the server that they name")
    if redis.sentinel_username is not None and redis.sentinel_password is None:
        yield Conflict("redis", "sentinel_username", "needs [redis] sentinel_password")


def redis_tls(settings: RedisSettings) -> ClientTls | None:
    """
    Read the certificates for the Redis that is named; ``None`` where it is none, or one without TLS. Blocks.

    :raises CertificateUnusable: A file cannot be used.
    """
    if settings.url is None or not RedisAddress.parse(settings.url).tls:
        return None
    return ClientTls(ClientFiles(settings.cafile, settings.certfile, settings.keyfile))


def redis_address(url: str, settings: RedisSettings) -> RedisAddress:
    """
    Tell where the Redis is that is named.

    :param url: Of the settings.
    """
    address = RedisAddress.parse(url)
    if not settings.sentinels:
        return address
    sentinels = Sentinels(
        settings.sentinels, settings.sentinel_primary, settings.sentinel_username, settings.sentinel_password
    )
    return evolve(address, sentinels=sentinels)


def make_redis(
    reactor: object,
    settings: RedisSettings,
    tls: ClientTls | None,
    observe: Callable[[float], object] | None = None,
) -> RedisClient | None:
    """
    Make the client for the Redis that is named; ``None`` where it is none.

    :param tls: From `redis_tls`.
    :param observe: See `RedisClient`.
    """
    if settings.url is None:
        return None
    return RedisClient(reactor, redis_address(settings.url, settings), tls=tls, observe=observe)


def make_subscription(
    reactor: object, settings: RedisSettings, tls: ClientTls | None, channel: str, listener: IListener
) -> RedisSubscription | None:
    """
    Make a subscription at the Redis that is named; ``None`` where it is none.

    :param tls: From `redis_tls`.
    :param channel: Its name after the prefix.
    """
    if settings.url is None:
        return None
    address = redis_address(settings.url, settings)
    return RedisSubscription(reactor, address, f"{settings.prefix}:{channel}", listener, tls=tls)
