"""From a float model and data to formats and weights, at one exchange rate between loss and logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import Formats, by_channel, chosen, widened
from .loss import Loss
from .moments import moments
from .rounding import TINY, digits, rounded
from .simulator import Simulator, along
from .sites import Layer, Point, Sites

Array = NDArray[Any]
Progress = Callable[[str], None]

PROBES = 256  # channels of a tensor whose gains are measured one by one; of more, neighbours together
SHARE = 0.5  # of the digits' adders that are left when sums share what they have in common
CARRY = 2.0  # bits by which an adder is wider than the input it adds
FINER = 4  # steps of a bias in a step of the result it goes into
PASSES = 2  # digits tell what bits of data cost, and bits what digits cost


@dataclass(frozen=True)
class Widths:
    """The most bits of weights, the least and most of data. `fixed` takes the most everywhere, whatever it costs.

    A weight has as many bits as its code needs, down to none, so that a least number would say nothing.
    """

    weights: int = 8
    data: tuple[int, int] = (0, 10)
    fixed: bool = False
    free: bool = False


@dataclass(frozen=True, eq=False)
class Assignment:
    """Formats by point, and by layer its weights and bias.

    In the shape of the weights are `steps`, of which they are multiples, `costs` in LUTs of a digit, and `prices`: the
    squared error of a weight that a digit is worth at `slope`, loss for a LUT.
    """

    slope: float
    formats: Mapping[str, Formats]
    weights: Mapping[str, Array]
    biases: Mapping[str, Array]
    steps: Mapping[str, Array]
    costs: Mapping[str, Array]
    prices: Mapping[str, Array]

    @property
    def luts(self) -> float:
        """What the layers may take, as their digits tell it."""
        codes = {n: np.rint(w.astype(np.float64) / self.steps[n]) for n, w in self.weights.items()}
        return sum(float((digits(c) * self.costs[n]).sum()) for n, c in codes.items())

    def put(self, sim: Simulator) -> None:
        sim.formats, sim.weights, sim.biases = dict(self.formats), dict(self.weights), dict(self.biases)


class Search:
    """Holds what was measured of the float model, once, for assignments at any rate.

    `right` are its answers to all rows, `rows` those that are looked at.
    """

    def __init__(
        self,
        sites: Sites,
        sim: Simulator,
        loss: Loss,
        right: Sequence[Array],
        rows: slice,
        shapes: Mapping[str, Any],
        tell: Progress,
    ):
        self.sites, self.sim, self.loss = sites, sim, loss
        self.rows, self.shapes = rows, shapes
        self.original = dict(sim.weights), dict(sim.biases)
        self.right = [r[rows] for r in right]
        names = [x.output for x in sites.layers]
        self.results = dict(zip(names, sim.run(names, rows), strict=True)) if names else {}
        places = [(p.tensor, p.axis) for p in sites.points] + [(x.output, x.axis) for x in sites.layers]
        self.gains = {place: self._gains(*place, tell) for place in dict.fromkeys(places)}

    def _gains(self, tensor: str, axis: int | None, tell: Progress) -> Array:
        """Loss per mean squared error of each channel, from a little noise in it."""
        tell(f"measuring what errors of {tensor} cost")
        shape = self.shapes[tensor]
        values = self.results[tensor] if tensor in self.results else self._values(tensor)
        count = 1 if axis is None else shape[axis]
        deviations = by_channel(values, axis).std(0)
        least = max(0.1 * float(deviations.max()), 1e-6 * float(np.abs(values).max()), TINY)
        level = 0.05 * np.maximum(deviations, least)
        noise = np.random.default_rng(0).standard_normal(values.shape).astype(np.float32)
        gains = np.zeros(count)
        for part in np.array_split(np.arange(count), min(count, PROBES)):
            mask = np.zeros(count)
            mask[part] = level[part]
            spread = along(mask, axis, len(shape))
            found = self.sim.answers(self.rows, {tensor: (noise * spread).astype(np.float32)})
            gains[part] = max(self.loss.apart(self.right, found), 0.0) / float((level[part] ** 2).sum())
        return np.asarray(np.maximum(gains, 1e-9 * max(gains.max(), 1e-9)))

    def _values(self, tensor: str) -> Array:
        """A tensor on the calibration rows, as the simulator is set."""
        if tensor in self.sim.inputs:
            return self.sim.inputs[tensor][self.rows]
        return self.sim.run([tensor], self.rows)[0]

    def values(self, point: Point) -> Array:
        """A sample of a point's numbers, `[samples, channels]`, as the simulator is set."""
        return by_channel(self._values(point.tensor), point.axis)

    def assigned(self, slope: float, widths: Widths) -> Assignment:
        """Formats and weights at `slope`, the loss that a LUT is worth."""
        # Digits on each input of a layer, times their positions; two for each weight, to begin with.
        counted = {x.name: self._guessed(x) for x in self.sites.layers}
        for _ in range(0 if widths.fixed else PASSES - 1):
            self._pass(slope, widths, counted)
        return self._pass(slope, widths, counted)

    def _guessed(self, layer: Layer) -> Array:
        w = self.original[0][layer.name]
        count = _inputs(layer, w)
        return np.full(count, 2.0 * w.size / count * self._positions(layer))

    def _pass(self, slope: float, widths: Widths, counted: dict[str, Array]) -> Assignment:
        sim = self.sim
        sim.weights, sim.biases, sim.formats = dict(self.original[0]), dict(self.original[1]), {}
        told: dict[str, tuple[Array, Array, Array]] = {}
        for site in self.sites.order:
            if isinstance(site, Point):
                sim.formats[site.name] = f = self._formats(site, slope, widths, counted)
                for layer in self.sites.layers:
                    if self.sites.behind[layer.output] is site:
                        sim.biases[layer.name] = on_grid(sim.biases[layer.name], f)
            else:
                told[site.name] = self._weights(site, slope, widths, counted)
        steps, costs, prices = ({n: t[k] for n, t in told.items()} for k in range(3))
        return Assignment(slope, dict(sim.formats), dict(sim.weights), dict(sim.biases), steps, costs, prices)

    def _formats(self, point: Point, slope: float, widths: Widths, counted: Mapping[str, Array]) -> Formats:
        values = self.values(point)
        cost = np.full(values.shape[1], 1.0)
        for layer in self.sites.layers:
            fed = self.sites.feeding.get(layer.input)
            if fed and fed[0] is point:
                cost += SHARE * _gathered(counted[layer.name], values.shape[1], fed[1])
        least, most = widths.data
        if widths.fixed:
            least = most
        bits = max(least, 1 if point.is_output else 0), most
        return chosen(widened(values), self.gains[point.tensor, point.axis], cost, slope, bits, widths.free)

    def _weights(
        self, layer: Layer, slope: float, widths: Widths, counted: dict[str, Array]
    ) -> tuple[Array, Array, Array]:
        """Round a layer's weights, and give their steps, the costs of digits and what those are worth."""
        sim, w = self.sim, self.original[0][layer.name]
        (x,) = sim.run([sim.reads.get(layer.input, layer.input)], self.rows)
        positions = self._positions(layer)
        cost = SHARE * positions * (self._widths(layer, w) + CARRY)
        gains = self.gains[layer.output, layer.axis]
        ins, outs = len(cost) // layer.groups, len(gains) // layer.groups
        parts: list[tuple[Array, Array, Array, Array]] = []
        biases, marks = [], []
        matrices = layer.matrices(np.asarray(w, np.float64))
        for g, (m, one) in enumerate(
            zip(moments(layer, x, self.results[layer.output], w), matrices, strict=True)
        ):
            gain = np.repeat(gains[g * outs : (g + 1) * outs], one.shape[1] // outs)
            each = np.repeat(cost[g * ins : (g + 1) * ins], one.shape[0] // ins)
            # A file has one step for all weights of a transposed convolution.
            free = widths.free and layer.op != "ConvTranspose"
            r = rounded(m, one, gain, each, slope, widths.weights, widths.fixed, free)
            power = np.maximum(np.diag(m.inputs), TINY)
            price = np.minimum(slope * each[:, None] / (power[:, None] * np.maximum(gain, TINY)), 1e30)
            parts.append(
                (
                    r.weights,
                    np.broadcast_to(r.step, one.shape),
                    np.broadcast_to(each[:, None], one.shape),
                    price,
                )
            )
            old = self.original[1][layer.name][g * outs : (g + 1) * outs]
            biases.append(old if layer.op == "ConvTranspose" else m.means[1] - m.means[0] @ r.weights)
            marks.append(r.digits.sum(1).reshape(ins, -1).sum(1))
        found, steps, costs, prices = (layer.weights_of(p, w.shape) for p in zip(*parts, strict=True))
        sim.weights[layer.name] = found.astype(np.float32)
        sim.biases[layer.name] = np.concatenate(biases).astype(np.float32)
        counted[layer.name] = np.concatenate(marks) * positions
        return steps, costs, prices

    def _positions(self, layer: Layer) -> int:
        """How often the layer's weights are built: the positions of its results."""
        shape = self.shapes[layer.output]
        return int(np.prod(shape[1:])) // int(shape[layer.axis])

    def _widths(self, layer: Layer, w: Array) -> Array:
        """Bits of what each input of a layer reads."""
        fed, count = self.sites.feeding.get(layer.input), _inputs(layer, w)
        if fed is None:
            return np.full(count, 6.0)
        return _spread(self.sim.formats[fed[0].name].bits.astype(np.float64), count, fed[1])


def on_grid(bias: Array, f: Formats) -> Array:
    """A layer's bias in steps that are a fraction of those of the result it goes into, or of their mean channel's."""
    step = np.where(f.bits > 0, f.step, f.step.max()) / FINER
    least = 2.0 ** np.ceil(np.log2(np.abs(bias).max() * 2.0**-20 + 2.0**-40))  # 24 bits hold every code
    step = np.broadcast_to(np.maximum(step, least), bias.shape)
    return np.asarray((np.rint(bias / step) * step).astype(np.float32))


def _inputs(layer: Layer, w: Array) -> int:
    """How many input channels a layer's weights stand for, all groups together."""
    return int(w.shape[1] * layer.groups if layer.op == "Conv" else w.shape[0])


def _spread(channels: Array, count: int, runs: bool) -> Array:
    """Numbers by channel, for `count` inputs: in runs, or in turns; the mean where neither fits."""
    if count % len(channels):
        return np.full(count, channels.mean())
    return np.repeat(channels, count // len(channels)) if runs else np.tile(channels, count // len(channels))


def _gathered(inputs: Array, count: int, runs: bool) -> Array:
    """The sums by channel of numbers by input: the other way round."""
    if len(inputs) % count:
        return np.full(count, inputs.sum() / count)
    each = len(inputs) // count
    return np.asarray(inputs.reshape(count, each).sum(1) if runs else inputs.reshape(each, count).sum(0))
