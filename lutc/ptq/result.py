"""What quantisation ends with: the model, what it was chosen from, and figures of its formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import Formats
from .search import Assignment
from .sites import Layer, Sites

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A quantised model: how far it is from the float one on rows that were held back, and what it takes.

    `fall` is what the metric falls by: on those rows, on all that were looked at (a handful passes by luck what five
    times as many do not), or a quarter of the share of answers that change on mixtures of them, whichever is most. A
    model that was trained on the rows is surer of them than of any others, so that they
    alone would tell too little; on mixtures about twice as many answers change as on new rows, and of those that do
    about half were right.
    `luts` and `latency` (cycles) are the compiler's if it was compiled; else `luts` is an estimate from the digits of
    its weights, and `latency` is None.
    """

    found: Assignment
    loss: float
    score: float
    fall: float
    luts: int
    latency: int | None = None

    @property
    def compiled(self) -> bool:
        return self.latency is not None


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result: `model` is an `onnx.ModelProto` in the QONNX dialect, `outcomes` the trade-off it was chosen from.

    `score` and those of the outcomes are shares of right answers (or R²) on the rows held back; `float_score` is the
    float model's. `build` is what lutc makes of the model.
    """

    model: Any
    chosen: Outcome
    outcomes: tuple[Outcome, ...]
    float_score: float
    metric: str
    build: Any
    notes: tuple[str, ...]
    sites: Sites = field(repr=False)
    ranges: dict[tuple[str, str], Array] = field(
        repr=False
    )  # percentiles of magnitudes, as `layers` names them

    @property
    def score(self) -> float:
        """The metric of what was chosen."""
        return self.chosen.score

    @property
    def percent(self) -> bool:
        """Whether scores are shares of right answers."""
        return self.metric != "R²"

    def shown(self, score: float) -> str:
        """A score as people read it."""
        return f"{100 * score:.2f} %" if self.percent else f"{score:.4f}"

    def front(self) -> list[Outcome]:
        """The outcomes that no other beats in LUTs and in what the metric falls by, and the chosen one; small first."""
        found: list[Outcome] = []
        for o in sorted(self.outcomes, key=lambda o: (o.luts, -o.score)):
            if o is self.chosen or all(p.fall > o.fall for p in found):
                found.append(o)
        return found

    def write(self, path: str | Path) -> list[Path]:
        """Write the model as a QONNX file, and its figures and pictures beside it; the paths of all four."""
        from . import files

        files.may_write(path)
        return files.write(self, path)

    def layers(self) -> list[dict[str, Any]]:
        """A row for each layer and point: its name, what it is, and its bits, for tables and pictures."""
        rows: list[dict[str, Any]] = []
        for site in self.sites.order:
            if isinstance(site, Layer):
                w, step = self.chosen.found.weights[site.name], self.chosen.found.steps[site.name]
                rows.append({"name": site.name, "kind": "weights", **_weight_facts(w, step, site)})
            else:
                f = self.chosen.found.formats[site.name]
                rows.append({"name": site.name, "kind": "data", **_data_facts(f)})
        return rows


def _weight_facts(w: Array, step: Array, layer: Layer) -> dict[str, Any]:
    """Bits of a weight of the widest in its output, mean over the outputs; the powers of two between which all lie."""
    columns = [
        (np.abs(m[:, j]).max(), s[0, j])
        for m, s in zip(layer.matrices(w.astype(np.float64)), layer.matrices(step), strict=True)
        for j in range(m.shape[1])
    ]
    live = [(np.floor(np.log2(top)) + 1, np.log2(unit)) for top, unit in columns if top > 0]
    return {
        "bits": float(np.mean([msb - lsb + 1 for msb, lsb in live])) if live else 0.0,
        "msb": float(max((msb for msb, _ in live), default=0)),
        "lsb": float(min((lsb for _, lsb in live), default=0)),
        "zeros": float((w == 0).mean()),
    }


def _data_facts(f: Formats) -> dict[str, Any]:
    live = f.bits > 0
    steps, bits = (f.step[live], f.bits[live]) if live.any() else (np.ones(1), np.zeros(1))
    return {
        "bits": float(f.bits.mean()),
        "msb": float((np.log2(steps) + bits - f.signed).max()),
        "lsb": float(np.log2(steps).min()),
        "zeros": float((~live).mean()),
    }
