"""A trained model as an ONNX file: QONNX where it has words for the layer, lutc's own operators where it has not.

QONNX's Quant saturates and has one sign for the whole tensor. Quantisers of that kind are written as Quant, all others
as `lutc.Quantize`; LUT layers are `lutc.LUTDense` and `lutc.LUTConv`. ir_spec/onnx.md defines lutc's operators.
"""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lutc._version import __version__
from lutc.diagnostics import error
from lutc.files.writing import written
from lutc.lowering.names import Names
from lutc.types import Overflow, Rounding

from .attention import QAttention, QProduct, QSoftmax
from .costs import finest
from .einsum import QEinsum
from .function import QFunction
from .layers import QAdd, QBatchNorm, QConcat, QLinear, QReLU, Sum, _Conv, tuple_of
from .lut import LUTDense
from .lutconv import _LUTConv
from .pooling import _AvgPool, _MaxPool
from .quantizer import Formats, Quantizer
from .rules import chain
from .to_design import evaluating, export

if TYPE_CHECKING:
    from onnx import ModelProto

DOMAIN, QONNX = "lutc", "qonnx.custom_op.general"
OPSET, IR = 17, 8
_WORDS = {Rounding.FLOOR: "FLOOR", Rounding.HALF_EVEN: "ROUND"}


def export_onnx(
    model: nn.Module,
    path: str | Path | None = None,
    shape: tuple[int, ...] | None = None,
    *,
    name: str = "model",
) -> ModelProto:
    """The model as ONNX, written to ``path`` if there is one; ``lutc.load`` of it and of the model are equal designs.

    ``shape`` is the input's without the batch, which stays open in the file; it may be left out if the model begins
    with a layer that tells it. The file states the input port's format, which `lutc.nn.export` chooses. Constants are
    float32. The model is left as it was.

    Raises LirError listing every layer that has no exact translation, or for a weight that float32 does not hold.

    Examples
    --------
    >>> import lutc, torch
    >>> from lutc import nn
    >>> model = torch.nn.Sequential(nn.QLinear(4, 2), nn.QReLU()).eval()
    >>> _ = nn.export_onnx(model, "model.onnx")
    >>> x = torch.rand(5, 4, dtype=torch.float64)
    >>> bool((lutc.load("model.onnx").run(x.numpy()) == model(x).detach().numpy()).all())
    True
    """
    try:
        import onnx
    except ImportError:
        raise error("writing ONNX needs the onnx package", help='pip install "lutc[onnx]"') from None
    port = export(model, shape, name=name, compare=False).params[
        0
    ]  # refuses whatever has no exact translation
    shape = port.type.shape
    from . import to_onnx_graph  # noqa: F401 - it adds its rules to those here

    g = _Graph()
    with evaluating(model), torch.no_grad():
        x = _port(g, port.type.formats[0], port.overflow)
        x, out = _chain(g, model, "", x, shape)
    g.add("Identity", [x], outputs=["y"])
    helper = onnx.helper
    ports = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", *dims])
        for n, dims in (("x", shape), ("y", out))
    ]
    graph = helper.make_graph(
        [
            helper.make_node(op, inputs, outputs, name=label, domain=domain, **attributes)
            for op, inputs, outputs, label, domain, attributes in g.nodes
        ],
        name, ports[:1], ports[1:],
        [onnx.numpy_helper.from_array(a, n) for n, a in g.constants.items()],
    )  # fmt: skip
    domains = sorted({node.domain for node in graph.node} - {""})
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(d, 1) for d in domains)]
    made = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR, producer_name="lutc", producer_version=__version__
    )
    if path is not None:
        with written(path) as file:
            file.write(made.SerializeToString())
    return made


class _Graph:
    """Nodes and constants as they come; their names begin with the layer's."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, list[str], list[str], str, str, dict[str, Any]]] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.where = ""
        self.names = Names(("x", "y"))

    def name(self, word: str) -> str:
        return self.names.distinct(f"{self.where}.{word}" if self.where else word)

    def add(
        self,
        op: str,
        inputs: list[str],
        domain: str = "",
        outputs: list[str] | None = None,
        **attributes: Any,
    ) -> str:
        label = self.name(op)
        self.nodes.append((op, inputs, outputs or [label], label, domain, attributes))
        return label

    def constant(self, word: str, values: Any, dtype: Any = np.float32) -> str:
        """A constant's name. Raises LirError if the type does not hold its numbers."""
        array = np.asarray(values)
        with np.errstate(over="ignore"):
            narrow = array.astype(dtype)
        if not np.array_equal(narrow, array):
            raise error(
                f"its {word} has numbers that float32 does not hold",
                where=self.where or "model",
                help="use formats of at most 24 bits, with up to 126 after the point",
            )
        name = self.name(word)
        self.constants[name] = narrow
        return name


def _port(g: _Graph, fmt: Any, overflow: Overflow) -> str:
    """The input port: rounds down to its format."""
    g.where = "input"
    if overflow is Overflow.SATURATE and fmt.width > 1:
        return _quant(g, "x", 2.0**-fmt.frac, fmt.width, fmt.signed, "FLOOR", narrow=False)
    one = torch.ones((), dtype=torch.int64)
    made = Formats(one * fmt.signed, one * fmt.width, one * fmt.frac)
    return _lutc_quantize(g, "x", made, Rounding.FLOOR, overflow)


def _chain(
    g: _Graph, model: nn.Module, where: str, x: str, shape: tuple[int, ...]
) -> tuple[str, tuple[int, ...]]:
    """All layers of a chain; also the shape of what it gives, without the batch."""
    for name, layer in chain(model, where):
        g.where = name
        x = emit(layer, g, x, shape)
        like = next((p.dtype for p in model.parameters()), torch.float32)
        shape = tuple(layer(torch.zeros(1, *shape, dtype=like)).shape[1:])
    return x, shape


@singledispatch
def emit(layer: nn.Module, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    """Append a layer's nodes; ``x`` is its input, of this shape without the batch. Gives the result's name."""
    raise error(
        f"{type(layer).__name__} has no translation to ONNX",
        where=g.where or "model",
        help="compile the model itself: lutc.load(model)",
    )


# -- quantisers -----------------------------------------------------------------------------------------------------


def quantise(g: _Graph, q: Quantizer, x: str) -> str:
    """``x`` through a quantiser: as QONNX's Quant if that is the same function."""
    f = q.formats()
    plain = (
        q.overflow is not Overflow.WRAP
        and bool(
            (f.width > f.signed).all()
        )  # Quant has no formats without bits, and reads one signed bit as +-1
        and bool((f.signed == f.signed.flatten()[0]).all())
    )
    if not plain:
        return _lutc_quantize(g, x, f, q.rounding, q.overflow)
    signed = bool(f.signed.flatten()[0])
    step, width = np.exp2(-f.frac.double().numpy()), f.width.numpy()
    narrow = signed and q.overflow is Overflow.SATURATE_SYMMETRIC
    if q.rounding is not Rounding.HALF_UP:
        return _quant(g, x, step, width, signed, _WORDS[q.rounding], narrow)
    if not signed:  # Quant's HALF_UP rounds ties away from zero: what is negative becomes 0 anyway
        return _quant(g, x, step, width, signed, "HALF_UP", narrow)
    raised = g.add("Add", [x, g.constant("half", _alone(step) / 2)])
    return _quant(g, raised, step, width, signed, "FLOOR", narrow)


def _alone(values: Any) -> Any:
    """One number instead of many equal ones."""
    array = np.asarray(values)
    return array.flat[0] if array.size and (array == array.flat[0]).all() else array


def _quant(g: _Graph, x: str, step: Any, width: Any, signed: bool, rounding: str, narrow: bool) -> str:
    parts = [
        g.constant(n, _alone(v)) for n, v in (("scale", step), ("zero_point", 0.0), ("bit_width", width))
    ]
    return g.add("Quant", [x, *parts], QONNX, signed=int(signed), narrow=int(narrow), rounding_mode=rounding)


def _lutc_quantize(g: _Graph, x: str, f: Formats, rounding: Rounding, overflow: Overflow) -> str:
    return g.add("Quantize", [x, *_formats(g, f)], DOMAIN, rounding=rounding.value, overflow=overflow.value)


def _formats(g: _Graph, f: Formats) -> list[str]:
    parts = (("fraction", f.frac), ("width", f.width), ("signed", f.signed))
    return [g.constant(n, _alone(v.numpy()), np.int64) for n, v in parts]


def weights(g: _Graph, word: str, values: Any) -> str:
    """Quantised constants behind a Quant that says so: one step and width for the tensor."""
    reals = np.asarray(values, dtype=np.float64)
    frac = finest(reals)
    whole = np.ldexp(reals, frac)
    width = max(int(np.ceil(np.log2(max(whole.max(initial=0) + 1, -whole.min(initial=0), 1)))) + 1, 2)
    return _quant(g, g.constant(word, reals), 2.0**-frac, width, True, "ROUND", narrow=False)


@emit.register
def _(layer: Quantizer, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return quantise(g, layer, x)


@emit.register
def _(layer: QReLU, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return quantise(g, layer.quantizer, g.add("Relu", [x]))


# -- products -------------------------------------------------------------------------------------------------------


@emit.register
def _(layer: QLinear, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    weight, bias = layer.quantised()
    y = g.add("MatMul", [quantise(g, layer.input_quantizer, x), weights(g, "weight", weight.t().numpy())])
    return y if bias is None else g.add("Add", [y, weights(g, "bias", bias.numpy())])


@emit.register
def _(layer: _Conv, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    weight, bias = layer.quantised()
    inputs = [quantise(g, layer.input_quantizer, x), weights(g, "weight", weight.numpy())]
    if bias is not None:
        inputs.append(weights(g, "bias", bias.numpy()))
    return g.add("Conv", inputs, group=layer.groups, **_window(layer))


def _window(layer: _Conv | _LUTConv) -> dict[str, Any]:
    return {
        "kernel_shape": list(layer.kernel),
        "strides": list(layer.stride),
        "dilations": list(layer.dilation),
        "pads": [*layer.padding, *layer.padding],
    }


@emit.register
def _(layer: QBatchNorm, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    gain, shift = (v.numpy().reshape(layer.along(len(shape) + 1)[1:]) for v in layer.exact())
    return g.add("Add", [g.add("Mul", [x, weights(g, "gain", gain)]), weights(g, "shift", shift)])


@emit.register
def _(layer: QEinsum, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    weight, _ = layer.quantised()
    inputs = [quantise(g, layer.input_quantizer, x), weights(g, "weight", weight.numpy())]
    return g.add("Einsum", inputs, equation=layer.equation)


# -- tables ---------------------------------------------------------------------------------------------------------


def _tables(g: _Graph, cores: list[LUTDense], lead: tuple[int, ...]) -> list[str]:
    """The five inputs that hold the tables: formats ``[*lead, n_in, n_out]``, and the codes in a row."""
    found = [core.tables() for core in cores]
    shape = (*lead, cores[0].n_in, cores[0].n_out)
    parts = [
        ("fraction", [t.keys.frac for t in found]),
        ("width", [t.keys.width for t in found]),
        ("signed", [t.keys.signed for t in found]),
        ("table_fraction", [t.values.frac for t in found]),
    ]
    names = [g.constant(n, torch.stack(p).reshape(shape).numpy(), np.int64) for n, p in parts]
    codes = np.concatenate([t.codes for t in found])
    kind = next(k for k in (np.int8, np.int16, np.int32, np.int64) if _holds(k, codes))
    return [*names, g.constant("codes", codes, kind)]


def _holds(kind: Any, codes: NDArray[Any]) -> bool:
    limits = np.iinfo(kind)
    return bool(limits.min <= codes.min() and codes.max() <= limits.max)


def _modes(q: Quantizer) -> dict[str, Any]:
    return {"rounding": q.rounding.value, "overflow": q.overflow.value}


@emit.register
def _(layer: LUTDense, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return g.add("LUTDense", [x, *_tables(g, [layer], ())], DOMAIN, **_modes(layer.input_quantizer))


@emit.register
def _(layer: _LUTConv, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    cores: list[Any] = list(layer.cores)
    modes = _modes(cores[0].input_quantizer)
    return g.add("LUTConv", [x, *_tables(g, cores, (len(cores),))], DOMAIN, **modes, **_window(layer))


@emit.register
def _(layer: QFunction, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    """A LUT layer of one input and one output at every element."""
    keys, values = layer.input_quantizer.formats(), layer.table_quantizer.formats()
    codes = (layer.table()[1] * torch.exp2(values.frac.double())).long()
    parts = [("fraction", keys.frac), ("width", keys.width), ("signed", keys.signed)]
    names = [g.constant(n, v.reshape(1, 1), np.int64) for n, v in (*parts, ("table_fraction", values.frac))]
    last = g.constant("axes", [-1], np.int64)
    inputs = [g.add("Unsqueeze", [x, last]), *names, g.constant("codes", codes, np.int32)]
    return g.add("Squeeze", [g.add("LUTDense", inputs, DOMAIN, **_modes(layer.input_quantizer)), last])


# -- attention ------------------------------------------------------------------------------------------------------


@emit.register
def _(layer: QSoftmax, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    axis = layer.dim if layer.dim > 0 else len(shape) + 1 + layer.dim
    x = quantise(g, layer.input_quantizer, x)
    if layer.stable:
        x = g.add("Sub", [g.add("ReduceMax", [x], axes=[axis], keepdims=1), x])
    e = emit(layer.exp, g, x, shape)
    total = g.add("ReduceSum", [e, g.constant("axes", [axis], np.int64)], keepdims=1)
    return g.add("Mul", [e, emit(layer.inverse, g, total, shape)])


def _product(layer: QProduct, g: _Graph, x: str, y: str) -> str:
    inputs = [quantise(g, layer.left_quantizer, x), quantise(g, layer.right_quantizer, y)]
    return g.add("Einsum", inputs, equation=layer.equation)


@emit.register
def _(layer: QAttention, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    heads = g.constant("shape", [0, shape[0], layer.heads, layer.dim], np.int64)
    q, k, v = (
        g.add("Reshape", [emit(part, g, x, shape), heads]) for part in (layer.query, layer.key, layer.value)
    )
    scores = _product(layer.scores, g, q, k)
    shares = emit(layer.softmax, g, scores, (layer.heads, shape[0], shape[0]))
    wide = g.constant("shape", [0, shape[0], layer.heads * layer.dim], np.int64)
    mixed = g.add("Reshape", [_product(layer.mix, g, shares, v), wide])
    return emit(layer.output, g, mixed, shape)


# -- what stands around them ----------------------------------------------------------------------------------------


@emit.register(nn.Identity)
@emit.register(nn.Dropout)
@emit.register(nn.Dropout1d)
@emit.register(nn.Dropout2d)
def _nothing(layer: nn.Module, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return x


@emit.register
def _(layer: nn.ReLU, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return g.add("Relu", [x])


@emit.register
def _(layer: nn.Flatten, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return g.add("Flatten", [x], axis=1)


@emit.register(nn.MaxPool1d)
@emit.register(nn.MaxPool2d)
def _max_pool(layer: nn.MaxPool1d | nn.MaxPool2d, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    dims = len(shape) - 1
    return g.add(
        "MaxPool",
        [x],
        kernel_shape=list(tuple_of(layer.kernel_size, dims)),
        strides=list(tuple_of(layer.stride, dims)),
        dilations=list(tuple_of(layer.dilation, dims)),
    )


@emit.register
def _(layer: _MaxPool, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    kernel, stride, dilation = (list(v) for v in (layer.kernel, layer.stride, layer.dilation))
    return g.add("MaxPool", [x], kernel_shape=kernel, strides=stride, dilations=dilation)


@emit.register
def _(layer: _AvgPool, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    mean = g.add("AveragePool", [x], kernel_shape=list(layer.kernel), strides=list(layer.stride))
    return quantise(g, layer.quantizer, mean)


@emit.register
def _(layer: Sum, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return g.add("ReduceSum", [x, g.constant("axes", [layer.dim], np.int64)], keepdims=0)


@emit.register
def _(layer: QAdd, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    first, *rest = _branches(layer.branches, g, x, shape)
    for y in rest:
        first = g.add("Add", [first, y])
    return first


@emit.register
def _(layer: QConcat, g: _Graph, x: str, shape: tuple[int, ...]) -> str:
    return g.add("Concat", _branches(layer.branches, g, x, shape), axis=layer.dim)


def _branches(branches: nn.ModuleList, g: _Graph, x: str, shape: tuple[int, ...]) -> list[str]:
    where = g.where
    results = []
    for i, branch in enumerate(branches):
        results.append(_chain(g, branch, f"{where}.{i}" if where else str(i), x, shape)[0])
    g.where = where
    return results
