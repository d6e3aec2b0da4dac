"""A float ONNX model in a plain form: constants folded, every affine step taken into the weights beside it.

After `plain` a layer is one of

- `Gemm` with `A [N, K]`, `B [K, J]` and `C [J]`, untransposed, with factors 1;
- `MatMul` with constant weights `[K, J]`, and an `Add` of `[J]` behind it;
- `Conv` or `ConvTranspose` with a bias.

Batch normalisation and any other product or sum with a constant for each channel goes into the layer in front (as in
B. Jacob et al., CVPR 2018, section 3.2), across transpositions, or into the layer behind where that has no padding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error

from .apart import rank_of, taken_apart
from .graph import Graph, attributes, session
from .nodes import NORMALISING

Array = NDArray[Any]


def plain(proto: Any, keep_softmax: bool = False) -> Graph:
    """The model in the form that the module's docstring states. The given model is not changed.

    Raises LirError where the model cannot be run by ONNX Runtime, or holds quantisers already.
    """
    from onnx import numpy_helper

    proto = _optimised(proto)
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    graph = Graph(proto, list(proto.graph.node), constants, ranks=_ranks(proto))
    _softmax_at_the_end(graph, keep_softmax)
    _transpositions_written_out(graph)
    taken_apart(graph)
    for node in list(graph.nodes):
        _canonical(graph, node)
    while any(_folded_back(graph, n) or _folded_forward(graph, n) for n in list(graph.nodes)):
        pass
    return graph


def _ranks(proto: Any) -> dict[str, int]:
    """How many dimensions tensors have, as far as ONNX's shape inference tells it."""
    import onnx

    told = onnx.shape_inference.infer_shapes(proto).graph
    known = (*told.value_info, *told.input, *told.output)
    return {v.name: len(v.type.tensor_type.shape.dim) for v in known if v.type.tensor_type.HasField("shape")}


def _optimised(proto: Any) -> Any:
    """The model with functions written out and constants folded, by ONNX Runtime's own means."""
    import onnx
    import onnx.inliner

    quantised = sorted({n.op_type for n in proto.graph.node if n.op_type in _QUANTISERS})
    if quantised:
        raise error(
            f"is quantised already: it has {', '.join(quantised)}",
            where=proto.graph.name or "the model",
            help="compile it as it is: lutc compile",
        )
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "optimised.onnx")
        try:
            session(proto, optimised=file)
        except Exception as cause:  # whatever ONNX Runtime raises
            reason = str(cause).strip().splitlines()[0]
            raise error(
                f"cannot be run by ONNX Runtime: {reason}",
                where=proto.graph.name or "the model",
                help="calibration runs the float model: export it so that ONNX Runtime takes it",
            ) from None
        return onnx.load(file)


_QUANTISERS = (
    "QuantizeLinear",
    "DequantizeLinear",
    "Quant",
    "IntQuant",
    "BipolarQuant",
    "QLinearConv",
    "QGemm",
)


def _softmax_at_the_end(graph: Graph, keep: bool) -> None:
    """Leave what normalises an output, and nothing else reads, to the host; note what the first output holds."""
    for node in list(graph.nodes):
        made = node.output[0]
        if node.op_type not in NORMALISING or made not in graph.outputs or graph.readers(made):
            continue
        if made == graph.outputs[0]:
            graph.softmax = "probabilities" if keep and node.op_type == "Softmax" else "logits"
        if not keep:
            graph.drop(node)
            graph.notes.append(
                f"the last {node.op_type} is left to the host: the outputs are what goes into it"
            )


def _transpositions_written_out(graph: Graph) -> None:
    """Transpositions that state no order turn the dimensions round."""
    from onnx import helper

    for node in graph.nodes:
        if node.op_type == "Transpose" and "perm" not in attributes(node):
            rank = rank_of(graph, node, node.input[0])
            node.attribute.append(helper.make_attribute("perm", list(reversed(range(rank)))))


def _canonical(graph: Graph, node: Any) -> None:
    """Gemm without factors and transpositions; every layer with a bias."""
    import onnx

    c, given = graph.constants, attributes(node)
    if node.op_type == "Gemm" and node.input[1] in c and not given.get("transA"):
        w = c[node.input[1]].astype(np.float64) * given.get("alpha", 1.0)
        w = w.T if given.get("transB") else w
        has = len(node.input) > 2 and node.input[2]
        if has and node.input[2] not in c:
            return
        b = c[node.input[2]].astype(np.float64) * given.get("beta", 1.0) if has else np.zeros(1)
        del node.attribute[:]
        _weighted(graph, node, w, np.broadcast_to(b.reshape(-1), (w.shape[1],)))
    elif node.op_type == "MatMul" and node.input[1] in c and c[node.input[1]].ndim == 2:
        w = c[node.input[1]]
        node.input[1] = graph.constant(w, "weights")
        out, summed = node.output[0], f"{node.output[0]}_products"
        node.output[0] = summed
        bias = graph.constant(np.zeros(w.shape[1]), "bias")
        name = f"{node.name or out}_bias"
        graph.nodes.insert(
            graph.nodes.index(node) + 1, onnx.helper.make_node("Add", [summed, bias], [out], name)
        )
    elif node.op_type in ("Conv", "ConvTranspose") and node.input[1] in c:
        w = c[node.input[1]]
        channels = w.shape[0] if node.op_type == "Conv" else w.shape[1] * given.get("group", 1)
        has = len(node.input) > 2 and node.input[2]
        _weighted(graph, node, w, c[node.input[2]] if has else np.zeros(channels))


def _weighted(graph: Graph, node: Any, w: Array, b: Array) -> None:
    """A layer with weights and a bias of its own, which no other layer reads."""
    names = [node.input[0], graph.constant(w, "weights"), graph.constant(b, "bias")]
    del node.input[:]
    node.input.extend(names)


def bias_of(graph: Graph, node: Any) -> str | None:
    """The name of a layer's bias; None if the node is no layer in plain form."""
    if node.op_type == "MatMul":
        if node.input[1] not in graph.constants:
            return None
        add = graph.reader(node.output[0])
        return (
            add.input[1]
            if add is not None and add.op_type == "Add" and add.input[1] in graph.constants
            else None
        )
    layer = node.op_type in ("Gemm", "Conv", "ConvTranspose") and len(node.input) == 3
    return node.input[2] if layer and {*node.input[1:]} <= {*graph.constants} else None


def result_of(graph: Graph, node: Any) -> str:
    """The tensor that a layer gives, with its bias."""
    last = graph.reader(node.output[0]) if node.op_type == "MatMul" else node
    return str(last.output[0])


def channel_axis(node: Any, rank: int) -> int:
    """Where the output channels stand in a layer's result."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else rank - 1


# -- affine steps -----------------------------------------------------------------------------------------------------


def _affine(graph: Graph, node: Any, tensor: str) -> tuple[Array, Array] | None:
    """Factor and offset by which a node takes a tensor on; None if it does something else."""
    c = graph.constants
    if node.op_type == "BatchNormalization" and all(n in c for n in node.input[1:]):
        scale, shift, mean, var = (c[n].astype(np.float64) for n in node.input[1:5])
        factor = scale / np.sqrt(var + attributes(node).get("epsilon", 1e-5))
        return factor, shift - mean * factor
    others = [n for n in node.input if n != tensor]
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(others) != 1 or others[0] not in c:
        return None
    k, first = c[others[0]].astype(np.float64), node.input[0] == tensor
    one, none = np.ones(()), np.zeros(())
    if node.op_type == "Add":
        return one, k
    if node.op_type == "Sub":
        return (one, -k) if first else (-one, k)
    if node.op_type == "Mul":
        return k, none
    return (1 / k, none) if first and (k != 0).all() else None


def _by_channel(node: Any, k: Array, axis: int, rank: int, channels: int) -> Array | None:
    """A constant as one number for each channel; None if it varies otherwise."""
    if node.op_type == "BatchNormalization":
        return np.broadcast_to(k, (channels,)) if axis == 1 else None
    if k.ndim > rank:
        return None
    shape = (1,) * (rank - k.ndim) + k.shape
    if any(n != 1 for i, n in enumerate(shape) if i != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(k.reshape(-1), (channels,))


def _steps(graph: Graph, tensor: str, axis: int) -> Iterator[tuple[Any, str, int]]:
    """The only reader of a tensor, past transpositions: the node, what it reads and the channels' axis there."""
    while (node := graph.reader(tensor)) is not None:
        if node.op_type != "Transpose":
            yield node, tensor, axis
            return
        perm = list(attributes(node)["perm"])
        axis, tensor = perm.index(axis), node.output[0]


def _folded_back(graph: Graph, layer: Any) -> bool:
    """Take the affine step behind a layer into its weights and bias."""
    bias = bias_of(graph, layer)
    if bias is None:
        return False
    rank = _rank(graph, layer)
    for node, tensor, axis in _steps(graph, result_of(graph, layer), channel_axis(layer, rank)):
        found = _affine(graph, node, tensor)
        if found is None:
            return False
        b = graph.constants[bias].astype(np.float64)
        factor, offset = (_by_channel(node, k, axis, rank, len(b)) for k in found)
        if factor is None or offset is None:
            return False
        w = graph.constants[layer.input[1]].astype(np.float64)
        graph.constants[layer.input[1]] = (w * _along_outputs(layer, factor, w)).astype(np.float32)
        graph.constants[bias] = (b * factor + offset).astype(np.float32)
        graph.drop(node, tensor)
        return True
    return False


def _along_outputs(layer: Any, factor: Array, w: Array) -> Array:
    """One number for each output channel, in the layout of the weights."""
    if layer.op_type == "Conv":
        return factor.reshape(-1, *(1,) * (w.ndim - 1))
    if layer.op_type == "ConvTranspose":
        groups = attributes(layer).get("group", 1)
        each = factor.reshape(groups, 1, -1)
        return np.repeat(each, w.shape[0] // groups, 1).reshape(w.shape[0], -1, *(1,) * (w.ndim - 2))
    return factor


def _folded_forward(graph: Graph, node: Any) -> bool:
    """Take an affine step into the one layer that reads it, if no padding stands between them."""
    data = [n for n in node.input if n not in graph.constants]
    if len(data) != 1 or not node.output or _is_bias(graph, node):
        return False
    found, layer = _affine(graph, node, data[0]), graph.reader(node.output[0])
    if found is None or layer is None or layer.input[0] != node.output[0] or bias_of(graph, layer) is None:
        return False
    if layer.op_type == "ConvTranspose" or any(attributes(layer).get("pads", [])):
        return False
    if attributes(layer).get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return False
    if layer.op_type == "Conv" and attributes(layer).get("group", 1) != 1:
        return False
    w = graph.constants[layer.input[1]].astype(np.float64)
    rank = _rank(graph, layer)
    axis, channels = (1, w.shape[1]) if layer.op_type == "Conv" else (rank - 1, w.shape[0])
    factor, offset = (_by_channel(node, k, axis, rank, channels) for k in found)
    if factor is None or offset is None:
        return False
    bias = bias_of(graph, layer)
    assert bias is not None
    if layer.op_type == "Conv":
        spread = (1, -1, *(1,) * (w.ndim - 2))
        more = (w * offset.reshape(spread)).sum(axis=tuple(range(1, w.ndim)))
        w = w * factor.reshape(spread)
    else:
        more, w = offset @ w, w * factor[:, None]
    graph.constants[layer.input[1]] = w.astype(np.float32)
    graph.constants[bias] = (graph.constants[bias] + more).astype(np.float32)
    graph.drop(node, data[0])
    return True


def _is_bias(graph: Graph, node: Any) -> bool:
    maker = graph.maker(node.input[0])
    return (
        maker is not None
        and maker.op_type == "MatMul"
        and len(node.input) > 1
        and bias_of(graph, maker) == node.input[1]
    )


def _rank(graph: Graph, layer: Any) -> int:
    """How many dimensions a layer's result has."""
    if layer.op_type == "Gemm":
        return 2
    if layer.op_type != "MatMul":
        return int(graph.constants[layer.input[1]].ndim)
    return graph.ranks.get(layer.input[0]) or graph.ranks.get(result_of(graph, layer)) or 2
