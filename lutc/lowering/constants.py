"""Constants of a design from exact numbers, in the narrowest formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Const
from lutc.lowering.names import Names
from lutc.numbers import as_code, twos
from lutc.types import Type, holding, tensor, uniform


def common_codes(numbers: Iterable[Any]) -> tuple[list[int], int]:
    """Numbers as integers with the fewest bits after the point that hold them all; and how many bits these are.

    They are sums of powers of two, as all floats are.
    """
    exact = [Fraction(v) for v in numbers]
    frac = max((twos(v) for v in exact if v), default=0)
    return [as_code(v, frac) for v in exact], frac


def each_narrowest(shape: Sequence[int], codes: Iterable[int], fracs: Iterable[int]) -> Type:
    """The type of a tensor whose elements are these codes alone, with these bits after the point."""
    return tensor(shape, [holding(c, c, f) for c, f in zip(codes, fracs, strict=True)])


class Constants:
    """The constants of a design that have one format each, the narrowest; equal ones are one."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._made: dict[tuple[Any, ...], Const] = {}

    def of(self, numbers: Any, wish: str, prefix: str = "c") -> Const:
        """A constant of an array of numbers (floats, or Fractions that are sums of powers of two).

        It is named after `wish`, as `Names.take` has it, unless it is there already.
        """
        array = np.asarray(numbers)
        codes, frac = common_codes(array.ravel().tolist())
        kind = uniform(array.shape, holding(min(codes, default=0), max(codes, default=0), frac))
        key = (kind, tuple(codes))
        if key not in self._made:
            self._made[key] = Const(self._names.take(wish, prefix), kind, np.array(codes, dtype=object))
        return self._made[key]
