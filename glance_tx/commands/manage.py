"""
``glance-manage``: the image service's database, by hand.

The names, options and exit codes that operators' scripts know from stock Glance hold, as far as there is something
to do here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from attrs import evolve

from glance_tx import __version__
from glance_tx.configuration import GLANCE_API
from glance_tx.db import migrate
from glance_tx.db.options import DatabaseSettings
from glance_tx.db.purge import purge_members
from glance_tx.errors import FactualError
from glance_tx.settings import load
from glance_tx.settings.stock import StockOptions

__all__ = ["main"]

_OUT_OF_DATE: Final = 3
"""What stock's ``db check`` ends with where ``db expand`` is due, or all of it at once."""

# A database does not care who may log in, or what stock options have no effect.
_PROGRAM: Final = evolve(GLANCE_API, checks=(), stock=StockOptions())

_PATH: Final = click.Path(path_type=Path, exists=True, resolve_path=True)


def _told(function: Callable[..., object]) -> Callable[..., object]:
    """
    Have a command's refusals said in a line, and not as a traceback.
    """

    @wraps(function)
    def telling(*args: Any, **kwargs: Any) -> object:
        try:
            return function(*args, **kwargs)
        except FactualError as error:
            raise click.ClickException(str(error)) from error

    return telling


@click.group(name="glance-manage", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config-file", "files", multiple=True, type=_PATH, help="Read this file; may be repeated.")
@click.option("--config-dir", "folders", multiple=True, type=_PATH, help="Read all *.conf files of this folder.")
@click.version_option(__version__, prog_name="glance-manage")
@click.pass_context
@_told
def main(context: click.Context, files: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """
    Look after the database of glance-api.

    The database is the one of [database] connection in glance-api.conf, found where glance-api finds it.
    """
    if not context.resilient_parsing:
        context.obj = load(_PROGRAM, files, folders).settings[DatabaseSettings].url


@main.group()
def db() -> None:
    """
    The database.
    """


@click.command()
@click.pass_obj
@_told
def sync(url: str) -> None:
    """
    Bring the database to the schema of this version. Harmless when it is there already, and while others do the
    same. glance-api does it by itself when it starts.
    """
    before = migrate.current(url)
    migrate.upgrade(url)
    now = migrate.head()
    click.echo(f"the database is at {now} already" if before == now else f"the database is at {now} now")


@click.command()
@click.pass_obj
@_told
def version(url: str) -> None:
    """
    Print the schema revision that the database is at.
    """
    click.echo(migrate.current(url) or "0")


@click.command()
@click.pass_context
@_told
def check(context: click.Context) -> None:
    """
    Tell whether the database is at the schema of this version. Ends with 0 where it is, and with 3 where
    "glance-manage db sync" has something to do.
    """
    there, wanted = migrate.current(context.obj), migrate.head()
    if there == wanted:
        click.echo(f"the database is up to date, at {wanted}")
        return
    if there is not None and there not in migrate.known():
        raise click.ClickException(f"the database is at {there}, which this version does not know")
    click.echo(f"the database is at {there or '0'}, and this version wants {wanted}: run glance-manage db sync")
    context.exit(_OUT_OF_DATE)


@click.command()
@click.option(
    "--age_in_days", "--age-in-days", default=30, show_default=True, type=click.IntRange(min=0, max=100_000),
    help="Keep what was deleted less long ago.",
)  # fmt: skip
@click.option(
    "--max_rows", "--max-rows", default=100, show_default=True, type=click.IntRange(min=-1),
    help="Most rows to remove; -1 for all.",
)  # fmt: skip
@click.pass_obj
@_told
def purge(url: str, age_in_days: int, max_rows: int) -> None:
    """
    Remove rows of members that were taken off their image long ago. Deleted images stay: an id that could be used
    anew would let somebody put another image in the place of a trusted one.
    """
    if migrate.current(url) != migrate.head():
        raise click.ClickException("the database is not at the schema of this version: run glance-manage db sync")
    before = datetime.now(UTC) - timedelta(days=age_in_days)
    count = purge_members(url, before=before, max_rows=None if max_rows < 0 else max_rows)
    click.echo(f"{count} rows removed")


@click.command()
def nothing() -> None:
    """
    Nothing to do: a migration of this service is one step, "db sync" or "db expand".
    """
    click.echo("nothing to do: db sync is all of it")


for _names, _command in (
    (("sync", "upgrade", "expand"), sync),
    (("version",), version),
    (("check",), check),
    (("purge",), purge),
    (("migrate", "contract"), nothing),
):
    for _name in _names:
        db.add_command(_command, _name)

# The oldest spellings, which deployment tools still use.
for _name, _command in (("db_sync", sync), ("db_upgrade", sync), ("db_version", version)):
    main.add_command(_command, _name)
