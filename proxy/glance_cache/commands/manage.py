"""
``glance-cache-manage``: a caching node, by hand.

The names, options and exit codes that operators' scripts know from stock Glance hold: 0 where it was done, 1 where it
was not, 2 where the command was not understood.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import click
import orjson
from attrs import frozen
from rich.console import Console
from rich.table import Table

from glance_cache.commands.client import NodeClient, node_options
from glance_cache.commands.progress import follow
from glance_cache.commands.tables import cached_table, jobs_table, nodes_table, show_facts
from glance_tx import __version__

__all__ = ["main"]

_VERIFY_SECONDS: Final = None


class _ImageId(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """
    An image id.
    """

    name = "image_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Read one.
        """
        try:
            return str(uuid.UUID(str(value)))
        except ValueError:
            self.fail(f"{value!r} is no image id", param, ctx)


@frozen
class _Session:
    """
    What all commands share.
    """

    node: NodeClient
    console: Console
    force: bool
    verbose: bool
    as_json: bool

    def show(self, document: Any, table: Callable[[], Table | None]) -> None:
        """
        Print a document as such, or as a table.
        """
        if self.as_json:
            click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        elif (drawn := table()) is not None:
            self.console.print(drawn, soft_wrap=True)

    def facts(self, document: Mapping[str, Any]) -> None:
        """
        Print a document as such, or a line for each fact.
        """
        if self.as_json:
            click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        else:
            show_facts(self.console, document)

    def confirm(self, question: str) -> None:
        """
        Ask, unless the caller is sure; ends the program where the answer is no.
        """
        if not self.force:
            click.confirm(question, abort=True)

    def tell(self, text: str) -> None:
        """
        Say what was done, to whoever wants to hear it.
        """
        if self.verbose:
            click.echo(text)


@click.group(name="glance-cache-manage", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--force", is_flag=True, help="Ask nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Say what was done.")
@click.option("--json", "as_json", is_flag=True, help="Print what the node answers, as JSON.")
@click.version_option(__version__, prog_name="glance-cache-manage")
@click.pass_context
@node_options
def main(context: click.Context, node: NodeClient, force: bool, verbose: bool, as_json: bool) -> None:
    """
    Manage one node of glance-cache.
    """
    context.obj = _Session(node, Console(), force, verbose, as_json)


_image = click.argument("image_id", type=_ImageId())
_priority = click.option("--priority", default=0, type=click.IntRange(-100, 100), help="The greater one goes first.")
_wait = click.option("--wait", is_flag=True, help="Show the progress, and end when nothing is left to be fetched.")


@main.command("list-cached")
@click.pass_obj
def list_cached(session: _Session) -> None:
    """
    List the images that are cached.
    """
    cached = session.node.ask("GET", "/v2/cache")["cached_images"]
    if not session.as_json:
        click.echo(f"Found {len(cached)} cached images..." if cached else "No cached images.")
    session.show(cached, lambda: cached_table(cached) if cached else None)


@main.command("list-queued")
@click.pass_obj
def list_queued(session: _Session) -> None:
    """
    List the images that are queued, or being fetched.
    """
    queued = session.node.ask("GET", "/v2/cache")["queued_images"]
    if not session.as_json:
        click.echo(
            "\n".join([f"Found {len(queued)} queued images...", "ID", *queued]) if queued else "No queued images."
        )
    session.show(queued, lambda: None)


@main.command("queue-image")
@_image
@_priority
@_wait
@click.pass_obj
def queue_image(session: _Session, image_id: str, priority: int, wait: bool) -> None:
    """
    Have an image fetched.
    """
    session.confirm(f"Queue image {image_id} for caching?")
    session.node.ask("POST", "/v2/cache/jobs", {"image_ids": [image_id], "priority": priority})
    session.tell(f"Queued image {image_id} for caching")
    _finish(session, wait=wait)


@main.command("queue-matching")
@click.option("--name", help="Images of this name.")
@click.option("--tag", "tags", multiple=True, help="Images with this tag; may be repeated.")
@click.option(
    "--property", "properties", multiple=True, metavar="NAME=VALUE", help="Images with this; may be repeated."
)
@click.option("--newest", default=100, show_default=True, type=click.IntRange(1, 1000), help="No more than these.")
@_priority
@_wait
@click.pass_obj
def queue_matching(
    session: _Session,
    name: str | None,
    tags: tuple[str, ...],
    properties: tuple[str, ...],
    newest: int,
    priority: int,
    wait: bool,
) -> None:
    """
    Have all images fetched that fit.
    """
    wanted: dict[str, Any] = {"tags": tags, "newest": newest}
    if name is not None:
        wanted["name"] = name
    pairs = [text.partition("=") for text in properties]
    if not all(key and equals for key, equals, _ in pairs):
        raise click.UsageError("a property is written as NAME=VALUE")
    wanted["properties"] = {key: value for key, _, value in pairs}
    session.confirm("Queue all matching images for caching?")
    _queue_many(session, {"filter": wanted, "priority": priority}, wait=wait)


@main.command()
@click.argument("count", type=click.IntRange(1, 1000))
@_priority
@_wait
@click.pass_obj
def warm(session: _Session, count: int, priority: int, wait: bool) -> None:
    """
    Have the images fetched that were served most often by all nodes.
    """
    session.confirm(f"Queue the {count} images with most hits for caching?")
    _queue_many(session, {"warm": count, "priority": priority}, wait=wait)


def _queue_many(session: _Session, wanted: Mapping[str, Any], *, wait: bool) -> None:
    added = session.node.ask("POST", "/v2/cache/jobs", wanted)
    session.facts(added)
    _finish(session, wait=wait)


def _finish(session: _Session, *, wait: bool) -> None:
    if wait and not follow(session.node, session.console):
        raise click.exceptions.Exit(1)


@main.command("delete-cached-image")
@_image
@click.pass_obj
def delete_cached_image(session: _Session, image_id: str) -> None:
    """
    Remove an image from the cache.
    """
    session.confirm(f"Delete cached image {image_id}?")
    session.node.ask("DELETE", f"/v2/cached_images/{image_id}")
    session.tell(f"Deleted cached image {image_id}")


@main.command("delete-all-cached-images")
@click.pass_obj
def delete_all_cached_images(session: _Session) -> None:
    """
    Remove all images from the cache.
    """
    session.confirm("Delete all cached images?")
    session.tell(f"Deleted {session.node.ask('DELETE', '/v2/cached_images')['num_deleted']} cached images")


@main.command("delete-queued-image")
@_image
@click.pass_obj
def delete_queued_image(session: _Session, image_id: str) -> None:
    """
    Take an image out of the queue.
    """
    session.confirm(f"Delete queued image {image_id}?")
    session.node.ask("DELETE", f"/v2/queued_images/{image_id}")
    session.tell(f"Deleted queued image {image_id}")


@main.command("delete-all-queued-images")
@click.pass_obj
def delete_all_queued_images(session: _Session) -> None:
    """
    Empty the queue.
    """
    session.confirm("Delete all queued images?")
    session.tell(f"Deleted {session.node.ask('DELETE', '/v2/queued_images')['num_deleted']} queued images")


@main.command()
@click.pass_obj
def jobs(session: _Session) -> None:
    """
    Show the queue, with what was given up. Ends with 1 where something was.
    """
    found = session.node.ask("GET", "/v2/cache/jobs")["jobs"]
    if not found and not session.as_json:
        click.echo("No jobs.")
    session.show(found, lambda: jobs_table(found) if found else None)
    if any(job["state"] == "failed" for job in found):
        raise click.exceptions.Exit(1)


@main.command()
@click.pass_obj
def stats(session: _Session) -> None:
    """
    Show how the node does.
    """
    session.facts(session.node.ask("GET", "/v2/cache/stats"))


@main.command()
@click.pass_obj
def nodes(session: _Session) -> None:
    """
    List the nodes that share the index.
    """
    found = session.node.ask("GET", "/v2/cache/nodes")["nodes"]
    session.show(found, lambda: nodes_table(found))


@main.command()
@_image
@click.pass_obj
def explain(session: _Session, image_id: str) -> None:
    """
    Tell what a download with this token would come to, and why.
    """
    session.facts(session.node.ask("GET", f"/v2/cache/{image_id}/explain"))


@main.command()
@_image
@click.pass_obj
def pin(session: _Session, image_id: str) -> None:
    """
    Keep an image from eviction.
    """
    session.node.ask("PUT", f"/v2/cache/{image_id}/pin")
    session.tell(f"Pinned image {image_id}")


@main.command()
@_image
@click.pass_obj
def unpin(session: _Session, image_id: str) -> None:
    """
    Let an image go when its time comes.
    """
    session.node.ask("DELETE", f"/v2/cache/{image_id}/pin")
    session.tell(f"Unpinned image {image_id}")


@main.command()
@_image
@click.pass_obj
def verify(session: _Session, image_id: str) -> None:
    """
    Have an image read anew. Ends with 1 where it was damaged; what is
    wrong is fetched again, and the image removed where that cannot be.
    """
    verdict = session.node.ask("POST", f"/v2/cache/{image_id}/verify", seconds=_VERIFY_SECONDS)
    if session.as_json:
        session.facts(verdict)
    else:
        damaged = "damaged, and is repaired" if verdict["kept"] else "damaged, and removed from the cache"
        click.echo(f"Image {image_id} is {'right' if verdict['right'] else damaged}")
    if not verdict["right"]:
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@click.pass_obj
def watch(session: _Session, count: int | None) -> None:
    """
    Follow what happens on the node, until it stops or this is interrupted. With --json, an event a line.
    """
    for number, (kind, facts) in enumerate(session.node.events(), 1):
        if session.as_json:
            click.echo(orjson.dumps({"event": kind, **facts}).decode())
        else:
            said = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "at" and value is not None)
            click.echo(f"{kind:8} {said}")
        if number == count:
            return
