"""What an operator may be given: its attributes with the values that change nothing, and the types of its tensors.

Of the standard's operators the standard says it itself, for every operator set; of the others the tables here do.
Sources of these: the descriptions of the operators in the qonnx project's docs, and ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutc.lowering.dtypes import DTYPES
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, AnyOf

from . import trees
from .model import Node, import_onnx

# What an operator is given for training alone, for a result nobody reads here, or for types that are refused anyway.
FREE_OF: dict[str, tuple[str, ...]] = {
    "BatchNormalization": ("momentum",),
    "Cast": ("saturate", "round_mode"),  # of float8
    "CastLike": ("saturate", "round_mode"),
    "Dropout": ("ratio", "seed"),
    "MaxPool": ("storage_order",),  # of the positions
    "QuantizeLinear": ("saturate",),  # of float8
    "Resize": ("cubic_coeff_a", "extrapolation_value"),  # of modes that interpolate or crop
}
_WINDOW = {"auto_pad": "NOTSET", "ceil_mode": 0, "count_include_pad": 0, "channels_last": 0}
# Attributes of operators that are not the standard's, with their defaults; None where there is none.
OTHERS: dict[str, dict[str, Any]] = {
    "Quant": {"signed": 1, "narrow": 0, "rounding_mode": AnyOf("ROUND", "HALF_EVEN")},
    "IntQuant": {"signed": 1, "narrow": 0, "rounding_mode": AnyOf("ROUND", "HALF_EVEN")},
    "BipolarQuant": {},
    "Trunc": {"rounding_mode": "FLOOR", "signed": 1, "narrow": 0},
    "MultiThreshold": {"out_scale": 1.0, "out_bias": 0.0, "out_dtype": FREE, "data_layout": "NCHW"},
    "Quantize": {"rounding": None, "overflow": None},
    "LUTDense": {"rounding": None, "overflow": None},
    "LUTConv": {
        **dict.fromkeys(("rounding", "overflow", "kernel_shape", "strides", "dilations", "pads")),
    },
    "QuantizeLinear": {"axis": 1, "block_size": 0, "saturate": FREE, "output_dtype": 0},
    "DequantizeLinear": {"axis": 1, "block_size": 0},
    "QGemm": {"alpha": 1.0, "transA": 0, "transB": 0},
    "QLinearAdd": {},
    "QLinearMul": {},
    "QLinearLeakyRelu": {"alpha": 0.01},
    "QLinearSigmoid": {},
    "QLinearWhere": {},
    "MatMulIntegerToFloat": {},
    "QLinearConcat": {"axis": None},
    "QLinearAveragePool": {
        **_WINDOW, **dict.fromkeys(("dilations", "kernel_shape", "pads", "strides")),
    },
    "QLinearGlobalAveragePool": {"channels_last": 0},
    **trees.ATTRIBUTES,
}  # fmt: skip
# The newest version of each other domain whose operators are known.
NEWEST = {"com.microsoft": 1, "lutc": 1, trees.DOMAIN: trees.NEWEST_ML}
NEWEST_QONNX = 2


def described(op: str, version: int, domain: str = "") -> Any:
    """The standard's description of an operator in one operator set, or None if that has no such operator."""
    onnx = import_onnx()
    try:
        return onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None


def schema_of(node: Node) -> Any:
    """The standard's description of a node's operator; None for an operator of another domain."""
    return described(node.op, node.version) if node.domain == "" and node.proto is not None else None


def neutral(op: str, version: int, domain: str) -> dict[str, Any]:
    """The values at which attributes of an operator may be left unread."""
    schema = described(op, version) if domain in ("", "qonnx.custom_op.channels_last") else None
    if schema is None:
        return {name: value for name, value in OTHERS.get(op, {}).items() if value is not None}
    found: dict[str, Any] = dict.fromkeys(FREE_OF.get(op, ()), FREE)
    onnx = import_onnx()
    for name, a in schema.attributes.items():
        if a.default_value.type and name not in found:
            value = onnx.helper.get_attribute_value(a.default_value)
            found[name] = value.decode() if isinstance(value, bytes) else value
    return found


def well_formed(node: Node) -> None:
    """Raise Refusal for attributes that the operator does not have, and for ones of another type than it has."""
    if node.proto is None:
        return
    schema = schema_of(node)
    if schema is None and node.domain == "qonnx.custom_op.channels_last":
        schema = described(node.op, node.versions.get("", 0))
    known: Mapping[str, Any] = schema.attributes if schema else OTHERS.get(node.op, {})
    if node.proto.overload:
        raise Refusal(
            f"asks for the overload {node.proto.overload!r}, and no function of the model has it",
            "the model is broken: export it again",
        )
    seen = set()
    for a in node.proto.attribute:
        if a.name not in known:
            raise Refusal(
                f"has the attribute {a.name!r}, which is not supported"
                + (f": operator set {node.version} has none of that name" if schema else ""),
                "export it without",
            )
        if a.name in seen:
            raise Refusal(f"has the attribute {a.name!r} twice", "the model is broken: export it again")
        seen.add(a.name)
        if schema and int(known[a.name].type.value) != a.type:
            names = import_onnx().AttributeProto.AttributeType
            raise Refusal(
                f"has an attribute {a.name!r} of type {names.Name(a.type)}, "
                f"and it is of type {known[a.name].type.name}",
                "the model is broken: export it again",
            )


def result_kinds(node: Node, kinds: list[str | None]) -> list[str | None]:
    """The element types of a node's results, where its description fixes them; None where the rule says them.

    `kinds` are those of its inputs.
    """
    schema = schema_of(node)
    if schema is None:
        return [None] * len(node.outputs)
    formal = list(schema.inputs)
    bound: dict[str, str] = {}
    for i, kind in enumerate(kinds):
        if kind is not None and formal:
            bound.setdefault(formal[min(i, len(formal) - 1)].type_str, kind)
    results = list(schema.outputs)
    found: list[str | None] = []
    for i in range(len(node.outputs)):
        word = results[min(i, len(results) - 1)].type_str
        fixed = word.removeprefix("tensor(").removesuffix(")")
        found.append(fixed if fixed in DTYPES else bound.get(word))
    return found
