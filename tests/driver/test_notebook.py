"""What a notebook shows of designs and builds: well-formed, escaped, bounded."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import lutc

TAGGER = Path(__file__).resolve().parents[2] / "ir_spec" / "examples" / "tagger.lir"


def cells(html: str) -> list[list[str]]:
    """The rows of all tables, as plain text; it has to be well-formed for that."""
    assert "<script" not in html and "color:" not in html
    rows = ElementTree.fromstring(html).iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def test_a_design_shows_its_ports_and_layers() -> None:
    b = lutc.Builder("scorer")
    x = b.input("x", "s6f3[4]")
    w = b.constant("w", "s4f2[4, 2]", [[1.25, -0.5], [0, 0.75], [-2, 1], [0.25, -0.75]])
    h = b.relu(b.dense(x, w, origin="dense_1"))
    b.output("score", b.quant(h, to="u6f3[2]", round="floor", overflow="saturate", origin="act"))
    shown = b.design()._repr_html_()
    assert "scorer: 3 operations" in shown
    assert cells(shown) == [
        ["port", "", "type"],
        ["x", "in", "s6f3[4]"],
        ["score", "out", "u6f3[2]"],
        ["layer", "operations", "reads", "gives", "bits"],
        ["dense_1", "dense, relu", "x", str(h.type), str(h.type.bits)],
        ["act", "quant", "dense_1", "u6f3[2]", "12"],
    ]


def test_without_layers_every_operation_is_a_row() -> None:
    design = lutc.loads("lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %h = neg %x\n  %y = add %h, %x\n}\n")
    assert cells(design._repr_html_())[3:] == [
        ["layer", "operations", "reads", "gives", "bits"],
        ["%h", "neg", "x", "s5", "5"],
        ["%y", "add", "%h, x", "s6", "6"],
    ]


def test_a_build_shows_what_its_layers_cost() -> None:
    build = lutc.compile(lutc.load(TAGGER), "pynq-z2", clock_ns=5.0)
    shown = build._repr_html_()
    for part in ("xc7z020clg400-1", f"{build.report['estimate']['luts']:,} LUT", "at 5.00 ns"):
        assert part in shown
    rows = {row[0]: row[1:] for row in cells(shown)}
    for layer in build.report["estimate"]["layers"]:
        assert rows[layer["layer"]] == [f"{layer[key]:,}" for key in ("luts", "ffs", "dsps")]
    assert repr(build) == f"<Build tagger for xc7z020clg400-1: {build.report['estimate']['luts']:,} LUT>"


def test_what_a_user_wrote_is_text() -> None:
    hostile = "<script>alert('x')</script>&\"" + "x" * 5000
    b = lutc.Builder("d")
    x = b.input("x", "s4")
    b.output("y", b.neg(x, name=hostile, origin=hostile))
    b.note(hostile)
    design = b.design()
    for shown in (design._repr_html_(), lutc.compile(design, stages=0)._repr_html_()):
        assert "&lt;script&gt;" in shown and len(shown) < 5000
        assert any(row[0].startswith("<script>alert('x')") for row in cells(shown))


def test_large_designs_are_shown_in_part() -> None:
    b = lutc.Builder("deep")
    value = b.input("x", "s4")
    for n in range(2000):
        value = b.quant(b.neg(value), to="s4", overflow="wrap", origin=f"layer_{n}")
        b.note(f"note {n}")
    b.output("y", value)
    shown = b.design()._repr_html_()
    assert len(shown) < 20_000 and "and 1,971 more" in shown and "and 1,996 more notes" in shown
    assert repr(b.design()) == "<Design deep: 1 inputs, 1 outputs>"
