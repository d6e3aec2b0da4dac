"""Every operator there is a rule for, on the standard's own cases: equal or refused, and the page says which."""

from __future__ import annotations

from onnx_conformance import CONSTANT, HOST, PAGE, outcomes, page

from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.registry import STANDARD_RULES


def test_every_case_is_equal_or_refused() -> None:
    found = outcomes()
    assert not [op for op, counts in found.items() if counts["differs"]]
    assert set(found) == {*STANDARD_RULES, *CURVES, *CONSTANT} - HOST
    # Every operator has cases that work, but TopK: the standard's are of three elements (test_choose.py has others).
    assert [op for op, counts in found.items() if not counts["equal"]] == ["TopK"]
    assert page(found) == PAGE.read_text(), "run tools/onnxdoc to write ir_spec/onnx.md anew"
