"""
Options that say who is told of what happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from attrs import frozen
from oslo_config import cfg

from glance_tx.notify.broker import Broker
from glance_tx.settings import Conflict, Section, Settings, option
from glance_tx.settings.values import Described, Word

__all__ = [
    "BrokerSettings",
    "BrokerUrl",
    "NotificationSettings",
    "PublisherSettings",
    "find_unusable_drivers",
    "transport_url",
]

_DRIVERS: Final = ("messagingv2", "log", "noop")
_NAME: Final = Word(r"[A-Za-z0-9_.:-]{1,255}", "1 to 255 letters, digits, dots, colons, dashes and underscores")


class BrokerUrl(Described):
    """
    The address of a message broker. May carry passwords.
    """

    description = "rabbit://[user:password@]host[:port][,...][/virtual host]"

    def __call__(self, value: object) -> str:
        """
        Check text.
        """
        text = str(value).strip()
        Broker.parse(text)
        return text


@frozen(kw_only=True)
class PublisherSettings(Section):
    """
    What is told, and under which name.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    publisher_id: str = option(
        cfg.Opt(
            "default_publisher_id",
            type=_NAME,
            default="image.localhost",
            help="Who tells, as a consumer of notifications reads it. Stock's default.",
        )
    )
    disabled: tuple[str, ...] = option(
        cfg.ListOpt(
            "disabled_notifications",
            default=[],
            sample_default="<none>",
            help="Notifications that are not sent: whole names such as image.create, or groups such as image and "
            "image.member. Caching nodes are told of changes by way of [redis] all the same.",
        )
    )
    transport_url: str | None = option(
        cfg.Opt(
            "transport_url",
            type=BrokerUrl(),
            secret=True,
            help="The message broker, where [oslo_messaging_notifications] transport_url does not say otherwise.",
        )
    )
    exchange: str = option(
        cfg.Opt(
            "control_exchange",
            type=_NAME,
            default="glance",
            help="Exchange of the message broker that notifications go to. Stock's default.",
        )
    )


@frozen(kw_only=True)
class NotificationSettings(Section):
    """
    Notifications for billing, telemetry and other services.
    """

    GROUP: ClassVar[str] = "oslo_messaging_notifications"

    drivers: tuple[str, ...] = option(
        cfg.MultiStrOpt(
            "driver",
            default=[],
            sample_default="<none>",
            help="Where notifications go: messagingv2 sends them to the message broker, log writes them to the log, "
            "noop does neither; may be given several times. None by default, as in stock Glance. The older format "
            "messaging is not supported.",
        )
    )
    transport_url: str | None = option(
        cfg.Opt(
            "transport_url",
            type=BrokerUrl(),
            secret=True,
            help="The message broker, RabbitMQ, for driver = messagingv2. Unset, it is transport_url of DEFAULT.",
        )
    )
    topics: tuple[str, ...] = option(
        cfg.ListOpt(
            "topics",
            item_type=_NAME,
            default=["notifications"],
            help="Queues, but for their ending: a notification of priority INFO goes to <topic>.info of each. "
            "Stock's default.",
        )
    )
    backlog: int = option(
        cfg.IntOpt(
            "backlog",
            min=1,
            max=1_000_000,
            default=10_000,
            help="Notifications that wait in memory while a recipient is away, for each recipient; then the oldest "
            "go. About 2 KiB each.",
        )
    )


@frozen(kw_only=True)
class BrokerSettings(Section):
    """
    How the message broker is used.
    """

    GROUP: ClassVar[str] = "oslo_messaging_rabbit"

    durable: bool = option(
        cfg.BoolOpt(
            "amqp_durable_queues",
            default=False,
            help="Declare exchange and queues durable. It has to be what the broker's other users declare, or the "
            "broker refuses. Stock's default.",
        )
    )


def transport_url(settings: Settings) -> str | None:
    """
    Tell where the message broker is, if one is to be told at all.
    """
    if "messagingv2" not in settings[NotificationSettings].drivers:
        return None
    return settings[NotificationSettings].transport_url or settings[PublisherSettings].transport_url


def find_unusable_drivers(settings: Settings) -> Iterator[Conflict]:
    """
    Find a driver that there is not, or that lacks what it needs.
    """
    for name in settings[NotificationSettings].drivers:
        if name not in _DRIVERS:
            reason = f"{name!r} is none of {', '.join(_DRIVERS)}"
            yield Conflict(NotificationSettings.GROUP, "driver", reason)
    if "messagingv2" in settings[NotificationSettings].drivers and transport_url(settings) is None:
        yield Conflict(
            NotificationSettings.GROUP, "transport_url", "is not set, and driver = messagingv2 needs a message broker"
        )
