"""Products with constant matrices, and of two tensors. Scales are taken out, so that the matrix is one of integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering import rows
from lutc.lowering.dtypes import FLOATS, WHOLE, kind_name
from lutc.lowering.exact import Exact
from lutc.lowering.layout import joined, settled
from lutc.lowering.operands import BROKEN, computed, keep_samples_apart, known
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Shape, Tensor, concrete, core, plain
from lutc.lowering.walk import Mapped, Walk
from lutc.numbers import one_digit

SOME = 1000  # weights that mostly show that all of them are floats
FLOAT_BITS = 16  # a matrix of floats that needs more bits than this was never quantised

Inner = Callable[[Builder, Value], Value]


def integers(weights: Known) -> tuple[Any, Exact]:
    """A constant as integer codes and their scale.

    Floats count as quantised if they are multiples of one number, for the whole tensor, that take few bits: that is
    how quantised weights look after somebody folded their quantisers. Raises Refusal if they are not.
    """
    if weights.codes is not None:
        return weights.codes, weights.scale
    array = weights.array
    if array.dtype.kind in "iub" or array.dtype.name in WHOLE:
        return array.astype(np.int64), ex.number(1)
    if array.dtype.kind != "f":  # of 16 bits, which numpy has no kind for
        array = array.astype(np.float32)
    reals = ex.spread(ex.exact(array), array.shape)
    step = ex.gcd(reals.ravel().tolist())
    codes = np.asarray(reals / step, dtype=object)
    bits = max((abs(int(c)).bit_length() for c in codes.ravel().tolist()), default=0)
    if bits <= FLOAT_BITS:
        return codes.astype(np.int64), ex.number(step)
    folded = _multiples(array)
    if folded is None:
        raise Refusal(
            f"has weights that are not quantised: as they stand they take {bits} bits each",
            "train with quantised weights, or put a quantiser on them before this layer",
        )
    return folded


def floating(products: Iterable[tuple[str, Known]]) -> list[str]:
    """The layers that multiply by floats, from each layer with its weights; none if any weights count as quantised."""
    found: dict[str, None] = {}
    for layer, weights in products:
        if np.count_nonzero(weights.array) < 2:
            continue  # a number alone is a multiple of itself
        if not _floating(weights):
            return []
        found[layer] = None
    return list(found)


def _floating(weights: Known) -> bool:
    """Whether weights are numbers that `integers` refuses because they take too many bits."""
    if weights.codes is not None or kind_name(weights.array.dtype) not in FLOATS:
        return False
    if not np.isfinite(weights.array.astype(np.float64)).all():
        return False
    try:
        integers(Known(_some(weights.array)))
        integers(weights)
    except Refusal:
        return True
    return False


def _some(array: Any) -> Any:
    """Some numbers, the smallest among them: if these need too many bits, so do all, whose unit is no larger."""
    flat = array.ravel()
    there = flat[flat != 0]
    return np.append(flat[:: 1 + flat.size // SOME], there[np.abs(there).argmin()])


def _multiples(array: Any) -> tuple[Any, Exact] | None:
    """Floats that are a few-bit integer times one float of their type, rounded to it; None if they are not."""
    size = np.abs(array[array != 0])
    for divisor in range(1, 17):
        step = (size.min() / divisor).astype(array.dtype)
        codes = np.rint(array / step)
        if np.abs(codes).max() < 1 << FLOAT_BITS and (codes.astype(array.dtype) * step == array).all():
            return codes.astype(np.int64), ex.exact(step)
    return None


def contract(walk: Walk, t: Scaled, weights: Known, groups: int = 1) -> Scaled:
    """`[..., k]` times a constant `[k, n]`. Raises Refusal for weights that are not quantised.

    With `groups` the matrix is block diagonal, and each block is a product of its own.
    """
    keep_samples_apart(t, (len(t.shape) - 1,))
    t = settled(walk, t)
    rank = len(t.shape)
    if any(n > 1 for n in ex.ranked(t.scale, rank).shape[:-1]):
        # Rows with scales of their own: the scale may stay outside of the product, but only if columns share it.
        if ex.ranked(t.scale, rank).shape[-1] > 1:
            unit, value = walk.exact(t)
            t = plain(t.shape, value, t, unit)
        inside, outside = ex.number(1), t.scale
    elif t.scale.size > 1:
        inside, outside = t.scale.reshape(-1, 1), ex.number(1)
    else:
        inside, outside = ex.number(1), t.scale
    codes, scale = integers(weights)
    matrix, columns = _split(codes, ex.ranked(scale, 2), inside)
    shape = (*t.shape[:-1], codes.shape[1])
    result = _product(walk, t, matrix, shape, groups)
    offset = _moved_offset(t, codes, scale)
    done = Scaled(shape, result, scale=ex.times(outside, columns), batched=t.batched, integer=t.integer)
    return done.plus(offset)


def _split(codes: Any, scale: Exact, inside: Exact) -> tuple[Exact, Exact]:
    """A matrix `codes * scale * inside` as dyadic numbers, and the scales of its columns."""
    whole = ex.times(scale, inside)
    if whole.ndim < 2 or whole.shape[0] == 1:
        lone = ex.lone(whole)
        if lone is not None and one_digit(lone):
            return fractions(codes) * abs(lone), ex.number(1 if lone > 0 else -1)
        return fractions(codes), whole.reshape(-1) if whole.ndim else whole
    reals = fractions(codes) * whole
    steps = np.array([ex.gcd(column.tolist()) for column in reals.T], dtype=object)
    lone = ex.lone(steps)
    return np.asarray(reals / steps, dtype=object), ex.number(lone) if lone is not None else steps


def fractions(codes: Any) -> Exact:
    result = np.empty(codes.shape, dtype=object)
    result.ravel()[:] = [Fraction(c) for c in codes.ravel().tolist()]
    return result


def _moved_offset(t: Scaled, codes: Any, scale: Exact) -> Exact:
    """What the offset of the vector becomes: its product with the matrix."""
    if ex.every(lambda v: not v, t.offset):
        return ex.number(0)
    lone, factor = ex.lone(t.offset), ex.lone(scale)
    if lone is not None and factor is not None:
        sums = codes.sum(axis=0, dtype=object)
        return ex.compress(np.asarray(fractions(np.asarray(sums)) * (lone * factor), dtype=object))
    rows = ex.ranked(t.offset, len(t.shape))
    rows = np.broadcast_to(rows, (*rows.shape[:-1], codes.shape[0]))
    return ex.compress(np.asarray(rows @ (fractions(codes) * scale), dtype=object))


def _product(walk: Walk, t: Scaled, matrix: Exact, shape: tuple[int, ...], groups: int) -> Value:
    value = concrete(t)
    inner, outer = matrix.shape[0] // groups, matrix.shape[1] // groups
    blocks = [
        walk.const(matrix[g * inner : (g + 1) * inner, g * outer : (g + 1) * outer], "weight")
        for g in range(groups)
    ]

    def product(b: Builder, x: Value) -> Value:
        if groups == 1:
            return b.dense(x, blocks[0])  # type: ignore[no-any-return]
        slices = [b.slice(x, start=[g * inner], stop=[(g + 1) * inner]) for g in range(groups)]
        return b.concat([b.dense(s, w) for s, w in zip(slices, blocks, strict=True)], axis=0)  # type: ignore[no-any-return]

    count = math.prod(core(shape)[:-1])
    if count > 1:
        walk.b.room(count * int(np.count_nonzero(matrix)))  # before any work on the rows
    return along_last(walk, value, t.shape[-1], product, core(shape))


def along_last(walk: Walk, value: Value, size: int, inner: Inner, to: Shape) -> Value:
    """A function of `size` elements on every row of a value, whose results lie along the last dimension of `to`."""
    count = value.type.size // size
    if count == 1:
        return walk.reshaped(inner(walk.b, walk.reshaped(value, (size,))), to)
    return mapped(
        walk, walk.reshaped(value, (count, size)), inner, lambda v: walk.reshaped(v, to), len(to) - 1
    )


def mapped(walk: Walk, value: Value, inner: Inner, place: Callable[[Value], Value], axis: int) -> Value:
    """One function mapped over the rows of a value, and its result brought into place."""
    value = rows.alike(walk.b, value)
    builder = Builder(walk.names.take(walk.owner, "f"))
    origin = walk.layer.name if walk.layer else None
    done = rows.mapped(walk.b, value, builder, partial(inner, builder), origin)
    placed = place(done)
    walk.maps[placed] = Mapped(done.func, (value,), place, axis)
    return placed


# -- matrix products ------------------------------------------------------------------------------------------------


def matmul(walk: Walk, a: Tensor, b: Tensor) -> Scaled:
    """The matrix product, as numpy has it."""
    fits = bool(a.shape) and bool(b.shape) and a.shape[-1] == b.shape[-2 if len(b.shape) > 1 else 0]
    if not fits:
        raise Refusal(f"multiplies {list(a.shape)} by {list(b.shape)}", BROKEN)
    if isinstance(a, Scaled) and isinstance(b, Known):
        if len(b.shape) == 1:
            column = view(b, lambda x: x.reshape(-1, 1))
            done = contract(walk, a, column)
            return walk.reshape(done, done.shape[:-1])
        if any(n > 1 for n in b.shape[:-2]):
            return _stack(walk, a, b)
        done = contract(walk, a, _flat(b))
        return walk.reshape(done, (1,) * (len(b.shape) - max(2, len(a.shape))) + done.shape)
    if isinstance(b, Scaled) and isinstance(a, Known):
        return _from_left(walk, a, b)
    return _both(walk, computed(a), computed(b))


def _outer(a: Tensor, b: Tensor) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))


def _flat(weights: Known) -> Known:
    """A constant matrix without leading dimensions of length 1. Raises Refusal if there are others."""
    if any(n != 1 for n in weights.shape[:-2]):
        raise Refusal(
            f"multiplies by a stack of constant matrices {list(weights.shape)}",
            "write one MatMul for each matrix",
        )
    return view(weights, lambda x: x.reshape(weights.shape[-2:]))


def _stack(walk: Walk, a: Scaled, b: Known) -> Scaled:
    """A stack of constant matrices: each has a product of its own."""
    rows = a if len(a.shape) > 1 else walk.reshape(a, (1, *a.shape))
    outer = _outer(rows, b)
    keep_samples_apart(
        a, (0,) if outer and (len(outer) > len(rows.shape) - 2 or outer[0] != rows.shape[0]) else ()
    )
    rows = walk.broadcast(rows, (*outer, *rows.shape[-2:]))
    index = np.arange(math.prod(rows.shape)).reshape(-1, *rows.shape[-2:])
    order = np.broadcast_to(np.arange(math.prod(b.shape[:-2])).reshape(b.shape[:-2]), outer).ravel()
    parts = []
    for at, which in enumerate(order):
        matrix = view(b, lambda x, which=which: x.reshape(-1, *x.shape[-2:])[which])
        parts.append(contract(walk, walk.index(rows, index[at][None]), matrix))
    whole = walk.reshape(joined(walk, parts, 0), (*outer, rows.shape[-2], b.shape[-1]))
    return whole if len(a.shape) > 1 else walk.reshape(whole, (*outer, b.shape[-1]))


def view(weights: Known, move: Any) -> Known:
    """A constant with its elements moved by a function of arrays, codes and scales with them."""
    if weights.codes is None:
        return Known(move(weights.array))
    scale = ex.compress(move(ex.spread(weights.scale, weights.shape)))
    return Known(move(weights.array), move(weights.codes), scale)


def _from_left(walk: Walk, a: Known, b: Scaled) -> Scaled:
    """A constant matrix from the left is its transpose from the right."""
    matrix = view(_flat(view(a, np.atleast_2d)), np.transpose)
    if len(b.shape) == 1:
        done = contract(walk, b, matrix)
        return done if len(a.shape) > 1 else walk.reshape(done, ())
    turn = (*range(len(b.shape) - 2), len(b.shape) - 1, len(b.shape) - 2)
    keep_samples_apart(b, turn[-2:])
    done = walk.transpose(contract(walk, walk.transpose(b, turn), matrix), turn)
    return done if len(a.shape) > 1 else walk.reshape(done, (*done.shape[:-2], done.shape[-1]))


def _both(walk: Walk, a: Scaled, b: Scaled) -> Scaled:
    if len(a.shape) < 2 or len(b.shape) < 2:
        rows, column = len(a.shape) > 1, len(b.shape) > 1
        a = a if rows else walk.reshape(a, (1, *a.shape))
        done = _both(walk, a, b if column else walk.reshape(b, (*b.shape, 1)))
        shape = done.shape if column else done.shape[:-1]
        return walk.reshape(done, shape if rows else (*shape[: -1 - column], *shape[len(shape) - column :]))
    keep_samples_apart(a, (len(a.shape) - 2, len(a.shape) - 1) if len(a.shape) > 2 else ())
    keep_samples_apart(b, (len(b.shape) - 2, len(b.shape) - 1))
    outer = _outer(a, b)
    x, y = walk.broadcast(a, (*outer, *a.shape[-2:])), walk.broadcast(b, (*outer, *b.shape[-2:]))
    (s, v), (u, w) = walk.exact(x), walk.exact(y)
    shape = (*outer, a.shape[-2], b.shape[-1])
    product = walk.reshaped(walk.b.matmul(walk.reshaped(v, x.shape), walk.reshaped(w, y.shape)), core(shape))
    return replace(plain(shape, product, a, s * u), batched=a.batched or b.batched)


def gemm(
    walk: Walk,
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    turn_a: bool = False,
    turn_b: bool = False,
    alpha: Any = 1,
    beta: Any = 1,
) -> Scaled:
    """`alpha * A' B' + beta * C` of matrices that are turned first, or not; C is a constant, alpha and beta numbers."""
    if turn_b:
        b = view(b, np.transpose) if isinstance(b, Known) else walk.transpose(b, (1, 0))
    if turn_a:
        if isinstance(a, Scaled):
            keep_samples_apart(a, (0, 1))
        a = view(a, np.transpose) if isinstance(a, Known) else walk.transpose(a, (1, 0))
    result = matmul(walk, a, b).times(ex.exact(alpha))
    if c is None:
        return result
    term = known(c, "C").reals()
    np.broadcast_shapes(c.shape, result.shape)
    return result.plus(ex.times(term, ex.exact(beta)))


def cumulative(walk: Walk, t: Scaled, axis: int, exclusive: bool = False, reverse: bool = False) -> Scaled:
    """Running sums along a dimension: the product with a triangle of ones."""
    rank = len(t.shape)
    keep_samples_apart(t, (axis,))
    n, last = t.shape[axis], rank - 1
    ones = np.tril(np.ones((n, n), dtype=np.int64), -int(exclusive))
    triangle = (ones.T if reverse else ones).T
    turn = tuple(last if i == axis else axis if i == last else i for i in range(rank))
    turned = walk.transpose(t, turn)
    rows = walk.reshape(turned, (1, *turned.shape)) if rank == 1 else turned
    done = contract(walk, rows, Known(triangle.astype(np.float32), triangle, ex.number(1)))
    return walk.transpose(walk.reshape(done, turned.shape), turn)
