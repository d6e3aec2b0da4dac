"""Rows of inputs that a user gives as evidence: what a circuit is asked for, or what it is looked at with.

`Rows` are what was given, checked as far as that can be without a design; `Assumed` are the codes that a design's ports
carry for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lutc.diagnostics import LirError, did_you_mean, error, shortened
from lutc.files.foreign import read_arrays
from lutc.ir.graph import Design, Param
from lutc.ir.interp import port_codes
from lutc.numbers import masked
from lutc.types import Fixed, Ints

LABELS = "labels"  # the array beside the inputs that holds the right classes
_SHOWN = 16  # digits of a digest that people are shown


@dataclass(frozen=True, eq=False)
class Rows:
    """Arrays of real numbers by input name, the first dimension counting rows; one without a name has ''.

    `place` is where they come from, for messages: a file, or the setting's name.
    """

    arrays: Mapping[str, Any]
    place: str

    @staticmethod
    def of(given: Any, setting: str) -> Rows:
        """From the path of an `.npy` or `.npz` file, an array, or arrays by name. Raises LirError for all else."""
        if isinstance(given, Rows):
            return given
        place = setting
        if isinstance(given, str | Path):
            place = str(given)
            try:
                given = read_arrays(Path(given))
            except (OSError, ValueError) as cause:
                why = getattr(cause, "strerror", None) or str(cause)
                raise error(f"{setting} cannot be read: {why}", where=shortened(place, 200)) from None
        found = given if isinstance(given, Mapping) else {"": given}
        if not found:
            raise error(f"{setting} holds no arrays", where=place, help="one for each input, by its name")
        return Rows({str(name): _numbers(value, name, place) for name, value in found.items()}, place)

    def by_port(self, design: Design) -> dict[str, Any]:
        """The array of every input port. Raises LirError for names that do not suit."""
        params = {p.name or "": p for p in design.params}
        given = {name: x for name, x in self.arrays.items() if name in params or name != LABELS}
        if not params:
            raise error(f"{design.name} has no inputs, so nothing can be assumed of them", where=self.place)
        if len(params) == len(given) == 1:
            given = {next(iter(params)): next(iter(given.values()))}
        for name in given:
            if name not in params:
                help = did_you_mean(name, list(params)) or f"its inputs: {', '.join(map(repr, params))}"
                raise error(f"{design.name} has no input {name!r}", where=self.place, help=help)
        if missing := [name for name in params if name not in given]:
            help = f"it has {', '.join(map(repr, self.arrays))}"
            raise error(f"there is no array for input {missing[0]!r}", where=self.place, help=help)
        return {name: given[name] for name in params}

    def codes(self, design: Design) -> dict[str, Ints]:
        """The codes of every input port. Raises LirError, naming file, input and row, for rows that do not suit."""
        given = self.by_port(design)
        found = {
            name: _codes(p, given[name], f"{self.place}: {name}")
            for name, p in ((p.name or "", p) for p in design.params)
        }
        if len({len(x) for x in found.values()}) > 1:
            counts = ", ".join(f"{name} {len(x)}" for name, x in found.items())
            raise error(f"the inputs differ in their number of rows: {counts}", where=self.place)
        return found

    def labels(self, design: Design) -> Any:
        """The array beside the inputs that holds the right classes, if there is one."""
        return None if LABELS in {p.name for p in design.params} else self.arrays.get(LABELS)


@dataclass(frozen=True, eq=False)
class Assumed:
    """The inputs that a circuit is asked for: codes `(rows, *shape)` by port, and how much counts beside them.

    With a `margin` of N, keys of tables up to N steps from one that a row reads are kept as well, and every range is
    taken wider by N quarters of its length at both ends.
    """

    codes: Mapping[str, Ints]
    margin: int = 0
    reals: Mapping[str, Any] = field(default_factory=dict)  # the numbers that became the codes

    @staticmethod
    def of(design: Design, rows: Rows, margin: int) -> Assumed:
        return Assumed(rows.codes(design), margin, rows.by_port(design))

    @property
    def rows(self) -> int:
        return len(next(iter(self.codes.values())))

    @property
    def digest(self) -> str:
        """SHA-256 of the codes, in hexadecimal: the same rows have the same, in whatever file they stood."""
        return digest(self.codes)

    @property
    def said(self) -> str:
        """What is true of a circuit made for these rows, in one line."""
        return (
            f"exact on the assumed inputs only: {self.rows:,} row{'s' * (self.rows > 1)} with the SHA-256 "
            f"{self.digest[:_SHOWN]}...; other inputs may be answered otherwise than the model does"
        )


def digest(codes: Mapping[str, Ints]) -> str:
    """SHA-256 of codes by port: of each port its name, its dimensions, and its codes as little-endian int64."""
    found = sha256()
    for name, x in codes.items():
        found.update(f"{name}\n{list(x.shape)}\n".encode())
        wide = x.dtype == object  # Python integers, for formats of 64 bits and more
        found.update("\n".join(map(str, x.ravel())).encode() if wide else x.astype("<i8").tobytes())
    return found.hexdigest()


def _numbers(value: Any, name: Any, place: str) -> Any:
    where = f"{place}: {name}" if name else place
    if masked(value):
        raise error("there are masked elements", where=where, help="fill them, or leave those rows out")
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty((), dtype=object)
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise error(f"this is no array of real numbers: {shortened(repr(value))}", where=where)
    if not len(array):
        raise error("there are no rows", where=where, help="give at least one")
    return array


def _format(param: Param, at: tuple[int, ...]) -> Fixed:
    """That of an element."""
    return param.type.formats[int(np.ravel_multi_index(at, param.type.shape)) if at else 0]


def _codes(param: Param, x: Any, where: str) -> Ints:
    """The codes of a port. What is not finite, or more than a step beyond the port's format, is refused."""
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise error(f"row {row} has a number that is not finite", where=where, help="leave such rows out")
    try:
        codes = port_codes(param, x)
    except LirError as refused:
        told = [d if d.where else replace(d, where=where) for d in refused.diagnostics]
        raise LirError(*told) from None
    real = (x.astype(np.float64).reshape(codes.shape) - float(param.offset)) / float(param.scale)
    steps = np.ldexp(real, np.asarray(param.type.fracs))
    lo, hi = (np.asarray(end, dtype=np.float64) for end in param.type.ranges)
    read = np.broadcast_to(np.asarray(param.type.widths) > 0, steps.shape)  # the others have no wires
    outside = read & ((steps < lo - 1) | (steps > hi + 1))
    if outside.any():
        at = tuple(int(i) for i in np.argwhere(outside)[0])
        number, kind = float(x.reshape(codes.shape)[at]), _format(param, at[1:])
        ends = " to ".join(
            f"{float(kind.value(e) * param.scale + param.offset):g}" for e in (kind.lo, kind.hi)
        )
        element = f", element {list(at[1:])}" if at[1:] else ""
        raise error(
            f"row {at[0]}{element} is {number:g}, and the port holds {ends} ({kind})",
            where=where,
            help="clip the data as what feeds the circuit does, or leave such rows out",
        )
    return codes
