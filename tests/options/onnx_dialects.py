"""Settings of the operators that are not the standard's: ONNX Runtime's own, the QONNX dialect's, and lutc's.

ONNX Runtime answers for its own. For the others the answer is the definition written down in exact numbers: the
descriptions in the qonnx project's docs, and ir_spec/onnx.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx_operators import Form, f32
from onnx_options import DIMS, QONNX, WINDOWS, made
from settings import Setting

from lutc.frontends.onnx import load_onnx

RNG = np.random.default_rng(3)
U8 = TensorProto.UINT8
Z3, Z2, Z4 = np.array(3, np.uint8), np.array(2, np.uint8), np.array(4, np.uint8)
IN, OUT = (f32(0.25), Z3), (f32(0.5), Z2)
W = RNG.integers(0, 9, (4, 3)).astype(np.uint8)
BIAS = RNG.integers(-20, 20, 3).astype(np.int32)
POOL = {"kernel_shape": [2, 2]}


def micro(*constants: Any, shape: tuple[int, ...] = (4,), **more: Any) -> Form:
    return Form(shape, constants, kind=U8, **more)


IMAGE = (4, 4, 4)
MICROSOFT: dict[str, list[tuple[Form, dict[str, list[Any]]]]] = {
    "QLinearAdd": [(micro(*IN, W[0, :1], f32(0.5), Z4, *OUT), {})],
    "QLinearMul": [(micro(*IN, W[0, :1], f32(0.5), Z4, *OUT), {})],
    "QLinearLeakyRelu": [(micro(*IN, *OUT), {"alpha": [0.01, 0.5, 0.25, 2.0]})],
    "QLinearSigmoid": [(micro(*IN, f32(1 / 256), np.array(0, np.uint8)), {})],
    "QLinearAveragePool": [
        (
            micro(*IN, *OUT, shape=IMAGE, attributes=POOL),
            {
                "channels_last": [0, 1],
                "strides": [[2, 2], [2, 1]],
                "pads": [[1, 0, 0, 1]],
                "count_include_pad": [0, 1],
                "ceil_mode": [0, 1],
                "auto_pad": ["NOTSET", "VALID", "SAME_UPPER"],
            },
        )
    ],
    "QLinearGlobalAveragePool": [(micro(*IN, *OUT, shape=IMAGE), {"channels_last": [0, 1]})],
    "QGemm": [
        (micro(*IN, W, f32(0.5), Z4, BIAS, *OUT), {"alpha": [1.0, 0.5, 2.0], "transA": [0, 1]}),
        (micro(*IN, W, f32(0.5), Z4, BIAS, name="float"), {"alpha": [1.0, 0.5, 2.0]}),
        (micro(*IN, W, f32(0.5), Z4, None, *OUT, name="no bias"), {"alpha": [1.0, 0.5]}),
        (
            micro(*IN, W.T.copy(), f32(0.5), Z4, BIAS, *OUT, attributes={"transB": 1}, name="turned"),
            {"alpha": [0.5]},
        ),
        (
            micro(*IN, W, f32(0.5, 0.25, 1), np.array([4, 3, 0], np.uint8), BIAS, *OUT, name="columns"),
            {"alpha": [0.5]},
        ),
    ],
    "MatMulIntegerToFloat": [
        (micro(W, f32(0.25), f32(0.5)), {}),
        (micro(W, f32(0.25), f32(0.5), Z3, Z4, f32(0.5, -1, 2), name="all"), {}),
        (micro(W, f32(0.25), f32(0.5, 0.25, 1), Z3, None, f32(0.5, -1, 2), name="columns"), {}),
    ],
    "DequantizeLinear": [
        (micro(f32(0.5), Z3, shape=(2, 4)), {"axis": [-1, 0, 1, 2]}),
        (micro(f32(0.5, 1), np.array([3, 1], np.uint8), shape=(2, 4), name="channels"), {"axis": [1]}),
    ],
}


def settings() -> Iterator[Setting]:
    for op, forms in MICROSOFT.items():
        for form, attributes in forms:
            for batch in DIMS:
                yield _micro(op, form, {}, batch)
            for name, values in attributes.items():
                for value in values:
                    yield _micro(op, form, {name: value}, "1")
    yield from _quants()
    yield from _own()


def _micro(op: str, form: Form, given: dict[str, Any], batch: str) -> Setting:
    attributes = {**form.attributes, **given}
    refusal = form.refusal or ("the batch is contracted" if attributes.get("transA") else "")
    if batch == "2" and op in WINDOWS:
        refusal = "a batch of two in the shape"
    return Setting(
        "onnx",
        f"com.microsoft.{op}",
        f"{form.name} {given} batch {batch}",
        lambda: made(op, 17, form, attributes, batch, "com.microsoft"),
        refusal,
    )


# -- QONNX ----------------------------------------------------------------------------------------------------------


def away(v: Fraction) -> int:
    return math.ceil(v) if v > 0 else math.floor(v)


def half(v: Fraction, up: bool) -> int:
    low = math.floor(v)
    if v - low != Fraction(1, 2):
        return math.floor(v + Fraction(1, 2))
    return low + ((v > 0) == up)


ROUND: dict[str, Callable[[Fraction], int]] = {
    "ROUND": round,
    "HALF_EVEN": round,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "UP": away,
    "DOWN": math.trunc,
    "HALF_UP": lambda v: half(v, True),
    "HALF_DOWN": lambda v: half(v, False),
}


def _ends(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if signed:
        return narrow - (1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def _dialect(
    op: str, constants: list[Any], attributes: dict[str, Any], x: Any, y: Any, domain: str = QONNX
) -> Any:
    names = ["x"] + [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(op, names, ["y"], domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *x.shape[1:]])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(c), n) for c, n in zip(constants, names[1:], strict=True)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    whole = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return lambda: load_onnx(whole, input_types="s9f4"), y, {"x": x}


def _quants() -> Iterator[Setting]:
    rng = np.random.default_rng(5)
    x = rng.integers(-256, 256, (40, 4)) / 16
    for op in ("Quant", "IntQuant"):
        for rounding in (None, *ROUND, "round", "floor"):
            for signed in (None, 0, 1):
                for narrow in (None, 0, 1):
                    for scale, zero, bits in ((0.25, 0.0, 4), (0.5, 1.0, 5)):
                        words = {"rounding_mode": rounding, "signed": signed, "narrow": narrow}
                        given: dict[str, Any] = {k: v for k, v in words.items() if v is not None}
                        yield Setting(
                            "onnx",
                            op,
                            f"{given} {scale} {zero} {bits}",
                            partial(_quant, op, given, scale, zero, bits, x),
                        )
    for rounding in (None, "FLOOR", "ROUND", "CEIL"):
        for zero in (0.0, 1.0):
            given = {"rounding_mode": rounding} if rounding else {}
            yield Setting("onnx", "Trunc", f"{given} {zero}", partial(_trunc, given, zero, x))
    for layout in (None, "NCHW", "NHWC"):
        for scale, bias in ((1.0, 0.0), (0.5, -1.0)):
            given = {"out_scale": scale, "out_bias": bias, **({"data_layout": layout} if layout else {})}
            yield Setting("onnx", "MultiThreshold", f"{given}", partial(_thresholds, given))
    yield Setting(
        "onnx",
        "BipolarQuant",
        "scale",
        lambda: _dialect("BipolarQuant", [f32(0.5)], {}, x, np.where(x >= 0, 0.5, -0.5)),
    )


def _quant(op: str, given: dict[str, Any], scale: float, zero: float, bits: int, x: Any) -> Any:
    mode = ROUND[str(given.get("rounding_mode", "ROUND")).upper()]
    lo, hi = _ends(bits, bool(given.get("signed", 1)), bool(given.get("narrow", 0)))
    y = [
        (min(max(mode(Fraction(v) / Fraction(scale) + Fraction(zero)), lo), hi) - zero) * scale
        for v in x.ravel().tolist()
    ]
    return _dialect(op, [f32(scale), f32(zero), f32(float(bits))], given, x, np.array(y).reshape(x.shape))


def _trunc(given: dict[str, Any], zero: float, x: Any) -> Any:
    mode = ROUND[given.get("rounding_mode", "FLOOR")]
    y = [(mode((Fraction(v) * 16 + Fraction(zero)) / 4) - zero) / 16 for v in x.ravel().tolist()]
    constants = [f32(1 / 16), f32(zero), f32(9.0), f32(7.0)]
    return _dialect("Trunc", constants, given, x, np.array(y).reshape(x.shape))


def _thresholds(given: dict[str, Any]) -> Any:
    x = np.random.default_rng(6).integers(-64, 64, (9, 2, 3, 2)) / 16
    table = np.sort(np.random.default_rng(8).integers(-30, 30, (2, 3)) / 8, axis=1).astype(np.float32)
    last = given.get("data_layout") == "NHWC"
    limits = table if last else table[:, None, None]
    y = (x[..., None] >= limits).sum(-1) * given["out_scale"] + given["out_bias"]
    return _dialect("MultiThreshold", [table], given, x, y)


# -- lutc's ---------------------------------------------------------------------------------------------------------

OWN_ROUND: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "toward-zero": math.trunc,
    "away": away,
    "nearest-half-up": lambda v: math.floor(v + Fraction(1, 2)),
    "nearest-half-down": lambda v: math.ceil(v - Fraction(1, 2)),
    "nearest-half-even": round,
    "nearest-half-away": lambda v: half(v, True),
    "nearest-half-zero": lambda v: half(v, False),
}


def _own_code(v: float, f: int, w: int, s: int, rounding: str, overflow: str) -> int:
    code = OWN_ROUND[rounding](Fraction(v) * 2**f)
    lo, hi = -s * (1 << w >> 1), (1 << w >> s) - 1
    if overflow == "wrap":
        return (code - lo) % (1 << w) + lo
    if overflow == "saturate-symmetric" and s:
        lo += 1
    return min(max(code, lo), hi)


def _own() -> Iterator[Setting]:
    x = np.random.default_rng(9).integers(-256, 256, (40, 4)) / 16
    for rounding in OWN_ROUND:
        for overflow in ("wrap", "saturate", "saturate-symmetric"):
            given = {"rounding": rounding, "overflow": overflow}
            yield Setting("onnx", "lutc.Quantize", f"{given}", partial(_quantize, given, x))
            yield Setting("onnx", "lutc.LUTDense", f"{given}", partial(_lut_dense, given, x))
    for name in ("rounding", "overflow", "other"):
        given = {"rounding": "floor", "overflow": "wrap", name: "no such word"}
        yield Setting(
            "onnx", "lutc.Quantize", f"{name} unknown", partial(_unknown, given, x), "there is none"
        )
    for name, values in (
        ("strides", [[1, 1], [2, 1]]),
        ("pads", [[0, 0, 0, 0], [1, 0, 0, 1]]),
        ("dilations", [[1, 1], [2, 1]]),
    ):
        for value in values:
            yield Setting("onnx", "lutc.LUTConv", f"{name}={value}", partial(_lut_conv, {name: value}))


def _unknown(given: dict[str, Any], x: Any) -> Any:
    return _dialect("Quantize", [np.array([1]), np.array([4]), np.array([1])], given, x, x, "lutc")


FORMATS = (np.array([1, 2, 0, 3]), np.array([4, 5, 3, 0]), np.array([1, 0, 1, 1]))


def _quantize(given: dict[str, Any], x: Any) -> Any:
    y = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        f, w, s = (int(a[at[1]]) for a in FORMATS)
        y[at] = _own_code(x[at], f, w, s, **given) / 2**f if w else 0
    return _dialect("Quantize", list(FORMATS), given, x, y, "lutc")


def _edges(n_in: int, n_out: int) -> tuple[list[Any], list[list[Any]]]:
    rng = np.random.default_rng(10)
    f, w = rng.integers(0, 3, (n_in, n_out)), rng.integers(1, 4, (n_in, n_out))
    s, g = rng.integers(0, 2, (n_in, n_out)), rng.integers(0, 3, (n_in, n_out))
    tables = [[rng.integers(-8, 8, 2 ** w[i, o]) for o in range(n_out)] for i in range(n_in)]
    return [f, w, s, g, np.concatenate([t for row in tables for t in row])], tables


def _edge_sums(rows: Any, constants: list[Any], tables: list[list[Any]], given: dict[str, Any]) -> Any:
    f, w, s, g, _ = constants
    y = np.zeros((len(rows), f.shape[1]))
    for r, row in enumerate(rows):
        for i, o in np.ndindex(f.shape):
            fmt = (int(f[i, o]), int(w[i, o]), int(s[i, o]))
            code = _own_code(row[i], *fmt, given["rounding"], given["overflow"])
            y[r, o] += tables[i][o][code + fmt[2] * 2 ** (fmt[1] - 1)] / 2 ** int(g[i, o])
    return y


def _lut_dense(given: dict[str, Any], x: Any) -> Any:
    constants, tables = _edges(4, 3)
    return _dialect("LUTDense", constants, given, x, _edge_sums(x, constants, tables, given), "lutc")


def _lut_conv(given: dict[str, Any]) -> Any:
    x = np.random.default_rng(11).integers(-64, 64, (3, 2, 4, 3)) / 16
    constants, tables = _edges(8, 3)
    words = {"rounding": "floor", "overflow": "saturate"}
    strides, dilations, pads = (
        given.get("strides", [1, 1]),
        given.get("dilations", [1, 1]),
        given.get("pads", [0] * 4),
    )
    padded = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    counts = [(n - d - 1) // s + 1 for n, s, d in zip(padded.shape[2:], strides, dilations, strict=True)]
    y = np.zeros((3, 3, *counts))
    for i, j in np.ndindex(*counts):
        a, b = i * strides[0], j * strides[1]
        patch = padded[:, :, a : a + dilations[0] + 1 : dilations[0], b : b + dilations[1] + 1 : dilations[1]]
        y[:, :, i, j] = _edge_sums(patch.reshape(3, 8), constants, tables, words)
    packed = [c[None] if c.ndim == 2 else c for c in constants]
    return _dialect("LUTConv", packed, {**words, "kernel_shape": [2, 2], **given}, x, y, "lutc")
