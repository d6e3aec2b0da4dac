"""A float model in plain form, computed by PyTorch, so that it can be trained between its quantisers' steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lutc.diagnostics import error

from .graph import Graph, attributes
from .moments import padding

Place = Callable[[str, Tensor], Tensor]
Rule = Callable[[Any, Sequence[Any], dict[str, Any]], Any]


class Player:
    """A graph made ready to be computed often. Raises LirError for an operator that is not known here."""

    def __init__(self, graph: Graph) -> None:
        unknown = sorted({n.op_type for n in graph.nodes if n.op_type not in RULES})
        if unknown:
            raise error(
                f"{', '.join(unknown)} cannot be trained here",
                help="use the normal effort, or train the model yourself: lutc.nn.convert",
            )
        self.inputs, self.outputs = [i.name for i in graph.inputs], graph.outputs
        self.constants = {n: torch.as_tensor(np.array(c)) for n, c in graph.constants.items()}
        self.steps = [(RULES[n.op_type], n, attributes(n)) for n in graph.nodes]

    def run(self, feeds: Mapping[str, Tensor], at: Place) -> list[Tensor]:
        """The outputs for inputs, and constants to exchange, by name; `at` says what is read in a tensor's place."""
        values: dict[str, Any] = {**self.constants, **feeds}
        for name in self.inputs:
            values[name] = at(name, values[name])
        for rule, node, given in self.steps:
            found = rule(node, [values[n] if n else None for n in node.input], given)
            several = found if isinstance(found, tuple | list) else [found]
            for name, value in zip(node.output, several, strict=False):
                values[name] = at(name, value)
        return [values[o] for o in self.outputs]


def _ints(value: Any) -> list[int]:
    return [int(v) for v in np.asarray(value.detach() if isinstance(value, Tensor) else value).reshape(-1)]


def _pads(a: dict[str, Any], x: Tensor, kernel: Sequence[int]) -> list[int]:
    """Padding as `F.pad` reads it, the last dimension first."""
    n = len(kernel)
    strides, dilations = a.get("strides", [1] * n), a.get("dilations", [1] * n)
    pads = padding(a, tuple(x.shape[2:]), tuple(kernel), strides, dilations)
    return [p for i in reversed(range(n)) for p in (pads[i], pads[i + n])]


def _conv(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    n = x[1].ndim - 2
    run = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    padded = F.pad(x[0], _pads(a, x[0], x[1].shape[2:]))
    found: Tensor = run(
        padded, x[1], x[2] if len(x) > 2 else None, tuple(a.get("strides", [1] * n)), 0,
        tuple(a.get("dilations", [1] * n)), a.get("group", 1),
    )  # fmt: skip
    return found


def _transposed(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    n = x[1].ndim - 2
    pads = list(a.get("pads", [0] * (2 * n)))
    if pads[:n] != pads[n:] or "output_shape" in a or a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise error(f"{node.name} (ConvTranspose) pads unevenly, which is not trained here")
    run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
    found: Tensor = run(
        x[0], x[1], x[2] if len(x) > 2 else None, tuple(a.get("strides", [1] * n)), tuple(pads[:n]),
        tuple(a.get("output_padding", [0] * n)), a.get("group", 1), tuple(a.get("dilations", [1] * n)),
    )  # fmt: skip
    return found


def _pool(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    kernel = list(a["kernel_shape"])
    n = len(kernel)
    strides = tuple(a.get("strides", [1] * n))
    pads = _pads(a, x[0], kernel)
    ceil = bool(a.get("ceil_mode", 0))
    if node.op_type == "MaxPool":
        run = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[n - 1]
        padded = F.pad(x[0], pads, value=float("-inf"))
        found: Tensor = run(padded, tuple(kernel), strides, 0, tuple(a.get("dilations", [1] * n)), ceil)
        return found
    mean = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[n - 1]
    total: Tensor = mean(F.pad(x[0], pads), tuple(kernel), strides, 0, ceil)
    if any(pads) and not a.get("count_include_pad", 0):
        ones = F.pad(torch.ones_like(x[0][:1]), pads)
        total = total / mean(ones, tuple(kernel), strides, 0, ceil)
    return total


def _axes(x: Sequence[Any], a: dict[str, Any]) -> list[int]:
    if len(x) > 1 and x[1] is not None:
        return _ints(x[1])
    return list(a.get("axes", [])) or list(range(x[0].ndim))


def _reduced(run: Any) -> Rule:
    return lambda node, x, a: run(x[0], dim=_axes(x, a), keepdim=bool(a.get("keepdims", 1)))


def _reshape(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    given = _ints(x[1])
    zero = bool(a.get("allowzero", 0))
    found: Tensor = x[0].reshape([x[0].shape[i] if n == 0 and not zero else n for i, n in enumerate(given)])
    return found


def _flatten(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    axis = a.get("axis", 1) % x[0].ndim
    found: Tensor = x[0].reshape(int(np.prod(x[0].shape[:axis])), -1)
    return found


def _squeeze(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    axes = _axes(x, a) if len(x) > 1 or "axes" in a else [i for i, n in enumerate(x[0].shape) if n == 1]
    found: Tensor = x[0].squeeze(tuple(axes))
    return found


def _unsqueeze(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    axes, rank = _axes(x, a), x[0].ndim
    found: Tensor = x[0]
    for axis in sorted(i % (rank + len(axes)) for i in axes):
        found = found.unsqueeze(axis)
    return found


def _clip(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    lo, hi = (a.get(k) for k in ("min", "max"))
    lo = x[1] if len(x) > 1 and x[1] is not None else lo
    hi = x[2] if len(x) > 2 and x[2] is not None else hi
    found: Tensor = x[0]
    found = found if lo is None else torch.maximum(found, torch.as_tensor(lo))
    return found if hi is None else torch.minimum(found, torch.as_tensor(hi))


def _slice(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    starts, ends = _ints(x[1]), _ints(x[2])
    axes = _ints(x[3]) if len(x) > 3 and x[3] is not None else list(range(len(starts)))
    steps = _ints(x[4]) if len(x) > 4 and x[4] is not None else [1] * len(starts)
    found: Tensor = x[0]
    for lo, hi, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = list(range(found.shape[axis]))[slice(lo, hi if abs(hi) < 1 << 31 else None, step)]
        found = found.index_select(axis, torch.tensor(places, dtype=torch.int64))
    return found


def _gather(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Any:
    axis = a.get("axis", 0) % x[0].ndim
    index = x[1].to(torch.int64) % x[0].shape[axis]
    found = x[0].index_select(axis, index.reshape(-1))
    return found.reshape(*x[0].shape[:axis], *index.shape, *x[0].shape[axis + 1 :])


def _split(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Any:
    axis = a.get("axis", 0)
    if len(x) > 1 and x[1] is not None:
        return x[0].split(_ints(x[1]), axis)
    return x[0].tensor_split(len(node.output), axis)


def _pad(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    if a.get("mode", b"constant") != b"constant" or (len(x) > 3 and x[3] is not None):
        raise error(f"{node.name} (Pad) does more than add constants, which is not trained here")
    pads, rank = _ints(x[1]), x[0].ndim
    value = float(x[2]) if len(x) > 2 and x[2] is not None else 0.0
    return F.pad(x[0], [p for i in reversed(range(rank)) for p in (pads[i], pads[i + rank])], value=value)


def _prelu(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Tensor:
    return torch.where(x[0] < 0, x[0] * x[1], x[0])


def _one(run: Callable[..., Any]) -> Rule:
    return lambda node, x, a: run(x[0])


def _two(run: Callable[..., Any]) -> Rule:
    return lambda node, x, a: run(x[0], x[1])


KINDS = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}


def _cast(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Any:
    if a["to"] not in KINDS:
        raise error(f"{node.name or node.output[0]} (Cast) goes to another type than is trained here")
    return x[0].to(KINDS[a["to"]])


def _gemm(node: Any, x: Sequence[Any], a: dict[str, Any]) -> Any:
    first, second = (t.mT if a.get(key) else t for t, key in zip(x, ("transA", "transB"), strict=False))
    found = a.get("alpha", 1.0) * (first @ second)
    return found + a.get("beta", 1.0) * x[2] if len(x) > 2 and x[2] is not None else found


RULES: dict[str, Rule] = {
    "Gemm": _gemm,
    "MatMul": _two(torch.matmul),
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Add": _two(torch.add),
    "Sub": _two(torch.sub),
    "Mul": _two(torch.mul),
    "Div": _two(torch.div),
    "Pow": _two(torch.pow),
    "Sqrt": _one(torch.sqrt),
    "Neg": _one(torch.neg),
    "Abs": _one(torch.abs),
    "Exp": _one(torch.exp),
    "Log": _one(torch.log),
    "Erf": _one(torch.erf),
    "Reciprocal": _one(torch.reciprocal),
    "Relu": _one(torch.relu),
    "Sigmoid": _one(torch.sigmoid),
    "Tanh": _one(torch.tanh),
    "Softplus": _one(F.softplus),
    "Softsign": _one(F.softsign),
    "Selu": _one(F.selu),
    "Mish": _one(F.mish),
    "HardSwish": _one(F.hardswish),
    "LeakyRelu": lambda node, x, a: F.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Elu": lambda node, x, a: F.elu(x[0], a.get("alpha", 1.0)),
    "HardSigmoid": lambda node, x, a: (x[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "Gelu": lambda node, x, a: F.gelu(x[0], approximate=a.get("approximate", b"none").decode()),
    "PRelu": _prelu,
    "Softmax": lambda node, x, a: torch.softmax(x[0], a.get("axis", -1)),
    "LogSoftmax": lambda node, x, a: torch.log_softmax(x[0], a.get("axis", -1)),
    "Clip": _clip,
    "Max": lambda node, x, a: functools.reduce(torch.maximum, x),
    "Min": lambda node, x, a: functools.reduce(torch.minimum, x),
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": lambda node, x, a: x[0].mean(dim=tuple(range(2, x[0].ndim)), keepdim=True),
    "GlobalMaxPool": lambda node, x, a: x[0].amax(dim=tuple(range(2, x[0].ndim)), keepdim=True),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMin": _reduced(torch.amin),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": lambda node, x, a: x[0].permute(a["perm"]),
    "Concat": lambda node, x, a: torch.cat(list(x), a["axis"]),
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Pad": _pad,
    "Identity": _one(lambda x: x),
    "Dropout": _one(lambda x: x),
    "Cast": _cast,
    "Shape": lambda node, x, a: torch.tensor(x[0].shape),
    "Expand": lambda node, x, a: x[0].expand(np.broadcast_shapes(tuple(_ints(x[1])), tuple(x[0].shape))),
}
