"""
Options that every daemon has, whatever it serves: its log, its threads, its name, and
the Redis it shares with others.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import ClassVar, Literal

from attrs import frozen
from oslo_config import cfg, types

from glance_tx.settings import Section, option
from glance_tx.settings.values import AbsolutePath, HostAndPort, RedisUrl, Word

__all__ = ["LogSettings", "NodeSettings", "RedisSettings", "ThreadSettings", "WatchSettings", "node_name_option"]


@frozen(kw_only=True)
class LogSettings(Section):
    """
    Where the log goes and how it looks.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    log_file: Path | None = option(
        cfg.Opt(
            "log_file",
            type=AbsolutePath(),
            help="File to append the log to. Keep it on a local disk: lines are written as things happen. Unset, "
            "the log goes to standard error, for a service manager to keep.",
        )
    )
    log_format: Literal["text", "json"] = option(
        cfg.StrOpt(
            "log_format",
            choices=["text", "json"],
            default="text",
            help="Lines for people, or one JSON object a line for programs. Text by default, as somebody who has "
            "not chosen yet is going to read it.",
        )
    )
    debug: bool = option(
        cfg.BoolOpt(
            "debug",
            default=False,
            help="Log what the daemon does step by step. Off by default: it is much, and slows the daemon down.",
        )
    )


@frozen(kw_only=True)
class ThreadSettings(Section):
    """
    Threads for work that would hold up everybody else: hashing, and writing to disk.
    """

    GROUP: ClassVar[str] = "threads"

    body_threads: int = option(
        cfg.IntOpt(
            "body_threads",
            min=1,
            max=256,
            default=8,
            help="Most threads that hash and write image data, all transfers together. One transfer coming in keeps "
            "up to three busy, so the default serves a machine with up to eight processors.",
        )
    )


@frozen(kw_only=True)
class WatchSettings(Section):
    """
    Files that are read anew when they change, while the daemon serves: rules, tokens, certificates.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    look_seconds: int = option(
        cfg.IntOpt(
            "reload_interval",
            min=0,
            max=86400,
            default=5,
            help="Seconds between looks at such files. A change is in force after two of them, as a file may be in "
            "the middle of being written at the first. 0: they are read at start only.",
        )
    )


@frozen(kw_only=True)
class RedisSettings(Section):
    """
    A Redis server shared by the daemons of one installation.
    """

    GROUP: ClassVar[str] = "redis"

    url: str | None = option(
        cfg.Opt(
            "url",
            type=RedisUrl(),
            secret=True,
            help="Where it is. Unset, nothing is shared between nodes, and each node keeps what it needs on its own "
            "disk.",
        )
    )
    sentinels: tuple[tuple[str, int], ...] = option(
        cfg.Opt(
            "sentinels",
            type=types.List(item_type=HostAndPort(26379)),
            default=[],
            sample_default="<none>",
            help="Addresses of Redis Sentinels, host or host:port, which are asked for the primary each time that a "
            "connection is made; one that answers is enough. url then tells how to speak with it (user, password, "
            "database, TLS), and its host and port do not count. With TLS, Sentinels speak it too. Unset, the server "
            "is the one in url.",
        )
    )
    sentinel_primary: str = option(
        cfg.Opt(
            "sentinel_primary",
            type=Word(r"[A-Za-z0-9._-]{1,255}", "1 to 255 letters, digits, dots, dashes and underscores"),
            default="mymaster",
            help="What the Sentinels call the primary (sentinel monitor). The default is that of Redis's own sample.",
        )
    )
    sentinel_username: str | None = option(
        cfg.StrOpt("sentinel_username", help="User at the Sentinels, where they have users.")
    )
    sentinel_password: str | None = option(
        cfg.StrOpt("sentinel_password", secret=True, help="Password at the Sentinels; it may differ from that in url.")
    )
    cafile: Path | None = option(
        cfg.Opt(
            "cafile",
            type=AbsolutePath(),
            help="Authorities, in PEM, for the certificate of a server at rediss://. Unset, those of the machine. Read "
            "at start.",
        )
    )
    certfile: Path | None = option(
        cfg.Opt("certfile", type=AbsolutePath(), help="Our own certificate, in PEM, for a server that asks for one.")
    )
    keyfile: Path | None = option(
        cfg.Opt("keyfile", type=AbsolutePath(), help="The key of certfile in PEM, without a passphrase.")
    )
    prefix: str = option(
        cfg.Opt(
            "prefix",
            type=Word(r"[A-Za-z0-9_.-]{1,64}", "1 to 64 letters, digits, dots, dashes and underscores"),
            default="glance_tx",
            help="Begins every key and channel. Give each installation its own where several share a server.",
        )
    )


def node_name_option() -> cfg.Opt:
    """
    Declare the option by which a node is told from others.
    """
    return cfg.Opt(
        "node_name",
        type=Word(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", "1 to 255 letters, digits, dots, dashes and underscores"),
        sample_default="<host name>",
        help="Tells this node from all others that share a database or a Redis. Keep it when the machine is "
        "rebuilt. The machine's host name by default.",
    )


@frozen(kw_only=True)
class NodeSettings(Section):
    """
    Which node this is.
    """

    GROUP: ClassVar[str] = "DEFAULT"

    node_name: str = option(node_name_option(), default=socket.gethostname)
