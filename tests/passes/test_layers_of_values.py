"""What names no layer belongs to that of the values it works on, in the report and behind every pass."""

from __future__ import annotations

import lutc
from lutc.analysis.layers import layers
from lutc.ir.graph import body
from lutc.text.parse import parse

BIAS = """\
lir 1

const @w: s4f2[4, 2] = [
  1.25  -0.5
  0      0.75
 -2      1
  0.25   0.25
]
const @b: s6f3[2] = [0.5 -0.25]
const @v: s4f2[2, 2] = [
  0.25  0.75
  1.75  0.5
]

design scorer(%x: s6f3[4]) -> (y = %y, z = %q) {
  %h        = dense %x, @w  !"layer_1"
  %c        = const @b
  %s        = add %h, %c
  %q: u6f3[2] = quant %s, round=nearest-half-up, overflow=saturate
  %g        = dense %q, @v  !"layer_2"
  %y        = sub %g, %q
}
"""


def test_a_bias_behind_a_layer_belongs_to_it() -> None:
    """Of the LUTs none is left without a layer, whatever the passes merge."""
    for options in ({}, {"effort": "fast"}, {"stages": 0}, {"dsp": "all"}):
        report = lutc.compile(lutc.loads(BIAS), "xcvu13p", **options).report
        found = {row["layer"]: row["luts"] for row in report["estimate"]["layers"]}
        assert found["layer_1"] and found["layer_2"]
        assert not found.get(None)


def test_the_layer_that_begins_last() -> None:
    design = parse(BIAS)
    home = {v.name: layer for v, layer in layers(design).items()}
    expected = {
        "x": "",
        "h": "layer_1",
        "c": "",
        "s": "layer_1",
        "q": "layer_1",
        "g": "layer_2",
        "y": "layer_2",
    }
    assert home == expected


def test_what_stands_in_a_function_belongs_to_who_calls_it() -> None:
    design = parse(
        "lir 1\n"
        "func @f(%a: s4) -> %r {\n  %r = neg %a\n}\n"
        'design d(%x: s4) -> (y = %y) {\n  %y = call @f, %x  !"layer"\n}\n'
    )
    (func,) = design.functions
    assert layers(design)[func.result] == "layer"
    build = lutc.compile(design, stages=0)
    assert {v.origin for f in build.design.functions for v in body(f) if v.operands} == {"layer"}
    assert [row["layer"] for row in build.report["estimate"]["layers"]] == ["layer"]


def test_a_sum_belongs_to_the_layer_of_most_of_its_terms() -> None:
    """A bias that is a layer of its own, as in ONNX, becomes part of the product's sums."""
    text = BIAS.replace("%h, %c\n", '%h, %c  !"bias"\n').replace("saturate\n", 'saturate  !"act"\n')
    for options in ({}, {"effort": "fast"}, {"stages": 0}):
        report = lutc.compile(lutc.loads(text), "xcvu13p", **options).report
        found = {row["layer"]: row["luts"] for row in report["estimate"]["layers"]}
        assert found["layer_1"] and not found.get("bias")


def test_what_no_layer_is_before_belongs_to_none() -> None:
    design = parse('lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %a = neg %x\n  %y = neg %a  !"layer"\n}\n')
    assert [layer for _, layer in layers(design).items()] == ["", "", "layer"]
