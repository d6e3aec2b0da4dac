"""What the bench drives and what it expects, cycle by cycle, and how a wrong answer is told.

Plain Python: it knows no simulator. The files of a bench are

    bench.json    a `Bench`: the circuit's ports and timing, where its sources are
    inputs.hex    one line a vector, after a line of port names: one hexadecimal word a port
    outputs.hex   the answers, likewise

A port's word holds the bits of all its elements, row-major, element 0 in the lowest bits.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

STALLED_AT_MOST = 500  # vectors that are played a second time, with stalls and gaps
PAUSE = 0.3  # how likely a cycle of that second time is one without clock enable, or without valid data


@dataclass(frozen=True)
class Bench:
    """A circuit as its bench sees it.

    `hdl` is "verilog" or "vhdl"; `sources` are paths from the build folder, in the order of compilation. Inputs
    applied before a rising edge of `clk` show at the outputs after `latency` rising edges, counting that one; a
    circuit without `clock` has latency 0. `clock_enable` says that there is a port `ce`, `reset` a port `rst`,
    `valid` the ports `valid_in` and `valid_out`. `inputs` and `outputs` are the data ports: (name, width in bits).
    `elements` gives the widths of the elements of an output that is a tensor, as (count, width) runs.
    """

    top: str
    hdl: str
    sources: Sequence[str]
    latency: int
    clock: bool
    clock_enable: bool
    valid: bool
    inputs: Sequence[tuple[str, int]]
    outputs: Sequence[tuple[str, int]]
    elements: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    reset: bool = False
    seed: int = 1


Words = Sequence[Sequence[int]]  # a row per vector, in it a word per port


@dataclass(frozen=True)
class Failure:
    """The first wrong output. `element` is None for a scalar; `vector` is None where no data was due.

    `cycle` counts from 0; `expected` and `got` are hexadecimal (`got` in bits where some have no value); `phase`
    is "stream", "stalls" or "drain".
    """

    output: str
    element: int | None
    vector: int | None
    cycle: int
    expected: str
    got: str
    phase: str

    def __str__(self) -> str:
        element = "" if self.element is None else f" element {self.element}"
        where = "" if self.vector is None else f"vector {self.vector}, "
        return (
            f"output {self.output}{element} is {self.got}, not {self.expected} "
            f"({where}cycle {self.cycle}, {self.phase})"
        )


class Step(NamedTuple):
    """One clock cycle: what is driven, and what must show just before its rising edge."""

    phase: str
    drive: int  # the vector at the inputs
    enable: bool
    valid: bool
    check: int | None  # the vector whose answer shows; None: nothing is due
    check_valid: bool  # what valid_out shows


def steps(bench: Bench, vectors: int) -> Iterator[Step]:
    """Every cycle: all vectors back to back; some again with stalls and gaps; then until the last has come out.

    While the clock is not enabled and where data is not valid, some other vector lies at the inputs, so that a
    register that should have held shows.
    """
    chance = random.Random(bench.seed)
    line: deque[int | None] = deque([None] * bench.latency)

    def step(phase: str, drive: int, enable: bool = True, valid: bool = True) -> Step:
        item = drive if valid or not bench.valid else None
        seen = line[0] if line else item
        if line and enable:
            line.append(item)
            line.popleft()
        return Step(phase, drive, enable, valid, seen, seen is not None)

    for vector in range(vectors):
        yield step("stream", vector)
    if bench.clock_enable or bench.valid:
        vector = 0
        while vector < min(vectors, max(STALLED_AT_MOST, 2 * bench.latency)):
            enable = not bench.clock_enable or chance.random() >= PAUSE
            valid = not bench.valid or chance.random() >= PAUSE
            if enable and valid:
                yield step("stalls", vector)
                vector += 1
            else:
                yield step("stalls", chance.randrange(vectors), enable, valid)
    for _ in range(bench.latency):
        yield step("drain", chance.randrange(vectors), valid=False)


def difference(
    bench: Bench, cycle: int, step: Step, expected: Sequence[int], got: Mapping[str, str]
) -> Failure | None:
    """The first wrong output of a cycle; `got` holds the outputs' bits, highest first, as simulators write them."""
    if bench.valid and got["valid_out"] != str(int(step.check_valid)):
        element = _Element(None, 1, int(step.check_valid), got["valid_out"])
        return element.failure("valid_out", cycle, step)
    if step.check is None:
        return None
    for (port, width), word in zip(bench.outputs, expected, strict=True):
        if got[port] != f"{word:0{width}b}":
            runs = bench.elements.get(port)
            return _wrong_element(word, got[port], width, runs).failure(port, cycle, step)
    return None


class _Element(NamedTuple):
    place: int | None
    width: int
    expected: int
    got: str

    def failure(self, port: str, cycle: int, step: Step) -> Failure:
        got = self.got
        if set(got) <= {"0", "1"} and len(got) == self.width:
            got = hexadecimal(int(got, 2), self.width)
        else:
            got = (
                f"{got.upper()} (bits without a value)" if len(got) == self.width else f"{len(got)} bits wide"
            )
        expected = hexadecimal(self.expected, self.width)
        return Failure(port, self.place, step.check, cycle, expected, got, step.phase)


def _wrong_element(word: int, got: str, width: int, runs: Sequence[tuple[int, int]] | None) -> _Element:
    if runs is None or len(got) != width:
        return _Element(None, width, word, got)
    low, index = 0, 0
    for count, bits in runs:
        for _ in range(count):
            mine = word >> low & ((1 << bits) - 1)
            theirs = got[width - low - bits : width - low]
            if bits and theirs != f"{mine:0{bits}b}":
                return _Element(index, bits, mine, theirs)
            low, index = low + bits, index + 1
    raise ValueError(f"the elements' widths add up to {low} bits and the port has {width}")


def hexadecimal(word: int, width: int) -> str:
    """A word with all its digits."""
    return f"0x{word:0{(width + 3) // 4}x}"


# Files


def save(folder: Path, bench: Bench, inputs: Words, outputs: Words) -> None:
    """Write bench.json, inputs.hex and outputs.hex."""
    described = dataclasses.asdict(bench) | {"vectors": len(outputs)}
    lines = (f'  "{key}": {json.dumps(value)}' for key, value in described.items())
    (folder / "bench.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for name, ports, rows in (("inputs", bench.inputs, inputs), ("outputs", bench.outputs, outputs)):
        title = " ".join(["#", *(port for port, _ in ports)])
        with (folder / f"{name}.hex").open("w") as file:
            file.writelines(
                f"{line}\n" for line in (title, *(" ".join(f"{w:x}" for w in row) for row in rows))
            )


def load(folder: Path) -> tuple[Bench, list[list[int]], list[list[int]]]:
    """The bench, the words at the inputs and those expected at the outputs. Raises ValueError if they do not fit."""
    described = json.loads((folder / "bench.json").read_text())
    count = described.pop("vectors")
    bench = Bench(**described)
    inputs = _read(folder / "inputs.hex", bench.inputs, count)
    return bench, inputs, _read(folder / "outputs.hex", bench.outputs, count)


def _read(path: Path, ports: Sequence[tuple[str, int]], count: int) -> list[list[int]]:
    rows = [[int(word, 16) for word in line.split()] for line in path.read_text().splitlines()[1:]]
    if len(rows) != count:
        raise ValueError(f"{path.name} has {len(rows)} vectors, but bench.json says {count}")
    for number, row in enumerate(rows):
        if len(row) != len(ports) or any(w >> width for w, (_, width) in zip(row, ports, strict=True)):
            raise ValueError(f"{path.name}: vector {number} does not fit the ports")
    return rows
