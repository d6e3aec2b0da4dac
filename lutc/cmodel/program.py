"""A body as steps on rows: what is computed from what, before rows have places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lutc.cmodel import rows as at
from lutc.cmodel import terms
from lutc.cmodel.meaning import term
from lutc.cmodel.rows import LITERAL, Literals, Refs
from lutc.cmodel.terms import Term, needed
from lutc.ir.graph import Design, Func, Param, Value
from lutc.ir.ops import (
    Argmax,
    Call,
    ConstOp,
    Dense,
    Lut,
    Map,
    Matmul,
    Number,
    Pad,
    ReduceMax,
    ReduceMin,
    Rescale,
    Sum,
)
from lutc.ir.ops.base import Op
from lutc.ir.ops.moves import Layout
from lutc.types import Fixed, Type, tensor, uniform

Rows = NDArray[np.int64]


@dataclass
class Compute:
    """One term for many elements: `rows[g]` of the pool `pool` from the rows `reads[g]` of the pools `pools`."""

    term: Term
    pool: int
    rows: Rows
    pools: tuple[int, ...]
    reads: Rows  # elements x operands
    table: Sequence[int] = ()  # what its `look` reads
    value: Fixed | None = None  # the format of the table's entries
    note: str = ""


@dataclass
class Product:
    """A matrix of integers times many vectors: `rows[p, j] = sum(weights[k, j] * reads[p, k]) + bias[j]`."""

    kind: str  # the C type that every partial sum is exact in
    pool: int
    rows: Rows  # vectors x results
    read_pool: int
    reads: Rows  # vectors x terms
    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    note: str = ""


@dataclass
class Calls:
    """A function's body, many times: the rows of its arguments' elements are copied in, its results out."""

    body: Body
    pools: tuple[int, ...]
    reads: Rows  # calls x elements of all arguments
    result_pools: tuple[int, ...]
    rows: Rows  # calls x elements of the result
    note: str = ""


Step = Compute | Product | Calls


@dataclass
class Body:
    """A design's or a function's steps; `params` and `results` are where its elements are, one array a value."""

    name: str
    params: list[Refs]
    results: list[Refs]
    steps: list[Step]
    literals: Literals
    counts: dict[int, int] = field(default_factory=dict)  # rows by pool


_UNROLLED = 24  # products of a dense layer's vector up to which each result is a term of its own
_SOLID = 64  # elements from which zeros put around a tensor get rows


class Maker:
    """Makes the steps of bodies; a function's are made once."""

    def __init__(self) -> None:
        self._made: dict[Func, Body] = {}

    def body(self, owner: Design | Func) -> Body:
        """The steps of a design or a function."""
        work = _Work(self, owner.name)
        params = [work.param(p) for p in owner.params]
        for value in owner.values:
            if not isinstance(value, Param):
                assert isinstance(value, Op)
                work.step(value)
        results = [work.known[v] for v in owner.roots]
        return Body(owner.name, params, results, work.steps, work.literals, work.counts)

    def function(self, func: Func) -> Body:
        if func not in self._made:
            self._made[func] = self.body(func)
        return self._made[func]


class _Work:
    def __init__(self, maker: Maker, name: str) -> None:
        self.maker = maker
        self.name = name
        self.known: dict[Value, Refs] = {}  # flat
        self.steps: list[Step] = []
        self.literals = Literals()
        self.counts: dict[int, int] = {}

    def block(self, pool: int, count: int) -> Rows:
        """New rows of a pool, one after the other."""
        first = self.counts.get(pool, 0)
        self.counts[pool] = first + count
        return np.arange(first, first + count, dtype=np.int64)

    def param(self, param: Param) -> Refs:
        found = np.zeros(param.type.size, dtype=np.int64)
        start = 0
        for count, fmt in param.type.runs:
            pool = at.pool_of(fmt)
            here = at.refs(pool, self.block(pool, count)) if fmt.width else self.literals.refs([0] * count)
            found[start : start + count] = here
            start += count
        self.known[param] = found
        return found

    def step(self, op: Op) -> None:
        self.known[op] = self._made(op)

    def _made(self, op: Op) -> Refs:
        reads = [self.known[v] for v in op.operands]
        match op:
            case ConstOp(symbol=symbol):
                return self.literals.refs([int(c) for c in symbol.codes.ravel().tolist()])
            case Number():
                return self.literals.refs([op.code])
            case Layout():
                flat = np.concatenate([*reads, self.literals.refs([0])])
                moved = flat[np.asarray(op.index)].ravel()
                return (
                    self.solid(moved, op.type, "pad")
                    if isinstance(op, Pad) and moved.size >= _SOLID
                    else moved
                )
            case Call(func=func):
                return self._called(op, func, 1, [r.reshape(1, -1) for r in reads])
            case Map(func=func):
                return self._called(op, func, op.length, [r.reshape(op.length, -1) for r in reads])
            case Dense() if op.type.size:
                return self._dense(op, reads[0])
        return self._elements(op)

    # -- terms -----------------------------------------------------------------------------------------------------

    def _elements(self, op: Op) -> Refs:
        """What is computed element by element: those of one term together."""
        reads = _operands(op, [self.known[v].reshape(v.type.shape) for v in op.operands])
        known = list(dict.fromkeys(f for v in op.operands for _, f in v.type.runs))
        numbers = {f: i for i, f in enumerate(known)}
        formats = _operands(op, [_numbered(v.type, numbers).reshape(v.type.shape) for v in op.operands])
        results = list(dict.fromkeys(f for _, f in op.type.runs))
        result = _numbered(op.type, {f: i for i, f in enumerate(results)})
        found = np.zeros(op.type.size, dtype=np.int64)
        pools = at.pools_of(reads)
        literal = np.where(pools == LITERAL, at.rows_of(reads), -1)
        signature = np.concatenate([pools, literal, formats, result[:, None], _shares(op)[:, None]], axis=1)
        for members in _groups(signature):
            first = int(members[0])
            source = [known[i] for i in formats[first].tolist()]
            to = results[int(result[first])]
            found[members] = self._group(op, reads[members], source, to, first, members)
        return found

    def _group(
        self, op: Op, reads: Refs, source: Sequence[Fixed], to: Fixed, first: int, members: Rows
    ) -> Refs:
        pools = at.pools_of(reads[0]).tolist()
        operands = [
            _ref(k, f, pool) if pool != LITERAL else terms.lit(self.literals.numbers[int(at.rows_of(r))])
            for k, (r, pool, f) in enumerate(zip(reads[0], pools, source, strict=True))
        ]
        made = term(op, operands, source, to, first)
        table: Sequence[int] = ()
        if isinstance(op, Lut) and made.kind == "look":
            table = op.table.parts()[made.k].tolist()
            if made.args[0].kind == "lit":
                made = terms.lit(int(table[made.args[0].k]))
        return self.compute(made, to, reads, table, op.name or "")

    def compute(self, made: Term, to: Fixed, reads: Refs, table: Sequence[int] = (), note: str = "") -> Refs:
        """Elements of one term; a number that is known, or an operand as it is, takes no step."""
        if made.kind == "lit":
            return np.repeat(self.literals.refs([made.k]), len(reads))
        if made.kind == "ref":
            return reads[:, made.k]
        used = sorted({t.k for t in terms.walked(made) if t.kind == "ref"})
        made = _renumbered(made, {k: i for i, k in enumerate(used)})
        pool = at.pool_of(to)
        pools = tuple(int(p) for p in at.pools_of(reads[0, used]))
        block = self.block(pool, len(reads))
        value = to if table else None
        self.steps.append(
            Compute(made, pool, block, pools, at.rows_of(reads[:, used]), table, value, f"{note}: {to}")
        )
        return at.refs(pool, block)

    def solid(self, found: Refs, kind: Type, note: str) -> Refs:
        """The same elements in rows of one pool, one after the other."""
        pool = max((at.pool_of(f) for _, f in kind.runs), default=1)
        if not at.narrow(pool):
            return found
        wide = next(
            f for f in (Fixed(True, 8), Fixed(True, 16), Fixed(True, 32), Fixed(True, 64)) if _holds(f, kind)
        )
        pool = at.pool_of(wide)
        block = self.block(pool, found.size)
        pools = at.pools_of(found)
        literal = np.where(pools == LITERAL, at.rows_of(found), -1)
        for members in _groups(np.stack([pools, literal], axis=1)):
            one = int(found[members[0]])
            number = self.literals.numbers[one] if pools[members[0]] == LITERAL else None
            made = terms.ref(0, wide) if number is None else terms.lit(number)
            reads = found[members][:, None] if number is None else np.zeros((len(members), 0), dtype=np.int64)
            kinds = () if number is not None else (int(pools[members[0]]),)
            self.steps.append(Compute(made, pool, block[members], kinds, at.rows_of(reads), note=note))
        return at.refs(pool, block)

    # -- matrices and functions -------------------------------------------------------------------------------------

    def _dense(self, op: Dense, found: Refs) -> Refs:
        """Rows of inputs of equal formats as one product; small ones, and those of wide codes, as terms."""
        terms_each, results = op.w.type.shape
        vectors = op.x.type.size // terms_each if terms_each else 0
        reads = found.reshape(vectors, terms_each)
        made = np.zeros((vectors, results), dtype=np.int64)
        formats = np.array(op.x.type.formats, dtype=object).reshape(vectors, terms_each)
        to = np.array(op.type.formats, dtype=object).reshape(vectors, results)
        numbers = {f: i for i, f in enumerate(dict.fromkeys(f for _, f in op.x.type.runs))}
        for members in _groups(_numbered(op.x.type, numbers).reshape(vectors, terms_each)):
            first = int(members[0])
            made[members] = self._products(op, reads[members], formats[first].tolist(), to[first].tolist())
        return made.ravel()

    def _products(self, op: Dense, reads: Refs, source: list[Fixed], to: list[Fixed]) -> Refs:
        weights, bias = _integers(op, source, to)
        most = max(
            sum(abs(w) * max(-f.lo, f.hi) for w, f in zip(column, source, strict=True)) + abs(b)
            for column, b in zip(weights.T.tolist(), bias, strict=True)
        )
        kind = next((name for name, bits in _EXACT if most < 1 << bits), None)
        if kind is None or weights.size <= _UNROLLED:
            return self._unrolled(op, reads, source, to, weights, bias)
        live = [k for k, row in enumerate(weights.tolist()) if any(row)]
        if not live:
            return np.tile(self.literals.refs([int(b) for b in bias]), (len(reads), 1))
        used = reads[:, live]
        if not at.of_one_pool(used):
            kinds = tensor((len(reads), len(live)), [source[k] for k in live] * len(reads))
            used = self.solid(used.ravel(), kinds, f"{op.name or ''}: to one kind").reshape(used.shape)
        wide = max(to, key=lambda f: (at.pool_of(f), f.width))
        same = next(
            f
            for f in _SIZES
            if _holds(f, uniform((1,), wide)) and all(_holds(f, uniform((1,), t)) for t in to)
        )
        pool = at.pool_of(same)
        block = self.block(pool, len(reads) * len(to)).reshape(len(reads), len(to))
        self.steps.append(
            Product(
                kind,
                pool,
                block,
                int(at.pools_of(used.flat[:1])[0]),
                at.rows_of(used),
                weights[live].astype(np.int64),
                np.array(bias, dtype=np.int64),
                op.name or "",
            )
        )
        return at.refs(pool, block)

    def _unrolled(
        self,
        op: Dense,
        reads: Refs,
        source: list[Fixed],
        to: list[Fixed],
        weights: NDArray[np.object_],
        bias: list[int],
    ) -> Refs:
        made = np.zeros((len(reads), len(to)), dtype=np.int64)
        pools = at.pools_of(reads)
        literal = np.where(pools == LITERAL, at.rows_of(reads), -1)
        for members in _groups(np.concatenate([pools, literal], axis=1)):
            one = reads[members[0]]
            operands = [
                _ref(k, f, pool) if pool != LITERAL else terms.lit(self.literals.numbers[int(at.rows_of(r))])
                for k, (r, pool, f) in enumerate(zip(one, pools[members[0]].tolist(), source, strict=True))
            ]
            for j, fmt in enumerate(to):
                parts = [(t, int(w)) for t, w in zip(operands, weights[:, j].tolist(), strict=True) if w]
                sums = terms.weighted(parts, bias[j])
                made[members, j] = self.compute(sums, fmt, reads[members], note=op.name or "")
        return made

    def _called(self, op: Op, func: Func, count: int, arguments: list[Refs]) -> Refs:
        inner = self.maker.function(func)
        wanted = np.concatenate([*inner.params, np.zeros(0, dtype=np.int64)])
        given = np.concatenate([*arguments, np.zeros((count, 0), dtype=np.int64)], axis=1)
        live = at.pools_of(wanted) != LITERAL
        pools = tuple(int(p) for p in at.pools_of(wanted[live]))
        reads = given[:, live].copy()
        for column, pool in enumerate(pools):  # numbers that are known, and rows of other kinds, get rows
            strange = np.flatnonzero(at.pools_of(reads[:, column]) != pool)
            if strange.size:
                reads[strange, column] = self._copied(reads[strange, column], pool)
        results = np.tile(inner.results[0], (count, 1))
        for n, code in enumerate(inner.results[0].tolist()):
            if code >> 40 == LITERAL:
                results[:, n] = self.literals.refs([inner.literals.numbers[code]])[0]
        made = [n for n, r in enumerate(inner.results[0].tolist()) if r >> 40 != LITERAL]
        if made:
            kinds = tuple(int(p) for p in at.pools_of(inner.results[0][made]))
            out = np.stack([self.block(k, count) for k in kinds], axis=1)
            for column, (n, kind) in enumerate(zip(made, kinds, strict=True)):
                results[:, n] = at.refs(kind, out[:, column])
            self.steps.append(Calls(inner, pools, at.rows_of(reads), kinds, out, op.name or func.name))
        return results.ravel()

    def _copied(self, found: Refs, pool: int) -> Refs:
        result = np.zeros_like(found)
        for i, one in enumerate(found.tolist()):
            block = self.block(pool, 1)
            source = one >> 40
            literal = source == LITERAL
            made = terms.lit(self.literals.numbers[one]) if literal else terms.ref(0, _span(pool))
            reads = np.zeros((1, 0), dtype=np.int64) if literal else at.rows_of(np.array([[one]]))
            self.steps.append(Compute(made, pool, block, () if literal else (source,), reads))
            result[i] = at.refs(pool, block)[0]
        return result


def _ref(number: int, fmt: Fixed, pool: int) -> Term:
    """An operand: what is kept without a sign is never negative, whatever format it is read in."""
    found = terms.ref(number, fmt)
    unsigned = at.pool(pool).name[0] == "u"
    return Term("ref", (), 0, found.hi, number) if found.lo < 0 and unsigned else found


def _span(pool: int) -> Fixed:
    """A format as wide as all that a pool's rows hold."""
    words = at.pool(pool).words
    return Fixed(True, 32 * words if words else 64)


# C types, and the bits that integers have of which each is exact.
_EXACT = (("float", 24), ("int32_t", 31), ("double", 53), ("int64_t", 62))
_SIZES = (Fixed(True, 8), Fixed(True, 16), Fixed(True, 32), Fixed(True, 64))


def _holds(fmt: Fixed, kind: Type) -> bool:
    return all(fmt.lo <= f.lo and f.hi <= fmt.hi for _, f in kind.runs)


def _integers(op: Dense, source: list[Fixed], to: list[Fixed]) -> tuple[NDArray[np.object_], list[int]]:
    """The matrix and the bias in steps of the results, for codes of the operands."""
    shape = op.w.type.shape
    weights = np.zeros(shape, dtype=object)
    for (k, j), code in np.ndenumerate(op.w.codes):
        if code and source[k].width and to[j].width:
            fmt = op.w.type.formats[k * shape[1] + j]
            weights[k, j] = _moved(int(code), to[j].frac - source[k].frac - fmt.frac)
    bias = [0] * shape[1]
    if op.b is not None:
        for j, (code, fmt) in enumerate(zip(op.b.codes.tolist(), op.b.type.formats, strict=True)):
            bias[j] = _moved(int(code), to[j].frac - fmt.frac) if code else 0
    return weights, bias


def _moved(code: int, left: int) -> int:
    """Times a power of two, exactly: what leaves to the right is 0."""
    return code << left if left >= 0 else code >> -left


def _renumbered(made: Term, numbers: dict[int, int]) -> Term:
    done: dict[int, Term] = {}
    for t in terms.walked(made):
        k = numbers[t.k] if t.kind == "ref" else t.k
        done[id(t)] = Term(t.kind, tuple(done[id(a)] for a in t.args), t.lo, t.hi, k)
    return done[id(made)]


def _numbered(kind: Type, numbers: dict[Fixed, int]) -> NDArray[np.int64]:
    """The elements' formats by number."""
    return np.repeat([numbers[f] for _, f in kind.runs], [n for n, _ in kind.runs]).astype(np.int64)


def _operands(op: Op, parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Of each element of the result, a row of what it reads."""
    size = op.type.size
    match op:
        case Sum() | ReduceMax() | ReduceMin():
            gone = op.reduced()
            moved = np.moveaxis(parts[0], gone, range(parts[0].ndim - len(gone), parts[0].ndim))
            return moved.reshape(size, parts[0].size // size if size else 0)
        case Argmax():
            return parts[0].reshape(size, -1)
        case Matmul():
            a, b = parts
            inner = a.shape[-1]
            shape = (*op.type.shape, inner)
            left = np.broadcast_to(a[..., :, None, :], shape).reshape(size, inner)
            right = np.broadcast_to(np.swapaxes(b, -1, -2)[..., None, :, :], shape).reshape(size, inner)
            return np.concatenate([left, right], axis=1)
    return (
        np.stack([p.reshape(size) for p in parts], axis=1) if parts else np.zeros((size, 0), dtype=np.int64)
    )


def _shares(op: Op) -> NDArray[np.int64]:
    """Which elements have attributes of their own."""
    if isinstance(op, Lut) and op.table.key.shape:
        return np.arange(op.type.size, dtype=np.int64)
    if isinstance(op, Rescale) and op.type.shape:
        index = np.indices(op.type.shape)[op.axis].ravel()
        return np.asarray(index % max(len(op.by), len(op.add)), dtype=np.int64)
    return np.zeros(op.type.size, dtype=np.int64)


def _groups(signature: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The numbers of equal rows together, in the order in which each begins."""
    if not len(signature):
        return []
    if len(signature) == 1 or (signature == signature[0]).all():
        return [np.arange(len(signature))]
    _, where = np.unique(signature, axis=0, return_inverse=True)
    order = np.argsort(where, kind="stable")
    cuts = np.flatnonzero(np.diff(where.ravel()[order])) + 1
    return sorted(np.split(order, cuts), key=lambda members: int(members[0]))


def step_bits(step: Compute) -> int:
    """The two's complement bits that a step's arithmetic needs."""
    return needed(step.term)
