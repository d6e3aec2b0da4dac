"""Both printers: every kind of net at the edge widths, read without a warning by all tools, and simulated.

The expectation comes from :class:`netlist_model.Model`, which knows Python integers and no printer.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from lut_circuits import luts
from netlist_model import Model, number

from conftest import need_module, need_tool
from lutc.backends import verilog, vhdl
from lutc.backends.arrangement import arrange
from lutc.rtl import nets as nl
from lutc.rtl.builder import ModuleBuilder

WIDTHS = (1, 2, 31, 32, 33, 64, 70, 130)
CYCLES = 64


# Modules under test


def every_kind(width: int, *, signed: bool) -> nl.Module:
    """Every kind of net on operands of one width, with and without names."""
    b = ModuleBuilder(f"kinds_{'s' if signed else 'u'}{width}", clock=True, clock_enable=True, reset=True)
    b.notes["width"] = str(width)
    x, y, sel = b.input("x", width, signed, comment="left"), b.input("y", width, signed), b.input("sel", 1)
    top = width - 1
    least, most = (-(1 << top), (1 << top) - 1) if signed else (0, (1 << width) - 1)
    binary: dict[str, Callable[[nl.Net, nl.Net], nl.Net]] = {
        "add": b.add, "sub": b.sub, "mul": b.mul, "and": b.and_, "or": b.or_, "xor": b.xor,
        "eq": b.eq, "lt": b.lt, "gt": b.gt,
    }  # fmt: skip
    for name, operation in binary.items():
        with b.at(f"layer/{name}:0"):
            b.output(f"o_{name}", b.label(operation(x, y), name))
            b.output(f"w_{name}", operation(b.resize(x, width + 3), b.resize(y, width + 3)))
            b.output(f"d_{name}", operation(b.resize(x, 2 * width), b.resize(y, 2 * width)))
            b.output(f"c_{name}", operation(x, b.const(most, width, signed)))
            b.output(f"k_{name}", operation(b.const(least, width, signed), y))
            b.output(f"a_{name}", operation(b.as_(x, not signed), b.as_(y, not signed)))
            b.output(f"n_{name}", operation(b.add(x, y), b.const(most - (most > 0), width, signed)))
            b.output(f"m_{name}", operation(b.as_(b.add(x, y), not signed), b.as_(b.not_(x), not signed)))
    b.output("o_not", b.not_(x))
    b.output("o_neg", b.neg(b.resize(x, width + 1)))
    b.output("o_mux", b.mux(sel, x, y))
    b.output("r_mux", b.mux(b.lt(x, y), b.add(x, y), b.sub(x, y)))
    b.output("s_mux", b.mux(b.msb(x), y, b.const(least, width, signed)))
    b.output("g_mux", b.mux(b.and_(sel, b.bit(y, 0)), b.const(most, width, signed), y))
    b.output("o_as", b.as_(x, not signed))
    b.output("o_resize", b.resize(b.as_(b.slice(x, top, top // 2), True), width + 9))
    b.output("u_resize", b.resize(b.as_(x, not signed), width + 1))
    b.output("o_slice", b.slice(b.add(x, y), top - top // 3, top // 3))
    b.output("o_append", b.append(x, sel, y, b.const(5, 3), b.msb(y)))
    b.output("o_shift", b.shift_left(x, 4))
    formats = ((1, False), (width, not signed), (width + 5, not signed), (max(1, width - 3), signed))
    for i, (to, to_signed) in enumerate(formats):
        b.output(f"fit_{i}", b.fit(b.label(b.xor(x, y), "fitted"), to, to_signed))
    b.output("o_const", b.const(most, width, signed))
    b.output("l_const", b.const(least, width, signed))
    with b.at("registers"):
        b.output("o_reg", b.reg(x))
        b.output("d_reg", b.delay(b.add(x, y), 3))
        b.output("r_reg", b.label(b.reg(y, reset=most), "held"))
        b.output("s_reg", b.sub(b.reg(b.mux(sel, x, y), reset=least), b.reg(x)))
    return b.build()


def tables() -> nl.Module:
    """ROMs by case and by array, shared, one bit wide, wider than a word."""
    b = ModuleBuilder("tables")
    key, flag = b.input("key", 12), b.input("flag", 1)
    rng = random.Random(1)
    wave = [rng.randrange(-9, 10) for _ in range(16)]
    signed_key = b.as_(b.slice(key, 3, 0), True)
    b.output("wave", b.rom(signed_key, wave, 5, True, table="sine"))
    b.output("again", b.rom(b.slice(key, 8, 5), wave, 5, True, table="another"))
    b.output("alone", b.label(b.rom(flag, [1, 0], 1), "alone"))
    b.output("wide", b.rom(b.slice(key, 1, 0), [rng.getrandbits(70) for _ in range(4)], 70))
    b.output("most", b.rom(b.slice(key, 7, 0), [rng.getrandbits(6) for _ in range(256)], 6))
    curve = [rng.randrange(-512, 512) for _ in range(4096)]
    big = b.rom(key, curve, 10, True, table="curve")
    b.output("big", big)
    b.output("sum", b.add(big, b.rom(b.as_(b.add(key, b.const(1, 12)), True), curve, 10, True)))
    b.output("bits", b.rom(b.slice(key, 9, 0), [rng.getrandbits(1) for _ in range(1024)], 1))
    return b.build()


def hierarchy() -> list[nl.Module]:
    """Instances in instances, a pipeline in them, constants and nothing on their ports, unread ports."""
    leaf = ModuleBuilder("leaf", clock=True, clock_enable=True)
    a, one, spare = leaf.input("a", 9, True), leaf.input("valid_in", 1), leaf.input("spare", 4)
    leaf.output("y", leaf.reg(leaf.neg(a)))
    leaf.output("valid_out", leaf.reg(one, reset=0))
    leaf.output("high", leaf.slice(leaf.add(leaf.resize(a, 11), leaf.fit(spare, 11, True)), 10, 7))
    leaf_module = leaf.build()
    plain = ModuleBuilder("plain")
    plain.output("z", plain.not_(plain.input("x", 5)))
    plain_module = plain.build()
    b = ModuleBuilder("branch", clock=True, clock_enable=True, reset=True)
    x, go, unread = b.input("x", 40), b.input("go", 1), b.input("nobody", 3)
    results: list[nl.Net] = []
    for i in range(3):
        inputs = {"a": b.as_(b.slice(x, 9 * i + 8, 9 * i), True), "valid_in": go, "spare": b.const(i, 4)}
        with b.at(f"leaf/{i}"):
            results.append(b.instance(leaf_module, inputs, name=f"leaf/{i}")["y"])
    again = b.instance(leaf_module, inputs)
    assert again["y"] is results[-1]
    z = b.instance(plain_module, {"x": b.slice(x, 39, 35)})["z"]
    b.output("y", b.append(*results, z))
    b.output("valid_out", again["valid_out"])
    b.output("high", again["high"])
    assert unread.width == 3
    return [b.build(), leaf_module, plain_module]


def names() -> nl.Module:
    """Hints that neither language takes as they are."""
    b = ModuleBuilder("Module")
    x = b.input("signal", 6, True)
    hints = ["dense_1/MatMul:0", "dense_1_MatMul_0", "DENSE_1/MatMul:0", "", "__x__", "7", "int", "float", "rom",
             "resize", "to_integer", "key", "unused", "ce", "clk", "wire", "logic", "x_", "\N{GREEK SMALL LETTER MU}",
             "a\nb", "signal", "Module", "t1", "entity", "signal_n_i", "std_logic_vector"]  # fmt: skip
    net: nl.Net = b.add(x, b.const(1, 6, True))
    for hint in hints:
        with b.at(f"{hint}\nsecond line \N{GREEK SMALL LETTER MU}"):
            net = b.label(b.rom(b.add(net, x), range(-32, 32), 6, True, table="key"), hint)
    b.output("begin", net)
    b.output("Begin", b.slice(b.sub(net, x), 3, 2), comment="caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    return b.build()


def _one_more(b: ModuleBuilder, rng: random.Random, nets: Sequence[nl.Net]) -> nl.Net:
    """A net of any kind, by chance."""
    one, two = rng.choice(nets), rng.choice(nets[-12:])
    form = rng.choice((one.width, two.width, rng.randrange(1, 71))), rng.random() < 0.6
    x, y = b.fit(one, *form), b.fit(two, *form)
    select = b.slice(two, *[rng.randrange(two.width)] * 2)
    low = rng.randrange(one.width)
    binary = b.add, b.sub, b.mul, b.and_, b.or_, b.xor, b.eq, b.lt, b.gt
    unary = b.not_, b.neg, b.reg
    makes: list[Callable[[], nl.Net]] = [
        *(lambda make=make: make(x, y) for make in binary),
        *(lambda make=make: make(x) for make in unary),
        lambda: b.mux(select, x, y),
        lambda: b.mux(b.lt(x, y), x, y),
        lambda: b.slice(one, rng.randrange(low, one.width), low),
        lambda: b.append(b.fit(one, min(one.width, 9), True), select),
        lambda: b.rom(b.fit(one, 4, True), [rng.randrange(-8, 8) for _ in range(16)], 4, True),
        lambda: b.const(int(form != (1, True)), *form),
    ]
    return rng.choice(makes)()


def chance(seed: int) -> nl.Module:
    """Some sixty nets by chance."""
    rng = random.Random(seed)
    b = ModuleBuilder(f"chance_{seed}", clock=True, clock_enable=True)
    nets: list[nl.Net] = [b.input(f"x{i}", rng.choice((1, 3, 8, 33)), rng.random() < 0.6) for i in range(4)]
    for i in range(60):
        net = _one_more(b, rng, nets)
        if net.width < 100:
            nets.append(b.label(net, f"v{i}") if rng.random() < 0.5 else net)
    for i, net in enumerate(rng.sample(nets, 6) + nets[-4:]):
        b.output(f"y{i}", net)
    return b.build()


def everything() -> list[nl.Module]:
    """One module above all of them, so that one run of each tool sees the lot."""
    modules = [every_kind(width, signed=signed) for width in WIDTHS for signed in (False, True)]
    modules += [tables(), luts(), *hierarchy(), names(), *(chance(seed) for seed in range(12))]
    top = ModuleBuilder("everything", clock=True, clock_enable=True, reset=True)
    for module in modules:
        if module.name in ("leaf", "plain"):
            continue
        inputs: dict[str, nl.Net] = {
            port.port: top.input(f"{module.name}_{port.port}", port.width, port.signed)
            for port in module.inputs
        }
        for port, net in top.instance(module, inputs, name=module.name).items():
            top.output(f"{module.name}_{port}_out", net)
    return [top.build(), *modules]


# Simulation

Rows = list[dict[str, int]]


def stimulus(module: nl.Module) -> Rows:
    """By chance, with corner values; ce and rst among the ports. The last rows have neither stall nor reset."""
    rng = random.Random(7)
    rows: Rows = []
    for cycle in range(CYCLES):
        row = {"ce": int(rng.random() < 0.8 or cycle > CYCLES // 2), "rst": int(cycle in (9, 20, 21))}
        for port in module.inputs:
            corners = (0, 1, -1, 1 << (port.width - 1), (1 << (port.width - 1)) - 1)
            pattern = rng.choice(corners) if rng.random() < 0.3 else rng.getrandbits(port.width)
            row[port.port] = number(pattern, port)
        rows.append(row)
    return rows


def expected(module: nl.Module, rows: Rows) -> list[list[str | None]]:
    """Bit strings of the outputs, cycle by cycle; None where a register has no value yet."""
    model = Model(module)
    answers: list[list[str | None]] = []
    for row in rows:
        values = model.outputs(row)
        bits = [
            None
            if (value := values[output.port]) is None
            else f"{value % (1 << output.net.width):0{output.net.width}b}"
            for output in module.outputs
        ]
        answers.append(bits)
        model.clock(row["ce"], row["rst"])
    return answers


def run(*command: str | Path, folder: Path) -> str:
    """Standard output and error; the command must succeed."""
    done = subprocess.run(
        [need_tool(str(command[0])), *map(str, command[1:])],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[:4000]
    return done.stdout


def _pack(module: nl.Module, row: Mapping[str, int]) -> str:
    bits = "".join(f"{row[port.port] % (1 << port.width):0{port.width}b}" for port in module.inputs)
    return f"{row['ce']}{row['rst']}{bits}"


def _pins(module: nl.Module) -> list[tuple[int, int]]:
    """(high, low) of ce, rst and the inputs in a packed row."""
    widths = [1, 1, *(port.width for port in module.inputs)]
    ends = [sum(widths[i:]) for i in range(len(widths))]
    return [(end - 1, end - width) for end, width in zip(ends, widths, strict=True)]


def _files(printer: ModuleType, modules: Sequence[nl.Module]) -> list[str]:
    return [*printer.emit(modules, ""), *(vhdl.models(modules, "") if printer is vhdl else {})]


def identifiers(module: nl.Module, modules: Sequence[nl.Module]) -> dict[str, str]:
    return next(layout.ports for layout in arrange(modules) if layout.module is module)


def simulate_verilog(modules: Sequence[nl.Module], rows: Rows, folder: Path) -> list[list[str]]:
    module = modules[0]
    pins, ids = _pins(module), identifiers(module, modules)
    width = pins[0][0] + 1
    (folder / "stimulus").write_text("\n".join(_pack(module, row) for row in rows))
    ports = [".clk(clk)"]
    for name, (high, low) in zip(
        ["ce", "rst", *(ids[port.port] for port in module.inputs)], pins, strict=True
    ):
        ports.append(f".{name}(now[{high}:{low}])")
    wires, shows = [], []
    for i, output in enumerate(module.outputs):
        wires.append(f"  wire [{output.net.width - 1}:0] o{i};")
        shows.append(f'      $display("%b", o{i});')
        ports.append(f".{ids[output.port]}(o{i})")
    (folder / "bench.v").write_text(
        "\n".join(
            [
                "module bench;",
                "  reg clk = 0;",
                "  integer i;",
                f"  reg [{width - 1}:0] now, stimulus [0:{len(rows) - 1}];",
                *wires,
                f"  {module.name} dut ({', '.join(ports)});",
                "  initial begin",
                '    $readmemb("stimulus", stimulus);',
                f"    for (i = 0; i < {len(rows)}; i = i + 1) begin",
                "      now = stimulus[i]; #1;",
                *shows,
                "      clk = 1; #1; clk = 0; #1;",
                "    end",
                "  end",
                "endmodule",
            ]
        )
    )
    run(
        "iverilog",
        "-g2001",
        "-o",
        "bench.vvp",
        "-s",
        "bench",
        "bench.v",
        *_files(verilog, modules),
        folder=folder,
    )
    words = run("vvp", "bench.vvp", folder=folder).split()
    count = len(module.outputs)
    return [words[start : start + count] for start in range(0, len(words), count)]


def simulate_vhdl(modules: Sequence[nl.Module], rows: Rows, folder: Path) -> list[list[str]]:
    """The first of ``modules``, which are analysed in ``folder`` already."""
    module = modules[0]
    pins, ids = _pins(module), identifiers(module, modules)
    (folder / "stimulus").write_text("\n".join(_pack(module, row) for row in rows) + "\n")
    ports = ["clk => clk"]
    widths = [1, 1, *(port.width for port in module.inputs)]
    for name, width, (high, low) in zip(
        ["ce", "rst", *(ids[port.port] for port in module.inputs)], widths, pins, strict=True
    ):
        ports.append(f"{name} => now({low})" if width == 1 else f"{name} => now({high} downto {low})")
    signals, shows = [], []
    for i, output in enumerate(module.outputs):
        width = output.net.width
        signals.append(
            f"  signal o{i} : {'std_logic' if width == 1 else f'std_logic_vector({width - 1} downto 0)'};"
        )
        shows += [f"      write(text, to_string(o{i}));", "      writeline(output, text);"]
        ports.append(f"{ids[output.port]} => o{i}")
    (folder / "bench.vhd").write_text(
        "\n".join(
            [
                "library ieee; use ieee.std_logic_1164.all; use std.textio.all;",
                "entity bench is end entity;",
                "architecture test of bench is",
                "  signal clk : std_logic := '0';",
                f"  signal now : std_logic_vector({pins[0][0]} downto 0);",
                *signals,
                "begin",
                f"  dut : entity work.{module.name} port map ({', '.join(ports)});",
                "  process",
                '    file stimulus : text open read_mode is "stimulus";',
                "    variable text : line;",
                "    variable row : std_logic_vector(now'range);",
                "  begin",
                "    while not endfile(stimulus) loop",
                "      readline(stimulus, text); read(text, row); now <= row; wait for 1 ns;",
                *shows,
                "      clk <= '1'; wait for 1 ns; clk <= '0'; wait for 1 ns;",
                "    end loop;",
                "    wait;",
                "  end process;",
                "end architecture;",
            ]
        )
    )
    run("ghdl", "-a", "--std=08", "bench.vhd", folder=folder)
    words = run("ghdl", "-r", "--std=08", "bench", "--ieee-asserts=disable", folder=folder).split()
    count = len(module.outputs)
    return [words[start : start + count] for start in range(0, len(words), count)]


def differences(module: nl.Module, got: list[list[str]], want: list[list[str | None]]) -> list[str]:
    assert len(got) == len(want)
    return [
        f"cycle {cycle}, {output.port}: {bits} is not {right}"
        for cycle, (row, answer) in enumerate(zip(got, want, strict=True))
        for output, bits, right in zip(module.outputs, row, answer, strict=True)
        if right is not None and bits != right
    ]


@pytest.fixture(scope="module")
def modules() -> list[nl.Module]:
    return everything()


@pytest.fixture(scope="module")
def folder(modules: list[nl.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hdl")
    for printer in (verilog, vhdl):
        models = vhdl.models(modules, "Made by a test.") if printer is vhdl else {}
        for name, text in (printer.emit(modules, "Made by a test.") | models).items():
            (place / name).write_text(text, encoding="ascii")
    return place


def test_verilator_and_icarus_say_nothing(modules: list[nl.Module], folder: Path) -> None:
    files = _files(verilog, modules)
    assert run("verilator", "--lint-only", "-Wall", "--top-module", "everything", *files, folder=folder) == ""
    assert (
        run("iverilog", "-g2001", "-Wall", "-s", "everything", "-o", "lint.vvp", *files, folder=folder) == ""
    )


def test_no_lint_pragma(modules: list[nl.Module]) -> None:
    assert not [name for name, text in verilog.emit(modules, "").items() if "lint_off" in text]


def test_simulation(modules: list[nl.Module], folder: Path) -> None:
    top = modules[0]
    rows = stimulus(top)
    want = expected(top, rows)
    known = sum(bits is not None for answer in want for bits in answer)
    assert known > 0.9 * CYCLES * len(top.outputs)
    assert run("ghdl", "-a", "--std=08", *_files(vhdl, modules), folder=folder) == ""
    assert differences(top, simulate_verilog(modules, rows, folder), want)[:5] == []
    assert differences(top, simulate_vhdl(modules, rows, folder), want)[:5] == []


def test_yosys_reads_it(modules: list[nl.Module], folder: Path) -> None:
    need_module("pyosys")
    from pyosys import libyosys as ys

    design = ys.Design()
    ys.run_pass(
        f"tee -q -o {folder}/yosys.log read_verilog -lib +/xilinx/cells_sim.v", design
    )  # LUT1 to LUT6
    for name in _files(verilog, modules):
        ys.run_pass(f"tee -q -o {folder}/yosys.log read_verilog {folder}/{name}", design)
    ys.run_pass(f"tee -q -o {folder}/yosys.log hierarchy -check -top everything", design)
    ys.run_pass(f"tee -q -o {folder}/yosys.log proc", design)
    ys.run_pass(f"tee -q -o {folder}/yosys.log check -assert", design)


def test_both_languages_use_the_same_names(modules: list[nl.Module]) -> None:
    for one, two in zip(verilog.emit(modules, "").values(), vhdl.emit(modules, "").values(), strict=False):
        wires = set(re.findall(r"^  (?:wire|reg) +(?:signed +)?(?:\[\d+:0\] +)?(\w+)", one, re.M))
        signals = set(re.findall(r"^  (?:signal|constant) +(\w+)", two, re.M))
        assert {name for name in wires if not name.startswith("unused")} <= signals
        ports = r"^ +(\w+) +: +(?:in|out) ", r"^  (?:input|output) [^/]*?(\w+),?(?: +//.*)?$"
        assert re.findall(ports[0], two, re.M) == re.findall(ports[1], one, re.M)


def test_a_table_is_printed_once() -> None:
    text = verilog.emit([tables()], "")["tables.v"]
    assert text.count("function [4:0]") == 1
    assert text.count("sine(") == 2
    assert text.count("reg [9:0] curve [0:4095];") == 1
    assert vhdl.emit([tables()], "")["tables.vhd"].count("constant ") == 6


def test_instantiated_modules_come_first() -> None:
    assert list(verilog.emit(hierarchy(), "")) == ["leaf.v", "plain.v", "branch.v"]
    with pytest.raises(ValueError, match="branch has an instance of leaf, which is not emitted"):
        verilog.emit(hierarchy()[:1], "")


def test_a_file_can_be_read() -> None:
    """What a person sees: names, origins, alignment, formats of ports."""
    b = ModuleBuilder("dense", clock=True, clock_enable=True)
    b.notes.update({"latency": "1 cycle", "ii": "1"})
    x, y = b.input("x", 8, True, comment="s8f4"), b.input("y", 5)
    with b.at("dense_1/MatMul"):
        total = b.label(b.add(b.resize(x, 10), b.fit(y, 10, True)), "dense_1/MatMul:0")
    with b.at("relu"):
        high = b.label(b.mux(b.msb(total), b.const(0, 10, True), total), "relu")
        b.output("score", b.slice(b.reg(high), 8, 1), comment="u8f3")
    assert (
        verilog.emit([b.build()], "Made by a test.")["dense.v"]
        == """\
// Made by a test.
//
// latency: 1 cycle
// ii:      1
module dense (
  input  wire              clk,
  input  wire              ce,
  input  wire signed [7:0] x,      // s8f4
  input  wire        [4:0] y,
  output wire        [7:0] score   // u8f3
);

  // dense_1/MatMul
  wire signed [9:0] dense_1_MatMul_0 = {{2{x[7]}}, x} + {5'd0, y};

  // relu
  wire signed [9:0] relu    = dense_1_MatMul_0[9] ? 10'sd0 : dense_1_MatMul_0;
  reg  signed [9:0] relu_d1;
  always @(posedge clk) if (ce) begin
    relu_d1 <= relu;
  end

  assign score = relu_d1[8:1];

  // Bits that nothing reads, gathered so that lint tools know it is meant.
  wire unused = &{1'b0, relu_d1[0], relu_d1[9]};
endmodule
"""
    )
    text = vhdl.emit([b.build()], "Made by a test.")["dense.vhd"]
    assert "  dense_1_MatMul_0 <= resize(x_i, 10) + signed(resize(y_i, 10));\n" in text
    assert "  relu <= to_signed(0, 10) when dense_1_MatMul_0(9) = '1' else dense_1_MatMul_0;\n" in text
    assert "    score : out std_logic_vector(7 downto 0)   -- u8f3\n" in text
