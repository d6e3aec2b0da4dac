"""lutc.nn: every constructor argument of every layer, alone and in a file of `lutc.nn.save` and of `export_onnx`."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from settings import Setting
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.nn import checkpoint
from lutc.nn import rules as lowering
from lutc.nn.to_design import export  # noqa: F401 - with it come all rules

N = 24
Make = Callable[[], nn.Module]
SIDE = dict[str, Any]

# Options of a quantiser, as the layers take them: each alone, so that every one is read.
QUANTISERS: tuple[SIDE, ...] = (
    {},
    {"integer": 1},
    {"integer": 1, "overflow": "saturate"},
    {"integer": 1, "overflow": "saturate-symmetric"},
    {"total": 5, "integer": 2, "overflow": "saturate"},
    {"fraction": 2},
    {"fraction": 0},
    {"fraction": -1},
    {"rounding": "floor"},
    {"rounding": "nearest-half-even"},
    {"rounding": "nearest-half-up"},
    {"signed": False, "overflow": "saturate"},
    {"max_bits": 4},
    {"trainable": False},
    {"decay": 0.0},
)
DATA = (*QUANTISERS, {"shape": ()})
WINDOW = {"stride": (1, 2), "padding": (0, 1), "dilation": (1, 2), "groups": (1, 2)}
LUT: dict[str, tuple[Any, ...]] = {
    "hidden": (4, 8),
    "depth": (1, 2),
    "activation": ("tanh", "relu", "sigmoid", "silu", "gelu", "sin"),
    "batch_norm": (True, False),
    "integer": (2, 1),
    "fraction": (2, 0),
    "rounding": ("nearest-half-up", "floor", "nearest-half-even"),
    "overflow": ("wrap", "saturate", "saturate-symmetric"),
    "max_key_bits": (4, 3, 0),
    "table_integer": (2, 1),
    "table_fraction": (4, 0),
    "momentum": (0.01, 0.5),
    "eps": (1e-3, 0.1),
    "weight_scale": (1.0, 0.3),
    "method": ("auto", "grid", "reference"),
}
CONV = {"channels": (2,), "filters": (4,), "kernel": (2, 3), **WINDOW}
ADD = ((nn.Identity(), lnn.QReLU(())), (lnn.QReLU(()), lnn.QReLU(()), nn.Identity()))
ROW, LINE, PLANE, BOX = (4,), (2, 7), (2, 6, 6), (2, 4, 4, 4)
MOVES = (
    ("reshape", 8, 9),
    ("permute", 0, 2, 1, 3),
    ("permute", 0, 3, 2, 1),
    ("select", 1, 1),
    ("slice", 2, 1, 6, 2),
    ("flip", 1, 3),
    ("roll", 2, 3),
    ("pad", 1, 0, 2, 1),
    ("repeat", 1, 2, 1),
    ("upsample", 2, 3),
)
GRAPH = {"a": lnn.QLinear(4, 4), "b": lnn.QReLU(), "c": lnn.Add(subtract=True), "d": lnn.Concat(1)}
READS = {"a": ("x",), "b": ("a",), "c": ("a", "b"), "d": ("b", "c", "a")}
SHARED = {**READS, "d": ("c", "c")}
LAYERS: dict[str, tuple[tuple[int, ...], Mapping[str, tuple[Any, ...]]]] = {
    "Quantizer": (
        ROW,
        {
            "shape": ((), (4,), (1,)),
            **{
                w: tuple(q[w] for q in QUANTISERS if w in q and "total" not in q)
                for w in ("fraction", "rounding", "max_bits", "trainable", "decay")
            },
            "integer": (2, 1, 0),
            "signed": (True, False),
            "overflow": ("wrap", "saturate", "saturate-symmetric"),
            "total": (None, 5),
        },
    ),
    "QLinear": (
        ROW,
        {"n_in": (4,), "n_out": (3,), "bias": (True, False), "data": DATA, "weights": QUANTISERS},
    ),
    "QConv1d": (LINE, {**CONV, "bias": (True, False), "data": DATA, "weights": QUANTISERS}),
    "QConv2d": (PLANE, {**CONV, "bias": (True, False), "data": DATA, "weights": QUANTISERS}),
    "QConv3d": (BOX, {**CONV, "bias": (True, False), "data": DATA, "weights": QUANTISERS}),
    "QReLU": (ROW, {"shape": ((), (4,))}),
    "QBatchNorm": (
        ROW,
        {
            "channels": (4,),
            "momentum": (0.1, 0.5),
            "eps": (1e-5, 0.1),
            "affine": (True, False),
            "weights": QUANTISERS,
            "axis": (1, -1),
        },
    ),
    "QAdd": (ROW, {"branches": ADD}),
    "QMaximum": (ROW, {"branches": ADD}),
    "QMinimum": (ROW, {"branches": ADD}),
    "QMultiply": (ROW, {"branches": ADD}),
    "QConcat": (LINE, {"branches": ADD, "dim": (1, 2, -1)}),
    "Sum": (LINE, {"dim": (1, 2, -1)}),
    "QAvgPool1d": (LINE, {"kernel": (2, 3), "stride": (None, 1, 3), "shape": ((), (2, 1))}),
    "QMaxPool1d": (LINE, {"kernel": (2, 3), "stride": (None, 1, 3), "dilation": (1, 2)}),
    "QMaxPool2d": (PLANE, {"kernel": (2, (3, 2)), "stride": (None, 1, (2, 1)), "dilation": (1, (2, 1))}),
    "QAvgPool2d": (PLANE, {"kernel": (2, (3, 2)), "stride": (None, 1, (2, 1)), "shape": ((), (2, 1, 1))}),
    "QEinsum": (
        LINE,
        {
            "equation": ("bij,jk->bik", "bij,ijk->bik", "bij,jk->bk"),
            "weight_shape": ((7, 3),),
            "data": DATA[:-1],
            "weights": QUANTISERS,
        },
    ),
    "QFunction": (
        ROW,
        {
            "function": (
                *(
                    "tanh",
                    "sigmoid",
                    "exp",
                    "reciprocal",
                    "gelu",
                    "abs",
                    "celu",
                    "cos",
                    "elu",
                    "erf",
                    "rsqrt",
                ),
                *("hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "selu"),
                *("softplus", "square", "threshold"),
            ),
            "scale": (1.0, 0.5, -2.0),
            "data": tuple(q for q in QUANTISERS if q.get("overflow") != "wrap"),
            "table": tuple(q for q in QUANTISERS if "rounding" not in q),
            "parameters": (None, {"negative_slope": 0.25}),
        },
    ),
    "QSoftmax": (
        LINE,
        {
            "dim": (-1, 1, 2),
            "scale": (1.0, 0.5),
            "stable": (True, False),
            "data": QUANTISERS,
            "keys": ({}, {"fraction": 2}),
            "exp": ({}, {"fraction": 4}),
            "total": ({}, {"fraction": 3}),
            "inverse": ({}, {"fraction": 5}),
        },
    ),
    "QAttention": (
        (3, 4),
        {
            "features": (4,),
            "heads": (1, 2),
            "dim": (None, 3),
            "out": (None, 2),
            "bias": (True, False),
            "data": QUANTISERS,
            "weights": QUANTISERS,
            "products": QUANTISERS,
            "shares": ({}, {"fraction": 4}),
            "softmax": ({}, {"stable": False}, {"scale": 0.25}),
            "dropout": (0.0, 0.5),
        },
    ),
    "Graph": (
        ROW,
        {
            "layers": (GRAPH,),
            "reads": (READS, SHARED),
            "shape": (None, ROW),
            "floats": (None, {"w": (("a.weight",), (4, 4))}),
        },
    ),
    "Move": (PLANE, {"kind": MOVES, "numbers": ((),)}),
    "QAffine": (
        PLANE,
        {
            "gain": ((), None, (2, 1, 1), (1, 2, 6, 6)),
            "shift": ((2, 1, 1), None, (), (6,)),
            "trained": (True, False),
            "weights": QUANTISERS,
        },
    ),
    "QMean": (PLANE, {"dims": ((2, 3), (1,), (1, 2, 3)), "keepdim": (False, True), "shape": ((), (2,))}),
    "LUTDense": (ROW, {"n_in": (4,), "n_out": (3,), **LUT}),
    "LUTConv1d": (LINE, {**CONV}),
    "LUTConv2d": (PLANE, {**CONV}),
    "LUTConv3d": (BOX, {**CONV}),
}
OPTIONS = {  # what goes through to another class
    "QReLU": {k: v for k, v in LAYERS["Quantizer"][1].items() if k not in ("shape", "signed")},
    "QMean": {k: v for k, v in LAYERS["Quantizer"][1].items() if k != "shape"},
    "QAvgPool1d": {k: v for k, v in LAYERS["Quantizer"][1].items() if k != "shape"},
    "QAvgPool2d": {k: v for k, v in LAYERS["Quantizer"][1].items() if k != "shape"},
    "LUTConv1d": LUT,
    "LUTConv2d": LUT,
    "LUTConv3d": LUT,
}
# Layers of torch around them.
PLAIN: dict[str, tuple[tuple[int, ...], Mapping[str, tuple[Any, ...]]]] = {
    "MaxPool1d": (
        LINE,
        {
            "kernel_size": (2, 3),
            "stride": (None, 1),
            "padding": (0, 1),
            "dilation": (1, 2),
            "return_indices": (False,),
            "ceil_mode": (False, True),
        },
    ),
    "MaxPool2d": (
        PLANE,
        {
            "kernel_size": (2, (3, 2)),
            "stride": (None, 1),
            "padding": (0, 1),
            "dilation": (1, 2),
            "return_indices": (False,),
            "ceil_mode": (False, True),
        },
    ),
    "Flatten": (LINE, {"start_dim": (1, 2), "end_dim": (-1, 2)}),
    "ReLU": (ROW, {"inplace": (False, True)}),
    "Dropout": (ROW, {"p": (0.5,), "inplace": (False, True)}),
    "Dropout1d": (LINE, {"p": (0.5,), "inplace": (False, True)}),
    "Dropout2d": (PLANE, {"p": (0.5,), "inplace": (False, True)}),
    "Identity": (ROW, {}),
}
# What lutc says no to, by layer, option and way.
NO = {
    ("MaxPool1d", "padding=1"): "with padding",
    ("MaxPool2d", "padding=1"): "with padding",
    ("MaxPool1d", "ceil_mode=True"): "ceil_mode",
    ("MaxPool2d", "ceil_mode=True"): "ceil_mode",
    ("Flatten", "start_dim=2"): "only a Flatten of all axes",
    ("Flatten", "end_dim=2"): "only a Flatten of all axes",
}
HALF_EVEN = "the input is rounded half to even, which a port cannot prepare exactly"


# What does not quantise what it reads.
BARE = (
    *(
        "QReLU",
        "QBatchNorm",
        "QAdd",
        "QMaximum",
        "QMinimum",
        "QMultiply",
        "QConcat",
        "Sum",
        "QAvgPool1d",
        "QAvgPool2d",
    ),
    *("QMaxPool1d", "QMaxPool2d", "Move", "QAffine", "QMean"),
)


def build(name: str, arguments: Mapping[str, Any], shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    rest = dict(arguments)
    branches = rest.pop("branches", ())
    if name == "Move":
        branches = (*rest.pop("kind"), *rest.pop("numbers", ()))
    if name in PLAIN:
        model: nn.Module = nn.Sequential(lnn.Quantizer(()), getattr(nn, name)(**rest))
    else:
        layer = getattr(lnn, name)(*branches, **rest)
        bare = name in BARE
        model = nn.Sequential(lnn.Quantizer(()), layer) if bare else nn.Sequential(layer)
    model.train()
    for seed in range(2):
        model(torch.as_tensor(np.random.default_rng(seed).normal(0, 1.5, (16, *shape)), dtype=torch.float32))
    return model.eval()


WAYS = ("load", "save", "onnx")


def loaded(way: str, model: nn.Module, shape: tuple[int, ...]) -> Any:
    if way == "load":
        return lutc.load(model, example_inputs=torch.zeros(1, *shape))
    if way == "onnx":
        return lutc.load(lnn.export_onnx(model, shape=shape))
    with tempfile.TemporaryDirectory() as folder:
        lnn.save(model, Path(folder) / "model.pt", shape=shape)
        return lutc.load(Path(folder) / "model.pt")


def setting(
    name: str, option: str, way: str, arguments: Mapping[str, Any], shape: tuple[int, ...]
) -> Setting:
    def make() -> tuple[Callable[[], Any], Any, dict[str, Any]]:
        model = build(name, arguments, shape)
        x = np.rint(np.random.default_rng(1).normal(0, 3, (N, *shape)) * 64) / 64
        x[0], x[1], x[2] = 0, 100, -100
        with torch.no_grad():
            right = model(torch.as_tensor(x)).numpy()
        return partial(loaded, way, model, shape), right, {"x": x}

    refusal = NO.get((name, option), "")
    if "half-even" in option:
        refusal = HALF_EVEN
    return Setting("nn", f"{name}:{way}", option, make, refusal)


PARTS = {"Add", "Adders", "Maximum", "Minimum", "Multiply", "Concat", "Kept", "QProduct"}  # of other layers


def settings() -> Iterator[Setting]:
    """All of them. Raises AssertionError for a layer or an argument nobody has thought of."""
    ours = {k.__name__ for k in checkpoint._OURS} - PARTS
    if ours != set(LAYERS):
        raise AssertionError(f"layers without declared arguments: {sorted(ours ^ set(LAYERS))}")
    known = {
        k.__name__ for k in lowering.lower.registry if k is not object and k.__module__.startswith("torch.")
    }
    if known != set(PLAIN):
        raise AssertionError(f"modules of torch without declared arguments: {sorted(known ^ set(PLAIN))}")
    for name, (shape, given) in {**LAYERS, **PLAIN}.items():
        home = nn if name in PLAIN else lnn
        written = set(inspect.signature(getattr(home, name).__init__).parameters) - {"self", "options"}
        if home is nn:
            written -= {"args", "kwargs"}
        if written != set(given):
            raise AssertionError(
                f"{name} has arguments without declared values: {sorted(written ^ set(given))}"
            )
        values = {**given, **OPTIONS.get(name, {})}
        required = (
            "channels",
            "filters",
            "kernel",
            "n_in",
            "n_out",
            "branches",
            "equation",
            "weight_shape",
            "features",
            "layers",
            "reads",
            "kind",
            "gain",
            "shift",
            "dims",
        )
        base = {a: v[0] for a, v in given.items() if a in (*required, "function", "kernel_size")}
        for argument, several in values.items():
            for value in several:
                option = f"{argument}={_said(value)}"
                arguments = {**base, argument: value}
                if value == "bij,ijk->bik":
                    arguments["weight_shape"] = (2, 7, 3)
                if argument == "parameters" and value:
                    arguments["function"] = "leaky_relu"
                if argument == "total" and value and name != "QSoftmax":
                    arguments["overflow"] = "saturate"
                for way in WAYS:
                    yield setting(name, option, way, arguments, shape)


def _said(value: Any) -> str:
    return (
        f"{len(value)} branches"
        if isinstance(value, tuple) and value and isinstance(value[0], nn.Module)
        else repr(value)
    )
