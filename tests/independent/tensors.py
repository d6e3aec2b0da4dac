"""Operations on whole tensors, look-ups, functions, and those of the scalar stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from .arithmetic import product_ends, weighted
from .formats import ZERO, Format, Numbers, Type, check_shape, make_format, make_type, narrowest, uniform
from .operations import Asked, Operation, Use, axis_of, flat, must, positions

Infer = Callable[[Use], Type]
Where = Callable[[Use], tuple[tuple[int, ...], list[tuple[int, int] | None]]]
"""A shape, and for each of its elements the operand and the position it comes from, None for a 0 put in."""


def moves(where: Where) -> tuple[Infer, Callable[[Use, Sequence[Numbers], Type], Numbers]]:
    """Inference and meaning of what moves whole elements and their formats along."""

    def infer(use: Use) -> Type:
        shape, sources = where(use)
        return make_type(shape, [ZERO if s is None else use.args[s[0]].formats[s[1]] for s in sources])

    def compute(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
        return tuple(Fraction(0) if s is None else numbers[s[0]][s[1]] for s in where(use)[1])

    return infer, compute


def reshape_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    shape = check_shape(tuple(use.attributes["shape"]))
    must(math.prod(shape) == len(use.args[0].formats), "reshape", "another number of elements")
    return shape, [(0, i) for i in range(math.prod(shape))]


def broadcast_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    old, new = use.args[0].shape, check_shape(tuple(use.attributes["shape"]))
    must(len(old) <= len(new), "broadcast", "fewer dimensions")
    new_dims = len(new) - len(old)
    for was, now in zip(old, new[new_dims:], strict=True):
        must(was in (1, now), "broadcast", "a dimension is neither 1 nor kept")
    sources: list[tuple[int, int] | None] = []
    for index in positions(new):
        own = [0 if was == 1 else i for was, i in zip(old, index[new_dims:], strict=True)]
        sources.append((0, flat(old, own)))
    return new, sources


def transpose_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    old, perm = use.args[0].shape, use.attributes["perm"]
    must(sorted(perm) == list(range(len(old))), "transpose", "perm is no order of the dimensions")
    new = tuple(old[p] for p in perm)
    sources: list[tuple[int, int] | None] = []
    for index in positions(new):
        own = [0] * len(old)
        for p, i in zip(perm, index, strict=True):
            own[p] = i
        sources.append((0, flat(old, own)))
    return new, sources


def concat_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    shapes = [a.shape for a in use.args]
    must(shapes[0], "concat", "scalars have no dimension")
    axis = axis_of(use.attributes["axis"], len(shapes[0]), "concat")
    rest = {(*s[:axis], -1, *s[axis + 1 :]) for s in shapes if len(s) > axis}
    must(len(rest) == 1 and all(len(s) == len(shapes[0]) for s in shapes), "concat", "shapes differ")
    new = check_shape((*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :]))
    sources: list[tuple[int, int] | None] = []
    for index in positions(new):
        at = index[axis]
        for part, shape in enumerate(shapes):
            if at < shape[axis]:
                sources.append((part, flat(shape, (*index[:axis], at, *index[axis + 1 :]))))
                break
            at -= shape[axis]
    return new, sources


def slice_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    old = use.args[0].shape
    start, stop = use.attributes["start"], use.attributes["stop"]
    step = use.attributes["step"] or [1] * len(old)
    must(len(start) == len(stop) == len(step) == len(old), "slice", "one number for each dimension")
    for a, b, s, n in zip(start, stop, step, old, strict=True):
        must(0 <= a <= b <= n and s >= 1, "slice", "the part is not there")
    new = tuple(len(range(a, b, s)) for a, b, s in zip(start, stop, step, strict=True))
    sources: list[tuple[int, int] | None] = [
        (0, flat(old, [a + i * s for a, i, s in zip(start, index, step, strict=True)]))
        for index in positions(new)
    ]
    return new, sources


def gather_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    old, indices = use.args[0].shape, use.attributes["indices"]
    axis = axis_of(use.attributes["axis"], len(old), "gather")
    must(all(0 <= i < old[axis] for i in indices), "gather", "an index is not there")
    new = check_shape((*old[:axis], len(indices), *old[axis + 1 :]))
    return new, [
        (0, flat(old, (*index[:axis], indices[index[axis]], *index[axis + 1 :]))) for index in positions(new)
    ]


def pad_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    old, before, after = use.args[0].shape, use.attributes["before"], use.attributes["after"]
    must(len(before) == len(after) == len(old), "pad", "one number for each dimension")
    must(all(n >= 0 for n in [*before, *after]), "pad", "less than nothing is put in")
    new = check_shape(tuple(b + n + a for b, n, a in zip(before, old, after, strict=True)))
    sources: list[tuple[int, int] | None] = []
    for index in positions(new):
        own = [i - b for i, b in zip(index, before, strict=True)]
        inside = all(0 <= i < n for i, n in zip(own, old, strict=True))
        sources.append((0, flat(old, own)) if inside else None)
    return new, sources


def element_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    must(0 <= use.attributes["at"] < len(use.args[0].formats), "element", "there is no such element")
    return (), [(0, use.attributes["at"])]


def pack_where(use: Use) -> tuple[tuple[int, ...], list[tuple[int, int] | None]]:
    shape = check_shape(tuple(use.attributes["shape"]))
    must(all(a.scalar for a in use.args), "pack", "parts are scalars")
    must(math.prod(shape) == len(use.args), "pack", "as many parts as elements")
    return shape, [(i, 0) for i in range(len(use.args))]


def groups(use: Use, op: str) -> tuple[tuple[int, ...], list[list[int]]]:
    """The shape that is left without the dimensions `axes`, and the positions that each of its elements takes."""
    shape = use.args[0].shape
    axes = [axis_of(a, len(shape), op) for a in use.attributes["axes"]] if use.attributes["axes"] else None
    must(axes is None or len(set(axes)) == len(axes), op, "a dimension is named twice")
    kept = [i for i in range(len(shape)) if axes is not None and i not in axes]
    new = tuple(shape[i] for i in kept)
    members: list[list[int]] = [[] for _ in range(math.prod(new))]
    for position, index in enumerate(positions(shape)):
        members[flat(new, [index[i] for i in kept])].append(position)
    return new, members


def reduction(
    op: str, rule: Callable[[list[Format]], Format], value: Callable[[list[Fraction]], Fraction]
) -> Operation:
    def infer(use: Use) -> Type:
        shape, members = groups(use, op)
        return make_type(shape, [rule([use.args[0].formats[i] for i in some]) for some in members])

    def compute(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
        return tuple(value([numbers[0][i] for i in some]) for some in groups(use, op)[1])

    return Operation(
        ("value",), infer, compute, {"axes": Asked("integer", many=True, default=[])}, stages=("tensor",)
    )


def sum_rule(formats: list[Format]) -> Format:
    return weighted([(f, Fraction(1)) for f in formats], Fraction(0))


def extreme_rule(best: Callable[[list[Fraction]], Fraction], op: str) -> Callable[[list[Format]], Format]:
    def rule(formats: list[Format]) -> Format:
        must(formats, op, "there is no largest or smallest of nothing")
        steps = max((f.frac for f in formats if f.bits), default=0)
        return narrowest(steps, best([f.low for f in formats]), best([f.high for f in formats]))

    return rule


def infer_argmax(use: Use) -> Type:
    shape = use.args[0].shape
    must(shape, "argmax", "a scalar has no dimension")
    must(shape[-1] or not math.prod(shape[:-1]), "argmax", "there is no largest of nothing")
    return uniform(shape[:-1], make_format(False, max(shape[-1] - 1, 0).bit_length(), 0))


def compute_argmax(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    last = use.args[0].shape[-1]
    rows = [list(numbers[0][i * last : (i + 1) * last]) for i in range(len(result.formats))]
    return tuple(Fraction(row.index(max(row))) for row in rows)


def infer_dense(use: Use) -> Type:
    x, w = use.args[0], use.constant(0)
    must(len(w.type.shape) == 2, "dense", "the weights are no matrix")
    rows, columns = w.type.shape
    must(x.shape and x.shape[-1] == rows, "dense", "the last dimension is not that of the weights")
    bias = bias_of(use)
    must(len(bias) == columns, "dense", "the bias has another length than a row of the weights")
    if len(use.symbols) > 1:
        must(len(use.constant(1).type.shape) == 1, "dense", "the bias is no vector")
    shape = check_shape((*x.shape[:-1], columns))
    out = []
    for index in positions(shape):
        start = flat(x.shape, (*index[:-1], 0)) if rows else 0
        terms = [(x.formats[start + i], w.numbers[i * columns + index[-1]]) for i in range(rows)]
        out.append(weighted(terms, bias[index[-1]]))
    return make_type(shape, out)


def bias_of(use: Use) -> Numbers:
    if len(use.symbols) > 1:
        return use.constant(1).numbers
    return (Fraction(0),) * use.constant(0).type.shape[1]


def compute_dense(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    w, bias = use.constant(0), bias_of(use)
    rows, columns = w.type.shape
    out = []
    for index in positions(result.shape):
        start = flat(use.args[0].shape, (*index[:-1], 0)) if rows else 0
        j = index[-1]
        terms = [numbers[0][start + i] * w.numbers[i * columns + j] for i in range(rows)]
        out.append(Fraction(sum(terms) + bias[j]))
    return tuple(out)


def matmul_pairs(use: Use) -> tuple[tuple[int, ...], list[list[tuple[int, int]]]]:
    a, b = use.args[0].shape, use.args[1].shape
    must(len(a) >= 2 and len(b) >= 2, "matmul", "factors have two dimensions or more")
    must(a[:-2] == b[:-2], "matmul", "leading dimensions differ")
    must(a[-1] == b[-2], "matmul", "inner dimensions differ")
    shape = check_shape((*a[:-1], b[-1]))
    pairs = []
    for *lead, m, n in positions(shape):
        pairs.append([(flat(a, (*lead, m, k)), flat(b, (*lead, k, n))) for k in range(a[-1])])
    return shape, pairs


def infer_matmul(use: Use) -> Type:
    shape, pairs = matmul_pairs(use)
    out = []
    for some in pairs:
        factors = [(use.args[0].formats[i], use.args[1].formats[j]) for i, j in some]
        steps = max((a.frac + b.frac for a, b in factors if a.bits and b.bits), default=0)
        ends = [product_ends(a, b) for a, b in factors]
        out.append(narrowest(steps, Fraction(sum(e[0] for e in ends)), Fraction(sum(e[1] for e in ends))))
    return make_type(shape, out)


def compute_matmul(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    a, b = numbers
    return tuple(Fraction(sum(a[i] * b[j] for i, j in some)) for some in matmul_pairs(use)[1])


def infer_lut(use: Use) -> Type:
    key, table = use.args[0], use.table
    if table.key.scalar:
        must(all(f == table.key.formats[0] for f in key.formats), "lut", "the key has another format")
        return uniform(key.shape, table.type.formats[0])
    must(key == table.key, "lut", "the key has another type")
    return table.type


def compute_lut(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    entries = use.table.entries
    return tuple(
        entries[0 if use.table.key.scalar else i][kind.pattern(n)]
        for i, (n, kind) in enumerate(zip(numbers[0], use.args[0].formats, strict=True))
    )


def infer_call(use: Use) -> Type:
    must(tuple(use.args) == use.function.parameters, "call", "arguments have the types of the parameters")
    return use.function.result


def map_slices(use: Use) -> int:
    """The length of the leading dimension."""
    parameters = use.function.parameters
    must(len(parameters) == len(use.args), "map", "as many arguments as parameters")
    must(use.args and all(a.shape for a in use.args), "map", "arguments have a leading dimension")
    lengths = {a.shape[0] for a in use.args}
    must(len(lengths) == 1, "map", "leading dimensions differ")
    (length,) = lengths
    for arg, parameter in zip(use.args, parameters, strict=True):
        same = arg.shape[1:] == parameter.shape and arg.formats == parameter.formats * length
        must(same, "map", "arguments have the types of the parameters, behind a leading dimension")
    return length


def infer_map(use: Use) -> Type:
    length, result = map_slices(use), use.function.result
    return make_type(check_shape((length, *result.shape)), result.formats * length)


def compute_map(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    out: list[Fraction] = []
    for i in range(map_slices(use)):
        sizes = [len(p.formats) for p in use.function.parameters]
        out += use.function.apply([n[i * s : (i + 1) * s] for n, s in zip(numbers, sizes, strict=True)])
    return tuple(out)


INTEGERS = Asked("integer", many=True)
TENSOR, SCALAR = ("tensor",), ("scalar",)
ONE = ("value",)

TENSORS: dict[str, Operation] = {
    "const": Operation(("const",), lambda u: u.constant(0).type, lambda u, v, r: u.constant(0).numbers),
    "lut": Operation(("value", "table"), infer_lut, compute_lut),
    "dense": Operation(("value", "const", "const?"), infer_dense, compute_dense, stages=TENSOR),
    "matmul": Operation(("value", "value"), infer_matmul, compute_matmul, stages=TENSOR),
    "sum": reduction("sum", sum_rule, lambda v: Fraction(sum(v))),
    "reduce_max": reduction("reduce_max", extreme_rule(max, "reduce_max"), max),
    "reduce_min": reduction("reduce_min", extreme_rule(min, "reduce_min"), min),
    "argmax": Operation(ONE, infer_argmax, compute_argmax, stages=TENSOR),
    "broadcast": Operation(ONE, *moves(broadcast_where), {"shape": INTEGERS}, TENSOR),
    "reshape": Operation(ONE, *moves(reshape_where), {"shape": INTEGERS}, TENSOR),
    "transpose": Operation(ONE, *moves(transpose_where), {"perm": INTEGERS}, TENSOR),
    "concat": Operation(("values",), *moves(concat_where), {"axis": Asked("integer", default=0)}, TENSOR),
    "slice": Operation(
        ONE,
        *moves(slice_where),
        {"start": INTEGERS, "stop": INTEGERS, "step": Asked("integer", many=True, default=[])},
        TENSOR,
    ),
    "gather": Operation(
        ONE, *moves(gather_where), {"indices": INTEGERS, "axis": Asked("integer", default=0)}, TENSOR
    ),
    "pad": Operation(ONE, *moves(pad_where), {"before": INTEGERS, "after": INTEGERS}, TENSOR),
    "element": Operation(ONE, *moves(element_where), {"at": Asked("integer")}),
    "pack": Operation(("any",), *moves(pack_where), {"shape": INTEGERS}),
    "reg": Operation(ONE, lambda u: u.args[0], lambda u, v, r: v[0], stages=SCALAR),
    "call": Operation(("func", "any"), infer_call, lambda u, v, r: u.function.apply(v)),
    "map": Operation(("func", "any"), infer_map, compute_map, stages=TENSOR),
}
