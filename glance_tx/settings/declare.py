"""
How options are declared: as the fields of a frozen class, one class for each section and subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import attrs
from oslo_config import cfg, types

from glance_tx.settings.values import Described

__all__ = ["Section", "declared", "describe", "is_required", "option"]

_OPTION: Final = "glance_tx.settings.option"


class Section:
    """
    Base of all settings classes.

    A subclass is ``@frozen(kw_only=True)`` and sets ``GROUP``; several may share one group. Its docstring tells
    operators what the options are about.
    """

    __slots__ = ()

    GROUP: ClassVar[str]
    """The section of the file, ``DEFAULT`` included."""


def option(opt: cfg.Opt, *, required: bool = False, default: Callable[[], object] | None = None) -> Any:
    """
    Declare a field that an operator sets.

    Where nothing is written the field is the option's default, so a section can be made without a file. A secret
    option does not show in the section's text. A list becomes a tuple.

    :param opt: Name, type, bounds, default and help. An option without default is ``None`` where it is not set.
    :param required: There is no default, and nothing works without a value.
    :param default: Computes the default on the machine; ``opt.sample_default`` is what the reference says.
    """
    settled: Any = attrs.NOTHING
    if default is not None:
        settled = attrs.Factory(default)
    elif not required:
        settled = _frozen(_converted(opt))
    return attrs.field(default=settled, converter=_frozen, repr=not opt.secret, metadata={_OPTION: opt})


def _converted(opt: cfg.Opt) -> object:
    if opt.default is None:
        return None
    return [opt.type(item) for item in opt.default] if opt.multi else opt.type(opt.default)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def declared(section: type[Section]) -> Mapping[str, cfg.Opt]:
    """
    List a section's options by the names of their fields, in order.
    """
    found = {f.name: f.metadata.get(_OPTION) for f in attrs.fields(section)}  # type: ignore[arg-type]
    return {name: opt for name, opt in found.items() if opt is not None}


def is_required(section: type[Section], field_name: str) -> bool:
    """
    Tell whether a field has no default.
    """
    found: attrs.Attribute[object] = attrs.fields_dict(section)[field_name]  # type: ignore[arg-type]
    return found.default is attrs.NOTHING


def describe(opt: cfg.Opt) -> str:
    """
    Say in words what an option allows: ``an integer from 0 to 65535``.
    """
    return _describe_type(opt.type)


def _describe_type(kind: object) -> str:
    choices = getattr(kind, "choices", None)
    if isinstance(kind, Described):
        text = kind.description
    elif isinstance(kind, types.List):
        text = f"a list with commas between its items, each {_describe_type(kind.item_type)}"
    elif isinstance(kind, types.Boolean):
        text = "true or false"
    elif isinstance(kind, types.HostAddress):
        text = "an IP address or a host name"
    elif isinstance(kind, types.Number):
        text = _describe_number(kind)
    elif choices:
        text = f"one of {', '.join(map(str, choices))}"
    else:
        text = "a text"
    return text


def _describe_number(kind: types.Number) -> str:
    noun = "an integer" if kind.num_type is int else "a number"
    if kind.min is not None and kind.max is not None:
        return f"{noun} from {kind.min} to {kind.max}"
    if kind.min is not None:
        return f"{noun}, at least {kind.min}"
    if kind.max is not None:
        return f"{noun}, at most {kind.max}"
    return noun
