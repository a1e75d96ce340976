"""
``glance-cache-cleaner``, ``glance-cache-pruner`` and ``glance-cache-prefetcher``: one pass each, for cron.

Cleaner and pruner work through the running daemon, or, where they are given its configuration, on the folder of one
that is stopped. The prefetcher waits for the daemon, which works on its queue by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import click
from attrs import evolve
from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from glance_cache.commands.client import NodeClient, node_options
from glance_cache.commands.progress import follow
from glance_cache.configuration import GLANCE_CACHE
from glance_cache.entries import EntryStore
from glance_cache.errors import EntryCorrupt
from glance_cache.eviction import LeastRecentlyUsed
from glance_cache.files import FileOps
from glance_cache.folder import CacheFolder
from glance_cache.housekeeping import Removed
from glance_cache.options import StorageSettings
from glance_cache.space import SpaceAccount
from glance_tx import __version__
from glance_tx.errors import FactualError
from glance_tx.settings import load
from glance_tx.settings.stock import StockOptions
from glance_tx.streaming.lanes import BodyThreads, Lanes

__all__ = ["cleaner", "prefetcher", "pruner"]

# A folder does not care who may manage the daemon.
_PROGRAM: Final = evolve(GLANCE_CACHE, checks=(), stock=StockOptions())

_help = {"help_option_names": ["-h", "--help"]}
_config = click.option(
    "--config-file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, resolve_path=True),
    help="Work on the folder of this configuration, whose daemon must be stopped; may be repeated.",
)


@click.command("glance-cache-cleaner", context_settings=_help)
@_config
@click.version_option(__version__, prog_name="glance-cache-cleaner")
@node_options
def cleaner(node: NodeClient, files: tuple[Path, ...]) -> None:
    """
    Remove downloads that were left, and not gone on with for image_cache_stall_time.
    """
    if not files:
        node.ask("POST", "/v2/cache/clean")
        return
    settings = _storage(files)
    _say(_with_folder(settings, lambda store: store.housekeeping.clean(settings.stall_seconds)))


@click.command("glance-cache-pruner", context_settings=_help)
@_config
@click.version_option(__version__, prog_name="glance-cache-pruner")
@node_options
def pruner(node: NodeClient, files: tuple[Path, ...]) -> None:
    """
    Remove images down to image_cache_max_size, the least recently used first.
    """
    if not files:
        gone = node.ask("POST", "/v2/cache/prune")
        _say(Removed(gone["total_files_pruned"], gone["total_bytes_pruned"]))
        return
    # Looking through the folder keeps its limit.
    settings = _storage(files)
    before = _Seen()
    _with_folder(settings, lambda store: store.housekeeping.prune(), before)
    _say(before.removed)


@click.command("glance-cache-prefetcher", context_settings=_help)
@click.version_option(__version__, prog_name="glance-cache-prefetcher")
@node_options
def prefetcher(node: NodeClient) -> None:
    """
    Wait until nothing of the queue is left to be fetched, and show the progress. Ends with 1 where an image was given
    up.
    """
    if not follow(node, Console()):
        raise click.exceptions.Exit(1)


def _storage(files: tuple[Path, ...]) -> StorageSettings:
    try:
        return load(_PROGRAM, files).settings[StorageSettings]
    except FactualError as error:
        raise click.ClickException(str(error)) from error


def _say(removed: Removed) -> None:
    click.echo(f"Removed {removed.entries} images of {removed.size_bytes} bytes")


class _Seen:
    """
    Adds up what goes.
    """

    def __init__(self) -> None:
        self.removed = Removed(0, 0)

    def evicted(self, _: str, size_bytes: int) -> None:
        """
        Take note of an image.
        """
        self.removed = Removed(self.removed.entries + 1, self.removed.size_bytes + size_bytes)


def _with_folder(
    settings: StorageSettings, work: Callable[[EntryStore], Awaitable[Removed]], seen: _Seen | None = None
) -> Removed:
    """
    Do something with the folder of a daemon that is stopped.
    """
    done: list[Removed | FactualError] = []

    async def run(reactor: Any) -> None:
        try:
            done.append(await _work(reactor, settings, work, seen or _Seen()))
        except FactualError as error:
            done.append(error)

    try:
        react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as ended:
        if not done:
            raise click.ClickException("the folder could not be worked on") from ended
    if isinstance(done[0], FactualError):
        raise click.ClickException(str(done[0]))
    return done[0]


async def _work(
    reactor: Any, settings: StorageSettings, work: Callable[[EntryStore], Awaitable[Removed]], seen: _Seen
) -> Removed:
    def damaged(error: EntryCorrupt) -> None:
        click.echo(str(error), err=True)

    lanes = Lanes(reactor, BodyThreads(0, 2, "bodies"))
    folder, account = CacheFolder(settings.folder, FileOps()), SpaceAccount(settings.max_size_bytes)
    store = EntryStore(folder, account, LeastRecentlyUsed(), lanes, reactor, damaged, on_evict=seen.evicted)
    await lanes.start()
    try:
        await store.start()
        try:
            await store.scan()
            return await work(store)
        finally:
            await store.stop()
    finally:
        await lanes.stop()
