"""
Options of a stock Glance that mean nothing here, and which of them must stop a program that would ignore them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import field, frozen

__all__ = ["StockOption", "StockOptions", "without_effect"]

_ANY: Final = "*"


def _lowered(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value.lower() for value in values)


@frozen
class StockOption:
    """
    One option of stock Glance, or a whole section of them.

    :param section: Where it stands.
    :param option: ``*`` for all options of the section that are not listed by themselves.
    :param reason: What happens (or does not) in its stead; read by operators.
    :param fatal: It promises protection that this program does not give, so the program refuses to start.
    :param harmless: Values, in lower case, that ask for what this program does anyway. An empty value always does.
    """

    section: str
    option: str
    reason: str
    fatal: bool = False
    harmless: frozenset[str] = field(converter=_lowered, default=())

    def asks_for_nothing(self, value: str) -> bool:
        """
        Tell whether a value, as written, asks for nothing that this program does not do.
        """
        plain = value.strip().lower()
        return not plain or plain in self.harmless


class StockOptions:
    """
    A table of such options.
    """

    def __init__(self, options: Iterable[StockOption] = ()) -> None:
        self._by_name = {(entry.section, entry.option): entry for entry in options}

    def find(self, section: str, option: str) -> StockOption | None:
        """
        Look an option up.
        """
        return self._by_name.get((section, option)) or self._by_name.get((section, _ANY))


def without_effect(sections: Mapping[str, str], single: Mapping[str, str]) -> Iterator[StockOption]:
    """
    Make entries that are warned about and no more.

    :param sections: Reasons by the names of whole sections.
    :param single: Reasons by the names of options of ``DEFAULT``.
    """
    for name, reason in sections.items():
        yield StockOption(name, _ANY, reason)
    for name, reason in single.items():
        yield StockOption("DEFAULT", name, reason)
