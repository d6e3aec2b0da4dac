"""What text and builder write short: numbers and constants where a value is read, scalars among tensors."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lutc.ir.graph import Const, Stage, Value
from lutc.ir.ops.base import Op, spec
from lutc.ir.ops.moves import Broadcast
from lutc.ir.ops.table import ConstOp, Number


class Literals:
    """The values that one body's literals are; equal ones are one value."""

    def __init__(self, stage: Stage) -> None:
        self._spreads = stage is Stage.TENSOR  # the scalar stage has nothing to spread to
        self._known: dict[Any, Value] = {}

    def value(self, literal: Fraction | Const) -> Value:
        """A number or a constant as a value. Raises OpMistake for a number that no format holds."""
        known = self._known.get(literal)
        if known is None:
            known = ConstOp(literal) if isinstance(literal, Const) else Number(literal)
            self._known[literal] = known
        return known

    def spread(self, op: type[Op], fields: dict[str, Any]) -> dict[str, Any]:
        """An operation's fields with every scalar operand repeated to the shape of the tensors beside it.

        Only at the tensor stage, of operations that work element by element; others get what they are given.
        """
        if not op.elementwise or not self._spreads:
            return fields
        names = [(name, many) for name, many in spec(op).operands if fields.get(name) is not None]
        operands = [v for name, many in names for v in (fields[name] if many else [fields[name]])]
        shape = next((v.type.shape for v in operands if v.type.shape), ())
        if not shape or all(v.type.shape for v in operands):
            return fields
        wide = {
            name: self._wide(fields[name], shape) if many else self._wide([fields[name]], shape)[0]
            for name, many in names
        }
        return fields | wide

    def _wide(self, values: Sequence[Value], shape: tuple[int, ...]) -> tuple[Value, ...]:
        return tuple(v if v.type.shape else self._broadcast(v, shape) for v in values)

    def _broadcast(self, value: Value, shape: tuple[int, ...]) -> Value:
        known = self._known.get((value, shape))
        if known is None:
            known = self._known[value, shape] = Broadcast(value, shape)
        return known
