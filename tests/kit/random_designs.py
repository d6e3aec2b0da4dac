"""Random designs, small and well-formed: the raw material of the property tests and of the fuzzer.

    design = random_design(random.Random(7), stage="scalar")

Operations are drawn from the op table, so a new one takes part by itself. Operands are drawn from what there is and
brought to fit by conversions; attributes are drawn by name where the name says what they mean (`shape`, `axis` ...),
else by their kind. An operation whose draw does not fit is drawn again.
"""

from __future__ import annotations

import math
import random
import typing
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from fractions import Fraction
from itertools import count
from types import UnionType
from typing import Any

import numpy as np

from lutc.ir.graph import Const, Design, Func, OpMistake, Output, Param, Stage, Table, Value
from lutc.ir.latency import latency
from lutc.ir.ops import ALL, TABLE
from lutc.ir.ops.base import Attribute, Op, spec
from lutc.ir.ops.convert import Quant, Rescale
from lutc.ir.ops.flow import Call, Map, Reg
from lutc.ir.ops.moves import Broadcast, Element, Pack, Reshape
from lutc.ir.ops.table import ConstOp, Number
from lutc.types import BIT, Fixed, Overflow, Rounding, Type, scalar, tensor, uniform

WIDEST = 70  # bits that a value keeps; the result of one operation may be wider
BIGGEST = 24  # elements of a tensor
KEY = 6  # bits of a table's key
NAMES = ("x", "sum", "a.b", "layer 1/Mul", "0", "é", "")  # some of them must be rewritten to be printed
ORIGINS = ("dense_1", 'a "quoted" one', "back\\slash", "größe", "line\nbreak", "")


def random_design(
    rng: random.Random, stage: str = "tensor", ops: Sequence[type[Op]] | None = None, size: int | None = None
) -> Design:
    """A verified design of about `size` (5 to 40) operations, out of `ops` (all there are at the stage)."""
    at = Stage(stage)
    generator = _Generator(rng, at, [op for op in ops or ALL if at in op.stages])
    return generator.design(size or rng.randint(5, 40))


class _Generator:
    """Grows one body; functions are grown by generators of their own."""

    def __init__(
        self,
        rng: random.Random,
        stage: Stage,
        ops: Sequence[type[Op]],
        symbols: Iterator[int] | None = None,
        depth: int = 0,
    ) -> None:
        self.rng = rng
        self.stage = stage
        self.ops = ops
        self.symbols = symbols or count()
        self.depth = depth
        self.pool: list[Value] = []  # what operations may read; at the scalar stage, scalars only
        self.bundles: list[Value] = []  # tensors of the scalar stage
        self.params: list[Param] = []
        self.funcs: list[Func] = []
        self.read: set[Value] = set()
        self.times: dict[Value, int | None] = {}
        self.delayed: dict[Value, Value] = {}

    # -- wholes ---------------------------------------------------------------------------------------------------

    def design(self, size: int) -> Design:
        for i in range(self.rng.randint(1, 3)):
            self.param(f"in{i}")
        self.grow(size)
        outputs = []
        for i, value in enumerate(self.ends()):
            length = value.type.shape[-1] if value.type.shape else 1
            scale: tuple[Fraction, ...] = (Fraction(1),)
            offset: tuple[Fraction, ...] = (Fraction(0),)
            if self.rng.random() < 0.2:
                scale = tuple(self.rational() for _ in range(self.rng.choice([1, length])))
                offset = tuple(self.rational() for _ in range(self.rng.choice([1, length])))
            outputs.append(Output(f"out{i}", value, scale, offset))
        notes = tuple(f"note {i}" for i in range(self.rng.choice([0, 0, 0, 2])))
        return Design(f"d{self.rng.randint(0, 999)}", tuple(self.params), tuple(outputs), self.stage, notes)

    def grow(self, size: int) -> None:
        for _ in range(size):
            for _ in range(20):
                op = self.rng.choice(self.ops)
                try:
                    value = self.make(op)
                except OpMistake:
                    continue
                if value is not None and value.type.size <= BIGGEST:
                    self.keep(value)
                    break

    def ends(self) -> list[Value]:
        """One to four values, unread ones first, that come at one time."""
        values = [v for v in [*self.pool, *self.bundles] if v not in self.read and not isinstance(v, Param)]
        self.rng.shuffle(values)
        values = (values or self.pool)[: self.rng.randint(1, 4)]
        if self.stage is Stage.SCALAR and self.rng.random() < 0.3:
            singles = [v for v in values if not v.type.shape]
            if singles:
                packed = Pack(tuple(self.meet(singles)), (len(singles),))
                self.arrive(packed)
                values = [packed, *(v for v in values if v.type.shape)]
        return self.meet(values)

    def function(self, kinds: Sequence[Type]) -> Func:
        """A function of parameters of these types."""
        inner = _Generator(self.rng, self.stage, self.ops, self.symbols, self.depth + 1)
        for i, kind in enumerate(kinds):
            inner.param(f"a{i}", kind)
        inner.grow(self.rng.randint(1, 6))
        ends = inner.ends()
        func = Func(self.symbol("f"), tuple(inner.params), ends[0])
        self.funcs.append(func)
        return func

    def param(self, name: str, kind: Type | None = None) -> None:
        kind = kind or self.kind(self.shape())
        if self.depth or self.rng.random() < 0.5:
            param = Param(kind, name=name)
        else:
            scale, offset = (
                self.rng.choice([Fraction(1), self.rational()]),
                self.rng.choice([Fraction(0), self.rational()]),
            )
            modes = self.rng.choice(list(Rounding)), self.rng.choice(list(Overflow))
            param = Param(kind, *modes, scale, offset, name=name)
        self.params.append(param)
        self.arrive(param)
        if self.stage is Stage.SCALAR and kind.shape:
            self.bundles.append(param)
            for at in range(min(kind.size, 4)):
                self.keep(Element(param, at))
        else:
            self.pool.append(param)

    # -- values ---------------------------------------------------------------------------------------------------

    def keep(self, value: Value) -> None:
        """Put a value among those that may be read, brought to a width that stays manageable."""
        self.arrive(value)
        self.read |= set(value.operands)
        if self.stage is Stage.SCALAR and value.type.shape:
            self.bundles.append(value)
            value = Element(value, self.rng.randrange(value.type.size))
            self.arrive(value)
            self.read |= set(value.operands)
        if value.type.max_width > WIDEST:
            value = self.quant(value, self.kind(value.type.shape))
        self.pool.append(value)

    def arrive(self, value: Value) -> Value:
        """Work out when a value is there, and what it stands on."""
        todo = [value]
        while todo:
            if missing := [v for v in todo[-1].operands if v not in self.times]:
                todo += missing
                continue
            one = todo.pop()
            if isinstance(one, Param):
                self.times[one] = 0
            else:
                before = [t for v in one.operands if (t := self.times[v]) is not None]
                extra = 1 if isinstance(one, Reg) else latency(one.func) if isinstance(one, Call) else 0
                self.times[one] = max(before) + extra if before else None
        return value

    def meet(self, values: Sequence[Value]) -> list[Value]:
        """The values, registers added until all have passed equally many."""
        last = max((t for v in values if (t := self.times[self.arrive(v)]) is not None), default=0)
        found = []
        for value in values:
            while (time := self.times[value]) is not None and time < last:
                if value not in self.delayed:
                    self.delayed[value] = self.arrive(self.later(value))
                value = self.delayed[value]
            found.append(value)
        return found

    def later(self, value: Value) -> Value:
        """The value one cycle later; a bundle is delayed wire by wire."""
        if not value.type.shape:
            return Reg(value)
        return Pack(tuple(Reg(Element(value, i)) for i in range(value.type.size)), value.type.shape)

    def quant(self, value: Value, to: Type) -> Value:
        if value.type == to and self.rng.random() < 0.8:
            return value
        self.read.add(value)
        modes = self.rng.choice(list(Rounding)), self.rng.choice(list(Overflow))
        return self.arrive(Quant(value, to, *modes, **self.labels()))

    def pick(self, fits: Callable[[Value], bool] = lambda v: True) -> Value:
        """A value from the pool, the newest preferred. Raises OpMistake if none fits."""
        found = [v for v in self.pool if fits(v)]
        if not found:
            raise OpMistake("nothing fits")
        return self.rng.choice(found[-6:] if self.rng.random() < 0.7 else found)

    def like(self, shape: tuple[int, ...]) -> Value:
        """A value of a shape, made from another if there is none."""
        if self.stage is Stage.SCALAR or self.rng.random() < 0.7:
            found = [v for v in self.pool if v.type.shape == shape]
            if found:
                return self.rng.choice(found)
        if self.stage is Stage.SCALAR:
            return Number(self.dyadic())
        same = [v for v in self.pool if v.type.size == math.prod(shape)]
        if same:
            return Reshape(self.rng.choice(same), shape, **self.labels())
        single = [v for v in self.pool if not v.type.shape] or [Number(self.dyadic())]
        return Broadcast(self.rng.choice(single), shape, **self.labels())

    def make(self, op: type[Op]) -> Value | None:
        """An operation with operands and attributes that may or may not fit."""
        special = getattr(self, f"make_{op.keyword}", None)
        if special is not None:
            return typing.cast("Value | None", special())
        row = spec(op)
        fields: dict[str, Any] = {}
        values: list[Value] = []
        for _, many in row.operands:
            for _ in range(self.rng.randint(1, 4) if many else 1):
                values.append(self.like(values[0].type.shape) if values else self.pick())
        values = self.meet(values)
        rest = list(values)
        for name, many in row.operands:
            fields[name] = tuple(rest) if many else rest.pop(0)
        if row.symbols:
            raise OpMistake("needs a maker of its own")
        if row.typed:
            fields["to"] = self.kind(values[0].type.shape)
        for attribute in row.attributes:
            if attribute.required or self.rng.random() < 0.6:
                fields[attribute.name] = self.attribute(op, attribute, values)
        return op(**fields, **self.labels())

    def labels(self) -> dict[str, Any]:
        name = self.rng.choice(NAMES) or None if self.rng.random() < 0.2 else f"t{self.rng.randint(0, 99)}"
        origin = self.rng.choice(ORIGINS) if self.rng.random() < 0.2 else None
        return {"name": name, "origin": origin}

    def symbol(self, stem: str) -> str:
        """A name that no other constant, table or function has."""
        return f"{stem}{next(self.symbols)}"

    # -- operations that need more than operands of one shape ---------------------------------------------------------

    def make_const(self) -> Value:
        kind = self.kind(self.shape())
        return ConstOp(self.constant(kind), **self.labels())

    def make_select(self) -> Value:
        yes = self.pick()
        bit = self.quant(self.like(yes.type.shape), uniform(yes.type.shape, BIT))
        condition, *rest = self.meet([bit, yes, self.like(yes.type.shape)])
        return self.built("select", condition, *rest)

    def bitwise(self, keyword: str) -> Value:
        a = self.pick()
        return self.built(keyword, *self.meet([a, self.quant(self.like(a.type.shape), a.type)]))

    def make_and(self) -> Value:
        return self.bitwise("and")

    def make_or(self) -> Value:
        return self.bitwise("or")

    def make_xor(self) -> Value:
        return self.bitwise("xor")

    def make_add3(self) -> Value:
        """Two or three operands, the bias one of them, at most two of them negative."""
        values = self.meet([self.pick() for _ in range(self.rng.randint(1, 3))])
        bias = self.dyadic() if len(values) < 3 else Fraction(0)
        signs = self.rng.sample([1, 1, 1, -1, -1], len(values))
        weights = tuple(sign * Fraction(2) ** self.rng.randint(-3, 3) for sign in signs)
        return self.built("add3", *values, weights=weights, bias=bias)

    def make_lut(self) -> Value:
        key = self.pick()
        shape = key.type.shape
        alike = self.rng.random() < 0.6
        if key.type.max_width > KEY or (alike and not key.type.format):
            key = self.quant(key, uniform(shape, self.format(KEY)) if alike else self.kind(shape, KEY))
        kind = scalar(key.type.format) if alike and key.type.format else key.type
        to = self.kind(kind.shape)
        formats = [v for k, v in zip(kind.formats, to.formats, strict=True) for _ in range(1 << k.width)]
        codes = np.array([self.rng.randint(f.lo, f.hi) for f in formats], dtype=object)
        return self.built("lut", key, table=Table(self.symbol("t"), kind, to, codes))

    def make_dense(self) -> Value:
        x = self.pick(lambda v: bool(v.type.shape))
        w = self.constant(self.kind((x.type.shape[-1], self.rng.randint(1, 4))))
        b = self.constant(self.kind(w.type.shape[1:])) if self.rng.random() < 0.4 else None
        return self.built("dense", x, w=w, b=b)

    def make_bit_cast(self) -> Value:
        x = self.pick()
        other = [Fixed(self.rng.random() < 0.5, f.width, self.rng.randint(-3, 6)) for f in x.type.formats]
        return self.built("bit_cast", x, to=tensor(x.type.shape, other))

    def make_matmul(self) -> Value:
        m, k, n = (self.rng.randint(1, 3) for _ in range(3))
        lead = self.rng.choice([(), (), (2,)])
        return self.built("matmul", self.like((*lead, m, k)), self.like((*lead, k, n)))

    def make_rescale(self) -> Value:
        x = self.pick()
        if x.type.max_width > 24:
            x = self.quant(x, self.kind(x.type.shape, 24))
        fields: dict[str, Any] = {
            "round": self.rng.choice(list(Rounding)),
            "overflow": self.rng.choice(list(Overflow)),
        }
        return Rescale(
            x, self.kind(x.type.shape, 24), self.along([x]), self.along([x]), -1, **fields, **self.labels()
        )

    def make_element(self) -> Value:
        if self.stage is Stage.SCALAR and not self.bundles:
            raise OpMistake("there is no tensor")
        x = self.rng.choice(self.bundles) if self.bundles else self.pick(lambda v: v.type.size > 0)
        return self.built("element", x, at=self.rng.randrange(x.type.size))

    def make_pack(self) -> Value:
        shape = self.shape() or (1,)
        return self.built("pack", *self.meet([self.like(()) for _ in range(math.prod(shape))]), shape=shape)

    def make_call(self) -> Value:
        if self.depth > 1:
            raise OpMistake("deep enough")
        func = self.rng.choice(self.funcs) if self.funcs and self.rng.random() < 0.5 else None
        values = (
            [self.argument(p.type) for p in func.params]
            if func
            else [self.any() for _ in range(self.rng.randint(1, 3))]
        )
        func = func or self.function([v.type for v in values])
        return Call(func, tuple(self.meet(values)), **self.labels())

    def any(self) -> Value:
        return self.rng.choice(self.bundles) if self.bundles and self.rng.random() < 0.3 else self.pick()

    def argument(self, kind: Type) -> Value:
        """A value of exactly this type."""
        if self.stage is Stage.SCALAR and kind.shape:
            parts = [self.quant(self.pick(), scalar(f)) for f in kind.formats]
            return self.arrive(Pack(tuple(self.meet(parts)), kind.shape))
        return self.quant(self.like(kind.shape), kind)

    def make_map(self) -> Value:
        if self.depth > 1:
            raise OpMistake("deep enough")
        length = self.rng.randint(1, 4)
        slices = [self.kind(self.shape(6)) for _ in range(self.rng.randint(1, 2))]
        values = [
            self.quant(self.like((length, *s.shape)), tensor((length, *s.shape), s.formats * length))
            for s in slices
        ]
        return Map(self.function(slices), tuple(values), **self.labels())

    def built(self, keyword: str, *values: Value, **fields: Any) -> Value:
        """An operation by its keyword, operands in order."""
        rest = list(values)
        for name, many in spec(TABLE[keyword]).operands:
            fields[name] = tuple(rest) if many else rest.pop(0)
        return TABLE[keyword](**fields, **self.labels())

    # -- types, numbers and attributes ------------------------------------------------------------------------------

    def shape(self, most: int = BIGGEST) -> tuple[int, ...]:
        shapes = [(), (), (1,), (2,), (3,), (4,), (5,), (1, 3), (2, 2), (2, 3), (3, 1), (2, 1, 2)]
        return self.rng.choice([s for s in shapes if math.prod(s) <= most])

    def format(self, most: int = WIDEST) -> Fixed:
        width = self.rng.choice(
            [self.rng.randint(1, 8)] * 14
            + [self.rng.randint(9, 20)] * 3
            + [self.rng.randint(21, WIDEST)] * 2
            + [0]
        )
        width = min(width, self.rng.randint(1, most)) if width > most else width
        return Fixed(self.rng.random() < 0.6, width, self.rng.randint(-3, width + 3))

    def kind(self, shape: tuple[int, ...], most: int = WIDEST) -> Type:
        if self.rng.random() < 0.6:
            return uniform(shape, self.format(most))
        return tensor(shape, [self.format(most) for _ in range(math.prod(shape))])

    def constant(self, kind: Type) -> Const:
        codes = [self.rng.choice([0, self.rng.randint(f.lo, f.hi), f.lo, f.hi]) for f in kind.formats]
        array = np.empty(len(codes), dtype=object)
        array[:] = codes
        return Const(self.symbol("c"), kind, array)

    def dyadic(self) -> Fraction:
        return Fraction(self.rng.choice([0, 1, -1, self.rng.randint(-40, 40)])) * Fraction(
            2
        ) ** self.rng.randint(-5, 3)

    def rational(self) -> Fraction:
        return Fraction(self.rng.choice([-1, 1]) * self.rng.randint(1, 60), self.rng.randint(1, 60))

    def attribute(self, op: type[Op], a: Attribute, values: Sequence[Value]) -> Any:
        named = getattr(self, f"draw_{a.name}", None)
        return named(values) if named is not None else self.of_kind(a.kind, op, a, values)

    def of_kind(self, kind: Any, op: type[Op], a: Attribute, values: Sequence[Value]) -> Any:
        """A value by an attribute's kind alone: what an operation nobody has described here gets."""
        if isinstance(kind, UnionType):
            kind = next(k for k in typing.get_args(kind) if k is not type(None))
        if typing.get_origin(kind) is tuple:
            return tuple(
                self.of_kind(typing.get_args(kind)[0], op, a, values) for _ in range(self.rng.randint(0, 3))
            )
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self.rng.choice(list(kind))
        if kind is bool:
            return self.rng.random() < 0.5
        if kind is Fraction:
            return self.dyadic()
        if kind is int:
            return self.rng.randint(0, 4)
        raise TypeError(f"{op.keyword}: no way to draw {a.name}, a {kind}")

    def draw_weights(self, values: Sequence[Value]) -> tuple[Fraction, ...]:
        return tuple(self.dyadic() for _ in values)

    def along(self, values: Sequence[Value]) -> tuple[Fraction, ...]:
        """One rational number, or one for each index of the last dimension."""
        shape = values[0].type.shape
        return tuple(self.rational() for _ in range(self.rng.choice([1, shape[-1] if shape else 1])))

    def draw_shape(self, values: Sequence[Value]) -> tuple[int, ...]:
        """A shape that `broadcast` or `reshape` may take."""
        shape, size = values[0].type.shape, values[0].type.size
        spread = tuple(self.rng.randint(1, 3) if n == 1 else n for n in shape)
        flat = [(size,), (1, size), (size, 1), *[(n, size // n) for n in (2, 3) if size % n == 0]]
        return self.rng.choice([(self.rng.randint(1, 3), *spread), spread, *flat])

    def draw_perm(self, values: Sequence[Value]) -> tuple[int, ...]:
        rank = len(values[0].type.shape)
        return tuple(self.rng.sample(range(rank), rank))

    def draw_axis(self, values: Sequence[Value]) -> int:
        rank = len(values[0].type.shape)
        return self.rng.randrange(-rank, rank) if rank else 0

    def draw_axes(self, values: Sequence[Value]) -> tuple[int, ...]:
        rank = len(values[0].type.shape)
        return tuple(self.rng.sample(range(rank), self.rng.randint(0, rank)))

    def draw_indices(self, values: Sequence[Value]) -> tuple[int, ...]:
        first = values[0].type.shape[0] if values[0].type.shape else 1
        return tuple(self.rng.randrange(first) for _ in range(self.rng.randint(1, 4)))

    def draw_start(self, values: Sequence[Value]) -> tuple[int, ...]:
        return tuple(self.rng.randrange(n) for n in values[0].type.shape)

    def draw_stop(self, values: Sequence[Value]) -> tuple[int, ...]:
        return values[0].type.shape

    def draw_step(self, values: Sequence[Value]) -> tuple[int, ...]:
        return tuple(self.rng.randint(1, 2) for _ in values[0].type.shape)

    def draw_before(self, values: Sequence[Value]) -> tuple[int, ...]:
        return tuple(self.rng.randint(0, 1) for _ in values[0].type.shape)

    draw_after = draw_before

    def draw_low(self, values: Sequence[Value]) -> int:
        return 0 if self.rng.random() < 0.5 else self.rng.randint(0, 3)

    def draw_high(self, values: Sequence[Value]) -> int:
        return min(f.width for _, f in values[0].type.runs) - 1 - self.rng.randint(0, 2)
