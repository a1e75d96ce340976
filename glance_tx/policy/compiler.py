"""
Rules, parsed by oslo.policy and turned into functions.

oslo.policy's own evaluation inspects the signature of every node and parses literals anew each time: about 0.1 ms for
a rule of the usual size, which a list of a thousand images pays a thousand times while everybody else waits. The
functions made here give the same answers (a test compares them), in a hundredth of the time.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any, Final

from oslo_policy import _checks, _parser

from glance_tx.policy.errors import BadRule

__all__ = ["Facts", "Predicate", "compile_rules"]

Facts = Mapping[str, object]
Predicate = Callable[[Facts, Facts], bool]
"""Takes a target and credentials; the latter's ``roles`` is a set of names in lower case."""

# Note [No further kinds of checks]
# With its first rule the library looks through the entry points of all that is installed for kinds of checks that
# packages add, its own that ask a server by HTTP among them, and loads these with all of requests: a fifth of a start
# and 4 MiB, for what is refused here. It does not look where it was told what there is. For the same reason its parser
# is asked itself: `oslo_policy.policy`, which would ask it, compiles some four hundred patterns that hide passwords in
# logs, a tenth of a start. Both names are private to it; a test sees that nothing is loaded.


class _Remote(_checks.Check):
    def __call__(self, *_: object) -> bool:
        raise NotImplementedError("it is refused when it is compiled")


_checks.extension_checks = {"http": _Remote, "https": _Remote}

_NEVER: Final = re.compile(r"(?<![^\s(])!(?![^\s)])")
_ONE_FACT: Final = re.compile(r"%\(([^()%]+)\)s")


def compile_rules(rules: Mapping[str, object], known: Set[str] | None = None) -> Mapping[str, Predicate]:
    """
    Make functions of rules.

    :param rules: By name, in the language of oslo.policy: texts, or the lists of lists of its old days.
    :param known: What rules may ask of credentials; ``None`` for anything. What credentials never have makes a
        check fail, and its negation pass, without anybody noticing.
    :raises BadRule: A rule cannot be parsed, refers to one that is not there or to itself, asks another server, or
        asks of credentials what is not known of them.
    """
    return _Compiler(rules, known).all()


_Expander = Callable[[Facts], str | None]
"""Makes the text that is compared; ``None`` where the target lacks what it takes."""


class _AnyFact(dict[str, str]):
    """
    A target that has whatever is asked for.
    """

    def __missing__(self, name: str) -> str:
        return name


class _Compiler:
    def __init__(self, rules: Mapping[str, object], known: Set[str] | None) -> None:
        self._known = known
        self._trees = {name: _parse(name, text) for name, text in rules.items()}
        self._done: dict[str, Predicate] = {}
        self._path: list[str] = []

    def all(self) -> Mapping[str, Predicate]:
        for name in self._trees:
            self._rule(name)
        return self._done

    def _rule(self, name: str) -> Predicate:
        if name in self._path:
            raise BadRule(name, "refers to itself")
        if name not in self._done:
            if name not in self._trees:
                raise BadRule(self._path[-1], f"refers to rule {name!r}, which does not exist")
            self._path.append(name)
            self._done[name] = self._node(self._trees[name])
            self._path.pop()
        return self._done[name]

    def _node(self, node: Any) -> Predicate:
        kind = type(node)
        if kind is _checks.TrueCheck or kind is _checks.FalseCheck:
            return _constant(kind is _checks.TrueCheck)
        if kind is _checks.AndCheck or kind is _checks.OrCheck:
            parts = [self._node(part) for part in node.rules]
            return _all_of(parts) if kind is _checks.AndCheck else _any_of(parts)
        if kind is _checks.NotCheck:
            return _negation(self._node(node.rule))
        if kind is _checks.RuleCheck:
            return self._rule(node.match)
        if kind is _checks.RoleCheck:
            return _role(self._expander(node.match))
        if kind is _checks.GenericCheck:
            return self._generic(node)
        raise BadRule(self._path[-1], f"{node.kind}: checks are not supported: nothing is asked of another server")

    def _generic(self, node: Any) -> Predicate:
        expand = self._expander(node.match)
        try:
            literal = str(ast.literal_eval(node.kind))
        except ValueError:
            path = node.kind.split(".")
            if self._known is not None and path[0] not in self._known:
                raise BadRule(self._path[-1], f"asks for {path[0]!r}, which is not known of callers") from None
            return _credential(path, expand)
        except SyntaxError as error:
            raise BadRule(self._path[-1], f"{node.kind!r} is neither a name nor a literal") from error
        return _literal(literal, expand)

    def _expander(self, text: str) -> _Expander:
        """
        Make what fills a target's facts into a text.
        """
        one = _ONE_FACT.fullmatch(text)
        if one is not None:
            name = one.group(1)
            return lambda target: str(target[name]) if name in target else None
        try:
            plain = text % _AnyFact() == text
        except (TypeError, ValueError) as error:
            raise BadRule(self._path[-1], f"{text!r} names no facts; they are written %(name)s") from error
        return (lambda _: text) if plain else _template(text)


def _parse(name: str, text: object) -> object:
    if not isinstance(text, str) and not _is_old_form(text):
        # An empty value in YAML is no text: the library would take it for "everybody".
        raise BadRule(name, "is not a text; write '' or '@' for everybody, '!' for nobody")
    with _quiet():
        tree = _parser.parse_rule(text)  # type: ignore[arg-type]  # it takes the old form too
    # What the library does not understand, in part or as a whole, it turns into "nobody", and goes on.
    plain = text if isinstance(text, str) else " ".join(_texts(text))
    if _count_never(tree) > len(_NEVER.findall(plain)) or (
        type(tree) is _checks.FalseCheck and plain.strip(" ()") != "!"
    ):
        raise BadRule(name, "cannot be understood")
    return tree


def _is_old_form(rule: object) -> bool:
    return isinstance(rule, list) and all(
        isinstance(part, str) or (isinstance(part, list) and all(isinstance(text, str) for text in part))
        for part in rule
    )


def _texts(rule: object) -> Iterator[str]:
    if isinstance(rule, str):
        yield rule
    elif isinstance(rule, list):
        for part in rule:
            yield from _texts(part)


def _count_never(node: Any) -> int:
    """
    Count the nodes that never pass.
    """
    if type(node) is _checks.FalseCheck:
        return 1
    parts = [node.rule] if isinstance(node, _checks.NotCheck) else getattr(node, "rules", ())
    return sum(_count_never(part) for part in parts)


@contextmanager
def _quiet() -> Iterator[None]:
    """
    Keep the library from printing a traceback for a rule that is reported properly.
    """
    logger = logging.getLogger("oslo_policy")
    was = logger.disabled, logger.propagate
    silence = logging.NullHandler()
    logger.addHandler(silence)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(silence)
        logger.disabled, logger.propagate = was


def _template(text: str) -> _Expander:
    def expand(target: Facts) -> str | None:
        try:
            return text % target
        except KeyError:
            return None

    return expand


def _constant(answer: bool) -> Predicate:
    return lambda target, creds: answer


def _all_of(parts: Sequence[Predicate]) -> Predicate:
    def check(target: Facts, creds: Facts) -> bool:
        # Loops, as generators cost more than most checks.
        for part in parts:  # noqa: SIM110
            if not part(target, creds):
                return False
        return True

    return check


def _any_of(parts: Sequence[Predicate]) -> Predicate:
    def check(target: Facts, creds: Facts) -> bool:
        for part in parts:  # noqa: SIM110
            if part(target, creds):
                return True
        return False

    return check


def _negation(part: Predicate) -> Predicate:
    return lambda target, creds: not part(target, creds)


def _role(expand: _Expander) -> Predicate:
    def check(target: Facts, creds: Facts) -> bool:
        role = expand(target)
        roles: Any = creds["roles"]
        return role is not None and role.lower() in roles

    return check


def _literal(literal: str, expand: _Expander) -> Predicate:
    return lambda target, creds: expand(target) == literal


def _credential(path: Sequence[str], expand: _Expander) -> Predicate:
    def check(target: Facts, creds: Facts) -> bool:
        wanted = expand(target)
        return wanted is not None and _holds(creds, path, wanted)

    return check


def _holds(value: object, path: Sequence[str], wanted: str) -> bool:
    for depth, name in enumerate(path):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
        if isinstance(value, list | frozenset):
            return any(_holds(item, path[depth + 1 :], wanted) for item in value)
    return str(value) == wanted
