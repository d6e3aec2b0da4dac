"""LUTs by name: what a netlist asks for is what a vendor's library gives, in both languages."""

from __future__ import annotations

import json
import random
import re
import subprocess
from itertools import permutations
from pathlib import Path

import pytest
from hdl_batch import Trial, simulate_many
from lut_circuits import luts
from netlist_model import Model

import lutc
from conftest import need_module, need_tool
from lutc.backends import verilog, vhdl
from lutc.backends.simulate import bench_for
from lutc.pnr.place import kept
from lutc.primitives import PRIMITIVES, XILINX, Primitive
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.nets import Append, Lut

LIBRARIES = {
    "xilinx": "+/xilinx/cells_sim.v",
    "ecp5": "+/ecp5/cells_sim.v",
    "ice40": "+/ice40/cells_sim.v",
    "gowin": "+/gowin/cells_sim.v",
}
every = pytest.mark.parametrize("of", PRIMITIVES.values(), ids=list(PRIMITIVES))


def _same(folder: Path, *sides: str) -> None:
    """Prove that two sets of Verilog files, with the options to read them, are the same module `luts`."""
    from pyosys import libyosys as ys

    design = ys.Design()
    read = [
        (
            f"read_verilog -defer -overwrite -DNO_ICE40_DEFAULT_ASSIGNMENTS {side}",
            "hierarchy -check -top luts",
            "proc",
            "flatten",
            f"design -stash s{n}",
        )
        for n, side in enumerate(sides)
    ]
    prove: tuple[str, ...] = ("design -copy-from s0 -as s0 luts", "design -copy-from s1 -as s1 luts")
    prove += ("miter -equiv -flatten -make_outputs s0 s1 miter", "sat -verify -prove trigger 0 miter")
    for command in (*read[0], *read[1], *prove):
        ys.run_pass(f"tee -q -a {folder}/yosys.log {command}", design)


def _written(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).write_text(text)
    return " ".join(f"{folder}/{name}" for name in files)


@every
def test_luts_by_name_are_those_of_the_library(tmp_path: Path, of: Primitive) -> None:
    """With our models, or with a library's own: proved to be the same function."""
    need_module("pyosys")
    files = verilog.emit([luts(of)], "")
    used = {name for _, name in of.cells}
    assert set(files) == {"luts.v", *(f"{name}.v" for name in used if of.chained or name != "LUT1")}
    ours = _written(tmp_path, files)  # with -formal, SYNTHESIS is not defined
    _same(tmp_path, f"-formal {ours}", f"{ours} {LIBRARIES[of.name]}")


@every
def test_both_languages_ask_for_the_same_luts(tmp_path: Path, of: Primitive) -> None:
    """VHDL's synthesis keeps the components, and with the library's cells they are the Verilog."""
    need_module("pyosys")
    module = luts(of)
    count = sum(isinstance(net, Lut) for net in module.nets)
    (tmp_path / "luts.vhd").write_text(vhdl.emit([module], "")["luts.vhd"])
    command = [need_tool("ghdl"), "--synth", "--std=08", "-Wno-binding", "--out=verilog", "luts.vhd"]
    done = subprocess.run([*command, "-e", "luts"], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert done.stderr == ""
    of_vhdl = kept(done.stdout)
    assert not re.search(r"^module (?!luts\b)", of_vhdl, re.M)
    assert len(re.findall(rf"^  (?:{'|'.join(name for _, name in of.cells)}) #", of_vhdl, re.M)) == count
    library = LIBRARIES[of.name]
    one, other = (_written(tmp_path, f) for f in ({"a.v": of_vhdl}, verilog.emit([module], "")))
    _same(tmp_path, f"{one} {library}", f"{other} {library}")


@every
def test_models_of_luts_answer_in_simulators(of: Primitive) -> None:
    module = luts(of)
    rows = [{"x": x} for x in range(256)]
    model = Model(module)
    answers = [model.outputs(row | {"ce": 1, "rst": 0}) for row in rows]
    trials = []
    for hdl, printer in (("verilog", verilog), ("vhdl", vhdl)):
        bench, names = bench_for([module], hdl, [], 0)
        expected = {
            names[o.port]: [(a[o.port] or 0) % (1 << o.net.width) for a in answers] for o in module.outputs
        }
        files = printer.emit([module], "a head") | (vhdl.models([module], "a head") if hdl == "vhdl" else {})
        trials.append(Trial(bench, files, {names["x"]: list(range(256))}, expected))
    assert simulate_many(trials) == [None, None]


def test_what_a_vhdl_model_is_for() -> None:
    """The models say that they are not for synthesis, and are no part of what is."""
    assert set(vhdl.emit([luts()], "")) == {"luts.vhd"}
    models = vhdl.models([luts()], "Made by a test.")
    assert set(models) == {f"LUT{n}.vhd" for n in range(1, 7)}
    for text in models.values():
        assert text.startswith("-- Made by a test.\n--\n-- For simulation only")
    assert vhdl.models([_plain()], "") == {}


def _plain() -> object:
    build = ModuleBuilder("plain")
    build.output("y", build.not_(build.input("x", 2)))
    return build.build()


def test_a_lut_is_no_wider_than_the_library_has() -> None:
    for of in PRIMITIVES.values():
        build = ModuleBuilder("m", luts=of)
        bits = [build.input(f"x{i}", 1) for i in range(of.inputs + 1)]
        odd = [n.bit_count() & 1 for n in range(2 << of.inputs)]
        with pytest.raises(ValueError, match=f"no LUT has {of.inputs + 1} inputs"):
            build.lut(bits, odd)
        made = build.lut(bits[:3], odd[:8])
        assert isinstance(made, Lut) and made.cell == of.cell(3)
        assert made.init == (0x96 if of.cell(3)[0] == 3 else 0x9696)
        # Inverters are left to whoever reads them, unless it is a chain that is given them apart.
        assert isinstance(build.lut(bits[:1], [1, 0]), Lut) == bool(of.chained)


TEXT = """lir 1 scalar
table @t: u4 -> u2 = [0 3 1 2 2 1 3 0 1 1 2 3 0 2 3 1]
design coded(%x: u4) -> (y = %y) {
  %y = lut %x, @t
}
"""


@pytest.mark.parametrize("target", ["xcvu13p", "ecp5-25k"])
def test_a_build_in_vhdl_keeps_models_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    need_module("cocotb")
    need_tool("ghdl")
    monkeypatch.delenv("LUTC_SIM", raising=False)
    build = lutc.compile(lutc.loads(TEXT), target, hdl="vhdl", stages=0)
    assert list(build.files) == ["coded.vhd"] and list(build.models) == ["LUT4.vhd"]
    folder = build.write(tmp_path / "build", vectors=20)
    assert [p.name for p in (folder / "rtl").iterdir()] == ["coded.vhd"]
    assert "LUT4 generic map" in (folder / "rtl" / "coded.vhd").read_text()
    sources = json.loads((folder / "sim" / "bench.json").read_text())["sources"]
    assert sources == ["rtl/coded.vhd", "sim/LUT4.vhd"]
    assert lutc.simulate(folder).passed
    model = folder / "sim" / "LUT4.vhd"
    model.write_text(model.read_text() + "\n")
    with pytest.raises(lutc.LirError, match=r"not as lutc wrote it: sim/LUT4\.vhd"):
        lutc.simulate(folder)


def test_random_luts_of_every_size() -> None:
    """Whatever the cell's size, its table is the function of the key."""
    rng = random.Random(5)
    for of in PRIMITIVES.values():
        build = ModuleBuilder("m", luts=of)
        bits = [build.input(f"x{i}", 1) for i in range(of.inputs)]
        for inputs in range(2, of.inputs + 1):
            contents = [rng.getrandbits(1) for _ in range(1 << inputs)]
            made = build.lut(bits[:inputs], contents)
            if isinstance(made, Lut) and made.key.width == inputs:
                for key in range(1 << of.cell(inputs)[0]):
                    assert made.init >> key & 1 == contents[key % (1 << inputs)]
    assert XILINX.inputs == 6


def test_what_is_ready_last_goes_to_the_last_input() -> None:
    """Which is a LUT's quickest; the function stays what it was."""
    build = ModuleBuilder("late", luts=XILINX)
    x, y = build.input("x", 2), build.input("y", 4)
    a, b = build.bit(x, 0), build.bit(x, 1)
    both = build.lut([a, b], [0, 0, 0, 1])
    high = build.bit(build.add(y, y), 3)
    for inputs in permutations((a, both, high)):
        at = {net: i for i, net in enumerate(inputs)}
        # high ? a & ~both : both
        words = [[w >> at[net] & 1 for net in (a, both, high)] for w in range(8)]
        made = build.lut(inputs, [int(one and not two) if three else two for one, two, three in words])
        assert isinstance(made, Lut) and isinstance(made.key, Append)
        assert made.key.parts[::-1] == (a, both, high)
        assert made.contents == (0, 0, 1, 1, 0, 1, 0, 0)
