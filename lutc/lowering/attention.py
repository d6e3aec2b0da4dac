"""The parts of attention as operations of the IR: products of two values, the largest element, softmax by tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lutc.build import Builder
from lutc.ir.graph import Value
from lutc.lowering.letters import Contraction, without
from lutc.lowering.moves import ordered, reshaped, spread


def einsum(b: Builder, left: str, right: str, out: str, u: Value, v: Value) -> Value:
    """``u`` and ``v``, whose axes are named ``left`` and ``right``, contracted to the axes ``out`` (no batch axis).

    A letter stands once in a term. Those in both terms and in ``out`` lead a matrix product over those that are only
    in both terms; what stands in one term alone is summed first.
    """
    axes = Contraction.of(left, right, out)
    if axes.alone[0]:
        u = b.sum(u, axes=[left.index(c) for c in axes.alone[0]])
    if axes.alone[1]:
        v = b.sum(v, axes=[right.index(c) for c in axes.alone[1]])
    left, right = (without(t, gone) for t, gone in zip((left, right), axes.alone, strict=True))
    sizes = dict(zip(left, u.type.shape, strict=True)) | dict(zip(right, v.type.shape, strict=True))
    m, k, n = (math.prod(sizes[c] for c in part) for part in (axes.rows, axes.summed, axes.columns))
    lead = [sizes[c] for c in axes.shared]
    u = reshaped(b, ordered(b, u, left, axes.shared + axes.rows + axes.summed), (*lead, m, k))
    v = reshaped(b, ordered(b, v, right, axes.shared + axes.summed + axes.columns), (*lead, k, n))
    if axes.summed:
        z: Value = b.matmul(u, v)
    else:
        z = b.mul(*(spread(b, x, (*lead, m, n)) for x in (u, v)))
    result = axes.shared + axes.rows + axes.columns
    return ordered(b, reshaped(b, z, [sizes[c] for c in result]), result, out)


def greatest(b: Builder, x: Value, axes: Sequence[int], op: str = "max") -> Value:
    """The largest (or with ``op`` "min" the smallest) element along ``axes``, which keep a length of 1; by halves."""
    for axis in axes:
        while (n := x.type.shape[axis]) > 1:
            half = n // 2
            parts = [_cut(b, x, axis, a, a + half) for a in (0, half)]
            top: Value = getattr(b, op)(*parts)
            x = b.concat([top, _cut(b, x, axis, 2 * half, n)], axis=axis) if n % 2 else top
    return x


def _cut(b: Builder, x: Value, axis: int, start: int, stop: int) -> Value:
    at = [(start, stop) if i == axis else (0, n) for i, n in enumerate(x.type.shape)]
    cut: Value = b.slice(x, start=[a for a, _ in at], stop=[z for _, z in at])
    return cut


def softmax(
    b: Builder,
    x: Value,
    axes: Sequence[int],
    exp: Callable[[Value], Value],
    inverse: Callable[[Value], Value],
    *,
    stable: bool,
) -> Value:
    """Softmax along ``axes`` (not negative) as hardware has it: ``e * inverse(sum e)`` with ``e = exp(d)``.

    ``d`` is ``max x - x`` if ``stable``, else ``x``; ``exp`` (of ``-d`` if stable) and ``inverse`` (the reciprocal)
    quantise what they are given and read a table. Sums, differences and the product are exact.
    """
    shape = x.type.shape
    if stable:
        x = b.sub(spread(b, greatest(b, x, axes), shape), x)
    e = exp(x)
    ones = [1 if i in axes else n for i, n in enumerate(shape)]
    total = reshaped(b, b.sum(e, axes=list(axes)), ones)
    return b.mul(e, spread(b, inverse(total), shape))  # type: ignore[no-any-return]
