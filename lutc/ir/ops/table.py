"""Constants and truth tables."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lutc.ir.graph import Bounds, Const, OpMistake, Table, Value
from lutc.ir.ops.base import Op, number
from lutc.numbers import as_code, dtype, twos
from lutc.rtl import circuits
from lutc.rtl.decompose import WIDEST, in_luts, simple
from lutc.truth import dependence, spread, table_luts
from lutc.types import Ints, Type, holding, scalar, uniform

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

__all__ = ["ConstOp", "Lut", "Number"]


@dataclass(frozen=True, eq=False, repr=False)
class ConstOp(Op):
    """A named constant as a value."""

    keyword: ClassVar[str] = "const"
    symbol: Const

    def infer(self) -> Type:
        """That of the constant."""
        return self.symbol.type

    def bounds(self, *operands: Bounds) -> Bounds:
        return self.symbol.codes, self.symbol.codes

    def eval(self, *operands: Ints) -> Ints:
        return self.symbol.codes[np.newaxis].astype(dtype(self.type.max_width))

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        codes = self.symbol.codes.ravel().tolist()
        if not self.type.shape:
            return build.const(codes[0], *circuits.net_format(self.type.scalar))
        return build.const(circuits.words(codes, self.type), max(self.type.bits, 1))


@dataclass(frozen=True, eq=False, repr=False)
class Number(Op):
    """One number, in the narrowest format that holds it."""

    keyword: ClassVar[str] = "number"
    value: Fraction

    @property
    def code(self) -> int:
        return as_code(self.value, self.type.scalar.frac) if self.value else 0

    def infer(self) -> Type:
        """The narrowest format of that one number."""
        try:
            frac = twos(self.value)
        except ValueError as e:
            near = Fraction(round(self.value * 256), 256)
            help = f"with 8 bits after the point the nearest is {number(near)}; " if near else ""
            help += "rescale multiplies by any number"
            raise OpMistake(f"reads a number that no format holds: {e}", help) from None
        return scalar(holding(code := as_code(self.value, frac), code, frac))

    def bounds(self, *operands: Bounds) -> Bounds:
        return self.code, self.code

    def eval(self, *operands: Ints) -> Ints:
        return np.array([self.code], dtype=dtype(self.type.max_width))

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.const(self.code, *circuits.net_format(self.type.scalar))


def number_help(value: Value, wanted: Type) -> str | None:
    """What to do where a number stands for a value that must have another type."""
    if not isinstance(value, Number):
        return None
    return f"a number has its narrowest format; for another: const @c: {wanted} = {number(value.value)}"


_COUNTED = 14  # bits of a key, and of an answer, up to which a table is looked at bit by bit


@dataclass(frozen=True, eq=False, repr=False)
class Lut(Op):
    """What a truth table answers: one table for all elements, or a tensor of tables with one for each.

    Entry k answers the key whose bits, read as an unsigned number, are k.
    """

    keyword: ClassVar[str] = "lut"
    strict: ClassVar[bool] = True
    key: Value
    table: Table

    def infer(self) -> Type:
        """That of the table's values; the operand must have exactly the type of the table's key."""
        key, table = self.key.type, self.table
        if not table.key.shape:
            if key.size and key.format != table.key.format:
                raise OpMistake(
                    f"looks up {key} in @{table.name}, whose key is {table.key}",
                    number_help(self.key, table.key)
                    or f"bring it to the key's format first: quant to {uniform(key.shape, table.key.scalar)}",
                )
            return uniform(key.shape, table.value.scalar)
        if key != table.key:
            raise OpMistake(
                f"looks up {key} in @{table.name}, whose keys are {table.key}",
                "bring it to the keys' formats first, with quant",
            )
        return table.value

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = operands[0]
        shape = self.key.type.shape
        tables = self.table.parts()
        if isinstance(lo, int) and len(tables) == 1:
            reach = _reachable(tables[0], lo, hi)
            return min(reach), max(reach)
        los, his = (np.broadcast_to(np.asarray(x, dtype=object), shape).ravel().tolist() for x in (lo, hi))
        ends = []
        for i, (a, b) in enumerate(zip(los, his, strict=True)):
            reach = _reachable(tables[i % len(tables)], a, b)
            ends.append((min(reach), max(reach)))
        columns = list(zip(*ends, strict=True)) or [(), ()]
        return tuple(np.array(c, dtype=object).reshape(shape) for c in columns)  # type: ignore[return-value]

    def eval(self, *operands: Ints) -> Ints:
        widths = self.key.type.widths
        one = np.asarray(1, dtype=np.int64)
        entry = operands[0].astype(np.int64) & ((one << widths) - 1)  # a wide value's key may come as objects
        if self.table.key.shape:
            sizes = one << np.broadcast_to(widths, self.table.key.shape)
            starts = np.cumsum(sizes.ravel()) - sizes.ravel()
            entry = entry + starts.reshape(sizes.shape)
        return self.table.codes.astype(dtype(self.type.max_width))[entry]

    def luts(self, target: Target) -> float:
        return _luts(self.table, self.key.type.max_width, self.type.max_width, target)

    def delay(self, target: Target) -> float:
        return target.table_ns(self.key.type.max_width)

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        codes = self.table.codes.tolist()
        to = circuits.net_format(self.type.scalar)
        if not self.key.type.scalar.width:
            return build.const(codes[0], *to)
        if build.lut_tables and max(self.key.type.max_width, self.type.max_width) <= _COUNTED:
            return self._in_luts(build, operands[0], *to)
        return build.rom(operands[0], codes, *to, table=self.table.name)

    def _in_luts(self, build: ModuleBuilder, key: Net, width: int, signed: bool) -> Net:
        """Output bits as LUTs; as a table those that depend on more inputs than a search for LUTs is for."""
        assert build.luts
        codes = self.table.words
        inputs = [build.bit(key, i) for i in range(key.width)]
        depends = dependence(codes, width)
        # Small LUTs are joined by multiplexers of the device's own, which synthesis takes for a table's.
        most = WIDEST if build.luts.shared and simple(inputs) else build.luts.inputs
        wide = np.flatnonzero(depends.sum(axis=-1) > most)
        rest = (codes[:, None] >> wide & 1) @ (1 << np.arange(len(wide)))
        table = build.rom(key, rest.tolist(), len(wide), table=self.table.name) if len(wide) else None
        bits = []
        for bit in range(width):
            if table is not None and bit in wide:
                bits.append(build.bit(table, wide.tolist().index(bit)))
                continue
            live = tuple(np.flatnonzero(depends[bit]).tolist())
            contents = (codes[spread(live)] >> bit & 1).tolist()
            bits.append(in_luts(build, [inputs[i] for i in live], contents))
        return build.as_(build.append(*reversed(bits)), signed)


@lru_cache(maxsize=1 << 14)
def _luts(table: Table, inputs: int, width: int, target: Target) -> float:
    """What one look-up costs: counted by what each output bit depends on, if that is quick."""
    if table.key.shape or inputs > _COUNTED or width > _COUNTED:
        return target.table_luts(inputs, width)
    return table_luts(table.words, width, target)


def _reachable(table: Ints, lo: int, hi: int) -> list[int]:
    """The entries that keys from `lo` to `hi` read; negative keys stand in the upper half."""
    if lo < 0:
        return [*table[lo:].tolist()[: min(hi, -1) - lo + 1], *table[: max(hi + 1, 0)].tolist()]
    return table[lo : hi + 1].tolist()  # type: ignore[no-any-return]
