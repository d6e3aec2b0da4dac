"""Products in the HDL: each says whether it is for DSP blocks, every bit is right, and synthesis makes what it says."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from fuzzing import Case, Setting, failures

import lutc
from conftest import need_module, need_tool
from lutc.driver import Build
from lutc.ir.graph import body
from lutc.ir.ops import Mul, Scale
from lutc.text.parse import parse

# Widths on both sides of what a block takes, factors with and without sign, constants of both signs.
PRODUCTS = """lir 1 scalar

design products(%a: s27f9, %b: s18f3, %c: s28, %u: u26, %v: u17f2, %w: u18, %m: s12f4, %n: s12) -> (
  full = %full, wide = %wide, bare = %bare, more = %more, mixed = %mixed, square = %square,
  low = %low, sum = %sum, less = %less
) {
  %full   = mul %a, %b
  %wide   = mul %c, %b
  %bare   = mul %u, %v
  %more   = mul %u, %w
  %mixed  = mul %a, %v
  %square = mul %m, %m
  %p      = mul %b, %n
  %low: s26f1 = quant %p, round=floor, overflow=wrap
  %sum    = lincomb %m, %n, %b, weights=[-30.5, 77.75390625, 64], bias=1.5
  %less   = scale %a, by=-12345
}
"""
# Two and three products in a block, with and without sign; requantisers with their offsets in front and behind.
SHARED = """lir 1 scalar

design products(%x: s8f2, %a: u8, %n: u4, %v: s18) -> (
  y = %y, t = %t, u = %u, q = %q, r = %r
) {
  %y     = lincomb %x, %a, %n, weights=[-93, 53, 11], bias=4
  %t     = lincomb %x, %a, %n, weights=[115, -111, 13], bias=-1
  %u     = lincomb %x, %n, weights=[77, -7]
  %s     = lincomb %x, %a, weights=[4, 2], bias=2
  %q: s8 = rescale %s, by=0.0317, add=-3, round=nearest-half-up, overflow=saturate
  %r: u8 = rescale %v, by=0.00317, round=nearest-half-even, overflow=saturate
}
"""
MODES = ("none", "auto", "all")
# How yosys is told what the attributes say: it reads neither of them, and takes each product for a block that fits one.
OBEY = (
    "attrmvcp -attr use_dsp",
    "select -set luts a:use_dsp=no t:$mul %i",
    "alumacc @luts",
    "maccmap t:$macc t:$macc_v2 %u",
)


def compiled(
    mode: str, hdl: str = "verilog", target: str = "xcvu13p", text: str = PRODUCTS, effort: str = "fast"
) -> Build:
    """With the effort `fast`, products stay products; else those for LUTs are written as sums."""
    return lutc.compile(parse(text), target, stages=0, hdl=hdl, dsp=mode, check=20, effort=effort)


def test_every_product_says_where_it_belongs() -> None:
    for mode in MODES:
        build = compiled(mode)
        text = build.files["products.v"]
        yes, no = (text.count(f'use_dsp = "{word}"') for word in ("yes", "no"))
        assert yes == build.report["estimate"]["dsps"] == {"none": 0, "auto": 7, "all": 11}[mode]
        assert yes + no == text.count(" * ")
        assert (
            text.count('syn_multstyle = "block_mult"') == yes and text.count('syn_multstyle = "logic"') == no
        )
        vhdl = compiled(mode, "vhdl").files["products.vhd"]
        assert vhdl.count('signal is "yes"') == yes and vhdl.count('signal is "no"') == no
        assert vhdl.count(" * ") == yes + no


def test_no_product_no_attribute() -> None:
    text = "lir 1 scalar\ndesign d(%a: s9) -> (y = %y) {\n  %y = scale %a, by=53\n}\n"
    for hdl in ("verilog", "vhdl"):
        (printed,) = compiled("none", hdl, text=text).files.values()
        assert "dsp" not in printed and "multstyle" not in printed


def test_both_simulators() -> None:
    settings = [Setting(stages, dsp=mode) for mode in MODES for stages in (0, 2)]
    settings += [Setting(0, dsp="all", target=target) for target in ("ecp5-85k", "ice40up5k")]
    cases = [Case(f"{s.target}-{s.dsp}-{s.stages}", parse(PRODUCTS), s) for s in settings]
    assert failures(cases) == [None] * len(cases)


def test_shared_blocks_and_requantisers_in_both_simulators() -> None:
    targets = ("xcvu13p", "xc7z020", "ecp5-85k", "ice40up5k")
    settings = [Setting(stages, dsp="all", target=target) for target in targets for stages in (0, 2)]
    cases = [Case(f"shared-{s.target}-{s.stages}", parse(SHARED), s) for s in settings]
    assert failures(cases) == [None] * len(cases)


@pytest.mark.parametrize(
    ("target", "family", "cell"), [("xcvu13p", "xcup", "DSP48E2"), ("xc7z020", "xc7", "DSP48E1")]
)
def test_synthesis_takes_one_block_for_shared_products(
    target: str, family: str, cell: str, tmp_path: Path
) -> None:
    need_module("pyosys")
    build = compiled("all", target=target, text=SHARED, effort="normal")
    synth = f"synth_xilinx -family {family} -flatten -run begin:map_memory"
    # Three constants of x in two blocks, two of a in one, three of n in one, and two requantisers.
    assert cells(build, tmp_path, *OBEY, synth)[cell] == build.report["estimate"]["dsps"] == 6


@pytest.mark.parametrize("mode", MODES)
def test_lint_tools_say_nothing(mode: str, tmp_path: Path) -> None:
    files = compiled(mode).files
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for command in (
        [need_tool("verilator"), "--lint-only", "-Wall", "--top-module", "products", *files],
        [need_tool("iverilog"), "-g2001", "-Wall", "-s", "products", "-o", "lint.vvp", *files],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def cells(build: Build, folder: Path, *commands: str) -> Counter[str]:
    """How many there are of each cell after synthesis."""
    from pyosys import libyosys as ys

    folder.mkdir(exist_ok=True)
    design = ys.Design()
    quiet = f"tee -q -o {folder}/yosys.log "
    for name, text in build.files.items():
        (folder / name).write_text(text)
        ys.run_pass(f"{quiet} read_verilog {folder}/{name}", design)
    for command in (
        "hierarchy -top products",
        *commands,
        "select products",
        f"write_json -selected {folder}/netlist.json",
    ):
        ys.run_pass(quiet + command, design)
    module = json.loads((folder / "netlist.json").read_text())["modules"]["products"]
    return Counter(cell["type"] for cell in module["cells"].values())


@pytest.mark.parametrize("mode", MODES)
def test_synthesis_takes_as_many_blocks_as_the_report_says(mode: str, tmp_path: Path) -> None:
    need_module("pyosys")
    build = compiled(mode)
    full = compiled(mode, effort="normal")
    synth = "synth_xilinx -family xcup -flatten -run begin:map_memory"
    count = build.report["estimate"]["dsps"]
    assert cells(build, tmp_path / "obeying", *OBEY, synth)["DSP48E2"] == count
    if mode == "all":
        assert cells(build, tmp_path / "plain", synth)["DSP48E2"] == count
    if mode == "none":
        assert cells(build, tmp_path / "nodsp", f"{synth} -nodsp")["DSP48E2"] == 0
        assert cells(build, tmp_path / "plain", synth)["DSP48E2"] > 0  # see OBEY
        assert "*" not in full.files["products.v"].split("module products")[1]
    assert full.report["estimate"]["dsps"] == count
    assert cells(full, tmp_path / "full", *OBEY, synth)["DSP48E2"] == count


@pytest.mark.parametrize(
    ("target", "synth", "cell"),
    [
        ("xc7z020", "synth_xilinx -family xc7 -flatten -run begin:map_memory", "DSP48E1"),
        ("ecp5-85k", "synth_ecp5 -run begin:map_ram", "MULT18X18D"),
        ("ice40up5k", "synth_ice40 -dsp -run begin:map_ram", "SB_MAC16"),
    ],
)
def test_blocks_of_other_devices(target: str, synth: str, cell: str, tmp_path: Path) -> None:
    need_module("pyosys")
    build = compiled("all", target=target)
    made = [v for v in body(build.design) if isinstance(v, Mul | Scale) and v.dsp]
    assert len(made) == build.report["estimate"]["dsps"]
    # Yosys has no blocks for products of a few bits, whatever the text says: less than 9, or 11 on this family.
    count = sum(v.type.max_width >= (11 if cell == "SB_MAC16" else 9) for v in made)
    assert cells(build, tmp_path, *OBEY, synth)[cell] == count > 9
