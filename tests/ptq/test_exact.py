"""What is searched is what is built: the simulator, qonnx and lutc's design answer alike, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from float_models import KINDS

import lutc
from lutc.ptq.fold import plain
from lutc.ptq.quantize import widths_of
from lutc.ptq.task import Task
from lutc.ptq.write import written


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    "bits, slope, granularity, scales",
    [
        (None, 1e-12, "channel", "powers"),
        (None, 3e-5, "channel", "powers"),
        (None, 1e-3, "channel", "powers"),
        ("2..5", 1e-5, "tensor", "powers"),
        (4, 0.0, "channel", "powers"),
        (5, 0.0, "tensor", "free"),
    ],
)
def test_simulator_and_design_agree(
    kind: str, bits: object, slope: float, granularity: str, scales: str
) -> None:
    model, x = KINDS[kind]()
    task = Task.of(plain(model), {"x": x}, None, granularity, scales, lambda text: None)
    found = task.search.assigned(slope, widths_of(bits, scales))
    file = written(task.graph, task.sites, task.shapes, found)
    design = lutc.load(file)  # compares with qonnx
    assert design.compared.startswith("qonnx") and "equal" in design.compared
    found.put(task.sim)
    rows = slice(0, 40)
    right = task.sim.answers(rows)[0]
    got = np.asarray(design.run(task.sim.inputs["x"][rows]))
    if scales == "powers":
        assert np.array_equal(got.reshape(right.shape), right)
    else:  # float32 rounds what is no sum of powers of two, and may fall over a tie
        apart = np.abs(got.reshape(right.shape).astype(np.float64) - right)
        assert (apart > 1e-5 * np.abs(right).max()).mean() < 0.1


def test_a_point_is_in_front_of_and_behind_every_function_of_several_steps() -> None:
    model, x = KINDS["normalised"]()
    task = Task.of(plain(model), {"x": x}, None, "channel", "powers", lambda text: None)
    names = [p.tensor for p in task.sites.points]
    assert any("variance" in n for n in names) and any("reciprocal" in n for n in names)
    assert not any("deviation" in n for n in names)  # the root and its reciprocal are one table
