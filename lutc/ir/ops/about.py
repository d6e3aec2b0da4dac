"""What an operation is, in words: for `lutc ops`, for editors, and for `help()` of a Builder's methods."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from inspect import Parameter, Signature, cleandoc
from types import UnionType
from typing import Any

from lutc.ir.graph import Func
from lutc.ir.ops.base import Attribute, Op, encode, spec, spell
from lutc.types import Choice


def describe(op: type[Op]) -> str:
    """An operation's row in words: what it does, what it takes, with every choice there is, and where it is legal."""
    row = spec(op)
    arguments = [f"%{n}, ..." if many else f"%{n}" for n, many in row.operands]
    arguments += [f"@{n}" for n, _ in row.symbols]
    arguments += [
        f"{spell(a.name)}={encode(a.default) if _assumed(op, a) else '...'}" for a in row.attributes
    ]
    declared = ": TYPE" if row.typed else ""
    form = f"%y{declared} = {op.keyword} {', '.join(arguments)}".rstrip()
    return f"{form}\n\n{meaning(op)}"


def meaning(op: type[Op]) -> str:
    """What an operation does, the attributes it takes, and where it is legal."""
    stages = " and ".join(sorted(s.value for s in op.stages))
    attributes = "\n".join(line for a in spec(op).attributes for line in _attribute(op, a))
    parts = [cleandoc(op.__doc__ or ""), attributes, f"Legal in the {stages} stage."]
    return "\n\n".join(filter(None, parts))


def signature(op: type[Op]) -> Signature:
    """What a Builder's method of this operation takes; numbers and constants may stand for values."""
    row = spec(op)
    functions = [Parameter(n, Parameter.POSITIONAL_ONLY) for n, k in row.symbols if k is Func]
    many = {True: Parameter.VAR_POSITIONAL, False: Parameter.POSITIONAL_ONLY}
    values = [Parameter(n, many[several]) for n, several in row.operands]
    data = [
        Parameter(n, Parameter.POSITIONAL_ONLY, default=None if n in row.optional else Parameter.empty)
        for n, k in row.symbols
        if k is not Func
    ]
    named: list[tuple[str, Any]] = [("to", Parameter.empty)] if row.typed else []
    named += [(a.name, _parameter(op, a)) for a in row.attributes]
    named += [("name", None), ("origin", None)]
    keys = [Parameter(n, Parameter.KEYWORD_ONLY, default=default) for n, default in named]
    own = Parameter("self", Parameter.POSITIONAL_ONLY)
    return Signature([own, *functions, *values, *data, *keys], return_annotation="Op")


def _parameter(op: type[Op], attribute: Attribute) -> Any:
    """An attribute's default in a signature, as people write it; `...` where it may have to be given."""
    value = attribute.default
    if attribute.required:
        return Parameter.empty
    if not _assumed(op, attribute):
        return ...
    if isinstance(value, Choice):
        return value.value
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


def default(op: type[Op], attribute: Attribute) -> str:
    """What an attribute of an operation is if nobody says it, or that somebody must."""
    if attribute.required:
        return "must be given"
    if not _assumed(op, attribute):
        return "must be given where it decides a number"
    return f"default {encode(attribute.default)}"


def _assumed(op: type[Op], attribute: Attribute) -> bool:
    """Whether an attribute has a default that an operation takes wherever nobody says it."""
    return not attribute.required and op.unclear is Op.unclear


def taken(op: type[Op], attribute: Attribute) -> str:
    """What an attribute of an operation takes, in a line: its words, if it is one of some."""
    hint, many = _single(attribute.kind)
    said = ", ".join(words(hint)) or _KINDS[hint]
    return f"{'one or more of: ' if many else ''}{said}; {default(op, attribute)}"


def words(hint: Any) -> list[str]:
    """The words that an attribute takes, from its annotation."""
    hint, _ = _single(hint)
    if hint is bool:
        return ["true", "false"]
    return [str(e.value) for e in hint] if isinstance(hint, type) and issubclass(hint, Enum) else []


def _single(hint: Any) -> tuple[Any, bool]:
    """What an attribute holds one or, as the second part says, several of."""
    if isinstance(hint, UnionType):
        hint = next(k for k in typing.get_args(hint) if k is not type(None))
    many = typing.get_origin(hint) is tuple
    return (typing.get_args(hint)[0] if many else hint), many


def _attribute(op: type[Op], a: Attribute) -> Iterator[str]:
    """An attribute, and a line for each word that it may be."""
    yield f"{spell(a.name)}: {kind(a.kind)}; {default(op, a)}"
    if isinstance(a.kind, type) and issubclass(a.kind, Choice):
        width = max(len(c.value) for c in a.kind)
        yield from (f"    {c.value:{width}}  {c.about}" for c in a.kind)


_KINDS: dict[Any, str] = {int: "an integer", Fraction: "a rational number", bool: "true or false"}


def kind(hint: Any) -> str:
    """What an attribute is, from its annotation."""
    hint, many = _single(hint)
    return ("one or more of: " if many else "") + _KINDS.get(hint, "one of")
