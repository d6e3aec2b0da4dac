"""Operators of the standard with operands they take, and values of their attributes: what `onnx_options` sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto

from lutc.frontends.onnx.curve import CURVES


@dataclass(frozen=True)
class Form:
    """One way to use an operator: the shape of its data (without the samples), constants, attributes it must have.

    `constants` has an array for each further input, None for one left out, and `DATA` for a second tensor of data.
    """

    shape: tuple[int, ...] = (2, 4)
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    outputs: int = 1
    refusal: str = ""  # why it may be refused
    kind: int = TensorProto.FLOAT
    since: int = 0
    until: int = 99
    reach: int = 31  # quarters of the data: few where equal numbers matter


DATA = "data"
RNG = np.random.default_rng(7)


def f32(*values: Any) -> Any:
    return np.array(values if len(values) > 1 else values[0], np.float32)


def i64(*values: int) -> Any:
    return np.array(values, np.int64)


def ints(shape: Sequence[int], reach: int = 4) -> Any:
    return RNG.integers(-reach, reach + 1, shape).astype(np.float32)


def one(*constants: Any, shape: tuple[int, ...] = (2, 4), **more: Any) -> Form:
    return Form(shape, constants, **more)


EVALUATOR = "the standard's evaluator does not take every index that is legal"
ROUNDED = "the scale is rounded, and which element is meant depends on it"
BROADCAST = [
    one(f32(0.5), name="scalar"),
    one(ints((4,)) / 2, name="[4]"),
    one(ints((2, 1)) / 2, name="[2,1]"),
    one(ints((1, 2, 4)) / 2, name="[1,2,4]"),
    one(ints((2, 2, 4)) / 2, name="[2,2,4]"),
    one(ints((1, 1, 2, 4)) / 2, name="[1,1,2,4]"),
    one(ints((2, 1, 2, 4)) / 2, name="[2,1,2,4]"),
    one(DATA, name="data"),
]
BOOLS = [
    one(DATA, kind=TensorProto.BOOL, name="data"),
    one(np.array([True, False, True, False]), kind=TensorProto.BOOL, name="const"),
    one(np.ones((3, 1, 4), bool), kind=TensorProto.BOOL, name="[3,1,4]"),
]
POSITIVE = [
    one(f32(2.0), name="scalar"),
    one(f32(0.5, 1, 2, 4), name="[4]"),
    one(np.full((2, 2, 4), 2, np.float32), name="[2,2,4]"),
]
AXES = [(-1,), (1,), (2,), (0,), (1, 2), (0, 1, 2), (-2, -1), ()]
REDUCE = [one(name="all", until=17)] + [one(i64(*a), name=f"axes={list(a)}", since=18) for a in AXES]
SUM = [one(name="all", until=12)] + [one(i64(*a), name=f"axes={list(a)}", since=13) for a in AXES]
IMAGE = (2, 5, 6)
KERNEL = ints((4, 2, 3, 2))
GROUPED = ints((4, 1, 2, 2))
SLICES = [
    ((0,), (1,), (0,), (1,)),
    ((-1,), (9,), (0,), (1,)),
    ((0,), (2**31 - 1,), (0,), (1,)),
    ((9,), (-9,), (0,), (-1,)),
    ((1,), (3,), (2,), (1,)),
    ((-1,), (-9,), (2,), (-1,)),
    ((0,), (4,), (-1,), (2,)),
    ((1, 0), (2, 3), (1, 2), (1, 2)),
]
FORMS: dict[str, list[Form]] = {
    **{op: list(BROADCAST) for op in ("Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean")},
    **{op: list(BROADCAST) for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")},
    **{op: list(BOOLS) for op in ("And", "Or", "Xor")},
    "Not": [one(kind=TensorProto.BOOL)],
    "Div": list(POSITIVE),
    "Pow": [one(f32(float(p)), name=f"{p}") for p in (1, 2, 3)],
    "PRelu": [one(f32(0.25), name="scalar"), one(f32(0.25, 0.5, 0, 1), name="[4]")],
    "Clip": [
        one(name="none"),
        one(f32(-1.0), f32(2.5), name="both", since=11),
        one(None, f32(2.5), name="max", since=11),
        one(f32(-1.0), name="min", since=11),
        one(f32(-np.inf), f32(np.inf), name="infinite", since=11),
        one(f32(3.0), f32(-3.0), name="crossed", since=11),
    ],
    "Where": [
        one(np.array([True, False, True, False]), ints((4,)), name="X", refusal="the condition is the data"),
    ],
    "BatchNormalization": [
        one(f32(1, 2, 0.5), f32(0.5, -0.5, 0), f32(1, -1, 0), f32(4, 0.25, 1), shape=(3, 2, 2)),
        one(f32(1, 2, 0.5), f32(0.5, -0.5, 0), f32(1, -1, 0), f32(4, 0.25, 1), shape=(3,), name="rank2"),
        one(
            f32(1, 2),
            f32(0.5, -0.5),
            f32(1, -1),
            f32(4, 0.25),
            outputs=5,
            until=13,
            name="train",
            refusal="training",
        ),
        one(
            f32(1, 2),
            f32(0.5, -0.5),
            f32(1, -1),
            f32(4, 0.25),
            outputs=3,
            since=14,
            name="train",
            refusal="training",
        ),
    ],
    "Dropout": [
        one(),
        one(f32(0.5), name="ratio", since=12),
        one(f32(0.5), np.array(False), name="mode", since=12),
        one(f32(0.5), np.array(True), name="training", since=12, refusal="training"),
        one(None, np.array(False), name="no ratio", since=12),
    ],
    "Flatten": [one()],
    "Reshape": [
        one(i64(*s), name=f"{list(s)}")
        for s in (
            (1, 8),
            (-1, 8),
            (0, -1),
            (1, -1),
            (-1,),
            (0, 4, 2),
            (-1, 2, 2, 2),
            (2, -1),
            (8, -1),
            (0, 0, -1),
            (-1, 4),
        )
    ],
    "Squeeze": [one(shape=(1, 4), name="none", refusal="a batch of one would go as well")]
    + [one(i64(*a), shape=(1, 4), name=f"{a}", since=13) for a in ((1,), (-2,), (0,), (0, 1))],
    "Unsqueeze": [one(i64(*a), name=f"{a}", since=13) for a in ((0,), (1,), (-1,), (1, 2), (3,), (0, 1))],
    "Transpose": [one()],
    "Concat": [
        one(DATA, name="data", attributes={"axis": 1}),
        one(ints((1, 3, 4)), name="const", attributes={"axis": 1}),
    ],
    "Slice": [one(*(i64(*v) for v in s), name=f"{s}", since=10) for s in SLICES]
    + [one(i64(0, 1), i64(9, 2), name="no axes", since=10)],
    "Split": [
        one(outputs=2, name="equal", attributes={"axis": 1}),
        one(i64(1, 3), outputs=2, name="sizes", since=13, attributes={"axis": 2}),
        one(i64(1, 1, 2), outputs=3, name="three", since=13, attributes={"axis": -1}),
    ],
    "Gather": [one(np.array(k, np.int64), name=f"{k}") for k in (0, [0], [0, 0], [[0, -1]])],
    "Expand": [
        one(i64(*s), name=f"{s}", since=8) for s in ((2, 4), (1, 1, 1), (3, 1, 1), (2, 1, 2, 4), (1, 1, 2, 4))
    ]
    + [one(i64(1, 2, 3), shape=(2, 1), name="inner", since=8)],
    "Tile": [one(i64(*r), name=f"{r}") for r in ((1, 1, 2), (1, 3, 1), (2, 1, 1), (1, 1, 1))],
    "DepthToSpace": [one(shape=(8, 2, 3), attributes={"blocksize": 2})],
    "SpaceToDepth": [one(shape=(2, 4, 6), attributes={"blocksize": 2})],
    "GatherElements": [
        one(RNG.integers(0, 2, (1, 2, 4)), name="[1,2,4]", attributes={"axis": 1}, refusal=EVALUATOR)
    ],
    "GatherND": [
        one(i64(0, 1), name="two", refusal=EVALUATOR),
        one(np.array([[0], [0]], np.int64), name="rows", refusal=EVALUATOR),
        one(np.array([[1]], np.int64), name="b1", attributes={"batch_dims": 1}, since=12),
    ],
    "ScatterElements": [
        one(np.zeros((1, 1, 4), np.int64), ints((1, 1, 4)), attributes={"axis": 1}),
        one(np.array([[[0, 3], [1, 2]]], np.int64), ints((1, 2, 2)), attributes={"axis": 2}, name="a2"),
    ],
    "ScatterND": [
        one(np.array([[0, 1]], np.int64), ints((1, 4))),
        one(np.array([[0, 1, 2], [0, 0, 3]], np.int64), ints((2,)), name="elements"),
    ],
    "Trilu": [
        one(shape=(3, 4)),
        one(np.array(1, np.int64), shape=(3, 4), name="k=1"),
        one(np.array(-1, np.int64), shape=(3, 4), name="k=-1"),
        one(shape=(4,), name="rank2"),
    ],
    "CumSum": [one(np.array(a, np.int64), name=f"axis={a}") for a in (0, 1, 2, -1)],
    "TopK": [
        one(i64(1), outputs=2, since=10, reach=1),
        one(i64(2), outputs=2, since=10, name="k=2", refusal="sorts"),
        one(outputs=2, until=9, attributes={"k": 1}, refusal="sorts, if k is not 1"),
    ],
    **{op: [one(reach=1, attributes={"axis": a}) for a in (1, 2)] for op in ("ArgMax", "ArgMin")},
    **{f"Reduce{w}": list(REDUCE) for w in ("Mean", "SumSquare", "L1")},
    "ReduceSum": SUM,
    **{op: [one(shape=IMAGE), one(shape=(2, 7), name="1d")] for op in ("GlobalAveragePool", "GlobalMaxPool")},
    **{
        op: [
            one(shape=IMAGE, attributes={"kernel_shape": [3, 2]}),
            one(shape=(2, 7), attributes={"kernel_shape": [2]}, name="1d"),
        ]
        for op in ("MaxPool", "AveragePool")
    },
    "Conv": [
        one(KERNEL, shape=IMAGE),
        one(KERNEL, ints((4,)), shape=IMAGE, name="bias"),
        one(GROUPED, shape=IMAGE, attributes={"group": 2}, name="grouped"),
        one(ints((3, 2, 2)), shape=(2, 7), name="1d"),
    ],
    "ConvTranspose": [
        one(ints((2, 3, 3, 2)), shape=(2, 3, 4)),
        one(ints((2, 3, 3, 2)), ints((3,)), shape=(2, 3, 4), name="bias"),
        one(ints((2, 3, 2, 2)), shape=(2, 3, 3), attributes={"group": 2}, name="grouped"),
    ],
    "MatMul": [
        one(ints((4, 3)), name="[4,3]"),
        one(ints((4,)), name="[4]"),
        one(ints((2, 4, 3)), name="[2,4,3]"),
        one(ints((1, 4, 3)), name="[1,4,3]"),
        one(ints((4, 3)), shape=(4,), name="row"),
        one(ints((3, 1, 4, 3)), name="[3,1,4,3]"),
    ],
    "Gemm": [
        one(ints((4, 3)), ints((3,)), shape=(4,), name="[3]"),
        one(ints((4, 3)), None, shape=(4,), name="no C", since=11),
        one(ints((4, 3)), ints((1, 3)), shape=(4,), name="[1,3]"),
        one(ints((4, 3)), f32(2.0), shape=(4,), name="scalar"),
        one(ints((4, 4)), ints((4,)), shape=(4,), name="square"),
    ],
    "Einsum": [
        one(ints((4, 3)), attributes={"equation": e}, name=e, since=12)
        for e in (
            "bij,jk->bik",
            "bij,jk->bki",
            "bij,jk",
            "bij,jk->ik",
            "bij,jk->bijk",
            "...j,jk->...k",
            "bij,jk->jb",
            "bij,jk->b",
        )
    ],
    "Pad": [
        one(i64(*p), since=11, name=f"{p}")
        for p in (
            (0, 0, 1, 0, 0, 2),
            (0, 1, 0, 0, 0, 0),
            (1, 0, 0, 0, 0, 0),
            (0, 0, -1, 0, 0, 1),
            (0, 0, 0, 0, 0, -2),
        )
    ]
    + [
        one(i64(0, 0, 1, 0, 0, 1), f32(1.5), since=11, name="value"),
        one(i64(1, 2), f32(1.5), i64(2), since=18, name="axes"),
        one(i64(1, 2), None, i64(-1), since=18, name="axis -1"),
        one(i64(1, 0), None, i64(0), since=18, name="axis 0"),
    ],
    "Resize": [
        one(f32(*s), shape=(2, 6), until=10, name=f"{s}", refusal=ROUNDED if 0.6 in s else "")
        for s in ((1, 1, 2), (1, 1, 0.5), (1, 2, 1.5), (1, 1, 0.6), (2, 1, 1))
    ]
    + [
        one(None, f32(*s), shape=(2, 6), since=13, name=f"{s}")
        for s in ((1, 1, 2), (1, 1, 0.5), (1, 2, 1.5), (2, 1, 1))
    ]
    + [one(None, f32(1, 1, s), shape=(2, 6), since=13, name=f"{s}", refusal=ROUNDED) for s in (0.6, 0.7, 1.3)]
    + [one(f32(np.zeros(0)), f32(1, 1, 2), shape=(2, 6), since=11, until=12, name="roi")]
    + [
        one(None, None, i64(1, *s), shape=(2, 6), since=13, name=f"sizes {s}")
        for s in ((2, 9), (3, 4), (2, 6), (2, 5))
    ],
    "Upsample": [
        one(f32(*s), shape=(2, 6), since=9, until=9, name=f"{s}") for s in ((1, 1, 2), (1, 2, 1.5), (2, 1, 1))
    ],
    "Cast": [
        one(attributes={"to": k}, name=f"{k}", refusal="" if k in (1, 9, 11) else "rounds or wraps")
        for k in (1, 2, 3, 5, 6, 7, 9, 10, 11, 16, 22)
    ],
    "CastLike": [
        one(np.zeros(1, d), name=np.dtype(d).name, refusal="" if d == np.float32 else "rounds or wraps")
        for d in (np.float32, np.int32, np.uint8, np.float16)
    ],
    "QuantizeLinear": [
        one(f32(0.5)),
        one(f32(0.5), np.array(3, np.int8), name="int8"),
        one(f32(0.3), np.array(7, np.uint8), name="uint8"),
        one(
            f32(0.5, 0.25, 1, 2),
            np.array([1, 0, 2, 3], np.int8),
            since=13,
            name="axis",
            attributes={"axis": 2},
        ),
        one(f32(0.5, 0.25), np.array([1, 0], np.int8), since=13, name="channels", attributes={"axis": 1}),
        one(f32(0.01), np.array(3, np.int16), since=21, name="int16"),
        one(
            np.array(0.3, np.float16), np.array(3, np.int8), since=23, name="float16 scale", refusal="float16"
        ),
        one(np.array(0.5, np.float16), np.array(3, np.int8), since=23, name="float16 power"),
    ],
    "DequantizeLinear": [
        one(f32(0.5), kind=TensorProto.INT8),
        one(f32(0.3), np.array(3, np.int8), kind=TensorProto.INT8, name="zero"),
        one(f32(0.3), np.array(3, np.uint8), kind=TensorProto.UINT8, name="uint8"),
        one(f32(0.25), kind=TensorProto.INT32, name="int32"),
        one(f32(0.5, 0, 1, 2), kind=TensorProto.INT8, since=13, name="axis", attributes={"axis": 2}),
        one(np.array(0.3, np.float16), kind=TensorProto.INT8, since=19, name="float16", refusal="float16"),
    ],
    "Softmax": [one()],
    "LogSoftmax": [one()],
    **{
        op: [one(), one(shape=(), name="rank1")]
        for op in ("Abs", "Neg", "Relu", "Sign", "Identity", "LeakyRelu")
    },
    **{op: [one(shape=(2, 3))] for op in sorted(CURVES)},
    "QLinearMatMul": [
        one(
            f32(0.25),
            np.array(3, np.uint8),
            RNG.integers(0, 9, (4, 3)).astype(np.uint8),
            f32(0.5),
            np.array(4, np.uint8),
            f32(0.5),
            np.array(2, np.uint8),
            kind=TensorProto.UINT8,
        )
    ],
    "MatMulInteger": [
        one(RNG.integers(0, 9, (4, 3)).astype(np.uint8), kind=TensorProto.UINT8),
        one(
            RNG.integers(0, 9, (4, 3)).astype(np.uint8),
            np.array(3, np.uint8),
            np.array(4, np.uint8),
            kind=TensorProto.UINT8,
            name="zeros",
        ),
    ],
    "ConvInteger": [
        one(
            RNG.integers(0, 9, (4, 2, 3, 2)).astype(np.uint8),
            np.array(3, np.uint8),
            np.array(4, np.uint8),
            kind=TensorProto.UINT8,
            shape=IMAGE,
        )
    ],
    "QLinearConv": [
        one(
            f32(0.25),
            np.array(3, np.uint8),
            RNG.integers(0, 9, (4, 2, 3, 2)).astype(np.uint8),
            f32(0.5),
            np.array(4, np.uint8),
            f32(0.5),
            np.array(2, np.uint8),
            RNG.integers(-20, 20, 4).astype(np.int32),
            kind=TensorProto.UINT8,
            shape=IMAGE,
        )
    ],
}
for op in ("ReduceMax", "ReduceMin"):
    FORMS[op] = list(REDUCE)
# What is tried for an attribute; others are tried at 0, 1 and 2, or at some floats.
VALUES: dict[str, list[Any]] = {
    "allowzero": [0, 1],
    "alpha": [0.5, 0.01, 1.0, 2.0, -0.5],
    "antialias": [0, 1],
    "approximate": ["none", "tanh"],
    "auto_pad": ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"],
    "axes": [[-1], [1], [0], [1, 2], [0, 1]],
    "axis": [-3, -2, -1, 0, 1, 2],
    "batch_dims": [0, 1],
    "block_size": [0, 2],
    "blocksize": [1, 2],
    "ceil_mode": [0, 1],
    "consumed_inputs": [],
    "coordinate_transformation_mode": [
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    ],
    "count_include_pad": [0, 1],
    "dilations": [[1, 1], [2, 1], [2, 2], [2]],
    "epsilon": [1e-5, 0.0, 0.25, 1.0],
    "equation": [],
    "exclude_outside": [0, 1],
    "exclusive": [0, 1],
    "group": [1, 2],
    "is_test": [0, 1],
    "k": [1, 2],
    "keep_aspect_ratio_policy": ["stretch", "not_larger", "not_smaller"],
    "keepdims": [0, 1],
    "kernel_shape": [[3, 2], [2, 2], [1, 1], [2]],
    "largest": [0, 1],
    "last": [0, 1],
    "min": [-1.0, 0.0, 2.0],
    "max": [2.0, -2.0],
    "mode": ["constant", "reflect", "edge", "wrap", "nearest", "linear", "cubic", "DCR", "CRD"],
    "nearest_mode": ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
    "noop_with_empty_axes": [0, 1],
    "num_outputs": [2],
    "output_dtype": [0, 1, 2, 3, 5, 10, 16, 22],
    "output_padding": [[0, 0], [1, 0], [0, 1]],
    "output_shape": [[5, 6], [7, 8]],
    "pads": [[0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1], [1, 1], [0, 0, 1, 0, 0, 2]],
    "perm": [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]],
    "precision": [0, 1, 10, 16],
    "ratio": [0.5, 0.0],
    "reduction": ["none", "add", "mul", "max"],
    "reverse": [0, 1],
    "rounds": [],
    "saturate": [0, 1],
    "round_mode": ["up", "down", "nearest"],
    "scales": [[1.0, 1.0, 2.0]],
    "seed": [1],
    "select_last_index": [0, 1],
    "sorted": [0, 1],
    "spatial": [0, 1],
    "split": [[1, 1], [1, 3]],
    "storage_order": [0, 1],
    "start": [0, 1, -1],
    "end": [1, 2, -1],
    "starts": [[0], [1]],
    "ends": [[1], [9]],
    "strides": [[1, 1], [2, 1], [2, 2], [2]],
    "to": [],
    "training_mode": [0, 1],
    "transA": [0, 1],
    "transB": [0, 1],
    "upper": [0, 1],
    "value": [0.0, 1.5],
}
# What belongs together: an attribute is only taken with these.
WITH: dict[tuple[str, str], dict[str, Any]] = {
    ("Slice", "starts"): {"ends": [9]},
    ("Slice", "ends"): {"starts": [0]},
    ("Slice", "axes"): {"starts": [0], "ends": [1]},
    ("Pad", "value"): {"pads": [0, 0, 1, 0, 0, 1]},
    ("Upsample", "mode"): {"scales": [1.0, 1.0, 2.0]},
    ("BatchNormalization", "momentum"): {},
}
# Values that are refused by intention.
MAY_REFUSE: dict[tuple[str, str], Callable[[Any], str]] = {
    ("Resize", "mode"): lambda v: "" if v == "nearest" else "interpolates",
    ("Upsample", "mode"): lambda v: "" if v == "nearest" else "interpolates",
    ("Resize", "coordinate_transformation_mode"): lambda v: "crops" if v.startswith("tf") else "",
    ("Resize", "keep_aspect_ratio_policy"): lambda v: "" if v == "stretch" else "a policy",
    ("Resize", "antialias"): lambda v: "of interpolation" if v else "",
    ("Resize", "exclude_outside"): lambda v: "of interpolation" if v else "",
    ("Resize", "axes"): lambda v: "scales of all dimensions beside it",
    ("ScatterElements", "reduction"): lambda v: "" if v == "none" else "no reductions",
    ("ScatterND", "reduction"): lambda v: "" if v == "none" else "no reductions",
    ("BatchNormalization", "training_mode"): lambda v: "training" if v else "",
    ("BatchNormalization", "spatial"): lambda v: "" if v else "by position",
    ("TopK", "k"): lambda v: "" if v == 1 else "sorts",
    ("QuantizeLinear", "precision"): lambda v: "" if v in (0, 1) else "rounds",
    ("DequantizeLinear", "output_dtype"): lambda v: "" if v in (0, 1) else "rounds",
    ("Gemm", "transA"): lambda v: "the batch is contracted" if v else "",
}


def values_of(name: str, attribute: Any) -> list[Any]:
    """The values at which an attribute is tried."""
    if name in VALUES:
        return VALUES[name]
    kind = attribute.type.name
    if kind == "INT":
        return [0, 1, 2]
    if kind == "FLOAT":
        return [0.0, 0.25, 1.0, 2.0]
    raise KeyError(f"no values are known for the attribute {name!r} of type {kind}: add them to VALUES")
