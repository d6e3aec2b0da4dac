"""The one way a pass rewrites: from the inputs to the outputs, every value made anew by a rule.

What comes for free: types are inferred again, what the rule gives is made canonical (`identities`), equal values become
one, and what no output reads is gone. So there is no pass for dead code or for common subexpressions, and a pass's rule
says only what is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

from lutc.ir.graph import Design, Func, Output, Param, Value, body, functions
from lutc.ir.ops.base import Op
from lutc.passes.identities import simplified
from lutc.passes.rewriter import Rewriter, Symbols, rename, with_operands

# Made from an operation whose operands are the new ones already; gives the value that takes its place.
Rule = Callable[[Rewriter, Op], Value]


def rebuild(
    design: Design,
    rule: Rule,
    *,
    canonical: Literal["after", "before", "never"] = "after",
    along: Callable[[Design | Func], Iterable[Value]] = body,
) -> Design:
    """Rewrite a design and its functions, bottom up, by a rule.

    The rule meets every operation as it was, on the new operands, and what it gives is made canonical `after` it. A
    rule that compares nothing with the original may ask for canonical operations, `before` it: what it makes of them
    then stays as it is, as it does where nothing is made canonical (`never`). `along` gives the values of a body in
    the order in which they are met, operands first.
    """
    if canonical == "after":
        rule = _and_canonical(rule)
    elif canonical == "before":
        rule = _on_canonical(rule)
    made: dict[Func, Func] = {}
    symbols = Symbols(design)
    for func in functions(design):
        rewriter = Rewriter(symbols)
        new = _rewrite(along(func), func, rule, rewriter, made)
        made[func] = Func(func.name, func.params, rewriter.fit(new[func.result], func.result.type), func.span)
    rewriter = Rewriter(symbols)
    new = _rewrite(along(design), design, rule, rewriter, made)
    outputs = []
    for o in design.outputs:
        rewriter.origin = o.value.origin
        outputs.append(Output(o.name, rewriter.fit(new[o.value], o.value.type), o.scale, o.offset, o.span))
    return replace(design, outputs=tuple(outputs))


def _and_canonical(rule: Rule) -> Rule:
    def both(rw: Rewriter, op: Op) -> Value:
        result = rule(rw, op)
        return simplified(rw, result) if isinstance(result, Op) else result

    return both


def _on_canonical(rule: Rule) -> Rule:
    def both(rw: Rewriter, op: Op) -> Value:
        result = simplified(rw, op)
        return rule(rw, result) if isinstance(result, Op) else result

    return both


def _rewrite(
    values: Iterable[Value], owner: Design | Func, rule: Rule, rewriter: Rewriter, made: dict[Func, Func]
) -> dict[Value, Value]:
    new: dict[Value, Value] = {p: p for p in owner.params}
    old = set(owner.values)
    for value in values:
        if isinstance(value, Param):
            continue
        assert isinstance(value, Op)
        rewriter.origin = value.origin
        rewriter.name = value.name
        rewriter.original = value
        operands = tuple([new[v] for v in value.operands])
        if value.strict:
            operands = tuple([rewriter.fit(n, v.type) for n, v in zip(operands, value.operands, strict=True)])
        changes = {"func": made[f]} if (f := getattr(value, "func", None)) and made[f] is not f else {}
        if changes or operands != value.operands:  # values are compared by identity
            fresh = with_operands(value, operands, **changes)
        else:
            fresh = value
        result = rule(rewriter, fresh)
        if isinstance(result, Op):
            result = rewriter.keep(result)
        if value.name and result.name is None and isinstance(result, Op) and result not in old:
            result = rename(result, value.name)
        new[value] = result
    return new


def keep_all(rewriter: Rewriter, op: Op) -> Value:
    """The rule that changes nothing: what remains is merging equals and dropping the unused."""
    return op
