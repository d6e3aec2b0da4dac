"""The cocotb test: it plays the plan and stops at the first wrong output.

The clock is driven from here, in halves: inputs change after the falling edge, outputs are read just before the
rising edge. So nothing depends on the order in which a simulator handles what happens at one time, and an output
that misses its register is told from one that has it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.handle import Immediate
from cocotb.triggers import Timer

from .plan import Bench, Failure, Step, difference, load, steps

NEWS = 0.5  # seconds between two lines about the progress
LOW, HIGH = Immediate(0), Immediate(1)


@cocotb.test()
async def test_bench(dut: Any) -> None:
    """All vectors of the bench. The verdict goes to the file that LUTC_VERDICT names."""
    results = Path(os.environ["LUTC_VERDICT"])
    try:
        player = Player(dut, *load(Path(__file__).parent))
        failure = await player.play()
    except Exception as mistake:
        results.write_text(json.dumps({"error": f"{type(mistake).__name__}: {mistake}"}))
        raise
    verdict = {
        "passed": failure is None and player.checked > 0,
        "vectors": len(player.expected),
        "cycles": player.cycle,
        "checked": player.checked,
        "first_failure": failure and dataclasses.asdict(failure),
        "message": str(failure or "") or ("" if player.checked else "no output was checked"),
    }
    results.write_text(json.dumps(verdict))
    assert verdict["passed"], verdict["message"]


class Player:
    """Drives the ports and reads them."""

    def __init__(self, dut: Any, bench: Bench, inputs: list[list[int]], expected: list[list[int]]) -> None:
        self.bench, self.words, self.expected = bench, inputs, expected
        ports = [*bench.outputs, *([("valid_out", 1)] if bench.valid else [])]
        self.inputs = [_port(dut, name, width) for name, width in bench.inputs]
        self.outputs = [(name, _port(dut, name, width)) for name, width in ports]
        self.controls = {name: _port(dut, name, 1) for name in _controls(bench)}
        self.half = Timer(5, "ns")
        self.cycle = self.checked = 0

    async def play(self) -> Failure | None:
        """Run the plan to its end, or to the first failure."""
        await self.start()
        total = sum(1 for _ in steps(self.bench, len(self.expected)))
        news = time.monotonic() + NEWS
        clock = self.controls.get("clk")
        for step in steps(self.bench, len(self.expected)):
            self.drive(step)
            await self.half
            if failure := self.check(step):
                return failure
            if clock is not None:
                clock.set(HIGH)
                await self.half
                clock.set(LOW)
            self.cycle += 1
            if time.monotonic() > news:
                news = time.monotonic() + NEWS
                print(f"cycle {self.cycle} of {total}", flush=True)
        return None

    async def start(self) -> None:
        """Everything low, and where there is a reset, two cycles of it."""
        # Icarus 11 loses what is written before its own first evaluation: nets that read it never change again.
        await self.half
        for handle in (*self.controls.values(), *self.inputs):
            handle.set(LOW)
        await self.half
        if "rst" in self.controls:
            self.controls["rst"].set(HIGH)
            for level in (HIGH, LOW, HIGH, LOW):
                self.controls["clk"].set(level)
                await self.half
            self.controls["rst"].set(LOW)

    def drive(self, step: Step) -> None:
        for handle, word in zip(self.inputs, self.words[step.drive], strict=True):
            handle.set(Immediate(word))
        if self.bench.clock_enable:
            self.controls["ce"].set(HIGH if step.enable else LOW)
        if self.bench.valid:
            self.controls["valid_in"].set(HIGH if step.valid else LOW)

    def check(self, step: Step) -> Failure | None:
        if step.check is None and not self.bench.valid:
            return None
        self.checked += step.check is not None
        got = {name: str(handle.value) for name, handle in self.outputs}
        return difference(self.bench, self.cycle, step, self.expected[step.check or 0], got)


def _controls(bench: Bench) -> list[str]:
    there = {"clk": bench.clock, "ce": bench.clock_enable, "rst": bench.reset, "valid_in": bench.valid}
    return [name for name, is_there in there.items() if is_there]


def _port(dut: Any, name: str, width: int) -> Any:
    handle = getattr(dut, name, None)
    if handle is None:
        raise LookupError(f"{dut._name} has no port {name}")
    # A single bit has no length in VHDL.
    found = len(handle) if hasattr(handle, "__len__") else 1
    if found != width:
        raise LookupError(f"port {name} has {found} bits, but bench.json says {width}")
    return handle
