"""Made-up networks of tables, as documents, and what each means, worked out number by number from the chapter."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

Document = dict[str, Any]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bits(tables: int, fan_in: int, seed: int) -> list[list[int]]:
    drawn: list[list[int]] = rng(seed).integers(0, 2, (tables, 1 << fan_in)).tolist()
    return drawn


def wiring(tables: int, fan_in: int, width: int, seed: int) -> list[list[int]]:
    drawn: list[list[int]] = rng(seed).integers(0, width, (tables, fan_in)).tolist()
    return drawn


def weightless() -> Document:
    """A DWN: thermometer bits, two layers of LUTs, votes, the class with most of them."""
    thresholds = np.sort(rng(1).normal(size=(3, 4)).astype(np.float32), axis=1).tolist()
    return {
        "lutc tables": 1,
        "name": "weightless",
        "input": {"name": "x", "size": 3},
        "encoder": {"thresholds": thresholds},
        "layers": [
            {"name": "first", "inputs": wiring(7, 3, 12, 2), "tables": bits(7, 3, 3)},
            {"name": "second", "inputs": wiring(6, 4, 7, 4), "tables": bits(6, 4, 5), "sum": 3},
        ],
        "outputs": {"score": "values", "class": "argmax"},
    }


def edges() -> Document:
    """A KAN: functions on edges, added up, clamped, looked up from the smallest number on."""
    first = rng(6).integers(-9, 12, (5, 16)).tolist()
    return {
        "lutc tables": 1,
        "name": "edges",
        "input": {"size": 3, "format": "u4", "overflow": "wrap", "round": "floor"},
        "layers": [
            {
                "inputs": [[0], [1], [2], [0], [2]],
                "tables": first,
                "sum": [[0, 1, 2], [3, 4], []],
                "format": "s4",
            },
            {
                "inputs": [[0], [1], [2], [1]],
                "tables": rng(7).integers(-30, 30, (4, 16)).tolist(),
                "order": "value",
                "frac": 2,
                "sum": [[0, 1, 2], [3]],
                "format": ["s6f2", "s5f1"],
                "round": "nearest-half-up",
                "overflow": "saturate-symmetric",
            },
        ],
    }


def mixed() -> Document:
    """Tables of several inputs of several formats, each rounding what it reads; one with no input, one with one."""
    formats = ["s3f1", "u2", "s2f-1", "s4f2"]
    widths = {"u1": 1, "s2f1": 2, "u3f1": 3}
    keys = ["s2f1", "u1", "u3f1", "s2f1"]
    inputs: list[list[int]] = [[0, 3, 1], [2, 1], [3], []]
    r = rng(8)
    return {
        "lutc tables": 1,
        "name": "mixed",
        "input": {"name": "x", "size": 4, "format": formats},
        "layers": [
            {
                "name": "look",
                "inputs": inputs,
                "tables": [
                    r.integers(-5, 9, 1 << (widths[k] * len(i))).tolist()
                    for k, i in zip(keys, inputs, strict=True)
                ],
                "key": {"format": keys, "round": "floor", "overflow": "wrap"},
                "frac": 1,
                "order": "value",
            }
        ],
    }


KINDS: dict[str, Callable[[], Document]] = {"weightless": weightless, "edges": edges, "mixed": mixed}


# -- meaning ----------------------------------------------------------------------------------------------------------


def parsed(text: str) -> tuple[bool, int, int]:
    body, _, frac = text[1:].partition("f")
    return text[0] == "s", int(body), int(frac or 0)


def code_of(v: Fraction, text: str, how: str, overflow: str) -> int:
    """A number's code in a format, by the rules of the chapter on meaning."""
    signed, width, frac = parsed(text)
    scaled = v * Fraction(2) ** frac
    code = {
        "floor": lambda: math.floor(scaled),
        "ceil": lambda: math.ceil(scaled),
        "nearest-half-up": lambda: math.floor(scaled + Fraction(1, 2)),
        "nearest-half-even": lambda: round(scaled),
    }[how]()
    hi = (1 << (width - signed)) - 1
    lo = -hi - 1 if signed else 0
    if overflow == "wrap":
        return (code - lo) % (1 << width) + lo
    return min(max(code, -hi if overflow == "saturate-symmetric" and signed else lo), hi)


def rounded(v: Fraction, entry: Document, index: int) -> tuple[Fraction, str]:
    given = entry["format"]
    text = given if isinstance(given, str) else given[index]
    code = code_of(v, text, entry.get("round", "nearest-half-even"), entry.get("overflow", "saturate"))
    return code / Fraction(2) ** parsed(text)[2], text


def meaning(document: Document, x: list[float]) -> dict[str, Any]:
    """The outputs for one row of real numbers."""
    values = [Fraction(v) for v in x]
    formats = ["u1"] * len(values)
    if "encoder" in document:
        values = [
            Fraction(v > t) for v, row in zip(x, document["encoder"]["thresholds"], strict=True) for t in row
        ]
        formats = ["u1"] * len(values)
    elif "format" in document["input"]:
        pairs = [rounded(v, document["input"], i) for i, v in enumerate(values)]
        values, formats = [v for v, _ in pairs], [f for _, f in pairs]
    for layer in document["layers"]:
        answers = []
        for t, (inputs, table) in enumerate(zip(layer["inputs"], layer["tables"], strict=True)):
            address, shift = 0, 0
            for i in inputs:
                v, text = (
                    (values[i], formats[i]) if "key" not in layer else rounded(values[i], layer["key"], t)
                )
                signed, width, frac = parsed(text)
                code = int(v * Fraction(2) ** frac)
                lowest = -(1 << (width - 1)) if signed else 0
                digit = code - lowest if layer.get("order") == "value" else code % (1 << width)
                address |= digit << shift
                shift += width
            answers.append(Fraction(table[address]) / Fraction(2) ** layer.get("frac", 0))
        sums = layer.get("sum", [[t] for t in range(len(answers))])
        if isinstance(sums, int):
            n = len(answers) // sums
            sums = [list(range(g * n, g * n + n)) for g in range(sums)]
        values = [sum((answers[t] for t in s), Fraction(0)) for s in sums]
        formats = ["u1"] * len(values)
        if "format" in layer:
            pairs = [rounded(v, layer, o) for o, v in enumerate(values)]
            values, formats = [v for v, _ in pairs], [f for _, f in pairs]
    best = max(range(len(values)), key=lambda o: (values[o], -o))
    ports = document.get("outputs", {"y": "values"})
    return {name: best if what == "argmax" else [float(v) for v in values] for name, what in ports.items()}


def rows(document: Document, count: int = 200) -> Any:
    """Real inputs: spread over the formats' ranges and beyond; halves; thresholds and the floats next to them."""
    size = document["input"]["size"]
    x = rng(9).normal(size=(count, size)) * rng(10).choice([0.5, 2.0, 12.0], (count, 1))
    x[::3] = np.round(x[::3] * 8) / 8
    for i, thresholds in enumerate(document.get("encoder", {}).get("thresholds", [])):
        near = [np.nextafter(t, away) for t in thresholds for away in (t, -np.inf, np.inf)]
        x[: len(near), i] = near
    return x
