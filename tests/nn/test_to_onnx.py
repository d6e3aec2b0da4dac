"""What `export_onnx` writes is the model: read back by the importer, and computed from the operators' definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from test_export import MODELS, trained
from test_random_models import random_model, samples
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError

Model = tuple[nn.Module, tuple[int, ...], torch.Tensor]
SATURATING: dict[str, Any] = {"overflow": "saturate", "shape": ()}


def example(kind: str) -> Model:
    """A trained model whose answers vary, and float32 numbers within and beyond its ranges."""
    layers, shape = MODELS[kind]
    for seed in range(20):
        torch.manual_seed(seed)
        made = layers()
        for m in nn.Sequential(*made).modules():
            if isinstance(m, lnn.LUTDense):
                nn.init.normal_(m.w_in, std=2)
                nn.init.normal_(m.w_out)
        model = trained(made, shape, seed)
        x = torch.randn(200, *shape) * 3
        x[0], x[1] = 1e3, -1e3
        with torch.no_grad():
            if len(model(x).unique()) > 8:
                return model, shape, x
    raise AssertionError(f"all answers of {kind} are alike")


def is_the_model(model: nn.Module, x: torch.Tensor, found: Any) -> bool:
    with torch.no_grad():
        return np.array_equal(np.asarray(found, dtype=np.float64), model(x.double()).numpy())


@pytest.mark.parametrize("kind", MODELS)
def test_the_importer_reads_the_model_back(kind: str, tmp_path: Path) -> None:
    model, shape, x = example(kind)
    made = lnn.export_onnx(model, tmp_path / "m.onnx", shape)
    onnx.checker.check_model(made, full_check=True)
    design, direct = lutc.load(tmp_path / "m.onnx"), lnn.export(model, shape)
    assert is_the_model(model, x, design.run(x.numpy()))
    assert [(p.name, p.type, p.overflow) for p in design.params] == [
        (p.name, p.type, p.overflow) for p in direct.params
    ]
    assert [o.name for o in design.outputs] == [o.name for o in direct.outputs]


@pytest.mark.parametrize("seed", range(3, 200, 14))
def test_random_models_come_back(seed: int) -> None:
    model, shape = random_model(seed)
    x = samples(shape, 300, seed)
    assert is_the_model(model, x, lutc.load(lnn.export_onnx(model, None, shape)).run(x.numpy()))


@pytest.mark.parametrize("kind", ["image", "branches"])
def test_the_circuit_of_the_file_is_the_model(kind: str) -> None:
    model, shape, x = example(kind)
    build = lutc.compile(lutc.load(lnn.export_onnx(model, None, shape)), clock_ns=3)
    assert is_the_model(model, x, build.run(x.double().numpy()))


# -- the operators as ir_spec/onnx.md defines them, in numpy ---------------------------------------------------------

ROUND: dict[str, Any] = {
    "floor": np.floor,
    "nearest-half-up": lambda v: np.floor(v + 0.5),
    "nearest-half-even": np.rint,
}


def code(x: Any, f: Any, w: Any, s: Any, rounding: str, overflow: str) -> Any:
    low, high = (np.where(w > 0, v, 0) for v in (-s * 2.0 ** (w - 1), 2.0 ** (w - s) - 1))
    v = ROUND[rounding](x.astype(np.float64) * 2.0**f)
    if overflow == "wrap":
        return low + np.mod(v - low, 2.0**w)
    return np.clip(v, np.where(s > 0, -high, low) if overflow == "saturate-symmetric" else low, high)


def patches(x: Any, kernel: Any, strides: Any, dilations: Any, pads: Any) -> Any:
    """[positions, channels, taps] of an image [channels, rows, columns]."""
    x = np.pad(x, [(0, 0), *zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)])
    counts = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:], kernel, strides, dilations, strict=True)
    ]
    rows = [
        [
            x[(slice(None), *(p * s + t * d for p, s, t, d in zip(at, strides, tap, dilations, strict=True)))]
            for tap in np.ndindex(*kernel)
        ]
        for at in np.ndindex(*counts)
    ]
    return np.transpose(rows, (0, 2, 1)), counts


def sums(x: Any, f: Any, w: Any, s: Any, g: Any, codes: Any, rounding: str, overflow: str) -> Any:
    keys = code(x[..., None], f, w, s, rounding, overflow) - np.where((w > 0) & (s > 0), -(2.0 ** (w - 1)), 0)
    first = np.append(0, np.cumsum(2 ** w.ravel()))[:-1].reshape(w.shape)
    return (codes[(keys + first).astype(int)] * 2.0**-g).sum(axis=-2)


class Quantize(OpRun):
    op_domain = "lutc"

    def _run(self, x: Any, f: Any, w: Any, s: Any, rounding: str, overflow: str) -> Any:
        return ((code(x, f, w, s, rounding, overflow) * 2.0**-f).astype(np.float32),)


class LUTDense(OpRun):
    op_domain = "lutc"

    def _run(self, x: Any, f: Any, w: Any, s: Any, g: Any, codes: Any, rounding: str, overflow: str) -> Any:
        return (sums(x, f, w, s, g, codes, rounding, overflow).astype(np.float32),)


class LUTConv(OpRun):
    op_domain = "lutc"

    def _run(
        self, x: Any, f: Any, w: Any, s: Any, g: Any, codes: Any, dilations: Any, kernel_shape: Any,
        overflow: str, pads: Any, rounding: str, strides: Any,
    ) -> Any:  # fmt: skip
        results = []
        ends = np.append(0, np.cumsum((2**w).sum(axis=(1, 2))))
        for image in x:
            seen, counts = patches(image, kernel_shape, strides, dilations, pads)
            groups = np.split(seen, len(w), axis=1)
            parts = [
                sums(p.reshape(len(p), -1), f[i], w[i], s[i], g[i], codes[ends[i] : ends[i + 1]], rounding, overflow)
                for i, p in enumerate(groups)
            ]  # fmt: skip
            results.append(np.concatenate(parts, axis=1).T.reshape(-1, *counts))
        return (np.array(results, dtype=np.float32),)


class Quant(OpRun):
    """As the qonnx project describes it."""

    op_domain = "qonnx.custom_op.general"

    def _run(
        self, x: Any, scale: Any, zero: Any, bits: Any, narrow: int, rounding_mode: str, signed: int
    ) -> Any:
        v = x.astype(np.float64) / scale + zero
        modes: dict[str, Any] = {
            "FLOOR": np.floor,
            "ROUND": np.rint,
            "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
        }
        v = modes[rounding_mode](v)
        low, high = (narrow - 2.0 ** (bits - 1), 2.0 ** (bits - 1) - 1) if signed else (0, 2.0**bits - 1)
        return (((np.clip(v, low, high) - zero) * scale).astype(np.float32),)


@pytest.mark.parametrize("kind", MODELS)
def test_the_operators_are_what_the_page_says(kind: str) -> None:
    model, shape, x = example(kind)
    made = lnn.export_onnx(model, None, shape)
    (found,) = ReferenceEvaluator(made, new_ops=[Quant, Quantize, LUTDense, LUTConv]).run(
        None, {"x": x.numpy()}
    )
    assert is_the_model(model, x, found)


def operators(model: nn.Module, shape: tuple[int, ...] | None = None) -> set[tuple[str, str]]:
    return {(n.domain, n.op_type) for n in lnn.export_onnx(model, None, shape).graph.node}


def test_a_model_that_saturates_is_plain_qonnx() -> None:
    layers = [
        lnn.QLinear(4, 6, data=SATURATING),
        lnn.QReLU(overflow="saturate"),
        lnn.QLinear(6, 2, data=SATURATING | {"rounding": "nearest-half-even"}),
    ]
    assert {d for d, _ in operators(nn.Sequential(*layers))} == {"", "qonnx.custom_op.general"}
    assert ("lutc", "Quantize") in operators(nn.Sequential(lnn.QLinear(4, 6), lnn.QReLU()))


# -- refusals -------------------------------------------------------------------------------------------------------


def test_layers_without_translation_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    model = nn.Sequential(lnn.LUTDense(4, 4), nn.Tanh(), lnn.LUTDense(4, 4), nn.Softmax(1))
    with pytest.raises(LirError) as caught:
        lnn.export_onnx(model, tmp_path / "m.onnx")
    assert [d.where for d in caught.value.diagnostics] == ["1", "3"]
    assert not list(tmp_path.iterdir())


def test_a_weight_that_float32_does_not_hold_is_refused() -> None:
    layer = lnn.QLinear(1, 1, bias=False, weights={"fraction": 28, "integer": 2, "max_bits": 32})
    with torch.no_grad():
        layer.double().weight.fill_(2 + 2.0**-28)
    with pytest.raises(LirError, match="float32") as caught:
        lnn.export_onnx(nn.Sequential(layer))
    assert caught.value.diagnostics[0].where == "0"


def test_the_model_keeps_its_mode() -> None:
    model = nn.Sequential(lnn.LUTDense(2, 2), lnn.LUTDense(2, 2).eval())
    lnn.export_onnx(model)
    assert [m.training for m in model] == [True, False]


BROKEN = {
    "codes": ([0, 1, 2], "codes"),
    "width": ([[-1], [3]], "widths outside"),
    "signed": ([[2], [0]], "sign that is neither"),
    "table_fraction": ([[0]], "table_fraction"),
    "fraction": ([[0.5], [0.5]], "must be integers"),
    "fraction ": ([[5000], [0]], "fraction outside"),
    "table_fraction ": ([[0], [-5000]], "table_fraction outside"),
}


@pytest.mark.parametrize("word", BROKEN)
def test_broken_tables_are_refused(word: str) -> None:
    values, message = BROKEN[word]
    made = lnn.export_onnx(nn.Sequential(lnn.LUTDense(2, 1)))
    (tensor,) = [t for t in made.graph.initializer if t.name == f"0.{word.strip()}"]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(values), tensor.name))
    with pytest.raises(LirError, match=message):
        lutc.load(made)


@pytest.mark.parametrize("word", ["rounding", "overflow"])
def test_unknown_modes_are_refused(word: str) -> None:
    made = lnn.export_onnx(nn.Sequential(lnn.LUTDense(2, 1)))
    for attribute in made.graph.node[1].attribute:
        if attribute.name == word:
            attribute.s = b"sideways"
    with pytest.raises(LirError, match="sideways"):
        lutc.load(made)
