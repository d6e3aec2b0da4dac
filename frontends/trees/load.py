"""From a forest to a design: the sums of its leaves, and for a classifier the class."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error
from lutc.ir.graph import Design
from lutc.ir.ops.logic import Relation
from lutc.lowering import logic
from lutc.lowering import trees as forest
from lutc.lowering.compare import CannotRun, Look, compared, not_compared
from lutc.lowering.model import Input, Layer, Model
from lutc.lowering.operands import computed
from lutc.lowering.ports import finished, make_inputs, make_outputs
from lutc.lowering.scores import argmax
from lutc.lowering.tensors import Known, Tensor
from lutc.lowering.walk import Walk
from lutc.plugins import LoadOptions

from .form import Forest

PORT, SCORES, LABEL = "x", "scores", "label"
BASE_OFF = 1e-5  # of a base margin, for it is computed in float32


def lowered(found: Forest, options: LoadOptions) -> Design:
    """The design of a forest: port `x`, one element per feature; `scores` before any sigmoid or softmax, one per
    target; and for a classifier `label`, the number of the class.

    Raises LirError for a forest that is refused, and for one that its own package answers otherwise.
    """
    layer = Layer("trees", found.package, (PORT,), (SCORES, LABEL))
    walk = Walk(
        Model(found.name, (Input(PORT, found.dtype, (None, found.features)),), (SCORES, LABEL), (layer,))
    )
    walk.leaf_type = options.leaf_type
    make_inputs(walk, options.input_types)
    walk.refusals.check()
    walk.layer = layer
    results: dict[str, Tensor] = {}
    leaves = None
    with walk.refusals.at(layer.label), walk.b.origin(layer.name):
        scores, leaves = forest.sums(walk, computed(walk.tensors[PORT]), found.ensemble)  # type: ignore[arg-type]
        results[SCORES] = scores
        if found.classes > 2:
            results[LABEL] = argmax(walk, scores, 1, keep=False)
        elif found.classes == 2:
            results[LABEL] = logic.against(walk, scores, Known(np.float32(0)), Relation.GT)
        if found.link:
            walk.note(f"{layer.label} leaves its {found.link} to the host: scores are the numbers before it")
    make_outputs(walk, results)
    walk.refusals.check()
    assert leaves is not None
    design = finished(walk)
    if not options.compare:
        return not_compared(design, "it was not asked for")
    if importlib.util.find_spec(found.package) is None:
        return not_compared(design, f"the package {found.package} is not installed")
    return compared(design, _Package(found, leaves), found.name, Look(fixed=[PORT]))


@dataclass(frozen=True)
class _Package:
    """XGBoost or LightGBM itself, with the leaves and the base as the design has them."""

    found: Forest
    leaves: forest.Leaves

    @property
    def name(self) -> str:
        names = (self.found.package, f"{self.found.package}-cpu")
        for name in names:
            try:
                return f"{self.found.package} {version(name)}"
            except PackageNotFoundError:
                continue
        return self.found.package

    def run(self, inputs: Mapping[str, NDArray[Any]], double: bool) -> Sequence[NDArray[Any]]:
        """See `lutc.lowering.compare.Framework`."""
        if double:
            raise CannotRun("its sums are no others in double precision")
        x, base = inputs[PORT], self.found.ensemble.base
        try:
            own = self.found.margins(x, None, None)
            scores = self.found.margins(x, self.leaves.number, [self.leaves.number(b) for b in base])
            if base and np.abs(self.found.margins(x, None, base) - own).max() > BASE_OFF * max(
                np.abs(own).max(), 1
            ):
                raise error(
                    f"begins its sums with another number than the {base} that lutc takes from its base score",
                    where=self.found.name,
                    help="this is a mistake in lutc: please report it with the model",
                )
        except Exception as e:
            if type(e).__module__.split(".")[0] not in (self.found.package, "builtins"):
                raise
            raise CannotRun((str(e) or type(e).__name__).strip().splitlines()[0]) from None
        if self.found.classes > 2:
            return [scores, np.argmax(scores, axis=1)]
        return [scores, scores[:, 0] > 0] if self.found.classes == 2 else [scores]
