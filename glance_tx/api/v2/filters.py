"""
Filters of an image list on base attributes, as clients write them (contract section 2.7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from glance_tx.domain.errors import InvalidQuery
from glance_tx.domain.filters import Between, Condition, OneOf, equal
from glance_tx.domain.listing import EQUALS, NUMBERS, TIMES

__all__ = ["GREATEST", "parse_filter", "parse_flag", "parse_number", "require_one_of"]

GREATEST: Final = 2**63 - 1
"""The greatest number that every database can compare with."""

_WITH_OPERATORS: Final = frozenset({"container_format", "disk_format", "id", "name", "status"})
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_TIME: Final = re.compile(r"\d{4}([T \d:.,Z+-]*)", re.ASCII | re.IGNORECASE)
# An element of "in:", with or without quotes, and the comma after it.
_ELEMENT: Final = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|((?:[^",\\]|\\.)*))(?:,|$)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_filter(name: str, value: str) -> Condition | None:
    """
    Read a parameter that narrows a list by a base attribute.

    :return: ``None`` where the parameter is no such thing, so that it is about a custom property.
    :raises InvalidQuery: The value cannot be what it is.
    """
    if name == "changes-since":
        raise InvalidQuery("a list cannot be filtered by 'changes-since'; use a filter on 'updated_at'")
    if name.endswith(("_min", "_max")):
        return _limit(name, value)
    if name in TIMES:
        return _time_filter(name, value)
    if name not in EQUALS:
        return None
    if name in NUMBERS:
        return equal(name, parse_number(name, value))
    if name == "protected":
        return equal(name, parse_flag(name, value))
    return _text_filter(name, value) if name in _WITH_OPERATORS else equal(name, value)


def parse_number(name: str, value: str) -> int:
    """
    Read a whole number of 0 or more.

    :raises InvalidQuery: It is none, or no database could hold it.
    """
    if not value.isascii() or not value.isdecimal() or len(value) > 19 or int(value) > GREATEST:
        raise InvalidQuery(f"{name!r} must be an integer of 0 or more, not {value!r}")
    return int(value)


def parse_flag(name: str, value: str) -> bool:
    """
    Read a truth value.

    :raises InvalidQuery: It is neither true nor false.
    """
    return require_one_of(name, value.lower(), ("true", "false")) == "true"


def require_one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """
    Insist on one of some words.

    :raises InvalidQuery: It is another.
    """
    if value not in allowed:
        raise InvalidQuery(f"{name!r} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _limit(name: str, value: str) -> Condition:
    attribute = name[:-4]
    if attribute not in NUMBERS:
        numbers = ", ".join(sorted(NUMBERS))
        raise InvalidQuery(f"a list cannot be filtered by {name!r}: only {numbers} have a range")
    if not _INTEGER.fullmatch(value):
        raise InvalidQuery(f"{name!r} must be an integer, not {value!r}")
    # Python refuses to read endless numbers, and databases to compare with those beyond 64 bits. No image's value is
    # near the end of these, so what lies beyond means as much as the end itself.
    sign, digits = ("-" if "-" in value else ""), value.strip().lstrip("+-").lstrip("0")
    number = int(f"{sign}{digits or 0}") if len(digits) < 19 else (-GREATEST if sign else GREATEST)
    if name.endswith("_min"):
        return Between(attribute, since=number)
    return Between(attribute, until=number + 1 if number < GREATEST else None)


def _text_filter(name: str, value: str) -> Condition:
    operator, colon, operand = value.partition(":")
    if not colon or (operator not in {"eq", "in"} and _instant(value) is not None):
        return equal(name, value)  # a name that is a time has colons, too
    if operator == "eq":
        return equal(name, operand)
    if operator == "in":
        return OneOf(name, frozenset(_elements(name, operand)))
    raise InvalidQuery(
        f"{operator!r} is no operator for {name!r}; there are eq and in, and a value with a colon is written eq:{value}"
    )


def _elements(name: str, value: str) -> Iterator[str]:
    """
    Split a list at its commas, except at those within quotes. A backslash takes its meaning from what follows it.
    """
    position = 0
    while position < len(value):
        found = _ELEMENT.match(value, position)
        if found is None:
            raise InvalidQuery(f"quotes in the filter on {name!r} must enclose whole values: {value!r}")
        quoted, plain = found.groups()
        yield _ESCAPED.sub(r"\1", plain if quoted is None else quoted)
        position = found.end()


def _time_filter(name: str, value: str) -> Condition:
    operator, operand = "eq", value
    instant = _instant(value)
    if instant is None:
        operator, _, operand = value.partition(":")
        instant = _instant(operand)
    if instant is None:
        raise InvalidQuery(f"{name!r} must be compared with a time by ISO 8601, such as gt:2024-01-31T12:00:00Z")
    after = _after(operand, instant)
    match operator:
        case "eq":
            return Between(name, instant, after)
        case "neq":
            return Between(name, instant, after, outside=True)
        case "gt":
            return Between(name, after, None)
        case "gte":
            return Between(name, instant, None)
        case "lt":
            return Between(name, None, instant)
        case "lte":
            return Between(name, None, after)
        case _:
            raise InvalidQuery(f"{operator!r} is no operator for {name!r}; there are eq, neq, gt, gte, lt and lte")


def _instant(text: str) -> datetime | None:
    """
    Read a time by ISO 8601, in UTC where it names no zone. A year, or a month, begins where its first day does.
    """
    if not _TIME.fullmatch(text):
        return None
    completed = {4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text)
    try:
        moment = datetime.fromisoformat(completed.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _after(text: str, instant: datetime) -> datetime:
    """
    Tell where the moment that a text means is over: clients are shown whole seconds, and mean these.
    """
    fraction = "." in text or "," in text
    try:
        return instant + (timedelta(microseconds=1) if fraction else timedelta(seconds=1))
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
