"""The quantised model as a QONNX file: the float graph with `Quant` nodes, for lutc and anyone who reads the dialect.

`Quant` is the operator of qonnx.custom_op.general: `clip(round(x / scale + zero)) * scale` (A. Pappalardo et al.,
QONNX: Representing Arbitrary-Precision Quantized Neural Networks, arXiv:2206.07527).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import Formats
from .graph import Graph, renamed
from .search import Assignment
from .simulator import along
from .sites import Layer, Point, Sites

Array = NDArray[Any]
DOMAIN = "qonnx.custom_op.general"


class _Writer:
    def __init__(self) -> None:
        self.constants: dict[str, Array] = {}
        self.nodes: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def quant(
        self, tensor: str, out: str, step: Array, bits: Array, signed: bool, narrow: bool, mode: str
    ) -> None:
        from onnx import helper

        step_name = self.constant(f"{out}_scale", step)
        zero, width = self.constant(f"{out}_zero_point", 0.0), self.constant(f"{out}_bit_width", bits)
        self.nodes.append(
            helper.make_node(
                "Quant", [tensor, step_name, zero, width], [out], name=f"{out}_quant", domain=DOMAIN,
                signed=int(signed), narrow=int(narrow), rounding_mode=mode,
            )
        )  # fmt: skip


def written(graph: Graph, sites: Sites, shapes: dict[str, tuple[int, ...]], found: Assignment) -> Any:
    """The quantised model, an `onnx.ModelProto`."""
    from onnx import helper

    w = _Writer()
    points = {p.tensor: p for p in sites.points}
    layers = {x.weights: x for x in sites.layers}
    at_bias = {x.bias: x for x in sites.layers}
    reads: dict[str, str] = {}
    outputs = set(graph.outputs)

    def behind(tensor: str) -> str:
        """Put the quantiser behind a tensor; the name that its maker has to give it."""
        point = points.get(tensor)
        if point is None:
            return tensor
        raw = f"{tensor}_float" if tensor in outputs else tensor
        out = tensor if tensor in outputs else f"{tensor}_quantised"
        f = found.formats[point.name]
        _data(w, raw, out, f, point, len(shapes[tensor]))
        reads[tensor] = out
        return raw

    for i in graph.inputs:
        behind(i.name)
    for node in graph.nodes:
        own = {n: _weights(w, layers[n], found, graph.constants[n].ndim) for n in node.input if n in layers}
        own |= {n: _bias(w, at_bias[n], found, sites) for n in node.input if n in at_bias}
        copy = renamed(node, {**reads, **own})
        w.nodes.append(copy)
        for k, name in enumerate(node.output):
            copy.output[k] = behind(name)
    model = graph.model(w.nodes, {**graph.constants, **w.constants})
    if all(o.domain != DOMAIN for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    model.producer_name = "lutc quantize"
    return model


def _data(w: _Writer, raw: str, out: str, f: Formats, point: Point, rank: int) -> None:
    """A point's quantiser. Channels of fewer bits than others are clipped before: the dialect has one width for all."""
    from onnx import helper

    live = f.bits > 0
    most = max(float(f.bits.max()), 2.0 if f.signed else 1.0)  # one signed bit is -1 and +1 there
    step = np.where(live, f.step, f.step.max())
    for op, ends in (("Min", f.arrays[2]), ("Max", f.arrays[1])):
        least = -(2.0 ** (most - 1)) if f.signed else 0.0
        bound = least if op == "Max" else (-least if f.signed else 2.0**most) - 1
        if (ends == bound).all() or (op == "Max" and not f.signed):
            continue
        limit = w.constant(f"{out}_{op.lower()}", along(ends * step, point.axis, rank))
        w.nodes.append(
            helper.make_node(op, [raw, limit], [f"{out}_{op.lower()}_kept"], f"{out}_{op.lower()}_node")
        )
        raw = f"{out}_{op.lower()}_kept"
    spread = along(step, point.axis, rank) if (step != step.flat[0]).any() else step.flat[0]
    w.quant(raw, out, spread, np.asarray(most), f.signed, False, "FLOOR" if point.in_bias else "ROUND")


def _weights(w: _Writer, layer: Layer, found: Assignment, ndim: int) -> str:
    values, step = found.weights[layer.name].astype(np.float64), found.steps[layer.name]
    if layer.op == "Conv":
        step = step.reshape(len(step), -1)[:, 0].reshape(-1, *(1,) * (ndim - 1))
    else:
        step = np.asarray(step.min()) if layer.op == "ConvTranspose" else step[0]
    most = np.abs(np.rint(values / step)).max()
    bits = max(2, int(np.ceil(np.log2(most + 1))) + 1)
    name = f"{layer.name}_weight"
    w.constant(name, values)
    w.quant(name, f"{name}_quantised", step, np.asarray(float(bits)), True, True, "ROUND")
    return f"{name}_quantised"


def _bias(w: _Writer, layer: Layer, found: Assignment, sites: Sites) -> str:
    """A bias on the coarsest grid that holds it, with half a step of the result where that is cut off behind."""
    b, point = found.biases[layer.name].astype(np.float64), sites.behind[layer.output]
    if point.in_bias:
        f = found.formats[point.name]
        b = b + np.where(f.bits > 0, f.step, 0) / 2
    step = 2.0 ** float(np.floor(np.log2(max(np.abs(b).max(), 2.0**-30)))) * 2.0**-22
    codes = np.rint(b / step).astype(np.int64)
    twos = min((int(c & -c).bit_length() - 1 for c in codes.tolist() if c), default=0)
    codes, step = codes >> twos, step * 2.0**twos
    bits = max(2, int(np.abs(codes).max()).bit_length() + 1)
    name = f"{layer.name}_bias"
    w.constant(name, codes * step)
    w.quant(name, f"{name}_quantised", np.asarray(step), np.asarray(float(bits)), True, False, "ROUND")
    return f"{name}_quantised"
