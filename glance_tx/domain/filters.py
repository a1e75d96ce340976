"""
Conditions that a list of images can be narrowed by.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from attrs import frozen

__all__ = ["Between", "Condition", "OneOf", "Value", "equal"]

Value: TypeAlias = str | int | bool | None
"""What an attribute can be compared with for equality; ``None`` is what it is where it was not set."""


@frozen
class OneOf:
    """
    An attribute has one of some values. Case, accents and trailing spaces count, except in ids.

    :param name: A base attribute.
    :param values: None at all are met by no image. Numbers fit 64 bits.
    """

    name: str
    values: frozenset[Value]


@frozen
class Between:
    """
    An attribute lies within limits. Null is not within any, nor outside.

    :param name: A base attribute: a number, or a time.
    :param since: The least that is within; ``None`` for any. Numbers fit 64 bits.
    :param until: The least that is beyond; ``None`` where nothing is.
    :param outside: Whether it is what is not within the limits that meets the condition.
    """

    name: str
    since: int | datetime | None = None
    until: int | datetime | None = None
    outside: bool = False


Condition: TypeAlias = OneOf | Between


def equal(name: str, value: Value) -> OneOf:
    """
    Make the condition that an attribute has one value.
    """
    return OneOf(name, frozenset({value}))
