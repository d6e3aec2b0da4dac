#!/usr/bin/env python3
"""How much of an int8 network's circuit is requantisation, in the forms that frameworks write it in.

    tools/bench/requantised.py [--network NAME ...] [--form NAME ...] [--sites] [--out FILE]

Small networks are trained in float32 on data sets of scikit-learn and brought to eight bits as their users do it: by
ONNX Runtime's `quantize_static`, by torchao's PT2E (pip install torchao==0.18.0; left out where it is missing), and by
Brevitas. `same:` are one function each, the first ONNX Runtime form's, written in the other dialects by hand.

- `LUTs`: what lutc estimates for the combinational circuit. `requantisation`: those of them that belong to values which
  a `rescale` or a rounding became; `share` is that part of all.
- `sites`: of the whole circuit by open synthesis, with `--sites`; those of the requantisers are not told apart there.
- `equal`: outputs that are the framework's own number, of all for 200 rows. PT2E leaves the last layer's result a
  float32, which rounds where lutc does not: what is off by less than 1e-5 of the largest is equal.

All networks take some twenty minutes, with `--sites` hours; no results of that are kept here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from requantised_forms import DIALECTS  # type: ignore[import-not-found]
from sites import measure  # type: ignore[import-not-found]
from sklearn import datasets
from torch import nn

import lutc
from lutc import target as targets
from lutc.analysis.cost import costs
from lutc.driver import explained
from lutc.files.writing import write_text
from lutc.ir.graph import Design, Value
from lutc.ir.ops import Quant, Rescale
from lutc.ir.ops.base import Op
from lutc.passes.manager import run
from lutc.passes.rebuild import rebuild
from lutc.passes.rescale.rescale import LowerRescale
from lutc.passes.rewriter import Rewriter
from lutc.settings import Settings
from lutc.types import Overflow, Rounding

ROWS = 200  # of those that answers are compared on
MARK = "requantisation"

Json = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """A trained float32 network, its training data, and one data point's shape."""

    name: str
    model: nn.Sequential
    data: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape[1:])


@dataclass(frozen=True)
class Form:
    """A model that lutc loads, and what its framework answers to a batch."""

    source: Any
    answers: Callable[[Any], Any]
    options: Json


# Networks


def _trained(name: str, layers: list[nn.Module], x: Any, y: Any) -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    for module in model:
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()
    inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Network(name, model.eval(), inputs.numpy())


def _standardised(x: Any) -> Any:
    return (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)


def wine() -> Network:
    data = datasets.load_wine()
    layers = [nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3)]
    return _trained("wine 13-32-16-3", layers, _standardised(data.data), data.target)


def digits() -> Network:
    data = datasets.load_digits()
    x = data.images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
    layers = [nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10)]
    return _trained("digits 16-32-16-10", layers, x, data.target)


def images() -> Network:
    data = datasets.load_digits()
    layers = [
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 10),
    ]
    return _trained("digits, convolutions", layers, data.images[:, None] / 16, data.target)


NETWORKS: dict[str, Callable[[], Network]] = {"wine": wine, "digits": digits, "images": images}


# ONNX Runtime


def _exported(network: Network) -> onnx.ModelProto:
    """The network as an ONNX model in float32."""
    nodes, weights, name = [], [], "x"

    def constant(values: Any, label: str) -> str:
        weights.append(numpy_helper.from_array(values.detach().numpy(), label))
        return label

    for i, module in enumerate(network.model):
        result = f"t{i}"
        match module:
            case nn.Linear() | nn.Conv2d():
                kind = "Gemm" if isinstance(module, nn.Linear) else "Conv"
                more: Json = {"transB": 1} if kind == "Gemm" else {}
                inputs = [name, constant(module.weight, f"w{i}"), constant(module.bias, f"b{i}")]
                nodes.append(helper.make_node(kind, inputs, [result], f"layer{i}", **more))
            case nn.ReLU():
                nodes.append(helper.make_node("Relu", [name], [result], f"relu{i}"))
            case nn.MaxPool2d():
                nodes.append(
                    helper.make_node(
                        "MaxPool", [name], [result], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2]
                    )
                )
            case nn.Flatten():
                nodes.append(helper.make_node("Flatten", [name], [result], f"flatten{i}"))
        name = result
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *network.shape])
    y = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "network", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, rows: Any) -> None:
        self.rows = iter(rows)

    def get_next(self) -> Json | None:
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}


def _statically(**options: Any) -> Callable[[Network, Path], Form]:
    """What `quantize_static` makes of a network with some options."""

    def make(network: Network, folder: Path) -> Form:
        source, result = folder / "float.onnx", folder / "quantised.onnx"
        onnx.save(_exported(network), source)
        quantize_static(str(source), str(result), _Reader(network.data[:ROWS]), **options)
        return _onnx(result)

    return make


def _onnx(path: Path) -> Form:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Form(path, lambda x: session.run(None, {name: x})[0], {})


_U8S8 = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
_S8S8 = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
_U8U8 = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8}
_QDQ, _QOPERATOR = {"quant_format": QuantFormat.QDQ}, {"quant_format": QuantFormat.QOperator}
_SYMMETRIC = {"extra_options": {"ActivationSymmetric": True}}


# PyTorch


def _pt2e(network: Network, folder: Path) -> Form:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    rows = torch.tensor(network.data[:ROWS])
    batch: Json = {"dynamic_shapes": ({0: torch.export.Dim("n", min=2)},)}
    prepared = prepare_pt2e(torch.export.export(network.model, (rows,), **batch).module(), quantizer)
    prepared(rows)
    converted = convert_pt2e(prepared)
    program = torch.export.export(converted, (rows,), **batch)

    def answers(x: Any) -> Any:
        return converted(torch.tensor(x)).detach().numpy()

    return Form(program, answers, {})


def _brevitas(network: Network, per_channel: bool) -> Any:
    """The network in Brevitas' layers, with scales taken from the data."""
    import brevitas.nn as qnn
    from brevitas import quant

    weights = quant.Int8WeightPerChannelFloat if per_channel else quant.Int8WeightPerTensorFloat
    bits = {"return_quant_tensor": True}
    given = {"weight_quant": weights, "bias_quant": quant.Int32Bias, "cache_inference_quant_bias": True}
    layers: list[nn.Module] = [qnn.QuantIdentity(act_quant=quant.Int8ActPerTensorFloat, **bits)]
    for module in network.model:
        made: Any = module
        match module:
            case nn.Linear():
                made = qnn.QuantLinear(module.in_features, module.out_features, True, **given, **bits)
            case nn.Conv2d():
                made = qnn.QuantConv2d(
                    module.in_channels, module.out_channels, module.kernel_size, **given, **bits
                )
            case nn.ReLU():
                made = qnn.QuantReLU(act_quant=quant.Uint8ActPerTensorFloat, **bits)
        if made is not module and module.state_dict():
            made.load_state_dict(module.state_dict(), strict=False)
        layers.append(made)
    layers.append(qnn.QuantIdentity(act_quant=quant.Int8ActPerTensorFloat))
    model = nn.Sequential(*layers).train()
    for _ in range(30):
        model(torch.tensor(network.data[:ROWS]))
    return model.eval()


def _by_brevitas(kind: str, per_channel: bool = False) -> Callable[[Network, Path], Form]:
    def make(network: Network, folder: Path) -> Form:
        from brevitas.export import export_onnx_qcdq, export_qonnx

        model, path = _brevitas(network, per_channel), folder / "brevitas.onnx"
        export = {"qcdq": export_onnx_qcdq, "qonnx": export_qonnx}[kind]
        export(model, torch.zeros(1, *network.shape), str(path), dynamo=False)

        def answers(x: Any) -> Any:
            return model(torch.tensor(x)).detach().numpy()

        return Form(path, answers, {})

    return make


def _same(dialect: str, **options: Any) -> Callable[[Network, Path], Form]:
    """The function of an ONNX Runtime form, in another dialect."""

    def make(network: Network, folder: Path) -> Form:
        first = _statically(**options)(network, folder)
        return Form(DIALECTS[dialect](onnx.load(first.source), folder), first.answers, {})

    return make


FORMS: dict[str, Callable[[Network, Path], Form]] = {
    "ORT QDQ u8": _statically(**_QDQ, **_U8S8),
    "ORT QOperator u8": _statically(**_QOPERATOR, **_U8S8),
    "same: QONNX": _same("qonnx", **_QDQ, **_U8S8),
    "same: QCDQ": _same("qcdq", **_QDQ, **_U8S8),
    "same: PT2E": _same("pt2e", **_QDQ, **_U8S8),
    "ORT QDQ u8, weights u8": _statically(**_QDQ, **_U8U8),
    "ORT QDQ u8 per channel": _statically(**_QDQ, **_U8S8, per_channel=True),
    "ORT QOperator u8 per channel": _statically(**_QOPERATOR, **_U8S8, per_channel=True),
    "ORT QDQ s8": _statically(**_QDQ, **_S8S8),
    "ORT QDQ s8 symmetric": _statically(**_QDQ, **_S8S8, **_SYMMETRIC),
    "ORT QDQ s8 symmetric per channel": _statically(**_QDQ, **_S8S8, **_SYMMETRIC, per_channel=True),
    "PT2E X86": _pt2e,
    "Brevitas QCDQ": _by_brevitas("qcdq"),
    "Brevitas QONNX": _by_brevitas("qonnx"),
    "Brevitas QCDQ per channel": _by_brevitas("qcdq", per_channel=True),
    "Brevitas QONNX per channel": _by_brevitas("qonnx", per_channel=True),
}


# What lutc makes of them


def _marked(design: Design) -> Design:
    """The design with its requantisers as a layer of their own."""

    def rule(rw: Rewriter, op: Op) -> Value:
        rounds = isinstance(op, Quant) and (
            op.round is not Rounding.FLOOR or op.overflow is not Overflow.WRAP
        )
        return replace(op, origin=MARK) if rounds or isinstance(op, Rescale) else op

    return rebuild(design, rule, canonical="never")


def resources(design: Design, target: str = Settings.target) -> tuple[Design, float, float]:
    """The design as it is built, its LUTs, and those of its requantisers, as the target's own estimate."""
    settings = Settings(target=target, stages=0)
    steps = [step.step for step in explained(settings, design)]
    before = next((i for i, step in enumerate(steps) if isinstance(step, LowerRescale)), len(steps))
    final = run(_marked(run(design, steps[:before])), steps[before:])
    luts = {layer: cost.luts for layer, cost in costs(final, targets.load(target)).items()}
    return final, sum(luts.values()), luts.get(MARK, 0.0)


def sites(design: Design) -> int:
    """Those of the combinational circuit, by open synthesis."""
    with tempfile.TemporaryDirectory() as folder:
        built = lutc.compile(design, stages=0)
        built.write(Path(folder, "build"), vectors=1)
        return int(measure(design.name, sorted(Path(folder, "build").rglob("*.v")))["sites"])


def row(network: Network, form: str, synthesise: bool) -> Json:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        made = FORMS[form](network, Path(folder))
        design = lutc.load(made.source, **made.options)
        x = network.data[-ROWS:]
        want = np.asarray(made.answers(x), dtype=np.float32)
        got = np.asarray(design.run(x.astype(np.float64)), dtype=np.float32).reshape(want.shape)
        _, luts, part = resources(design)
        found: Json = {"network": network.name, "form": form, "luts": round(luts)}
        found |= {"requantisation": round(part), "share": round(part / luts, 3)}
        near = np.isclose(got, want, rtol=0, atol=1e-5 * float(np.abs(want).max()))
        found["equal"] = round(float(near.mean()), 4)
        if synthesise:
            found["sites"] = sites(design)
    return found | {"seconds": round(time.perf_counter() - start, 1)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters and quantisers tell."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def _page(rows: list[Json], without: Iterable[str]) -> str:
    packages = ("lutc", "onnxruntime", "torch", "torchao", "brevitas")
    known = [(p, version(p)) for p in packages if _installed(p)]
    lines = [
        "# Requantisation in int8 networks",
        "",
        "Made by `tools/bench/requantised.py`; what the columns mean stands in its first lines.",
        f"Versions: {', '.join(f'{n} {v}' for n, v in known)}.",
        "",
        "| network | form | LUTs | requantisation | share | sites | equal |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        lines.append(
            f"| {r['network']} | {r['form']} | {r['luts']:,} | {r['requantisation']:,} | {100 * r['share']:.1f} % "
            f"| {r.get('sites', '')} | {100 * r['equal']:.2f} % |"
        )
    missing = [f"- {form}: left out, since torchao was not installed." for form in without]
    return "\n".join([*lines, *([""] if missing else []), *missing]) + "\n"


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except ModuleNotFoundError:
        return False


def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=formatter)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--form", choices=FORMS, action="append")
    parser.add_argument("--sites", action="store_true", help="synthesise, too")
    parser.add_argument("--out", type=Path, help="write FILE.json and FILE.md")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    forms = args.form or list(FORMS)
    without = [form for form in forms if form.startswith("PT2E") and not _installed("torchao")]
    for form in without:
        print(f"{form}: left out, since torchao is not installed", file=sys.stderr)
    for name in args.network or NETWORKS:
        network = NETWORKS[name]()
        for form in forms:
            if form in without:
                continue
            rows.append(row(network, form, args.sites))
            print(json.dumps(rows[-1]), flush=True)
    if args.out:
        write_text(args.out.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
        write_text(args.out.with_suffix(".md"), _page(rows, without))


if __name__ == "__main__":
    main()
