"""Whether two designs are the same, whatever their values are called."""

from __future__ import annotations

from typing import Any

from lutc.ir.graph import Const, Design, Func, Param, Table, Value, body
from lutc.ir.ops import Broadcast, ConstOp, Number
from lutc.ir.ops.base import attributes_of, encode, spec, spell


def same(a: Design, b: Design) -> str | None:
    """None if two designs are equal in structure, else their first difference in words.

    Ports, operations, attributes, types, origins of what computes, and the names and contents of constants, tables and
    functions count;
    the names of values inside do not, nor do places in files.
    """
    for what in ("name", "stage", "notes", "runs"):
        if (x := getattr(a, what)) != (y := getattr(b, what)):
            return f"the {what} differs: {x!r} and {y!r}"
    return _Comparison().designs(a, b)


class _Comparison:
    """Remembers which objects of one design stand for which of the other."""

    def __init__(self) -> None:
        self.symbols: dict[Any, Any] = {}
        self.values: dict[Value, Value] = {}

    def designs(self, a: Design, b: Design) -> str | None:
        if difference := self._bodies(a, b):
            return difference
        if len(a.outputs) != len(b.outputs):
            return f"{len(a.outputs)} outputs and {len(b.outputs)}"
        for x, y in zip(a.outputs, b.outputs, strict=True):
            if (x.name, x.scale, x.offset) != (y.name, y.scale, y.offset):
                return f"the output {x.name} differs from {y.name}"
            if self.values.get(x.value) is not y.value:
                return f"the output {x.name} carries another value"
        return None

    def _bodies(self, a: Design | Func, b: Design | Func) -> str | None:
        first, second = body(a), body(b)
        if len(a.params) != len(b.params):
            return f"{a.name} has {len(a.params)} inputs and {len(b.params)}"
        if len(first) != len(second):
            return f"{a.name} has {len(first)} values and {len(second)}"
        for x, y in zip(first, second, strict=True):
            if difference := self._values(x, y):
                return f"{a.name}: {difference}"
            self.values[x] = y
        return None

    def _values(self, x: Value, y: Value) -> str | None:
        if difference := self._different(x, y):
            return f"{x!r} and {y!r} {difference}"
        for field, _ in spec(type(x)).symbols:
            if difference := self._symbols(getattr(x, field), getattr(y, field)):
                return difference
        if (mine := _attributes(x)) != (others := _attributes(y)):
            return f"{x!r} and {y!r} have attributes {mine} and {others}"
        return None

    def _different(self, x: Value, y: Value) -> str | None:
        if type(x) is not type(y) or x.type != y.type:
            return "differ"
        if x.origin != y.origin and not isinstance(x, Number | ConstOp | Broadcast):
            return f"come from {x.origin!r} and {y.origin!r}"
        if isinstance(x, Param) and isinstance(y, Param):
            for what in ("name", "round", "overflow", "scale", "offset"):
                if getattr(x, what) != getattr(y, what):
                    return f"differ in {what}"
        if len(x.operands) != len(y.operands):
            return f"read {len(x.operands)} and {len(y.operands)} values"
        for i, (p, q) in enumerate(zip(x.operands, y.operands, strict=True)):
            if self.values.get(p) is not q:
                return f"differ in operand {i}"
        return None

    def _symbols(self, a: Any, b: Any) -> str | None:
        if a is None or b is None:
            return None if a is b else "one has a symbol that the other lacks"
        if a in self.symbols:
            return None if self.symbols.get(a) is b else "one symbol stands for two"
        self.symbols[a] = b
        if a.name != b.name:
            return f"@{a.name} is named @{b.name}"
        match a, b:
            case Const(), Const():
                equal = a.contents == b.contents
            case Table(), Table():
                equal = (a.key, a.value) == (b.key, b.value) and a.codes.tolist() == b.codes.tolist()
            case Func(), Func():
                difference = self._bodies(a, b)
                if difference or self.values.get(a.result) is not b.result:
                    return difference or f"{a.name} returns another value"
                equal = True
            case _:
                equal = False
        return None if equal else f"@{a.name} differs"


def _attributes(value: Value) -> dict[str, str]:
    if isinstance(value, Param):
        return {}
    return {spell(a.name): encode(v) for a, v in attributes_of(value)}  # type: ignore[arg-type]
