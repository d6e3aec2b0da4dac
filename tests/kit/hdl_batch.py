"""Many small circuits through the simulators, fast: for the tests that try hundreds of random designs.

cocotb takes a second to start. Here a test bench in the circuit's own language plays the rows of a file and prints
what it sees; Python plans the rows and judges what was seen, by the same plan as the bench that users get. A
circuit takes 20 ms in Icarus and 40 ms in GHDL, so each has a process of its own, and a broken one spoils no other.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from conftest import need_tool
from lutc.backends.bench.plan import Bench, difference, steps

_TIMEOUT = 120.0


@dataclass(frozen=True)
class Trial:
    """A circuit to try. `files` are its sources by name, as the printers give them, in the order of compilation
    (`bench.sources` plays no part); `vectors` and `expected` hold the words of each port."""

    bench: Bench
    files: Mapping[str, str]
    vectors: Mapping[str, Sequence[int]]
    expected: Mapping[str, Sequence[int]]


def simulate_many(trials: Sequence[Trial]) -> list[str | None]:
    """For each trial None if every answer was right, else what was wrong: the first failure, or the tool's words."""
    for tool in {"iverilog" if trial.bench.hdl == "verilog" else "ghdl" for trial in trials}:
        need_tool(tool)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(simulate_one, trials))
        finally:
            pool.shutdown(cancel_futures=True)


def simulate_one(trial: Trial) -> str | None:
    """As `simulate_many`, for one."""
    bench = trial.bench
    count = len(next(iter((trial.expected or trial.vectors).values())))
    inputs = [[trial.vectors[name][i] for name, _ in bench.inputs] for i in range(count)]
    answers = [[trial.expected[name][i] for name, _ in bench.outputs] for i in range(count)]
    plan = list(steps(bench, count))
    rows = [_row(bench, inputs[0], 1, 0, 0)] * 2 if bench.reset else []
    rows += [_row(bench, inputs[step.drive], 0, step.enable, step.valid) for step in plan]
    with tempfile.TemporaryDirectory(prefix="lutc-batch-") as folder:
        for name, text in trial.files.items():
            Path(folder, name).write_text(text)
        Path(folder, "rows.txt").write_text("\n".join([*rows, ""]))
        done = _run(bench, list(trial.files), len(rows), Path(folder))
    if isinstance(done, str):
        return done
    if len(done) != len(rows):
        return f"{len(done)} of {len(rows)} cycles were seen:\n" + "\n".join(done[-5:])
    checked = 0
    for cycle, (step, bits) in enumerate(zip(plan, done[len(done) - len(plan) :], strict=True)):
        got, at = {}, 0
        for name, width in _seen(bench):
            got[name] = bits[at : at + width].upper()
            at += width
        checked += step.check is not None
        if failure := difference(bench, cycle, step, answers[step.check or 0], got):
            return str(failure)
    return None if checked >= count else f"{checked} answers were checked, not all of {count}"


def _played(bench: Bench) -> list[tuple[str, int]]:
    """The ports in a row, highest bits first. The first bit is played to nobody: a circuit may have no inputs."""
    controls = {"rst": bench.reset, "ce": bench.clock_enable, "valid_in": bench.valid}
    return [("", 1), *((name, 1) for name, there in controls.items() if there), *bench.inputs]


def _seen(bench: Bench) -> list[tuple[str, int]]:
    return [*([("valid_out", 1)] if bench.valid else []), *bench.outputs]


def _row(bench: Bench, words: Sequence[int], reset: int, enable: int, valid: int) -> str:
    bits = {"": "0", "rst": str(reset), "ce": str(int(enable)), "valid_in": str(int(valid))}
    for (name, width), word in zip(bench.inputs, words, strict=True):
        bits[name] = f"{word:0{width}b}"
    return "".join(bits[name] for name, _ in _played(bench))


def _slices(ports: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """(port, highest bit, lowest bit) of ports that lie side by side, the first one highest."""
    top = sum(width for _, width in ports)
    found = []
    for name, width in ports:
        found.append((name, top - 1, top - width))
        top -= width
    return [entry for entry in found if entry[0]]


def _run(bench: Bench, files: list[str], rows: int, folder: Path) -> list[str] | str:
    """The lines seen, or what the compiler or the simulator said instead."""
    if bench.hdl == "verilog":
        (folder / "lutc_tb.v").write_text(_verilog(bench, rows))
        compiled = _tool(["iverilog", "-g2005", "-o", "tb.vvp", "-s", "lutc_tb", *files, "lutc_tb.v"], folder)
        if isinstance(compiled, str):
            return compiled
        return _tool(["vvp", "-n", "tb.vvp"], folder)
    (folder / "lutc_tb.vhd").write_text(_vhdl(bench, rows))
    command = ["ghdl", "-c", "--std=08", *files, "lutc_tb.vhd", "-r", "lutc_tb", "--ieee-asserts=disable"]
    return _tool(command, folder)


def _tool(command: list[str], folder: Path) -> list[str] | str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {_TIMEOUT:g} s"
    if done.returncode:
        return (
            f"{command[0]} ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout.splitlines()


def _verilog(bench: Bench, rows: int) -> str:
    played, seen = _played(bench), _seen(bench)
    pins = [".clk(clk)"] if bench.clock else []
    pins += [f".{name}(row[{high}:{low}])" for name, high, low in _slices(played)]
    pins += [f".{name}(seen[{high}:{low}])" for name, high, low in _slices(seen)]
    width = sum(width for _, width in played)
    return f"""\
module lutc_tb;
  reg [{width - 1}:0] rows [0:{rows - 1}];
  reg [{width - 1}:0] row;
  wire [{sum(width for _, width in seen) - 1}:0] seen;
  reg clk;
  integer i;
  {bench.top} u0 ({", ".join(pins)});
  initial begin
    $readmemb("rows.txt", rows);
    clk = 0;
    for (i = 0; i < {rows}; i = i + 1) begin
      row = rows[i];
      #1 $display("%b", seen);
      clk = 1;
      #1 clk = 0;
    end
  end
endmodule
"""


def _vhdl(bench: Bench, rows: int) -> str:
    def pin(name: str, wire: str, high: int, low: int) -> str:
        return f"{name} => {wire}({high})" if high == low else f"{name} => {wire}({high} downto {low})"

    played, seen = _played(bench), _seen(bench)
    pins = ["clk => clk"] if bench.clock else []
    pins += [pin(name, "row", high, low) for name, high, low in _slices(played)]
    pins += [pin(name, "seen", high, low) for name, high, low in _slices(seen)]
    return f"""\
library ieee;
use ieee.std_logic_1164.all;
use std.textio.all;

entity lutc_tb is
end entity;

architecture test of lutc_tb is
  signal row : std_logic_vector({sum(width for _, width in played) - 1} downto 0);
  signal seen : std_logic_vector({sum(width for _, width in seen) - 1} downto 0);
  signal clk : std_logic := '0';
begin
  u0 : entity work.{bench.top} port map ({", ".join(pins)});

  process
    file rows : text open read_mode is "rows.txt";
    variable text_in, text_out : line;
    variable bits : std_logic_vector(row'range);
  begin
    for i in 1 to {rows} loop
      readline(rows, text_in);
      read(text_in, bits);
      row <= bits;
      wait for 1 ns;
      write(text_out, to_string(seen));
      writeline(output, text_out);
      clk <= '1';
      wait for 1 ns;
      clk <= '0';
    end loop;
    wait;
  end process;
end architecture;
"""
