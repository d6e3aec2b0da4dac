"""What an assumption is worth: LUTs saved, and on rows held out how often the answers are still the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lutc.assumed import LABELS, Assumed, Rows, digest
from lutc.diagnostics import error
from lutc.ir.graph import Design, Output
from lutc.ir.interp import execute, port_reals
from lutc.types import Ints


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows that nothing was assumed of, and the right classes if they are known: `(rows,)`."""

    codes: Mapping[str, Ints]
    labels: Any = None

    @staticmethod
    def of(design: Design, rows: Rows, labels: Rows | None) -> HeldOut:
        """Raises LirError for rows or labels that do not suit the design."""
        codes = rows.codes(design)
        found, place = rows.labels(design), f"{rows.place}: {LABELS}"
        if labels is not None:
            if found is not None:
                what = f"there are labels in {rows.place}, and others"
                raise error(what, where=labels.place, help="give one of them")
            if len(labels.arrays) > 1 and LABELS not in labels.arrays:
                several = ", ".join(map(repr, labels.arrays))
                raise error(
                    f"there are several arrays of labels: {several}", where=labels.place, help="give one"
                )
            found, place = labels.arrays.get(LABELS, next(iter(labels.arrays.values()))), labels.place
        if found is None:
            return HeldOut(codes)
        count = len(next(iter(codes.values())))
        return HeldOut(codes, _classes(design, found, count, place))


def _classes(design: Design, labels: Any, count: int, place: str) -> Any:
    if len(design.outputs) != 1 or len(design.outputs[0].value.type.shape) > 1:
        raise error("labels are the classes of one output, a number or a row of numbers", where=place)
    if labels.size != len(labels):
        help = "give the number of the right class for each row"
        raise error(
            f"labels have the shape {list(labels.shape)}, and are one number a row", where=place, help=help
        )
    if len(labels) != count:
        raise error(f"there are {len(labels)} labels for {count} rows", where=place)
    found = labels.reshape(-1)
    most = max(design.outputs[0].value.type.size, 2) - 1
    wrong = ~((found >= 0) & (found <= most) & (found == np.rint(found.astype(np.float64))))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise error(f"the label of row {row} is {found[row]}, and the classes are 0 to {most}", where=place)
    return found.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Assumption:
    """What was assumed, and what became of it.

    `exact` is the design that was given, `near` the one behind the last pass that assumes: they answer the same to all
    assumed rows. `luts_exact` and `luts` are the estimates of the finished circuits; `taken` says whether the one that
    assumes is what was built.
    """

    assumed: Assumed
    held_out: HeldOut | None
    exact: Design
    near: Design
    luts_exact: float
    luts: float
    taken: bool

    @property
    def said(self) -> str:
        """In one line, for the header of the circuit."""
        return self.assumed.said

    def rows(self, most: int) -> dict[str, Any]:
        """Some of the assumed rows, evenly spread, by port."""
        count = self.assumed.rows
        some = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
        return {name: x[some] for name, x in self.assumed.reals.items()}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """For `report.json`."""
        return {
            "rows": self.assumed.rows,
            "digest": self.assumed.digest,
            "margin": self.assumed.margin,
            "exact": not self.taken,
            "luts_exact": round(self.luts_exact),
            "luts": round(self.luts if self.taken else self.luts_exact),
            "check": self._checked(self.held_out) if self.held_out else None,
        }

    def _checked(self, rows: HeldOut) -> dict[str, Any]:
        want = execute(self.exact, rows.codes)
        got = execute(self.near, rows.codes) if self.taken else want
        same = [np.asarray(got[name] == x).reshape(len(x), -1).all(axis=1) for name, x in want.items()]
        classes = [
            (_class(o, want[o.name]), _class(o, got[o.name])) for o in self.exact.outputs if o.value.type.size
        ]
        alike = [(a == b).reshape(len(a), -1).all(axis=1) for a, b in classes]
        found: dict[str, Any] = {
            "rows": len(next(iter(want.values()))),
            "digest": digest(rows.codes),
            "assumed_too": self._among(rows),
            "rows_equal": _share(np.all(same, axis=0)),
            "classes_equal": _share(np.all(alike, axis=0)) if alike else 1.0,
            "accuracy_exact": None,
            "accuracy": None,
        }
        if rows.labels is not None:
            for key, of in zip(("accuracy_exact", "accuracy"), classes[0], strict=True):
                found[key] = _share(of.reshape(-1) == rows.labels)
        return found

    def _among(self, rows: HeldOut) -> int:
        """How many of the rows are among the assumed ones, and so no evidence."""
        known = set(_each(self.assumed.codes))
        return sum(row in known for row in _each(rows.codes))


def _each(codes: Mapping[str, Ints]) -> list[tuple[int, ...]]:
    """The rows of all ports side by side."""
    flat = [np.asarray(x).reshape(len(x), -1).tolist() for x in codes.values()]
    return [tuple(code for part in parts for code in part) for parts in zip(*flat, strict=True)]


def _class(output: Output, codes: Ints) -> Any:
    """Which number along the last dimension is the greatest; of a single one, whether it is above 0."""
    reals = np.asarray(port_reals(output, codes))
    if output.value.type.size == 1:
        return (reals > 0).astype(np.int64)
    return np.argmax(reals, axis=-1) if reals.dtype != object else _greatest(reals)


def _greatest(reals: Any) -> Any:
    """The same of fractions: the first of the greatest along the last dimension."""
    return np.asarray(reals == reals.max(axis=-1, keepdims=True)).argmax(axis=-1)


def _share(which: Any) -> float:
    return round(float(np.mean(which)), 4)
