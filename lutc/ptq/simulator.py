"""The model with quantisers whose formats, and layers whose weights, are fed to it: compiled once, run often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error

from .formats import Formats
from .graph import Graph, renamed, session
from .sites import Layer, Point

Array = NDArray[Any]

OFF = np.ones(1), np.zeros(1), np.zeros(1)  # of a quantiser that is passed by


class Simulator:
    """Runs the model in ONNX Runtime. `weights` and `biases`, by layer, and `formats`, by point, may be set."""

    def __init__(
        self,
        graph: Graph,
        layers: Sequence[Layer],
        points: Sequence[Point],
        shapes: Mapping[str, tuple[int, ...]],
        inputs: Mapping[str, Array],
    ):
        self.weights = {x.name: graph.constants[x.weights] for x in layers}
        self.biases = {x.name: graph.constants[x.bias] for x in layers}
        self.formats: dict[str, Formats] = {}
        self.layers, self.points, self.outputs = layers, points, graph.outputs
        self.inputs = {name: np.asarray(x, np.float32) for name, x in inputs.items()}
        self._behind = {p.name: f"lutc_q{i}" for i, p in enumerate(points)}
        self._ranks = {p.name: len(shapes[p.tensor]) for p in points}
        self._session, self.batch, self._noisy = self._built(graph)

    def quantised(self, point: Point) -> str:
        """The tensor behind a point's quantiser."""
        return self._behind[point.name]

    def run(
        self, wanted: Iterable[str], rows: slice = slice(None), noise: Mapping[str, Array] | None = None
    ) -> list[Array]:
        """Tensors by name, for the rows of the inputs; `noise` is added to tensors `(rows, ...)` by name."""
        feeds = {name: x[rows] for name, x in self.inputs.items()}
        count = len(next(iter(feeds.values())))
        size = self.batch or count
        found = []
        for start in range(0, count, max(size, 1)):
            part = {n: _filled(x[start : start + size], size) for n, x in feeds.items()}
            extra = {k: _filled(v[start : start + size], size) for k, v in (noise or {}).items()}
            found.append(self._session.run(list(wanted), {**part, **self._settings(extra)}))
        return [np.concatenate(parts)[:count] for parts in zip(*found, strict=True)]

    def answers(self, rows: slice = slice(None), noise: Mapping[str, Array] | None = None) -> list[Array]:
        """The model's outputs, quantised where their points say so."""
        at = {p.tensor: self.quantised(p) for p in self.points}
        return self.run([at.get(o, o) for o in self.outputs], rows, noise)

    def _settings(self, noise: Mapping[str, Array]) -> dict[str, Array]:
        feeds = {}
        for i, layer in enumerate(self.layers):
            feeds[f"lutc_w{i}"] = np.asarray(self.weights[layer.name], np.float32)
            feeds[f"lutc_b{i}"] = np.asarray(self.biases[layer.name], np.float32)
        for i, point in enumerate(self.points):
            f = self.formats.get(point.name)
            step, lo, hi = OFF if f is None else f.arrays
            feeds[f"lutc_o{i}"] = np.array(f is not None)
            for key, value in (("i", 1 / step), ("s", step), ("l", lo), ("h", hi)):
                feeds[f"lutc_{key}{i}"] = along(value, point.axis, self._ranks[point.name]).astype(np.float32)
        for tensor, name in self._noisy.items():
            feeds[name] = noise[tensor].astype(np.float32) if tensor in noise else np.zeros(1, np.float32)
        return feeds

    def _built(self, graph: Graph) -> tuple[Any, int | None, dict[str, str]]:
        from onnx import TensorProto, helper, numpy_helper

        fed = {x.weights: f"lutc_w{i}" for i, x in enumerate(self.layers)}
        fed |= {x.bias: f"lutc_b{i}" for i, x in enumerate(self.layers)}
        noisy = {
            t: f"lutc_n{i}"
            for i, t in enumerate(
                dict.fromkeys([*(p.tensor for p in self.points), *(x.output for x in self.layers)])
            )
        }
        points = {p.tensor: i for i, p in enumerate(self.points)}
        reads: dict[str, str] = {}
        nodes: list[Any] = []

        def behind(tensor: str) -> None:
            now = tensor
            if tensor in noisy:
                nodes.append(helper.make_node("Add", [now, noisy[tensor]], [f"{noisy[tensor]}_sum"]))
                now = f"{noisy[tensor]}_sum"
            if tensor in points:
                i = points[tensor]
                at = f"lutc_q{i}"
                nodes.extend(
                    [
                        helper.make_node("Mul", [now, f"lutc_i{i}"], [f"{at}_scaled"]),
                        helper.make_node("Add", [f"{at}_scaled", "lutc_half"], [f"{at}_half"]),
                        helper.make_node("Floor", [f"{at}_half"], [f"{at}_codes"])
                        if self.points[i].in_bias
                        else helper.make_node("Round", [f"{at}_scaled"], [f"{at}_codes"]),
                        helper.make_node("Max", [f"{at}_codes", f"lutc_l{i}"], [f"{at}_low"]),
                        helper.make_node("Min", [f"{at}_low", f"lutc_h{i}"], [f"{at}_high"]),
                        helper.make_node("Mul", [f"{at}_high", f"lutc_s{i}"], [f"{at}_on"]),
                        helper.make_node("Where", [f"lutc_o{i}", f"{at}_on", now], [at]),
                    ]
                )
                now = at
            if now != tensor:
                reads[tensor] = now

        for i in graph.inputs:
            behind(i.name)
        for node in graph.nodes:
            nodes.append(renamed(node, {**reads, **fed}))
            for out in node.output:
                behind(out)
        model = graph.model(nodes, graph.constants)
        g = model.graph
        g.initializer.append(numpy_helper.from_array(np.asarray(0.5, np.float32), "lutc_half"))
        settings = [f"lutc_{key}{i}" for i in range(len(self.points)) for key in "islh"]
        for name in (*fed.values(), *noisy.values(), *settings):
            g.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        for i in range(len(self.points)):
            g.input.append(helper.make_tensor_value_info(f"lutc_o{i}", TensorProto.BOOL, []))
        made = {o for node in nodes for o in node.output}
        wanted = [
            *graph.outputs,
            *(reads.get(x.input, x.input) for x in self.layers),
            *(x.output for x in self.layers),
            *(p.tensor for p in self.points),
            *self._behind.values(),
        ]
        del g.output[:]
        for name in dict.fromkeys(wanted):
            if name in made:
                g.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        self.reads = reads
        try:
            return session(model), graph.batch, noisy
        except Exception as cause:  # whatever ONNX Runtime raises
            reason = str(cause).strip().splitlines()[0]
            raise error(
                f"cannot be run with quantisers in it: {reason}", where=graph.proto.graph.name
            ) from None


def along(values: Array, axis: int | None, rank: int) -> Array:
    """One number, or one for each channel, in a shape that broadcasts along an axis."""
    if axis is None or values.size == 1:
        return np.asarray(values).reshape((1,) * rank)
    return np.asarray(values).reshape([-1 if i == axis else 1 for i in range(rank)])


def shapes_of(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of floats, batch first, by running a row or the model's own batch."""
    import onnx

    size = graph.batch or 1
    rows = {n: _filled(np.asarray(x[:size], np.float32), size) for n, x in inputs.items()}
    model = graph.model(graph.nodes, graph.constants)
    names = [o for n in graph.nodes for o in n.output if o]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    found = session(model).run(names, rows)
    pairs = zip([*names, *rows], [*found, *rows.values()], strict=True)
    return {n: x.shape for n, x in pairs if getattr(x, "dtype", None) == np.float32}


def _filled(x: Array, size: int) -> Array:
    """Rows of a batch of a fixed size: the last row again for those that are missing."""
    return x if len(x) == size or not len(x) else np.concatenate([x, np.repeat(x[-1:], size - len(x), 0)])
