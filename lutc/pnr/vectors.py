"""A build's test vectors, put to another circuit of the same function by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutc.diagnostics import error
from lutc.ir.graph import Design
from lutc.ir.interp import execute
from lutc.rtl.circuits import words
from lutc.types import Ints, Type

_AT_ONCE = 4096


def compare(design: Design, report: Mapping[str, Any], sim: Path) -> int:
    """Compare a design's answers to the vectors in `sim`, a build's, with those there. Returns how many there are.

    `report` names the ports of `design`. Raises LirError with the first vector that is answered otherwise.
    """
    asked, right = (_words(sim / f"{name}s.hex") for name in ("input", "output"))
    kinds = {p.name or "": p.type for p in design.params}
    ports = {p["name"]: p["port"] for p in (*report["inputs"], *report["outputs"]) if p["port"]}
    count = max(map(len, [*asked.values(), *right.values()]), default=0)
    for first in range(0, count, _AT_ONCE):
        rows = range(first, min(first + _AT_ONCE, count))
        codes = {
            name: _codes([asked[ports[name]][r] if name in ports else 0 for r in rows], kind)
            for name, kind in kinds.items()
        }
        answers = execute(design, codes)
        for o in design.outputs:
            if o.name not in ports:
                continue
            found = answers[o.name].reshape(len(answers[o.name]), -1)
            for r, row in zip(rows, found if kinds else np.repeat(found, len(rows), axis=0), strict=True):
                if words(row.tolist(), o.value.type) != right[ports[o.name]][r]:
                    raise error(
                        f"the circuit that was compiled again answers vector {r} otherwise at {o.name}"
                    )
    return count


def _words(path: Path) -> dict[str, list[int]]:
    """The words of a file of vectors by port."""
    first, *lines = path.read_text().splitlines()
    rows = [[int(word, 16) for word in line.split()] for line in lines]
    return {port: [row[at] for row in rows] for at, port in enumerate(first.split()[1:])}


def _codes(found: Sequence[int], kind: Type) -> Ints:
    """Words as codes: element 0 in the lowest bits."""
    codes = np.empty((len(found), kind.size), dtype=object)
    at = 0
    for n, fmt in enumerate(kind.formats):
        for r, word in enumerate(found):
            code = word >> at & ((1 << fmt.width) - 1)
            codes[r, n] = code - (1 << fmt.width) if code > fmt.hi else code
        at += fmt.width
    return codes.reshape(len(found), *kind.shape)
