"""The op table: every operation there is, one row each. `lutc ops` prints it, `ir_spec/ops.md` is made from it."""

from collections.abc import Mapping
from types import MappingProxyType

from lutc.ir.ops.arith import Abs, Add, Max, Min, Neg, Relu, Sub
from lutc.ir.ops.base import Op
from lutc.ir.ops.convert import Quant, Rescale
from lutc.ir.ops.flow import Call, Map, Reg
from lutc.ir.ops.logic import And, BitSlice, Cat, Compare, Not, Or, Relation, Select, Xor
from lutc.ir.ops.moves import Broadcast, Concat, Element, Gather, Pack, Pad, Reshape, SliceOp, Transpose
from lutc.ir.ops.products import Mul, Scale
from lutc.ir.ops.sums import Add3, Lincomb
from lutc.ir.ops.table import ConstOp, Lut, Number
from lutc.ir.ops.tensor import Argmax, Dense, Matmul, Sum

ALL: tuple[type[Op], ...] = (
    *(ConstOp, Number),
    *(Add, Sub, Add3, Mul, Scale, Lincomb, Neg, Abs, Relu, Min, Max),
    *(Compare, Select, And, Or, Xor, Not, Cat, BitSlice),
    *(Quant, Rescale, Lut),
    *(Dense, Matmul, Sum, Argmax),
    *(Broadcast, Reshape, Transpose, Concat, SliceOp, Gather, Pad),
    *(Element, Pack, Reg, Call, Map),
)

TABLE: Mapping[str, type[Op]] = MappingProxyType({op.keyword: op for op in ALL})

__all__ = [
    "ALL",
    "TABLE",
    "Abs",
    "Add",
    "Add3",
    "And",
    "Argmax",
    "BitSlice",
    "Broadcast",
    "Call",
    "Cat",
    "Compare",
    "Concat",
    "ConstOp",
    "Dense",
    "Element",
    "Gather",
    "Lincomb",
    "Lut",
    "Map",
    "Matmul",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Number",
    "Op",
    "Or",
    "Pack",
    "Pad",
    "Quant",
    "Reg",
    "Relation",
    "Relu",
    "Rescale",
    "Reshape",
    "Scale",
    "Select",
    "SliceOp",
    "Sub",
    "Sum",
    "Transpose",
    "Xor",
]
