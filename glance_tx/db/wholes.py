"""
Reading images whole: their rows, and what other tables hold of them.

Note [One statement]. SQLite and PostgreSQL make JSON of an image's properties, tags and locations, so that one
statement reads images with all of it. It needs no transaction around it, as it sees one state of the database by
itself; see Note [Past SQLAlchemy] for how it is run. MariaDB cuts such JSON off at a length that its configuration
chooses, so there, on MySQL, and on a SQLite that was built without its JSON functions, every kind of part is read by a
statement of its own (`glance_tx.db.partwise`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import orjson
import sqlalchemy as sa
from attrs import fields

from glance_tx.db import partwise
from glance_tx.db.coverage import is_member
from glance_tx.db.prepared import Prepared
from glance_tx.db.shapes import PROJECT_ID
from glance_tx.db.tables import image_locations, image_members, image_properties, image_tags, images
from glance_tx.domain.errors import ImageNotFound
from glance_tx.domain.images import Image, ImageStatus, Location, Visibility

__all__ = ["Reading", "find", "in_one_statement"]

_IMAGE_ID: Final = "wanted_image_id"

_ATTRIBUTES: Final = tuple(field.name for field in fields(Image) if field.name in images.c)
"""What of an image is in its own row; these are the first of its fields, in their order."""
_STATUS, _VISIBILITY, _OWNER = map(_ATTRIBUTES.index, ("status", "visibility", "owner"))
_STATUSES: Final = {status.value: status for status in ImageStatus}
_VISIBILITIES: Final = {visibility.value: visibility for visibility in Visibility}

_make: Final[Callable[..., Image]] = Image

_Order = Callable[[Any], Iterable[sa.ColumnElement[Any]]]


def find(connection: sa.Connection, image_id: str, project_id: str | None = None) -> Image:
    """
    Read one image.

    :param project_id: Whose membership to tell, if any.
    :raises ImageNotFound: It never was, or is deleted.
    """
    found = _one(connection.dialect).images(connection, {_IMAGE_ID: image_id, PROJECT_ID: project_id})
    if not found:
        raise ImageNotFound(image_id)
    return found[0]


@lru_cache(maxsize=8)
def _one(dialect: sa.Dialect) -> Reading:
    wanted = images.c.id == sa.bindparam(_IMAGE_ID, type_=images.c.id.type)
    return Reading(dialect, sa.select(images).where(wanted, images.c.deleted == sa.false()), lambda columns: ())


class Reading:
    """
    How some images are read.

    :param rows: Selects their rows. It may have parameters.
    :param order: Orders by columns that are named as those of ``images``.
    """

    statement: sa.Select[Any]
    """What finds the images."""

    def __init__(self, dialect: sa.Dialect, rows: sa.Select[Any], order: _Order) -> None:
        one = in_one_statement(dialect)
        self.statement = _whole(dialect, rows, order) if one else rows
        self._prepared = Prepared(self.statement, dialect) if one else None

    def images(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Image]:
        """
        Read them.

        :param values: Those of the parameters, and the project whose membership to tell as `PROJECT_ID`.
        """
        project_id = values[PROJECT_ID]
        if self._prepared is None:
            return partwise.read(connection, self.statement, values, project_id)
        return [_image(row, project_id) for row in self._prepared.rows(connection, values)]


def in_one_statement(dialect: sa.Dialect) -> bool:
    """
    Tell whether images are read whole by one statement. See Note [One statement].
    """
    return dialect.name == "postgresql" or (dialect.name == "sqlite" and _sqlite_has_json())


@cache
def _sqlite_has_json() -> bool:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("SELECT json_group_object('a', json_array(1))")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def _whole(dialect: sa.Dialect, rows: sa.Select[Any], order: _Order) -> sa.Select[Any]:
    one_array, pairs, many = _JSON[dialect.name]
    own = rows.subquery("own")
    properties, tags, locations = image_properties.c, image_tags.c, image_locations.c
    location = one_array(locations.position, locations.store, locations.url, locations.metadata)
    membership = sa.exists().where(is_member(), image_members.c.image_id == own.c.id)
    return sa.select(
        *(own.c[name] for name in _ATTRIBUTES),
        _of(own, image_tags, many(tags.value)),
        _of(own, image_properties, pairs(properties.name, properties.value)),
        _of(own, image_locations, many(location)),
        ((own.c.visibility == Visibility.SHARED) & membership).label("is_member"),
    ).order_by(*order(own.c))


_JSON: Final = {
    "sqlite": (sa.func.json_array, sa.func.json_group_object, sa.func.json_group_array),
    "postgresql": (sa.func.json_build_array, sa.func.json_object_agg, sa.func.json_agg),
}
"""What makes an array of values, an object of rows' pairs, and an array of rows."""


def _of(own: Any, table: sa.Table, parts: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    # As text: drivers differ in what they make of JSON, and none is faster than our reader of it.
    selected = sa.select(sa.cast(parts, sa.Text())).where(table.c.image_id == own.c.id)
    return selected.correlate(own).scalar_subquery()


def _image(row: Sequence[Any], project_id: str | None) -> Image:
    *attributes, tags, properties, locations, is_member = row
    attributes[_STATUS] = _STATUSES[attributes[_STATUS]]
    visibility = attributes[_VISIBILITY] = _VISIBILITIES[attributes[_VISIBILITY]]
    # As far as it can matter: on what others share.
    noted = is_member and visibility is Visibility.SHARED and attributes[_OWNER] != project_id
    return _make(
        *attributes,
        frozenset(_json(tags) or ()),
        _json(properties) or {},
        tuple(_location(part) for part in sorted(_json(locations) or (), key=_position)),
        project_id if noted else None,
    )


def _json(text: str | None) -> Any:
    return text and orjson.loads(text)  # PostgreSQL makes null of no rows


def _position(part: Sequence[Any]) -> int:
    position: int = part[0]
    return position


def _location(part: Sequence[Any]) -> Location:
    _, store, url, metadata = part
    return Location(store, url, orjson.loads(metadata) if metadata else {})
