"""The pass `dsp` and the option of its name: which products go to DSP blocks, what they cost, and that nothing changes.

What a block is worth is `luts / dsps` of the target: 140.6 LUTs on the xcvu13p, 536 on the ECP5.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import lutc
from lutc import target as targets
from lutc.analysis.cost import costs
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, body
from lutc.ir.ops import Lincomb, Mul, Scale
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.sums.adders import Adders
from lutc.passes.sums.collect import Collect
from lutc.passes.sums.dsp import Dsp
from lutc.text.parse import parse
from lutc.text.print import print_design

HERE = Path(__file__).parent


def product(a: str, b: str) -> Design:
    return parse(f"lir 1 scalar\ndesign d(%a: {a}, %b: {b}) -> (y = %y) {{\n  %y = mul %a, %b\n}}\n")


def total(terms: str, weights: str, formats: str = "s24") -> Design:
    names = dict.fromkeys(terms.split(", "))
    inputs = ", ".join(f"{n}: {formats}" for n in names)
    text = f"design d({inputs}) -> (y = %y) {{\n  %y = lincomb {terms}, weights=[{weights}], bias=3.5\n}}\n"
    return parse("lir 1 scalar\n" + text)


def sent(design: Design, mode: str = "auto", target: str = "xcvu13p") -> Design:
    """The design after the pass, which is held to mean the same by the pass runner."""
    return run(design, [Dsp(mode)], Context.of(target), check=60)


def products(design: Design) -> list[Mul | Scale]:
    return [v for v in body(design) if isinstance(v, Mul | Scale) and v.dsp]


def blocks(design: Design, target: str = "xcvu13p") -> int:
    return sum(c.dsps for c in costs(design, targets.load(target)).values())


# -- what a block is worth --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "target", "count"),
    [
        ("s12", "s12", "xcvu13p", 1),  # 144 LUTs
        ("s14", "s10", "xcvu13p", 0),  # 140
        ("u20", "u7", "xcvu13p", 0),
        ("u24", "u6", "xcvu13p", 1),
        ("s15", "s15", "xc7z020", 0),  # 225 of 241.8
        ("s16", "s16", "xc7z020", 1),
        ("s18", "s18", "ecp5-85k", 0),  # 324 of 536: on these devices blocks are few
        ("s16", "s16", "ice40up5k", 0),
    ],
)
def test_auto_takes_a_product_that_costs_more_than_a_block_is_worth(
    a: str, b: str, target: str, count: int
) -> None:
    done = sent(product(a, b), "auto", target)
    assert blocks(done, target) == count
    assert len(products(done)) == count
    assert blocks(sent(product(a, b), "all", target), target) == 1


def test_auto_counts_the_additions_of_a_constant() -> None:
    """An operand more is half a ternary adder: 41 bits of product and 7 more digits are 143.5 LUTs, 6 are 123."""
    for weight, count in ((0b10101010101000001, 0), (0b10101010101010001, 1)):
        done = sent(total("%a, %b", f"{weight}, -4"))
        assert blocks(done) == count, bin(weight)


def test_auto_takes_the_dearest_until_the_device_is_full(tmp_path: Path) -> None:
    text = (Path(targets.__file__).parent / "targets" / "xcvu13p.toml").read_text()
    small = tmp_path / "small.toml"
    small.write_text(text.replace("luts = 1728000", "luts = 200").replace("dsps = 12288", "dsps = 2"))
    design = parse(
        "lir 1 scalar\ndesign d(%a: s11, %b: s12, %c: s13) -> (x = %x, y = %y, z = %z) {\n"
        "  %x = mul %a, %a\n  %y = mul %b, %b\n  %z = mul %c, %c\n}\n"
    )
    done = sent(design, "auto", str(small))
    assert [v.name for v in products(done)] == ["y", "z"]
    assert done.notes == ("1 more products are worth DSP blocks that small does not have",)
    every = sent(design, "all", str(small))
    assert len(products(every)) == 3 and "take 3 DSP blocks, and small has 2" in every.notes[0]
    again = sent(done, "auto", str(small))
    assert len(products(again)) == 2  # those that are there already are counted


def test_a_device_without_blocks_gets_none(tmp_path: Path) -> None:
    text = (Path(targets.__file__).parent / "targets" / "xcvu13p.toml").read_text()
    bare = tmp_path / "bare.toml"
    bare.write_text(text.replace("dsps = 12288", "dsps = 0"))
    design = product("s16", "s16")
    assert sent(design, "all", str(bare)) is design
    marked = parse(print_design(design).replace("mul %a, %b", "mul %a, %b, dsp=true"))
    (made,) = products(marked)
    assert made.dsps(targets.load(str(bare))) == 0 and made.luts(targets.load(str(bare))) == 256


def test_products_in_functions_count_once_an_instance() -> None:
    design = parse(
        "lir 1 scalar\nfunc @f(%a: s12, %b: s12) -> %y {\n  %y = mul %a, %b\n}\n"
        "design d(%a: s12, %b: s12) -> (p = %p, q = %q) {\n  %p = call @f, %a, %b\n  %q = call @f, %b, %b\n}\n"
    )
    assert blocks(sent(design)) == 2


# -- what fits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "target", "count"),
    [
        ("s27", "s18", "xcvu13p", 1),
        ("s18", "s27", "xcvu13p", 1),
        ("s28", "s18", "xcvu13p", 2),
        ("s27", "s19", "xcvu13p", 2),
        ("u26", "u17", "xcvu13p", 1),  # the block takes factors with a sign only
        ("u26", "u18", "xcvu13p", 1),  # the part above is one bit: a choice
        ("u26", "u19", "xcvu13p", 2),
        ("s25", "s18", "xc7a100t", 1),
        ("s26", "s18", "xc7a100t", 2),
        ("u18", "u18", "ecp5-85k", 1),
        ("u18", "s18", "ecp5-85k", 1),
        ("u19", "s18", "ecp5-85k", 2),
        ("u16", "u16", "ice40up5k", 1),
        ("s54", "s36", "xcvu13p", 8),  # of 18 and 27 bits, not of 27 and 18
        ("s8", "u1", "xcvu13p", 0),
    ],
)
def test_wide_factors_are_cut(a: str, b: str, target: str, count: int) -> None:
    done = sent(product(a, b), "all", target)
    made = products(done)
    assert blocks(done, target) == len(made) == count
    assert all(v.dsps(targets.load(target)) == 1 for v in made)


def test_in_auto_a_small_part_stays_in_luts() -> None:
    done = sent(product("s28", "s18"))
    assert blocks(done) == 1 and sum(isinstance(v, Mul) for v in body(done)) == 2


def test_constants_that_cost_nothing_never_go() -> None:
    design = total("%a, %b, %c, %d", "1, -1, 0.25, 0")
    assert sent(design, "all") is design


def test_sums_share_products_up_to_sign_and_power() -> None:
    design = parse(
        "lir 1 scalar\ndesign d(%a: s12, %b: s12) -> (y = %y, z = %z) {\n"
        "  %y = lincomb %a, %b, weights=[11.5, 1]\n  %z = lincomb %a, %b, weights=[-46, -23]\n}\n"
    )
    done = sent(design, "all")
    assert sorted((v.operands[0].name, str(getattr(v, "by", ""))) for v in products(done)) == [
        ("a", "23"),
        ("b", "-23"),
    ]
    weights = [[str(w) for w in v.weights] for v in body(done) if isinstance(v, Lincomb)]
    assert weights == [["1/2", "1"], ["-2", "1"]]


def test_later_passes_leave_them_alone() -> None:
    done = sent(total("%a, %b, %a", "53.25, -4, 8"), "all")
    after = run(done, [Collect(), Adders()], check=60)
    assert blocks(after) == blocks(done) == 1
    assert products(parse(print_design(after)))[0].dsp


def test_products_with_constants_in_the_text_stay_on_blocks() -> None:
    """Folding turns a product with a constant into `scale`, and a power of two into wires."""
    text = (
        "lir 1 scalar\ndesign d(%a: s12) -> (y = %y, z = %z) {\n  %k = number value=37\n"
        "  %f = number value=4\n  %y = mul %a, %k, dsp=true\n  %z = mul %f, %a, dsp=true\n}\n"
    )
    done = run(parse(text), [Adders()], check=60)
    assert [(v.keyword, v.name) for v in products(done)] == [("scale", "y")]
    assert blocks(done) == 1


def test_what_they_cost() -> None:
    device = targets.load("xcvu13p")
    (made,) = products(sent(product("s18", "s18"), "all"))
    assert (made.luts(device), made.dsps(device)) == (0, 1)
    assert made.delay(device) == device.dsp + device.net < device.multiplier_ns(18, 18)


SIDES = st.tuples(st.booleans(), st.integers(1, 60), st.integers(-3, 3))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(-(1 << 17), 1 << 17), st.sampled_from(["xcvu13p", "ecp5-85k", "ice40up5k"]))
def test_any_product_means_the_same(
    a: tuple[bool, int, int], b: tuple[bool, int, int], weight: int, target: str
) -> None:
    formats = [f"{'s' if s else 'u'}{w}f{f}" for s, w, f in (a, b)]
    text = (
        f"lir 1 scalar\ndesign d(%a: {formats[0]}, %b: {formats[1]}) -> (y = %y, z = %z) {{\n  %y = mul %a, %b\n"
        f"  %z = lincomb %a, %b, weights=[{weight}/8, -53], bias=1/4\n}}\n"
    )
    done = sent(parse(text), "all", target)
    assert all(v.dsps(targets.load(target)) == 1 for v in products(done))


# -- the option -------------------------------------------------------------------------------------------------------


WIDE = """lir 1

const @w: s18f8[3, 2] = [
   1.25  -30.5
   0      77.75390625
  -2      119.99609375
]

design wide(%x: s27f9, %y: s18f3, %v: s12f4[3]) -> (p = %p, t = %t) {
  %p = mul %x, %y  !"gate"
  %t = dense %v, @w  !"dense"
}
"""


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("wide.lir").write_text(WIDE)
    return "wide.lir"


@pytest.mark.parametrize(("mode", "count"), [(None, 0), ("none", 0), ("auto", 1), ("all", 4)])
def test_the_report(wide: str, mode: str | None, count: int) -> None:
    arguments = ["compile", wide, "--vectors", "2", *(["--dsp", mode] if mode else [])]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    facts = json.loads(Path("build/report.json").read_text())
    estimate = facts["estimate"]
    assert facts["dsp"] == (mode or "none") and estimate["dsps"] == count and estimate["device_dsps"] == 12288
    layers = {row["layer"]: row["dsps"] for row in estimate["layers"]}
    assert sum(layers.values()) == count and (not count or layers["gate"] == 1)
    assert "DSP" in result.output and (not count or f"{count} (0.0" in result.output)
    assert any(p.name.endswith("-dsp.lir") for p in Path("build/stages").iterdir()) == bool(count)


def test_a_block_is_faster_than_luts(wide: str) -> None:
    slow, quick = (
        lutc.compile(wide, clock_ns=3.0, dsp=mode, effort="fast").report for mode in ("none", "all")
    )
    assert any("a stage takes" in note for note in slow["notes"]) and not quick["notes"]
    assert quick["estimate"]["stage_ns"] <= 3.0 < slow["estimate"]["stage_ns"]


def test_what_the_text_sends_there_stays_there() -> None:
    text = WIDE.replace("mul %x, %y", "mul %x, %y, dsp=true")
    assert lutc.compile(parse(text)).report["estimate"]["dsps"] == 1


def test_mistakes(wide: str) -> None:
    result = CliRunner().invoke(main, ["compile", wide, "--dsp", "maybe"])
    assert result.exit_code == 2 and "'maybe' is not one of" in result.output
    assert not Path("build").exists()
    with pytest.raises(LirError, match=r"no choice of DSP blocks 'al'\n.*did you mean"):
        lutc.compile(wide, dsp="al")


def test_every_target_says_what_its_blocks_are() -> None:
    listed = CliRunner().invoke(main, ["targets"]).output
    for name in targets.names():
        device = targets.load(name)
        assert 16 <= device.dsp_narrow <= device.dsp_wide <= 27
        assert 0 < device.dsp_ns() < device.multiplier_ns(18, 18)
        assert f"{device.dsps:,} DSP {device.dsp_wide}x{device.dsp_narrow}" in listed
