"""The bench must pass what is right and catch what is wrong, in both languages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hdl_batch import Trial, simulate_many

from conftest import need_module, need_tool
from lutc.backends import verilog, vhdl
from lutc.backends.bench.plan import Bench, Step, steps
from lutc.backends.simulate import Result, bench_for, simulate, write_bench
from lutc.diagnostics import LirError
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.nets import Module, Net

HDLS = ("verilog", "vhdl")
EMIT = {"verilog": verilog.emit, "vhdl": vhdl.emit}
Words = dict[str, list[int]]


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("cocotb")
    need_tool("iverilog")
    need_tool("ghdl")
    monkeypatch.delenv("LUTC_SIM", raising=False)


def adder(
    latency: int, width: int = 12, *, enable: bool = True, valid: bool = False, hold: bool = True
) -> Module:
    """total = a + b after `latency` registers; `hold=False` leaves the last of them without the clock enable."""
    build = ModuleBuilder("adder", clock=latency > 0, clock_enable=enable and latency > 0)
    if valid:
        build.output("valid_out", build.delay(build.input("valid_in", 1), latency, reset=0))
    total: Net = build.add(build.input("a", width), build.input("b", width))
    if hold:
        total = build.delay(total, latency)
    else:
        free = ModuleBuilder("free", clock=True, clock_enable=True)
        free.output("q", free.reg(free.input("d", width)))
        total = build.instance(free.build(), {"d": build.delay(total, latency - 1)})["q"]
    build.output("total", total)
    return build.build()


def sums(count: int, width: int) -> tuple[Words, Words]:
    top = (1 << width) - 1
    a = [(0x9E3779B97F4A7C15F39CC0605CEDC834 * (i + 1) >> 3) & top for i in range(count)]
    b = [(0xC2B2AE3D27D4EB4F165667B19E3779F9 * (i + 5) >> 7) & top for i in range(count)]
    return {"a": a, "b": b}, {"total": [(x + y) & top for x, y in zip(a, b, strict=True)]}


def modules_of(top: Module) -> list[Module]:
    return [*(instance.module for instance in top.instances), top]


def build_folder(
    folder: Path,
    top: Module,
    hdl: str,
    latency: int,
    words: tuple[Words, Words],
    *,
    valid: bool = False,
    elements: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    edit: Callable[[str], str] = str,
) -> Path:
    files = EMIT[hdl](modules_of(top), "a circuit of the tests")
    for name, text in files.items():
        (folder / name).write_text(edit(text))
    bench, names = bench_for(modules_of(top), hdl, list(files), latency, valid=valid, elements=elements)
    inputs, outputs = ({names[port]: row for port, row in part.items()} for part in words)
    write_bench(folder, bench, inputs, outputs)
    return folder


@pytest.mark.parametrize("hdl", HDLS)
def test_right_answers_pass(tmp_path: Path, hdl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    work = tmp_path / "tmp"  # its own: other tests simulate at the same time
    work.mkdir()
    monkeypatch.setenv("TMPDIR", str(work))
    build_folder(tmp_path, adder(3, 130, valid=True), hdl, 3, sums(60, 130), valid=True)
    result = simulate(tmp_path, progress=lambda *cycles: told.append(cycles))
    assert result.passed and not result.message and result.first_failure is None
    assert result.vectors == 60
    assert result.cycles > 2 * 60 + 3  # back to back, with stalls, and the rest
    assert result.simulator == {"verilog": "icarus", "vhdl": "ghdl"}[hdl]
    assert all(done <= total for done, total in told)
    left = {path.name for path in (tmp_path / "sim").iterdir()}
    assert left == {
        "__init__.py",
        "bench.json",
        "inputs.hex",
        "outputs.hex",
        "plan.py",
        "results.json",
        "run.py",
        "simulation.log",
        "test_bench.py",
        "verilated.py",
    }
    assert not list(work.iterdir())


@pytest.mark.parametrize("hdl", HDLS)
def test_combinational(tmp_path: Path, hdl: str) -> None:
    words = sums(40, 9)
    assert simulate(build_folder(tmp_path, adder(0, 9), hdl, 0, words)).passed
    words[1]["total"][17] ^= 4
    result = simulate(build_folder(tmp_path, adder(0, 9), hdl, 0, words))
    assert not result.passed and result.first_failure
    assert (result.first_failure.vector, result.first_failure.cycle) == (17, 17)


@pytest.mark.parametrize("hdl", HDLS)
def test_a_wrong_bit_is_named(tmp_path: Path, hdl: str) -> None:
    words = sums(50, 12)
    right = words[1]["total"][23]
    words[1]["total"][23] = right ^ 1 << 7  # in the second of three elements of 4 bits
    words[1]["total"][31] ^= 1
    result = simulate(build_folder(tmp_path, adder(2), hdl, 2, words, elements={"total": [(3, 4)]}))
    failure = result.first_failure
    assert not result.passed and failure
    assert (failure.output, failure.element, failure.vector, failure.cycle) == ("total", 1, 23, 25)
    assert failure.got == f"0x{right >> 4 & 15:x}" and failure.expected == f"0x{(right >> 4 & 15) ^ 8:x}"
    for part in ("total element 1", failure.got, failure.expected, "vector 23", "cycle 25"):
        assert part in result.message


@pytest.mark.parametrize(("real", "claimed"), [(1, 2), (3, 2), (2, 1), (1, 0), (0, 1)])
def test_a_latency_off_by_one_is_caught(real: int, claimed: int) -> None:
    """Through the fast way, for the plan is the same; the bench's own clock is tried below."""
    trials = []
    for hdl in HDLS:
        top = adder(real, 12, enable=False)
        bench, _ = bench_for([top], hdl, [], real)
        asked = replace(bench, latency=claimed)
        trials += [Trial(b, EMIT[hdl]([top], ""), *sums(20, 12)) for b in (bench, asked)]
    for right, wrong in zip(*[iter(simulate_many(trials))] * 2, strict=True):
        assert right is None
        assert wrong is not None and "output total is" in wrong


@pytest.mark.parametrize("hdl", HDLS)
def test_a_missing_register_is_caught(tmp_path: Path, hdl: str) -> None:
    """The inputs stay until the next falling edge, so this one shows only because outputs are read after that."""
    build = ModuleBuilder("wire", clock=True)
    build.output("y", build.reg(build.input("x", 8)))
    build.output("z", build.not_(build.input("w", 8)))
    rows = [(i * 37 + 5) % 256 for i in range(20)]
    words = {"x": rows, "w": rows}, {"y": rows, "z": [255 - row for row in rows]}
    result = simulate(build_folder(tmp_path, build.build(), hdl, 1, words))
    assert not result.passed and result.first_failure and result.first_failure.output == "z"


@pytest.mark.parametrize("hdl", HDLS)
def test_stalls_catch_a_register_without_clock_enable(tmp_path: Path, hdl: str) -> None:
    def free_running(text: str) -> str:
        if "free" not in text.split("port")[0].split("(")[0]:
            return text
        changed = text.replace("if (ce) ", "").replace("if ce = '1' then", "if true then")
        assert changed != text
        return changed

    top = adder(3, hold=False)
    assert simulate(build_folder(tmp_path, top, hdl, 3, sums(30, 12))).passed
    result = simulate(build_folder(tmp_path, top, hdl, 3, sums(30, 12), edit=free_running))
    assert not result.passed and result.first_failure
    assert (result.first_failure.output, result.first_failure.phase) == ("total", "stalls")


@pytest.mark.parametrize("hdl", HDLS)
def test_valid_out_must_keep_time_and_start_low(tmp_path: Path, hdl: str) -> None:
    def circuit(clocks: int, reset: int | None) -> Module:
        build = ModuleBuilder("timed", clock=True)
        build.output("valid_out", build.delay(build.input("valid_in", 1), clocks, reset))
        build.output("y", build.delay(build.input("x", 4), 2))
        return build.build()

    rows = [i * 7 % 16 for i in range(20)]
    trials = []
    for clocks, reset in ((2, 0), (1, 0), (3, 0), (2, None)):
        top = circuit(clocks, reset)
        bench, _ = bench_for([top], hdl, [], 2, valid=True)
        trials.append(Trial(bench, EMIT[hdl]([top], ""), {"x": rows}, {"y": rows}))
    right, early, late, unknown = simulate_many(trials)
    assert right is None
    assert early is not None and "valid_out is 0x1, not 0x0 (cycle 1," in early
    assert late is not None and "valid_out is 0x0, not 0x1 (vector 0, cycle 2," in late
    assert unknown is not None and "bits without a value" in unknown
    # The same through the bench that users get.
    result = simulate(build_folder(tmp_path, circuit(3, 0), hdl, 2, ({"x": rows}, {"y": rows}), valid=True))
    assert not result.passed and result.first_failure and result.first_failure.output == "valid_out"


@pytest.mark.parametrize("hdl", HDLS)
def test_a_bit_without_a_value_is_no_answer(tmp_path: Path, hdl: str) -> None:
    def cut(text: str) -> str:
        changed = text.replace("assign total = ", "assign total[10:0] = ").replace(
            "total <= ", "-- total <= "
        )
        assert changed != text
        return changed

    result = simulate(build_folder(tmp_path, adder(0), hdl, 0, sums(5, 12), edit=cut))
    assert not result.passed and result.first_failure
    assert "bits without a value" in result.message
    assert set(result.first_failure.got.split()[0]) & {"Z", "X", "U"}


RESET = {
    "verilog": """
        module flag (input clk, input rst, input [3:0] x, output reg [3:0] y);
          reg told;
          always @(posedge clk) begin
            if (rst) told <= 0;
            y <= rst ? 4'd0 : x | {4{told}};
          end
        endmodule
    """,
    "vhdl": """
        library ieee;
        use ieee.std_logic_1164.all;
        entity flag is
          port (clk, rst : in std_logic; x : in std_logic_vector(3 downto 0);
                y : out std_logic_vector(3 downto 0));
        end entity;
        architecture rtl of flag is
          signal told : std_logic;
        begin
          process (clk) begin
            if rising_edge(clk) then
              if rst = '1' then
                told <= '0';
                y <= "0000";
              else
                y <= x or (3 downto 0 => told);
              end if;
            end if;
          end process;
        end architecture;
    """,
}


@pytest.mark.parametrize("hdl", HDLS)
def test_reset_comes_first(tmp_path: Path, hdl: str) -> None:
    """A flag that has no value before its reset, and an output that stays 0 during one."""
    bench = Bench("flag", hdl, ["flag.vhd"], 1, True, False, False, [("x", 4)], [("y", 4)], reset=True)
    if hdl == "verilog":
        bench = replace(bench, sources=["flag.v"])
    (tmp_path / bench.sources[0]).write_text(RESET[hdl])
    words = {"x": [1, 2, 3]}, {"y": [1, 2, 3]}
    write_bench(tmp_path, bench, *words)
    assert simulate(tmp_path).passed
    assert simulate_many([Trial(bench, {bench.sources[0]: RESET[hdl]}, *words)]) == [None]


@pytest.mark.parametrize("hdl", HDLS)
def test_what_does_not_compile_is_an_error(tmp_path: Path, hdl: str) -> None:
    build_folder(tmp_path, adder(1), hdl, 1, sums(5, 12), edit=lambda text: text.replace("total", "@", 1))
    with pytest.raises(LirError, match="could not compile the circuit") as caught:
        simulate(tmp_path)
    assert f"adder.{'v' if hdl == 'verilog' else 'vhd'}:" in str(caught.value)  # the compiler's own words


def test_a_bench_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    described = tmp_path / "sim" / "bench.json"
    described.write_text(described.read_text().replace('["a", 12]', '["a", 13]'))
    with pytest.raises(LirError, match="port a has 12 bits"):
        simulate(tmp_path)
    described.write_text(described.read_text().replace('["a", 13]', '["c", 12]'))
    with pytest.raises(LirError, match="no port c"):
        simulate(tmp_path)
    described.write_text(described.read_text().replace('"vectors": 5', '"vectors": 6'))
    with pytest.raises(LirError, match="5 vectors, but"):
        simulate(tmp_path)


def test_a_missing_simulator_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for hdl, package in (("verilog", "iverilog"), ("vhdl", "ghdl")):
        with pytest.raises(LirError, match=f"{package} is not installed.*\n.*apt install {package}"):
            simulate(build_folder(tmp_path, adder(1), hdl, 1, sums(5, 12)))


def test_a_wrong_choice_of_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    with pytest.raises(LirError, match="ghdl reads vhdl"):
        simulate(tmp_path, simulator="ghdl")
    monkeypatch.setenv("LUTC_SIM", "icarsu")
    with pytest.raises(LirError, match="names no simulator: icarsu"):
        simulate(tmp_path)
    with pytest.raises(LirError, match="holds no bench"):
        simulate(tmp_path / "elsewhere")


FORGERIES = {
    "nothing": None,
    "no verdict": "{}",
    "half a file": '{"passed": true, "vec',
    "no vectors": {"vectors": 0, "checked": 0},
    "fewer vectors": {"vectors": 4, "checked": 4},
    "unchecked": {"vectors": 5, "checked": 0},
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("status", [0, 1])
def test_no_verdict_is_never_a_pass(tmp_path: Path, forgery: str, status: int) -> None:
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    good = {"passed": True, "vectors": 5, "cycles": 9, "checked": 5, "first_failure": None, "message": ""}
    content = FORGERIES[forgery]
    text = json.dumps(good | {"simulator": "icarus"} | content) if isinstance(content, dict) else content
    write = f"open(r'{tmp_path}/sim/results.json', 'w').write({text!r})" if text is not None else ""
    (tmp_path / "sim" / "run.py").write_text(
        f"import sys\nprint('I was here')\n{write}\nsys.exit({status})\n"
    )
    try:
        result: Result | None = simulate(tmp_path)
    except LirError as caught:
        assert "left no verdict" in str(caught) and "I was here" in str(caught)
        result = None
    assert result is None or (not result.passed and result.message)
    assert (result is None) == (forgery in ("nothing", "no verdict", "half a file"))


def test_a_simulator_that_hangs_is_ended(tmp_path: Path) -> None:
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    endless = "initial forever begin end\nendmodule"
    source = tmp_path / "adder.v"
    source.write_text(source.read_text().replace("endmodule", endless))
    with pytest.raises(LirError, match=r"no sign of life for 1\.5 s"):
        simulate(tmp_path, timeout=1.5)


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C in a terminal, as the program that called `simulate` sees it."""
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    source = tmp_path / "adder.v"
    source.write_text(source.read_text().replace("endmodule", "initial forever begin end\nendmodule"))
    work = tmp_path / "tmp"
    work.mkdir()
    program = (
        "import signal; from pathlib import Path; from lutc.backends.simulate import simulate\n"
        # What starts the tests may have told all below it to ignore Ctrl-C, as shells do for background jobs.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"try: simulate(Path({str(tmp_path)!r}))\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    environment = os.environ | {"TMPDIR": str(work)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as run:
        while not list(work.glob("lutc-sim-*/sim.vvp")) and run.poll() is None:
            time.sleep(0.05)
        try:
            assert list(work.iterdir())
            run.send_signal(signal.SIGINT)
            assert run.communicate(timeout=20)[0] == "interrupted\n"
        finally:
            run.kill()  # nothing to do if it has ended; else the test would wait for it for ever
    assert not list(work.iterdir())
    assert not (tmp_path / "sim" / "results.json").exists()
    assert not _alive(str(work))


def _alive(word: str) -> list[str]:
    """The processes whose command line or folder holds a word."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode() + os.readlink(
                process / "cwd"
            )
        except OSError:
            continue
        if word in told:
            found.append(told)
    return found


def test_the_bench_runs_without_lutc(tmp_path: Path) -> None:
    """By hand, moved elsewhere, from another folder; its status says the verdict."""
    build_folder(tmp_path, adder(2), "verilog", 2, sums(30, 12))
    moved = tmp_path / "some where" / "else"
    moved.mkdir(parents=True)
    shutil.copytree(tmp_path / "sim", moved / "sim")
    shutil.copy(tmp_path / "adder.v", moved)
    # No module called lutc can be imported there.
    (tmp_path / "lutc.py").write_text("raise ImportError('the bench must not need lutc')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "COCOTB_TEST_FILTER": "none", "WAVES": "0"}

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(moved / "sim" / "run.py"), "--waves"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = run()
    assert done.returncode == 0 and "passed: 30 vectors" in done.stdout, done.stdout + done.stderr
    assert (moved / "sim" / "waves.fst").stat().st_size > 0
    lines = (moved / "sim" / "outputs.hex").read_text().splitlines()
    lines[5] = f"{int(lines[5], 16) ^ 1:x}"
    (moved / "sim" / "outputs.hex").write_text("\n".join(lines))
    done = run()
    assert done.returncode == 1 and "vector 4, cycle 6, stream" in done.stdout


def test_a_bench_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    bench = Bench("t", "verilog", ["t.v"], 1, True, False, False, [("a", 4)], [("y", 4)])
    good = {"a": [1, 2]}, {"y": [3, 4]}
    write_bench(tmp_path, bench, *good)
    before = sorted(path.name for path in tmp_path.iterdir())
    for inputs, outputs in (
        ({"a": [1]}, good[1]),
        ({"a": [1, 16]}, good[1]),
        ({"a": [1, -1]}, good[1]),
        ({"b": [1, 2]}, good[1]),
        ({"a": []}, {"y": []}),
    ):
        with pytest.raises(ValueError, match=r"words|fit|vector"):
            write_bench(tmp_path, bench, inputs, outputs)
    for wrong in (
        Bench("t", "verilog", [], 1, False, False, False, [], [("y", 4)]),
        Bench("t", "verilog", [], 0, False, True, False, [], [("y", 4)]),
        Bench("t", "verilog", [], 0, False, False, False, [("a", 4)], []),
        Bench("t", "verilog", [], 0, False, False, False, [("a", 4)], [("y", 4)], {"y": [(3, 1)]}),
    ):
        with pytest.raises(ValueError, match=r"needs|add up"):
            write_bench(tmp_path, wrong, *good)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def _bench(latency: int, enable: bool = False, valid: bool = False) -> Bench:
    return Bench("t", "verilog", [], latency, latency > 0, enable, valid, [("a", 4)], [("y", 4)])


@pytest.mark.parametrize("latency", [0, 1, 4])
@pytest.mark.parametrize("enable", [False, True])
@pytest.mark.parametrize("valid", [False, True])
def test_the_plan(latency: int, enable: bool, valid: bool) -> None:
    """Every vector is due exactly `latency` enabled cycles after it was taken, and nothing is forgotten."""
    plan: list[Step] = list(steps(_bench(latency, enable and latency > 0, valid), 20))
    taken: list[int | None] = [None] * latency
    for step in plan:
        if latency == 0:
            taken = [step.drive if step.valid or not valid else None]
        assert step.check == (taken[-latency] if latency else taken[-1])
        assert step.check_valid == (step.check is not None)
        if step.enable and latency:
            taken.append(step.drive if step.valid or not valid else None)
    for phase in ["stream", "stalls"][: 1 + (valid or (enable and latency > 0))]:
        given = [s.drive for s in plan if s.phase == phase and s.enable and s.valid]
        assert given == list(range(20))
    assert {step.check for step in plan if step.check is not None} == set(range(20))
    assert any(not step.enable for step in plan) == (enable and latency > 0)


def test_circuits_of_one_name_in_one_batch() -> None:
    """And one that does not compile, one that is wrong: each has its own answer."""
    trials = []
    for hdl in HDLS:
        for latency, width, valid in ((0, 1, False), (2, 70, True), (1, 12, False)):
            top = adder(latency, width, valid=valid)
            bench, _ = bench_for([top], hdl, [], latency, valid=valid)
            trials.append(Trial(bench, EMIT[hdl]([top], ""), *sums(25, width)))
        trials.append(Trial(trials[-1].bench, {"adder.v": "modul", "b.vhd": "entiti"}, *sums(5, 12)))
        words = sums(25, 12)
        words[1]["total"][7] ^= 1
        trials.append(Trial(trials[-2].bench, trials[-2].files, *words))
    answers = simulate_many(trials)
    for one, two, three, broken, wrong in (answers[:5], answers[5:]):
        assert (one, two, three) == (None, None, None)
        assert broken is not None and "ended with status" in broken
        assert wrong is not None and "vector 7, cycle 8" in wrong
