"""A sample of the settings of ONNX operators; `tools/options onnx` tries them all."""

from __future__ import annotations

import onnx
import onnx_options
from onnx_operators import FORMS, values_of
from settings import Result, judge, sampled

from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.table import STANDARD_RULES

LIMIT = 700


def test_sampled_settings() -> None:
    chosen = sampled(onnx_options.settings(), LIMIT)
    results = [judge(s) for s in chosen]
    wrong = [r for r in results if not r.verdict.fine]
    assert not wrong, "\n".join(f"{r.verdict}: {r.setting.name}: {r.detail}" for r in wrong)
    assert sum(_exact(r) for r in results) > LIMIT / 3


def _exact(r: Result) -> bool:
    return r.verdict == "exact"


def test_every_operator_has_a_form_and_every_attribute_values() -> None:
    """An operator, or an attribute of a newer operator set, that nobody thought of is noticed here."""
    elsewhere = {"Shape", "Size"}
    assert {*STANDARD_RULES, *CURVES} - elsewhere <= set(FORMS)
    for op in FORMS:
        for version in onnx_options.versions(op):
            for name, attribute in onnx.defs.get_schema(op, version, "").attributes.items():
                values_of(name, attribute)
