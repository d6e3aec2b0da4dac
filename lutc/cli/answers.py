"""Answers in files of numbers: as doubles where every one of them is a double, else as integers with their format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np

from lutc.diagnostics import error
from lutc.files.writing import write_array, write_arrays
from lutc.ir import expect
from lutc.ir.graph import Design, Output
from lutc.ir.interp import port_reals
from lutc.ir.ops.base import encode, number
from lutc.text.expectations import sample
from lutc.types import Ints

_SHOWN = 40  # letters of a number that a message shows


def check_place(design: Design, path: Path) -> None:
    """Raise LirError if a file of this name cannot hold the design's answers."""
    if path.suffix not in (".npy", ".npz"):
        raise error("answers go to a .npy or .npz file", where=str(path))
    if path.suffix == ".npy" and len(design.outputs) != 1:
        raise error(f"{len(design.outputs)} outputs need a .npz file", where=str(path))


def print_rows(design: Design, rows: Sequence[str]) -> None:
    """Print what a design answers to samples, each written as in a `run` statement. Raises LirError."""
    samples = [
        sample(row, design, f"--row {i + 1}" if len(rows) > 1 else "--row") for i, row in enumerate(rows)
    ]
    for found in expect.answers(design, samples):
        click.echo(", ".join(f"{name}={encode(expect.nested(y))}" for name, y in found.items()))


def save_reals(design: Design, answers: Mapping[str, Ints], path: Path) -> None:
    """Write codes by output port as the real numbers they stand for, in float64.

    Raises LirError if one of them is no float64 number.
    """
    _save({o.name: doubles(o, port_reals(o, answers[o.name]), path) for o in design.outputs}, path)


def save_codes(design: Design, answers: Mapping[str, Ints], path: Path) -> dict[str, dict[str, Any]]:
    """Write codes by output port as they are, and return what they mean.

    They are int64 where the port's type fits, else text: decimal digits, which `numpy.load` reads without pickle. A
    port's format says `type`, `scale` and `offset`: an answer is `code * 2**-frac * scale + offset`, with the
    type's `frac` (0 if it tells none), and both numbers may be fractions such as "1/3". A `.npz` holds it too,
    as JSON in the array `NAME.format`. Raises LirError if that is the name of another port.
    """
    said = about(design)
    arrays = {o.name: _integers(o, answers[o.name]) for o in design.outputs}
    if path.suffix == ".npz":
        arrays |= {name: np.array(text) for name, text in formats(design, path).items()}
    _save(arrays, path)
    return said


def about(design: Design) -> dict[str, dict[str, Any]]:
    """What the codes of each output port mean."""
    return {
        o.name: {
            "type": str(o.value.type),
            "scale": [number(s) for s in o.scale],
            "offset": [number(s) for s in o.offset],
        }
        for o in design.outputs
    }


def formats(design: Design, path: Path) -> dict[str, str]:
    """The arrays of a `.npz` file that say what codes mean. Raises LirError if a port has the name of one."""
    names = {o.name for o in design.outputs}
    for name in names:
        if f"{name}.format" in names:
            raise error(f"the output {name}.format has the name of the format of {name}", where=str(path))
    return {f"{name}.format": json.dumps(said) for name, said in about(design).items()}


def _save(arrays: dict[str, Any], path: Path) -> None:
    if path.suffix == ".npz":
        write_arrays(path, arrays)
    else:
        write_array(path, next(iter(arrays.values())))


def doubles(output: Output, answers: Any, path: Path) -> Any:
    """A port's answers as float64. Raises LirError if one of them is no such number."""
    if answers.dtype != object:
        return answers
    known: dict[Fraction, float] = {}
    for answer in answers.ravel().tolist():
        if answer not in known:
            known[answer] = _double(answer, output, path)
    return np.array([known[a] for a in answers.ravel().tolist()], dtype=np.float64).reshape(answers.shape)


def _double(answer: Fraction, output: Output, path: Path) -> float:
    try:
        found = float(answer)
    except OverflowError:
        found = 0.0
    if Fraction(found) != answer:
        said = number(Fraction(answer))
        said = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
        raise error(
            f"output {output.name!r} has answers that no float64 holds, such as {said}",
            where=str(path),
            help="--codes writes integers and says what they mean; in Python, run() returns fractions",
        )
    return found


def _integers(output: Output, codes: Ints) -> Any:
    kind = output.value.type
    if all(f.lo >= -(1 << 63) and f.hi < 1 << 63 for _, f in kind.runs):
        return np.asarray(codes).astype(np.int64)
    words = [str(c) for c in np.asarray(codes, dtype=object).ravel().tolist()]
    return np.array(words, dtype=np.str_).reshape(np.shape(codes))
