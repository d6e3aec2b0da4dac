"""Weights trained on the data while they stand on their steps, at the price of their digits.

The shadows of the weights are real numbers; what the model computes with is the cheapest code near each, in the
measure that `rounding` uses: its error as the layer's inputs weigh it, plus what its digits cost. The gradient passes
to the shadow as if nothing were rounded (Y. Bengio et al., arXiv:1308.3432). AdaRound (M. Nagel et al., ICML 2020,
arXiv:2004.10568) learns between two neighbours layer by layer; here all codes are open, and the whole model answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error

from .graph import Graph
from .loss import LEAST, spread
from .rounding import digits
from .search import Assignment, Progress, Widths, on_grid
from .sites import Layer

if TYPE_CHECKING:
    import torch

    from .task import Task

Array = NDArray[Any]

EPOCHS = 150
STEPS = 2000  # of the optimiser, at most
# Rows of a step are a sixteenth of all, within these: few rows want as many steps as many do.
BATCHES = 16, 128
# What the right answers count beside the float model's: more unlearns how sure that is, on few rows.
LABELS = 0.1
RATE = 1e-2  # of Adam, times a layer's largest weight


def check_trainable(graph: Graph) -> None:
    """Raise LirError without PyTorch, and for a model with operators that `play` does not know, or of a fixed batch."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise error("the high effort trains weights, which needs PyTorch", help="pip install torch") from None
    from .play import Player

    Player(graph)
    if graph.batch:
        raise error(
            "the model takes one sample at a time only, and the high effort trains on many",
            help="export it with an open first dimension, or use the normal effort",
        )


def tuned(task: Task, found: Assignment, widths: Widths, tell: Progress) -> Assignment:
    """The assignment with weights and biases trained on the rows not held back, if that brings the outputs nearer.

    With labels of classes the right answers count beside the float model's. See `check_trainable` first.
    """
    import torch

    was = torch.get_rng_state()
    torch.manual_seed(0)
    try:
        return _Tuning(task, found, widths, tell).best()
    finally:
        torch.set_rng_state(was)


class _Tuning:
    def __init__(self, task: Task, found: Assignment, widths: Widths, tell: Progress) -> None:
        import torch

        from .play import Player

        self.task, self.found, self.tell = task, found, tell
        self.player = Player(task.graph)
        rows = task.training
        self.inputs = {n: torch.from_numpy(x[rows]) for n, x in task.sim.inputs.items()}
        self.spreads = [spread(r) for r in task.right]
        self.right = [torch.from_numpy(np.array(r[rows])) for r in task.right]
        labels = task.loss.labels
        self.labels = None if labels is None else torch.from_numpy(np.array(labels[rows]))
        self.shadow = {
            x.name: torch.tensor(found.weights[x.name], requires_grad=True) for x in task.sites.layers
        }
        self.bias = {
            x.name: torch.tensor(found.biases[x.name], requires_grad=True) for x in task.sites.layers
        }
        self.grids = {
            n: (torch.tensor(found.steps[n]).float(), torch.tensor(found.prices[n]).float())
            for n in self.shadow
        }
        self.most = 2 ** (widths.weights - 1) - 1
        self.table = torch.from_numpy(digits(np.arange(self.most + 1))).float()
        self.units = 2.0 ** torch.arange(1 if widths.fixed else int(self.most).bit_length())
        self.alive = {n: (w != 0).detach() for n, w in self.shadow.items()}
        self.slope = found.slope
        self.costs = {n: torch.tensor(found.costs[n]).float() for n in self.shadow}

    def _rounded(self, layer: Layer) -> torch.Tensor:
        """The cheapest codes near the shadow, times the step, with the shadow's gradient."""
        import torch

        w = self.shadow[layer.name]
        (step, price), most = self.grids[layer.name], self.most
        with torch.no_grad():
            unit = self.units.view(-1, *(1,) * w.ndim)
            low = torch.floor(w / step / unit) * unit
            codes = torch.cat([torch.zeros_like(w)[None], low, low + unit]).clamp(-most, most)
            now = (w - codes * step) ** 2 + price * self.table[codes.abs().long()]
            best = codes.gather(0, now.argmin(0, keepdim=True))[0]
            q = best * step
        w = w * self.alive[layer.name]
        return w + (q - w).detach()

    def _played(self, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The quantised model's answers."""
        task = self.task
        points = {p.tensor: p for p in task.sites.points}

        def at(name: str, value: torch.Tensor) -> torch.Tensor:
            point = points.get(name)
            return value if point is None else _data(value, self.steps[point.name])

        feeds = dict(inputs)
        for layer in task.sites.layers:
            feeds[layer.weights] = self._rounded(layer)
            feeds[layer.bias] = self.bias[layer.name]
        return self.player.run(feeds, at)

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        """Of some rows, and of as many that lie between two of them, where the float model is the only teacher: those
        it has not been trained on."""
        import torch

        real = {n: x[rows] for n, x in self.inputs.items()}
        share = torch.rand(len(rows))
        other = rows[torch.randperm(len(rows))]
        between = {n: _mixed(x, rows, other, share) for n, x in self.inputs.items()}
        with torch.no_grad():
            right = self.player.run(between, lambda name, value: value)
        found = self._played({n: torch.cat([real[n], between[n]]) for n in real})
        teacher = [torch.cat([r[rows], a]) for r, a in zip(self.right, right, strict=True)]
        total = self._apart(teacher, found)
        if self.labels is not None and self.task.loss.classes:
            scores = self._scores(found[0][: len(rows)])
            total = total + LABELS * torch.nn.functional.cross_entropy(
                scores.reshape(len(rows), -1), self.labels[rows]
            )
        return total + self.slope * self._digits()

    def _apart(self, right: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> torch.Tensor:
        """As `Loss.apart`."""
        import torch
        import torch.nn.functional as F

        total = torch.zeros(())
        for k, (a, b) in enumerate(zip(right, found, strict=True)):
            if self.task.loss.classes and k == 0:
                a, b = (F.log_softmax(self._scores(x), -1) for x in (a, b))
                total = total + (a.exp() * (a - b)).sum(-1).mean()
            else:
                total = total + ((a - b) ** 2).mean() / self.spreads[k]
        return total

    def _scores(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of classes, as `Loss.apart` reads them."""
        import torch

        loss = self.task.loss
        x = (x.clamp_min(LEAST).log() if loss.probabilities else x) - loss.centre
        return torch.stack([torch.zeros_like(x[..., 0]), x[..., 0]], -1) if x.shape[-1] == 1 else x

    def _digits(self) -> torch.Tensor:
        """A smooth stand-in for the LUTs of all digits: half of `log2(1 + k)` for a weight of k steps."""
        import torch

        total = torch.zeros(())
        for name, w in self.shadow.items():
            total = total + (self.costs[name] * torch.log2(1 + (w / self.grids[name][0]).abs())).sum() / 2
        return total

    def best(self) -> Assignment:
        """Train, and keep the best of what was seen on the rows held back, the beginning included."""
        import torch

        from .simulator import along

        task = self.task
        self.steps = {}
        for p in task.sites.points:
            f = self.found.formats[p.name]
            rank = len(task.shapes[p.tensor])
            self.steps[p.name] = (
                *(torch.from_numpy(np.asarray(along(v, p.axis, rank), np.float32)) for v in f.arrays), p.in_bias,
            )  # fmt: skip
        count = len(self.right[0])
        batch = min(max(count // 16, BATCHES[0]), BATCHES[1])
        epochs = max(1, min(EPOCHS, STEPS * batch // count))
        groups = [
            {"params": [t], "lr": RATE * max(float(t.detach().abs().max()), 1e-3)}
            for t in (*self.shadow.values(), *self.bias.values())
        ]
        optimiser = torch.optim.Adam(groups)
        total = epochs * -(-count // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
        kept, least = self.found, task.value(self.found)
        for epoch in range(epochs):
            self.tell(f"training between the steps, {epoch + 1} of {epochs}")
            order = torch.randperm(count)
            for start in range(0, count, batch):
                optimiser.zero_grad()
                self._loss(order[start : start + batch]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
            if epoch % 4 == 3 or epoch == epochs - 1:
                now = self._assignment()
                value = task.value(now)
                if value < least:
                    kept, least = now, value
        return kept

    def _assignment(self) -> Assignment:
        """What the shadows stand for now."""
        import torch

        weights, biases = {}, {}
        with torch.no_grad():
            for layer in self.task.sites.layers:
                weights[layer.name] = self._rounded(layer).numpy().copy()
                point = self.task.sites.behind[layer.output]
                biases[layer.name] = on_grid(self.bias[layer.name].numpy(), self.found.formats[point.name])
        return replace(self.found, weights=weights, biases=biases)


def _mixed(x: torch.Tensor, rows: torch.Tensor, other: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Points on the lines between rows (mixup: H. Zhang et al., ICLR 2018, arXiv:1710.09412)."""
    t = share.reshape(-1, *(1,) * (x.ndim - 1))
    return x[rows] * t + x[other] * (1 - t)


def _data(x: torch.Tensor, rule: tuple[Any, ...]) -> torch.Tensor:
    """Data on its steps; the gradient passes where nothing is clipped."""
    import torch

    step, lo, hi, up = rule
    with torch.no_grad():
        k = x / step
        k = torch.floor(k + 0.5) if up else torch.round(k)
        q = torch.minimum(torch.maximum(k, lo), hi) * step
    kept = torch.minimum(torch.maximum(x, (lo - 0.5) * step), (hi + 0.5) * step)
    found: torch.Tensor = kept + (q - kept).detach()
    return found
