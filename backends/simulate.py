"""Simulation: the bench of a build folder, and running it.

The bench is cocotb's and stands alone in `sim/` of the build folder; `python sim/run.py` runs it without lutc. See
`bench/plan.py` for what it drives and checks.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.files.writing import naming, write_text
from lutc.rtl.nets import DATA, VALID, Module

from .arrangement import arrange, by_data_port
from .bench.plan import Bench, Failure, save

__all__ = ["Bench", "Failure", "Result", "bench_for", "simulate", "write_bench"]

_FILES = ("__init__.py", "plan.py", "run.py", "test_bench.py", "verilated.py")
_MERCY = 5.0  # seconds that a simulation has to end when told to
_TOLD = 12  # lines of a simulator's messages that an error repeats
_PROGRESS = re.compile(r"cycle (\d+) of (\d+)$")


@dataclass(frozen=True)
class Result:
    """The verdict of a simulation. `message` is empty if it passed; `seconds` include compilation."""

    passed: bool
    vectors: int
    cycles: int
    message: str
    first_failure: Failure | None
    seconds: float
    simulator: str


def bench_for(
    modules: Sequence[Module],
    hdl: str,
    sources: Sequence[str],
    latency: int,
    *,
    valid: bool = False,
    elements: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> tuple[Bench, dict[str, str]]:
    """The bench of a circuit whose last module is the top, and its data ports' identifiers by the names asked for.

    `hdl` is "verilog" or "vhdl"; `sources` are paths from the build folder. `valid` says that the top has the
    ports valid_in and valid_out; `elements` are `vectors.element_runs`, by the names asked for.
    """
    layout = {placed.module: placed for placed in arrange(modules)}[modules[-1]]
    top = layout.module
    names = {asked: name for asked, name in layout.ports.items() if not valid or asked not in VALID}
    bench = Bench(
        layout.name,
        hdl,
        list(sources),
        latency,
        top.clock,
        top.clock_enable,
        valid,
        [(names[port.port], port.width) for port in top.inputs if port.port in names],
        [(names[port.port], port.net.width) for port in top.outputs if port.port in names],
        {names.get(asked + DATA) or names[asked]: runs for asked, runs in (elements or {}).items()},
        top.reset,
    )
    return bench, by_data_port(names)


def write_bench(
    folder: Path, bench: Bench, vectors: Mapping[str, Sequence[int]], expected: Mapping[str, Sequence[int]]
) -> None:
    """Write `folder/sim/`, in place of what was there.

    `vectors` and `expected` hold the words of each input and output port, by its identifier (`vectors.stimulus`).
    The folder comes into being whole or not at all. Raises ValueError if words and ports do not fit together.
    """
    _fit(bench)
    count = len(next(iter(expected.values()))) if expected else len(next(iter(vectors.values()), ()))
    if not count:
        raise ValueError("a bench needs at least one vector")
    inputs, outputs = _rows(bench.inputs, vectors, count), _rows(bench.outputs, expected, count)
    with tempfile.TemporaryDirectory(prefix=".sim-", dir=folder) as new:
        sim = Path(new) / "sim"
        sim.mkdir()
        with naming(folder / "sim"):
            for name in _FILES:
                (sim / name).write_bytes((Path(__file__).parent / "bench" / name).read_bytes())
            save(sim, bench, inputs, outputs)
        if (folder / "sim").exists():
            (folder / "sim").rename(Path(new) / "old")
        sim.rename(folder / "sim")


def _fit(bench: Bench) -> None:
    if bench.latency and not bench.clock:
        raise ValueError("a latency needs a clock")
    if bench.clock_enable and not bench.clock:
        raise ValueError("a clock enable needs a clock")
    if not bench.outputs and not bench.valid:
        raise ValueError("a bench needs an output")
    widths = dict(bench.outputs)
    for name, runs in bench.elements.items():
        if sum(count * width for count, width in runs) != widths.get(name):
            raise ValueError(f"the elements of {name} do not add up to its {widths.get(name)} bits")


def _rows(
    ports: Sequence[tuple[str, int]], words: Mapping[str, Sequence[int]], count: int
) -> list[list[int]]:
    if set(words) != {name for name, _ in ports}:
        raise ValueError(
            f"the ports are {[name for name, _ in ports]}, and there are words for {list(words)}"
        )
    for name, width in ports:
        if len(words[name]) != count:
            raise ValueError(f"{name} has {len(words[name])} words, not {count}")
        if any(not 0 <= word < 1 << width for word in words[name]):
            raise ValueError(f"a word for {name} does not fit its {width} bits")
    return (
        [list(row) for row in zip(*(words[name] for name, _ in ports), strict=True)]
        if ports
        else [[]] * count
    )


def simulate(
    folder: Path,
    *,
    simulator: str | None = None,
    timeout: float = 900.0,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Run the bench of a build folder in a process of its own.

    `simulator` is "icarus", "ghdl", "verilator" or "auto"; by default LUTC_SIM or what fits the language and the
    number of vectors. `timeout` is how
    many seconds may pass without a sign of life. `progress` is called with cycles done and cycles in all. What the
    simulator says is kept in sim/simulation.log. Raises LirError where there is no verdict: no bench, no
    simulator, a circuit that does not compile, a simulator that crashes or hangs.
    """
    sim = folder / "sim"
    _described(folder)
    start = time.monotonic()
    command = [sys.executable, str(sim / "run.py"), *(["--simulator", simulator] if simulator else [])]
    results, log = sim / "results.json", sim / "simulation.log"
    results.unlink(missing_ok=True)
    lines: list[str] = []
    # A session of its own, so that all it started can be ended together.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # closed when this process ends, however it does: then the simulation ends too
        env=os.environ | {"LUTC_WATCHED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            for line in _lines(process, timeout):
                if found := _PROGRESS.match(line):
                    if progress:
                        progress(int(found[1]), int(found[2]))
                else:
                    lines.append(line)
            process.wait(_MERCY)
        except (TimeoutError, subprocess.TimeoutExpired):
            _end(process)
            raise error(
                f"the simulation gave no sign of life for {timeout:g} s and was ended", help=_tail(lines)
            ) from None
        finally:
            _end(process)
            results.with_suffix(".json.part").unlink(missing_ok=True)
    write_text(log, "\n".join([*lines, ""]))
    return _verdict(results, folder, process.returncode, lines, time.monotonic() - start)


def reads(folder: Path) -> list[str]:
    """The files that a simulation rests on, as paths from the build folder. Raises LirError if there is no bench."""
    own = [f"sim/{name}" for name in (*_FILES, "bench.json", "inputs.hex", "outputs.hex")]
    return [*_described(folder)["sources"], *own]


def _described(folder: Path) -> dict[str, Any]:
    """What bench.json says: the fields of a `Bench`, and `vectors`."""
    if not (folder / "sim" / "run.py").exists():
        raise error(
            f"{folder} holds no bench", help="compile a design into it: lutc compile DESIGN -o FOLDER"
        )
    file = folder / "sim" / "bench.json"
    try:
        found = json.loads(file.read_text("utf-8"))
        Bench(**{key: value for key, value in found.items() if key != "vectors"})
        right = isinstance(found["top"], str) and isinstance(found["vectors"], int)
        right = right and found["hdl"] in ("verilog", "vhdl")
        for kind, names in ((str, found["sources"]), (list, [*found["inputs"], *found["outputs"]])):
            right = right and isinstance(names, list) and all(isinstance(name, kind) for name in names)
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError):
        right = False
    if not right:
        raise error("it does not describe a bench", where=str(file), help="compile the design again")
    return dict(found)


def _verdict(results: Path, folder: Path, status: int, lines: list[str], seconds: float) -> Result:
    try:
        found: dict[str, Any] = json.loads(results.read_text())
        if "error" in found:
            # Its last lines repeat the error itself.
            own = [line for line in lines if not line.startswith(("error:", "  = help:"))]
            raise error(f"simulation: {found['error']}", help=found["help"] or _tail(own))
        count = _described(folder)["vectors"]
        passed = found["passed"] is True and status == 0
        failure = Failure(**found["first_failure"]) if found["first_failure"] else None
        message = found["message"]
        if passed and not (found["vectors"] == count > 0 and found["checked"] >= count and failure is None):
            passed = False
            message = (
                f"{found['checked']} answers of {found['vectors']} vectors were checked, not all of {count}"
            )
        if not passed and not message:
            message = f"the bench ended with status {status}"
        return Result(
            passed, found["vectors"], found["cycles"], message, failure, seconds, found["simulator"]
        )
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        raise error(
            f"the simulation left no verdict and ended with {how} ({type(wrong).__name__}: {wrong})",
            help=_tail(lines),
        ) from None


def _lines(process: subprocess.Popen[str], timeout: float) -> Iterator[str]:
    """What a process says, line by line. Raises TimeoutError if it says nothing for `timeout` seconds."""
    said: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        # Closed under our feet when the process has to end before it has said all.
        with suppress(ValueError):
            for line in process.stdout:
                said.put(line.rstrip("\n"))
        said.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            line = said.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        yield line


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and all it started. It is asked first, so that it can remove its temporary folder."""
    if process.poll() is not None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_MERCY)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(lines: Sequence[str]) -> str:
    last = [line for line in lines if line.strip()][-_TOLD:]
    return "its last words:" + "".join(f"\n      {line}" for line in last) if last else "it said nothing"
