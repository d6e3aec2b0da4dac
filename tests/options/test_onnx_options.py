"""A sample of the settings of ONNX operators; `tools/options onnx` tries them all."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx_options
from onnx_operators import FORMS, values_of
from settings import Result, Setting, judge

from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.registry import STANDARD_RULES


def one_of_each() -> list[Setting]:
    """A setting for every value of every attribute of every operator, in some operator set and some form."""
    rng = np.random.default_rng(0)
    groups: dict[tuple[str, str], list[Setting]] = {}
    for s in onnx_options.settings():
        words = re.sub(r"^v\d+ ", "", s.option)
        value = re.search(r"\w+=[^=]*$", words)
        groups.setdefault((s.item, value.group() if value else words), []).append(s)
    return [found[int(rng.integers(len(found)))] for found in groups.values()]


def test_sampled_settings() -> None:
    chosen = one_of_each()
    results = [judge(s) for s in chosen]
    wrong = [r for r in results if not r.verdict.fine]
    assert not wrong, "\n".join(f"{r.verdict}: {r.setting.name}: {r.detail}" for r in wrong)
    assert sum(_exact(r) for r in results) > len(chosen) / 3


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
