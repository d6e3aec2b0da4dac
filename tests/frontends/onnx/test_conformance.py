"""Every operator there is a rule for, on the standard's own cases: equal or refused, and the page says which."""

from __future__ import annotations

from onnx_conformance import CONSTANT, HOST, PAGE, outcomes, page

from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.table import STANDARD_RULES


def test_every_case_is_equal_or_refused() -> None:
    found = outcomes()
    assert not [op for op, counts in found.items() if counts["differs"]]
    assert set(found) == {*STANDARD_RULES, *CURVES, *CONSTANT} - HOST
    # Cast and CastLike aside, which mostly go to floats of few bits, an operator has cases that work.
    assert all(counts["equal"] for counts in found.values())
    assert page(found) == PAGE.read_text(), "run tools/onnxdoc to write ir_spec/onnx.md anew"
