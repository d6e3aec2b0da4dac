"""LUT-Dense and LUT-Conv: a truth table on every edge, then sums.

The layer computes `y_o = act(sum_i toq_io(f_io(iq_io(x_i))))`, where `f_io` is a small network of one number (HGQ-LUT,
arXiv 2604.22293). In the circuit `toq_io(f_io(.))` is a table of the edge's key, `iq_io(x_i)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering.letters import terms, without
from lutc.lowering.moves import ordered
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE

from .base import HgqRule
from .conv import Spatial, patches, window
from .functional import Layer
from .quantizers import Int, Quantizer
from .unary import Reals, Unary, activation_name, unary
from .values import Lowering, Tensor

# What the shapes of the stored weights tell, what only training reads, and where hardware keeps the tables.
SHAPE_OPTIONS = (
    "n_hl", "d_hl", "use_bias", "filters", "output_shape", "bias_axes", "normalize_axes", "batch_norm",
    "bn_center", "bn_scale", "bn_momentum", "bn_epsilon", "table_idxs",
)  # fmt: skip
SHAPES: Mapping[str, Any] = dict.fromkeys(SHAPE_OPTIONS, FREE)


@dataclass(frozen=True)
class EdgeNetwork:
    """The small networks of all edges, flat: hidden layers `(weights [E, d, D], bias [E, D])`, then the output.

    `scale` and `shift` are the batch norm per edge, with the division by sqrt(n_in) included.
    """

    hidden: tuple[tuple[Reals, Reals], ...]
    out: Reals
    bias: Reals
    activation: Unary
    scale: Reals
    shift: Reals

    def __call__(self, edges: Int, x: Reals) -> Reals:
        """The results `(edges, keys)` in float64, for keys `(1 or edges, keys)`."""
        h = np.broadcast_to(x, (len(edges), x.shape[-1]))[..., np.newaxis]
        for w, b in self.hidden:
            h = self.activation(np.einsum("ekd,edD->ekD", h, w[edges]) + b[edges][:, np.newaxis])
        y = np.einsum("ekd,ed->ek", h, self.out[edges]) + self.bias[edges][:, np.newaxis]
        normed: Reals = y * self.scale[edges][:, np.newaxis] + self.shift[edges][:, np.newaxis]
        return normed


def edge_network(
    layer: Layer, config: Mapping[str, Any], lead: int, norm: Callable[[Sequence[int]], tuple[Reals, Reals]]
) -> tuple[EdgeNetwork, tuple[int, ...]]:
    """Read the `module` of a LUT layer with its options; `lead` axes of its weights count edges. Also their lengths.

    `norm` gives the batch norm's factor and offset for edges of these lengths, flat.
    """
    module = layer.weights("module", "layers")
    groups = sorted(module.below(), key=lambda g: int(g.removeprefix("einsum_dense").lstrip("_") or 0))
    if not groups:
        raise Refusal(
            "the file lacks the weights of its tables", "save the whole model: model.save('m.keras')"
        )
    stored = [module(g).own for g in groups]
    lengths = tuple(stored[-1][0].shape[:lead])
    edges = math.prod(lengths)

    def flat(a: Any) -> Reals:
        result: Reals = np.asarray(a, dtype=np.float64).reshape(edges, *a.shape[lead:])
        return result

    hidden = tuple(
        (flat(s[0]), flat(s[1]) if len(s) > 1 else np.zeros((edges, s[0].shape[-1]))) for s in stored[:-1]
    )
    out = flat(stored[-1][0])
    bias = flat(stored[-1][1]) if len(stored[-1]) > 1 else np.zeros(edges)
    scale, shift = norm(lengths) if config.get("batch_norm") else (np.ones(edges), np.zeros(edges))
    function = unary(activation_name(config.get("subnn_activation")))
    return EdgeNetwork(hidden, out, bias, function, scale, shift), lengths


def batch_norm(config: Mapping[str, Any], stored: list[Any]) -> tuple[Reals, Reals]:
    """Factor and offset of an inference batch norm whose variables are (gamma,) (beta,) mean, variance."""
    values = [np.asarray(v, dtype=np.float64) for v in stored]
    gamma = values.pop(0) if config.get("bn_scale", True) else np.ones(1)
    beta = values.pop(0) if config.get("bn_center", True) else np.zeros(1)
    mean, variance = values[:2]
    factor = gamma / np.sqrt(variance + float(np.float32(config["bn_epsilon"])))
    return factor, beta - mean * factor


def shared_over(q: Quantizer, lead: int) -> Quantizer | None:
    """The quantiser of one position, if it is the same at all positions of the first `lead` axes; else None."""

    def one(a: Int) -> Int | None:
        first = a[(slice(0, 1),) * (lead + 1)]
        return first.reshape((1, *a.shape[lead + 1 :])) if (a == first).all() else None

    k, i, f = one(q.k), one(q.i), one(q.f)
    return None if k is None or i is None or f is None else replace(q, k=k, i=i, f=f)


def lookup(low: Lowering, keys: Tensor, network: EdgeNetwork, toq: Quantizer, edges: Int) -> Value:
    """Look every element up in the table of its edge."""
    value = low.fixed(keys)
    tracing = low.trace is not None and toq.tracked
    table = low.tables.make(
        value.type,
        lambda elements, x: network(edges[elements], x),
        toq,
        low.unique(f"{low.layer}_table"),
        low.layer,
        tracing,
    )
    y: Value = low.b.lut(value, table)
    if tracing:
        y = low.observed(y, toq)
    return low.fixed(low.rescaled(Tensor(y), toq))


class QEinsumDenseT(HgqRule):
    """LUT-Dense for an einsum equation: the input spread over the kernel's own axes, tables, a sum, a transpose."""

    neutral: ClassVar[Mapping[str, Any]] = SHAPES

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.toq = self.quantizer("toq")
        self.x, self.w, self.out = self.terms()
        self.extra = without(self.w, self.x)
        self.presum = self.x + self.extra
        if any(c not in self.out and c not in self.w for c in self.x):
            raise Refusal("its equation sums an axis that the kernel does not have", "sum it first: QSum")
        self.network, lengths = edge_network(layer, self.config, len(self.w), self._norm)
        self.sizes = dict(zip(self.w, lengths, strict=True))

    def terms(self) -> tuple[str, str, str]:
        """The axes of input (the last ones), kernel and result."""
        equation, shape = self.config["equation"], self.layer.build.get("input_shape") or ()
        if "..." in equation and not shape:
            raise Refusal("the file does not tell its input shape", "build the model before saving it")
        return terms(equation, len(shape), constant=True)

    def norm_variables(self) -> list[Any]:
        """The batch norm's."""
        return list(self.own(*self.norm("bn_")).values())

    def _norm(self, lengths: Sequence[int]) -> tuple[Reals, Reals]:
        """The batch norm of every edge, with the division by the root of the number of summands."""
        sizes = dict(zip(self.w, lengths, strict=True))
        axes = self.config.get("normalize_axes") or self.config.get("bias_axes")
        axes = axes or "".join(c for c in self.w if c in self.out)
        summed = math.prod(sizes[c] for c in self.w if c not in self.out)
        spread = []
        for p in batch_norm(self.config, self.norm_variables()):
            p = np.broadcast_to(p, [sizes[c] for c in axes]) / math.sqrt(summed)
            order = [axes.index(c) for c in self.w if c in axes]
            p = p.transpose(order).reshape([sizes[c] if c in axes else 1 for c in self.w])
            spread.append(np.broadcast_to(p, lengths).ravel())
        return spread[0], spread[1]

    def before_iq(self, x: Any) -> Any:
        return self.spread(x)

    def spread(self, x: Any) -> Any:
        """The input's elements at every edge that reads them."""
        extra = [self.sizes[c] for c in self.extra]
        return np.broadcast_to(x.reshape((*x.shape, *(1 for _ in extra))), (*x.shape, *extra))

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        toq = low.ranges.final(self.toq) if low.ranges else self.toq
        return self.give(low, Tensor(self.edges(low, x, self.iq, toq)))

    def edges(self, low: Lowering, t: Tensor, iq: Quantizer | None, toq: Quantizer) -> Value:
        """Tables on all edges, and their sums."""
        keys = low.quantize(low.move(t, self.spread), iq)
        where = np.arange(len(self.network.bias)).reshape([self.sizes[c] for c in self.w])
        where = where.transpose([self.w.index(c) for c in self.presum if c in self.w])
        where = where.reshape([self.sizes[c] if c in self.w else 1 for c in self.presum])
        y = lookup(low, keys, self.network, toq, np.broadcast_to(where, keys.shape).ravel())
        first = len(keys.shape) - len(self.presum)
        if gone := [i for i, c in enumerate(self.presum, first) if c not in self.out]:
            y = low.b.sum(y, axes=gone)
        left = "".join(c for c in self.presum if c in self.out)
        return y if left == self.out else ordered(low.b, y, left, self.out)


class QDenseT(QEinsumDenseT):
    """LUT-Dense along the last axis."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.sized(np.empty(tuple(self.sizes.values())), n_out=-1, filters=-1)

    def terms(self) -> tuple[str, str, str]:
        return "i", "io", "o"

    def norm_variables(self) -> list[Any]:
        return list(self.layer.weights("bn_module").own)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return self.give(low, Tensor(self.summed(low, x)))

    def summed(self, low: Lowering, t: Tensor) -> Value:
        """Tables on all edges, summed over the inputs: one function where the quantisers of all positions agree."""
        lead = len(t.shape) - 1
        iq = low.ranges.final(self.iq) if low.ranges and self.iq else self.iq
        toq = low.ranges.final(self.toq) if low.ranges else self.toq
        iq1, toq1 = (None if q is None else shared_over(q, lead) for q in (iq, toq))
        if t.chain or toq1 is None or (iq1 is None and iq is not None) or low.trace or not lead:
            return self.edges(low, t, iq, toq)

        def one(inner: Lowering, x: Value) -> Value:
            whole = len(x.type.shape) > 1  # where positions differ in their formats
            return self.edges(inner, Tensor(x), *((iq, toq) if whole else (iq1, toq1)))

        return low.rows(low.fixed(t), one)


class QConvT(Spatial, QDenseT):
    """LUT-Conv: patches, then LUT-Dense at every position."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = window(self.config, self.rank)
        if int(self.config.get("groups", 1)) != 1:
            raise Refusal("its convolution is grouped", "use groups=1")

    def before_iq(self, x: Any) -> Any:
        counts, pads = self.window.plan(x.shape[1:-1])
        padded = self.window.pad(x, pads, -1)
        rows = np.concatenate([self.window.tap(padded, t, counts) for t in self.window.taps], axis=-1)
        return self.spread(rows)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        def convolved(x: Tensor) -> Tensor:
            return Tensor(self.summed(low, Tensor(patches(low, x, self.window))))

        return self.give(low, self.with_last(low, x, convolved))
