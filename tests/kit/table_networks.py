"""Small networks of smooth tables that are added up, as HGQ-LUT networks are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lutc.ir.graph import Design, Output, Param, Stage, Table, Value
from lutc.ir.ops import Element, Lincomb, Lut, Pack, Quant
from lutc.types import Fixed, Rounding, holding, scalar, uniform

ONE = Fraction(1)


def smooth(key: Value, rng: np.random.Generator, top: int, frac: int, name: str) -> Lut:
    """A bent ramp over the key's numbers, from about -top to top."""
    fmt = key.type.scalar
    numbers = np.arange(1 << fmt.width)
    numbers = np.where(numbers > fmt.hi, numbers - (1 << fmt.width), numbers)
    x = numbers / (1 << fmt.width - 1)
    codes = np.round(top * np.tanh(rng.uniform(-2, 2) * x + rng.uniform(-0.5, 0.5))).astype(int)
    value = holding(int(codes.min()), int(codes.max()), frac)
    return Lut(key, Table(name, key.type, scalar(value), codes.astype(object)))


def tables(seed: int = 1, inputs: int = 6, hidden: int = 4, outputs: int = 3, keep: int = 0) -> Design:
    """Two layers of tables that are added up, as HGQ-LUT networks are; `keep` high bits more in the keys between."""
    rng = np.random.default_rng(seed)
    x = Param(uniform((inputs,), Fixed(True, 7, 4)), name="x")
    first: list[Value] = []
    for h in range(hidden):
        terms = tuple(smooth(Element(x, i), rng, 40, 4, f"h{h}_{i}") for i in range(inputs))
        total = Lincomb(terms, (ONE,) * inputs, Fraction(1, 8))
        lo, hi = total.type.scalar.lo, total.type.scalar.hi
        width = holding(lo >> 2, hi >> 2, 2).width - 1 + keep
        first.append(Quant(total, scalar(Fixed(True, width, 2)), Rounding.FLOOR))
    ends: list[Value] = []
    for o in range(outputs):
        terms = tuple(smooth(h, rng, 60, 5, f"o{o}_{i}") for i, h in enumerate(first))
        ends.append(Lincomb(terms, (ONE,) * hidden, Fraction(-3, 32)))
    return Design("tables", (x,), (Output("y", Pack(tuple(ends), (outputs,))),), Stage.SCALAR)
