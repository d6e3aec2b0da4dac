"""The digits models of the zoo: the interpreter scores what the frameworks score, number for number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import onnxruntime
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from lutc.frontends.onnx import load_onnx

ZOO = Path(__file__).parents[3] / "tools" / "zoo" / "digits"


@pytest.fixture(scope="module", name="rows")
def test_rows() -> tuple[Any, Any]:
    """The test part, split as train.py does it."""
    x, y = load_digits(return_X_y=True)
    _, x, _, y = train_test_split(x.astype(np.float32), y, test_size=0.2, random_state=0, stratify=y)
    return x, y


def test_qdq_equals_onnxruntime_on_every_row(rows: tuple[Any, Any]) -> None:
    x, y = rows
    design = load_onnx(ZOO / "digits_qdq.onnx")
    mine = design.run(x)
    theirs = onnxruntime(onnx.load(ZOO / "digits_qdq.onnx"), x)[:, 0]
    np.testing.assert_array_equal(mine.astype(np.float64).astype(np.float32), theirs)
    assert (
        (mine.argmax(axis=1) == y).mean()
        == (theirs.argmax(axis=1) == y).mean()
        == pytest.approx(QDQ, abs=1e-4)
    )
    assert "rescale" in str(design), "its scales are no powers of two"


def _quantised(values: Any, scale: float, low: int, high: int) -> Any:
    """Round half to even, saturate. Exact in float64: scales are powers of two, sums far below 2**53 steps."""
    assert np.log2(scale) % 1 == 0
    return np.clip(np.rint(np.asarray(values, np.float64) / scale), low, high) * scale


def test_qonnx_equals_exact_arithmetic_on_every_row(rows: tuple[Any, Any]) -> None:
    x, y = rows
    design = load_onnx(ZOO / "digits_qonnx.onnx")
    constants = {
        t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(ZOO / "digits_qonnx.onnx").graph.initializer
    }

    def scale(name: str) -> float:
        return float(constants[f"{name}_scale"])

    h = _quantised(x, 1.0, 0, 15)
    for i in (1, 2, 3):
        w = _quantised(constants[f"w{i}"], scale(f"wq{i}"), -7, 7)
        b = _quantised(constants[f"b{i}"], scale(f"bq{i}"), -(2**15), 2**15 - 1)
        h = h @ w.T + b
        if i < 3:
            h = _quantised(np.maximum(h, 0), scale(f"x{i}"), 0, 15)
    mine = design.run(x)
    assert (mine == h).all() and mine.dtype == np.float64
    assert (mine.argmax(axis=1) == y).mean() == pytest.approx(QONNX, abs=1e-4)


QONNX, QDQ = 0.9667, 0.9639  # what train.py printed
