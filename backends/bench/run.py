"""Simulate the circuit of this build folder and compare every answer.   python sim/run.py [--help]

Needs cocotb (pip install "cocotb>=2.1,<3") and a simulator: Icarus Verilog (Debian: iverilog) for Verilog, GHDL
(Debian: ghdl) for VHDL. Verilator (Debian: verilator) is quicker from some thousand vectors on, but has to compile
first; it needs g++ and not cocotb. The
verdict is written to results.json here. Exit status: 0 all answers are right, 1 one is wrong, 2 no verdict.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent


class Simulator(NamedTuple):
    hdl: str
    command: str
    package: str
    build: list[str]
    start: list[str]


SIMULATORS = {
    "icarus": Simulator("verilog", "iverilog", "apt install iverilog", ["-g2005"], []),
    # numeric_std complains of registers that have no value yet; outputs without a value are found by the bench.
    "ghdl": Simulator("vhdl", "ghdl", "apt install ghdl", ["--std=08"], ["--ieee-asserts=disable"]),
    "verilator": Simulator("verilog", "verilator", "apt install verilator g++", [], []),
}


MANY = 5000  # vectors from which it pays to compile the circuit


class Trouble(Exception):
    """No verdict: what is wrong, and what to do; without that, the simulator's own messages tell."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.help = help


def main() -> int:
    """Run the bench as the command line says; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = f"default: $LUTC_SIM if it fits; icarus, from {MANY} vectors on verilator if it is there; ghdl"
    parser.add_argument("--simulator", choices=["auto", *SIMULATORS], help=usual)
    parser.add_argument("--waves", action="store_true", help="keep the signals in sim/waves.fst or .ghw")
    options = parser.parse_args()
    results = HERE / "results.json"
    results.unlink(missing_ok=True)
    start = time.monotonic()
    try:
        bench = json.loads((HERE / "bench.json").read_text())
        asked = None if options.simulator == "auto" else options.simulator
        if options.waves and asked == "verilator":
            raise Trouble("verilator keeps no signals here", "use icarus for --waves")
        name = choose(asked, bench["hdl"], 0 if options.waves else bench["vectors"])
        with tempfile.TemporaryDirectory(prefix="lutc-sim-") as work:
            verdict = simulate(name, Path(work), options.waves)
        verdict |= {"simulator": name, "seconds": round(time.monotonic() - start, 3)}
    except Trouble as trouble:
        verdict = {"error": str(trouble), "help": trouble.help}
    part = HERE / "results.json.part"
    part.write_text(json.dumps(verdict, indent=2) + "\n")
    part.replace(results)
    if "error" in verdict:
        print(f"error: {verdict['error']}\n  = help: {verdict['help'] or 'see above'}", file=sys.stderr)
        return 2
    if verdict["passed"]:
        print(f"passed: {verdict['vectors']} vectors, {verdict['cycles']} cycles, {verdict['seconds']:.1f} s")
    else:
        print(f"FAILED: {verdict['message']}")
    return 0 if verdict["passed"] else 1


def choose(asked: str | None, hdl: str, vectors: int = 0) -> str:
    """The simulator to use, which is there. Raises Trouble."""
    wished = os.environ.get("LUTC_SIM") or None
    if wished and wished not in SIMULATORS:
        raise Trouble(f"LUTC_SIM names no simulator: {wished}", f"one of: {', '.join(SIMULATORS)}")
    usual = {"verilog": "icarus", "vhdl": "ghdl"}[hdl]
    if usual == "icarus" and not asked and not wished and vectors >= MANY and _has_verilator():
        return "verilator"
    name = asked or (wished if wished and SIMULATORS[wished].hdl == hdl else usual)
    simulator = SIMULATORS[name]
    if simulator.hdl != hdl:
        raise Trouble(f"{name} reads {simulator.hdl}, and this circuit is written in {hdl}", f"use {usual}")
    if shutil.which(simulator.command) is None:
        raise Trouble(f"the simulator {simulator.command} is not installed", simulator.package)
    if name == "verilator":
        if not _has_verilator():
            raise Trouble("verilator needs make and a C++ compiler", "apt install make g++")
        return name
    if importlib.util.find_spec("cocotb_tools") is None:
        raise Trouble("cocotb is not installed", f'{sys.executable} -m pip install "cocotb>=2.1,<3"')
    return name


def _has_verilator() -> bool:
    """Whether Verilator can make programs here."""
    return all(map(shutil.which, ("verilator", "make", "g++")))


def simulate(name: str, work: Path, waves: bool) -> dict[str, Any]:
    """Compile and run in the folder `work`; the verdict of the cocotb test. Raises Trouble if there is none."""
    if name == "verilator":
        return verilated(work)
    from cocotb_tools.runner import get_runner

    # What a user's shell or a test runner sets for other cocotb tests must not choose, skip or log here.
    for variable in [v for v in os.environ if v.startswith(("COCOTB_", "PYTEST_"))] + ["WAVES", "GUI"]:
        os.environ.pop(variable, None)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    bench = json.loads((HERE / "bench.json").read_text())
    simulator, top = SIMULATORS[name], bench["top"]
    sys.path.insert(0, str(HERE.parent))  # where the simulator's Python finds the package `sim`
    verdict = work / "verdict.json"
    time_unit = ("1ns", "1ps")
    runner = get_runner(name)
    runner.log.setLevel("WARNING")
    try:
        # cocotb's own file that records signals is SystemVerilog.
        arguments = ["-g2012"] if waves and name == "icarus" else simulator.build
        runner.build(
            sources=[HERE.parent / source for source in bench["sources"]],
            hdl_toplevel=top,
            build_dir=work,
            build_args=arguments,
            always=True,
            waves=waves,
            timescale=time_unit,
        )
    except (RuntimeError, SystemExit) as failed:
        raise Trouble(f"{name} could not compile the circuit: {failed}") from None
    try:
        runner.test(
            test_module=f"{HERE.name}.test_bench",
            hdl_toplevel=top,
            waves=waves,
            timescale=time_unit,
            test_args=["--std=08"] if name == "ghdl" else [],
            plusargs=simulator.start,
            extra_env={"COCOTB_LOG_LEVEL": "ERROR", "GPI_LOG_LEVEL": "ERROR", "LUTC_VERDICT": str(verdict)},
        )
        ended = "the simulator ended before the test had"
    except (RuntimeError, SystemExit) as failed:
        verdict.unlink(missing_ok=True)
        ended = f"{name} failed: {failed}"
    for wave in (work / f"{top}.fst", work / f"{top}.ghw", work / "dump.fst", work / "dump.vcd"):
        if wave.exists():
            shutil.move(wave, HERE / f"waves{wave.suffix}")
    if not verdict.exists():
        raise Trouble(ended)
    found: dict[str, Any] = json.loads(verdict.read_text())
    if "error" in found:
        raise Trouble(found["error"], "compile the design again: the bench and the circuit do not fit")
    return found


def verilated(work: Path) -> dict[str, Any]:
    """The same with a program that Verilator makes of the circuit. Raises Trouble."""
    sys.path.insert(0, str(HERE.parent))
    module = importlib.import_module(f"{HERE.name}.verilated")
    try:
        found: dict[str, Any] = module.simulate(HERE, work)
    except module.Failed as failed:
        raise Trouble(str(failed)) from None
    except ValueError as wrong:
        raise Trouble(str(wrong), "compile the design again: the bench and the circuit do not fit") from None
    return found


def _end_with_parent() -> None:
    """End as soon as nobody holds the other end of the standard input, which whoever started this keeps open."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)  # as Ctrl-C: the simulator is ended and the work folder goes
    if os.environ.pop("LUTC_WATCHED", None):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
