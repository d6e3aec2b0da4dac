"""The one place where numbers are rounded: scale, offset and clips of a tensor meet a quantiser's steps and range."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Value
from lutc.ir.ops import Rescale
from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Pending, Scaled, concrete, core
from lutc.lowering.walk import Walk, formats
from lutc.numbers import dyadic, one_digit, power_of_two, twos
from lutc.types import Fixed, Overflow, Rounding, Type, tensor


@dataclass(frozen=True, eq=False)
class Grid:
    """What a quantiser does to a real number z: the integer `clip(round(z * by + add), lo, hi)`.

    All four broadcast to the tensor's shape. The value of the design carries the integer times `2**-frac`.
    """

    by: Exact
    add: Exact
    lo: Exact
    hi: Exact
    round: Rounding = Rounding.HALF_EVEN
    frac: int = 0


def quantise(walk: Walk, t: Scaled, grid: Grid) -> Scaled:
    """The tensor on the quantiser's grid: its value is the integer times `2**-grid.frac`, its scale is 1.

    Clips commute with a quantiser, for both are monotone: they only narrow its range.
    """
    by, add = ex.times(t.scale, grid.by), ex.plus(ex.times(t.offset, grid.by), grid.add)
    ends = [ex.rounded_all(ex.plus(ex.times(x, grid.by), grid.add), grid.round) for x in (t.lo, t.hi)]
    swap = grid.by < 0
    first, last = ex.choose(swap, ends[1], ends[0]), ex.choose(swap, ends[0], ends[1])
    lo, hi = (ex.minimum(ex.maximum(x, grid.lo), grid.hi) for x in (first, last))
    value: Value | Pending
    if isinstance(t.value, Pending):
        value = _port(walk, t, t.value, replace(grid, by=by, add=add, lo=lo, hi=hi))
    else:
        by, add, lo, hi = (walk.inner(x, t.shape) for x in (by, add, lo, hi))
        inner = Grid(by, add, lo, hi, grid.round, grid.frac)
        value = _placed(walk, t.value, inner)
        walk.quantised[value] = t.value, inner
    return Scaled(t.shape, value, batched=t.batched)


def stopped(walk: Walk, t: Scaled) -> Scaled:
    """The tensor with its clip in the quantiser that made it, where that is a `rescale`: to fewer codes it is cheaper.

    Left for later, the clip may end up behind a pool, or outside of the function that has the quantiser.
    """
    if isinstance(t.value, Pending) or t.value not in walk.quantised or not t.clips():
        return t
    source, grid = walk.quantised[t.value]
    made = walk.maps[t.value].func.result if t.value in walk.maps else t.value
    plain = ex.lone(t.scale) == 1 and ex.lone(t.offset) == 0 and grid.frac == 0
    if not plain or not isinstance(made, Rescale) or not all(_whole(x) for x in (t.lo, t.hi)):
        return t
    lo, hi = (walk.inner(x, t.shape) for x in (t.lo, t.hi))
    lo, hi = (ex.minimum(ex.maximum(x, grid.lo), grid.hi) for x in (lo, hi))
    inner = replace(grid, lo=lo, hi=hi)
    value = _placed(walk, source, inner)
    walk.quantised[value] = source, inner
    return replace(t, value=value, lo=ex.number(-ex.INF), hi=ex.number(ex.INF))


def _whole(bounds: Exact) -> bool:
    return ex.every(lambda v: abs(v) == ex.INF or v.denominator == 1, bounds)


def bipolar(walk: Walk, t: Scaled) -> Scaled:
    """-1 where the tensor is negative, else +1: `2 * u + 1` of a one-bit value u that is -1 or 0.

    Only the sign counts, so the scale is taken out of the comparison and the offset rounded to the value's steps.
    """
    if isinstance(t.value, Pending):
        sure = quantise(
            walk, t, Grid(ex.number(1), ex.number(0), ex.number(-1), ex.number(0), Rounding.FLOOR)
        )
        return sure.times(ex.number(2)).plus(ex.number(1))
    value = concrete(t)
    finest = max((f.frac for f in value.type.formats if f.width), default=0)
    step = Fraction(2) ** -finest
    by, add, lo, hi = np.broadcast_arrays(t.scale, t.offset, t.lo, t.hi)
    signs, terms = np.empty(by.shape, dtype=object), np.empty(by.shape, dtype=object)
    for at in np.ndindex(by.shape):
        factor, term = by[at], add[at]
        if factor == 0 or lo[at] >= 0 or hi[at] < 0:
            fixed = max(min(term, hi[at]), lo[at]) if factor == 0 else lo[at]
            signs[at], terms[at] = Fraction(0), Fraction(0 if fixed >= 0 else -1)
        else:
            # With f, t the factor and term: f*v + t >= 0 where sign(f)*v >= -t/|f|, which may move up to a step of v.
            signs[at] = Fraction(1 if factor > 0 else -1)
            terms[at] = (term / abs(factor) / step).__floor__() * step
    grid = Grid(ex.compress(signs), ex.compress(terms), ex.number(-1), ex.number(0), Rounding.FLOOR)
    inner = replace(grid, by=walk.inner(grid.by, t.shape), add=walk.inner(grid.add, t.shape))
    low = Scaled(t.shape, _placed(walk, value, inner), batched=t.batched)
    return low.times(ex.number(2)).plus(ex.number(1))


def ties(t: Scaled, by: Exact) -> bool:
    """Whether `t * by` can lie exactly between two integers. Says yes where that is hard to tell."""
    if isinstance(t.value, Pending):
        return True
    if any(_half(v) for x in (t.lo, t.hi) for v in ex.times(x, by).ravel().tolist()):
        return True
    kind = t.type
    finest = max((f.frac for f in kind.formats if f.width), default=0)
    shifts = [finest - f.frac if f.width else 0 for f in kind.formats]
    lo = min(f.lo << n for f, n in zip(kind.formats, shifts, strict=True))
    hi = max(f.hi << n for f, n in zip(kind.formats, shifts, strict=True))
    slopes, terms = np.broadcast_arrays(ex.times(t.scale, by), ex.times(t.offset, by))
    pairs = zip(slopes.ravel().tolist(), terms.ravel().tolist(), strict=True)
    return any(_tie(a * Fraction(2) ** -finest, b, lo, hi) for a, b in pairs)


def _half(value: Fraction | float) -> bool:
    return isinstance(value, Fraction) and value.denominator == 2


def _tie(slope: Fraction, term: Fraction, lo: int, hi: int) -> bool:
    """Whether `slope * c + term` is a half for an integer c in `[lo, hi]`: a linear congruence."""
    p, q = slope.numerator, slope.denominator
    wanted = (Fraction(1, 2) - term) * q  # c * p has to be this, up to multiples of q
    if wanted.denominator != 1:
        return False
    first = wanted.numerator * pow(p, -1, q) % q if q > 1 else 0
    return lo + (first - lo) % q <= hi


# -- ports ----------------------------------------------------------------------------------------------------------


def _port(walk: Walk, t: Scaled, pending: Pending, grid: Grid) -> Value:
    """An input's first quantiser becomes the rule of its port, and costs no hardware."""
    by, add, lo, hi = (ex.lone(x) for x in (grid.by, grid.add, grid.lo, grid.hi))
    name = pending.port.name
    several = by is None or lo is None or hi is None
    if several and add == 0 and not pending.moves and ex.every(power_of_two, grid.by):
        return _port_by_element(walk, t, pending, grid)
    if by is None or add is None or lo is None or hi is None or not by:
        raise Refusal(
            f"quantises input {name!r} with a scale or an offset for each channel, and a port has only one",
            pending.way_out,
        )
    kind = formats(core(pending.port.shape), grid.lo, grid.hi, grid.frac)
    mode, exactly = _overflow(kind, grid.lo, grid.hi)
    scale, offset = Fraction(2) ** grid.frac / by, -add / by
    rule = (by, add, lo, hi, grid.round, grid.frac)
    value: Value = pending.settled(rule, lambda: walk.port(name, kind, grid.round, mode, scale, offset))
    if not exactly:
        step = Fraction(2) ** -grid.frac
        value = walk.clamp(value, ex.number(lo * step), ex.number(hi * step), value.type.shape)
    return pending.moved(value)


def _port_by_element(walk: Walk, t: Scaled, pending: Pending, grid: Grid) -> Value:
    """As `_port`, for steps that differ by powers of two: each element of the port has a format of its own."""
    by, lo, hi = (walk.inner(x, t.shape) for x in (grid.by, grid.lo, grid.hi))
    shape = core(pending.port.shape)
    codes = formats(shape, lo, hi, 0)
    fracs = [ex.exponent(v) for v in ex.spread(by, shape).ravel().tolist()]
    kind = tensor(
        shape, [replace(f, frac=n) if f.width else f for f, n in zip(codes.formats, fracs, strict=True)]
    )
    mode, exactly = _overflow(codes, lo, hi)
    rule = (*(tuple(x.ravel().tolist()) for x in (by, lo, hi)), grid.round, grid.frac)
    port: Value = pending.settled(rule, lambda: walk.port(pending.port.name, kind, grid.round, mode))
    step = ex.number(Fraction(2) ** -grid.frac)
    value = walk.affine(port, ex.times(by, step), ex.number(0))
    if exactly:
        return value
    return walk.clamp(value, ex.times(lo, step), ex.times(hi, step), shape)


# -- hardware -------------------------------------------------------------------------------------------------------


def _placed(walk: Walk, value: Value, grid: Grid) -> Value:
    """Quantise inside of the function if the value is one mapped over positions, so that it stays one module."""
    mapped = walk.maps.get(value)
    parts = (grid.by, grid.add, grid.lo, grid.hi)
    rank = len(value.type.shape)
    if mapped is None or any(x.size not in (1, ex.ranked(x, rank).shape[mapped.axis]) for x in parts):
        return _emit(walk, walk.b, value, grid)
    old = mapped.func
    by, add, lo, hi = (x.ravel() for x in parts)
    inside = Grid(by, add, lo, hi, grid.round, grid.frac)
    builder = Builder(old.name)
    with builder.origin(walk.layer.name if walk.layer else None):
        result = _emit(walk, builder, old.result, inside)
    func = replace(old, result=result)
    after = walk.b.map(func, mapped.args)
    placed = mapped.place(after)
    walk.maps[placed] = replace(mapped, func=func)
    return placed


def _emit(walk: Walk, b: Builder, value: Value, grid: Grid) -> Value:
    """`clip(round(value * by + add), lo, hi) * 2**-frac`."""
    shape = value.type.shape
    scale = ex.number(Fraction(2) ** -grid.frac)
    by, add = ex.times(grid.by, scale), ex.times(grid.add, scale)
    to = formats(shape, grid.lo, grid.hi, grid.frac)
    mode, exactly = _overflow(to, grid.lo, grid.hi)
    factor = ex.lone(by)
    if factor is not None and one_digit(factor) and _cheap(value, factor, add, grid.frac):
        value = walk.affine(value, by, add, b)
        if not _inside(value.type, to, grid):
            value = b.quant(value, to=to, round=grid.round, overflow=mode)
    else:
        value = _rescale(b, value, by, add, to, grid.round, mode)
    if exactly:
        return value
    return walk.clamp(value, ex.times(grid.lo, scale), ex.times(grid.hi, scale), shape, b)


def _cheap(value: Value, factor: Fraction, add: Exact, frac: int) -> bool:
    """Whether adding the offset needs no steps finer than there are, or than rounding looks at."""
    finest = max((f.frac for _, f in value.type.runs if f.width), default=0) - ex.exponent(factor)
    return ex.every(lambda v: dyadic(v) and (not v or twos(v) <= max(finest, frac + 1)), add)


def _inside(kind: Type, to: Type, grid: Grid) -> bool:
    """Whether every number of a type is on the grid and in its range already."""
    ends = _ends(kind, grid.lo, grid.hi)
    return all(
        not f.width
        or (f.frac <= grid.frac and a <= f.lo << (grid.frac - f.frac) and f.hi << (grid.frac - f.frac) <= z)
        for f, a, z in ends
    ) and all(a <= 0 <= z for f, a, z in ends if not f.width)


def _ends(kind: Type, lo: Exact, hi: Exact) -> list[tuple[Fixed, Fraction, Fraction]]:
    """The formats of a type's elements with the ends of their ranges; those that follow on their equals left out."""
    least, most = ex.lone(lo), ex.lone(hi)
    if least is not None and most is not None:
        return [(f, least, most) for _, f in kind.runs]
    low, high = (ex.spread(x, kind.shape).ravel().tolist() for x in (lo, hi))
    return list(zip(kind.formats, low, high, strict=True))


def _overflow(to: Type, lo: Exact, hi: Exact) -> tuple[Overflow, bool]:
    """The overflow mode whose range is the quantiser's, or the closest; and whether it is the very same."""
    ends = _ends(to, lo, hi)

    def same(symmetric: bool) -> bool:
        return all(a == (max(f.lo, -f.hi) if symmetric else f.lo) and z == f.hi for f, a, z in ends)

    if not same(False) and same(True):
        return Overflow.SATURATE_SYMMETRIC, True
    return Overflow.SATURATE, same(False)


def _rescale(
    b: Builder, value: Value, by: Exact, add: Exact, to: Type, rounding: Rounding, mode: Overflow
) -> Value:
    """`rescale` has factors along one dimension: a value whose factors differ along several is laid flat for it."""
    shape = value.type.shape
    by, add = ex.ranked(by, len(shape)), ex.ranked(add, len(shape))
    axes = [i for i in range(len(shape)) if by.shape[i] > 1 or add.shape[i] > 1]
    if len(axes) <= 1:
        axis = axes[0] if axes else -1
        done: Value = b.rescale(
            value,
            to=to,
            by=by.ravel(),
            add=add.ravel(),
            axis=axis if shape else -1,
            round=rounding,
            overflow=mode,
        )
        return done
    flat = (value.type.size,)
    done = b.rescale(
        b.reshape(value, shape=flat),
        to=Type(flat, to.runs),
        by=ex.spread(by, shape).ravel(),
        add=ex.spread(add, shape).ravel(),
        round=rounding,
        overflow=mode,
    )
    return b.reshape(done, shape=shape)  # type: ignore[no-any-return]
