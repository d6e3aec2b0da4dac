"""A network of truth tables, as data: what every file is read into and what is lowered.

One layer is: connections, a table for each, and perhaps sums. That is enough for LUT networks (a table's answer is a
wire of the next layer), for networks of functions on edges (sums of tables of one input each), and for counting votes
(sums of bits).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from lutc.types import Fixed, Overflow, Rounding

Codes = NDArray[Any]  # integers, one-dimensional

VALUES, ARGMAX = "values", "argmax"


@dataclass(frozen=True)
class Rounded:
    """How numbers become numbers of a format: one format for all, or one for each."""

    formats: tuple[Fixed, ...]
    round: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE

    def of(self, index: int) -> Fixed:
        """The format of number `index`."""
        return self.formats[index if len(self.formats) > 1 else 0]


@dataclass(frozen=True)
class Input:
    """The input port: `size` numbers. Without `rounded`, an encoder's thresholds or the user say which formats."""

    name: str
    size: int
    rounded: Rounded | None = None


@dataclass(frozen=True)
class Encoder:
    """Thermometer bits: bit t of number i is `x_i > thresholds[i][t]`, or `>=` if `inclusive`.

    The bits of the first number come first, each number's in the order of its thresholds.
    """

    thresholds: tuple[tuple[Fraction, ...], ...]
    inclusive: bool = False


@dataclass(frozen=True, eq=False)
class Layer:
    """Tables on numbers of the layer before, and perhaps sums of what they answer.

    Table t reads the numbers `inputs[t]`, the first of them in the lowest bits of its key. `tables[t]` holds integers:
    codes with `frac` bits after the point. Entry k answers the key whose bits read k, or, if `by_value`, each input
    counts from its smallest number up. `key` rounds what the tables read, in one format or one per table. `sums[o]`
    lists the tables that output o adds up; without it every table is an output. `result` rounds the outputs.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    tables: tuple[Codes, ...]
    frac: int = 0
    by_value: bool = False
    key: Rounded | None = None
    sums: tuple[tuple[int, ...], ...] | None = None
    result: Rounded | None = None

    @property
    def size(self) -> int:
        """How many numbers it gives."""
        return len(self.inputs if self.sums is None else self.sums)


@dataclass(frozen=True, eq=False)
class Network:
    """Input, encoder, layers, and output ports: name -> `values` (the last layer's) or `argmax` (of them)."""

    name: str
    input: Input
    layers: tuple[Layer, ...]
    encoder: Encoder | None = None
    outputs: dict[str, str] = field(default_factory=lambda: {"y": VALUES})
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers (or bits of the encoder) the first layer may read."""
        return sum(map(len, self.encoder.thresholds)) if self.encoder else self.input.size
