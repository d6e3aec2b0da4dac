"""Truth tables from real functions: every key enumerated once, in one defined way.

Keys are exact. A function of one number is evaluated operation by operation with float32 results, then quantised in
float32. The small networks of a LUT-Dense layer are evaluated in float64 throughout and quantised there: on all the
published models we know this gives the framework's own numbers, where float32 sums in another order do not. Entries
so near a rounding tie that float32 may fall on its other side are counted in `ties`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lutc.ir.graph import Table
from lutc.lowering.lookup import Codes, key_codes, rom_tables
from lutc.lowering.refusals import Refusal
from lutc.numbers import trailing_zeros
from lutc.types import Fixed, Overflow, Type, scalar

from .quantizers import Int, Quantizer, round_float
from .unary import Reals, Step, evaluate

MAX_KEY_BITS = 18
MAX_ENTRIES = 1 << 22
UNROUNDED = 24  # bits after the point that stand for a real number while ranges are traced
FLOAT32_DOUBT = 2.0**-20

# Gives the results `(elements, keys)` for the elements at these flat positions and the keys' numbers.
Function = Callable[[Int, Reals], Any]


class TableMaker:
    """Makes truth tables and remembers, for each layer, how many entries are near a tie."""

    def __init__(self) -> None:
        self.ties: dict[str, int] = {}

    def unary(
        self, key: Type, chain: Sequence[Step], q: Quantizer, name: str, layer: str, rounds_only: bool = False
    ) -> Table:
        """The table of a chain of functions and the quantiser behind it; one for all elements if they agree."""
        shape = key.shape
        same = key.format is not None and q.k.size == q.i.size == q.f.size == 1
        if same and all(p.size == 1 for s in chain for p in s.params):
            shape = ()
            assert key.format is not None
            key = scalar(key.format)

        def fn(elements: Int, x: Reals) -> Any:
            def pick(p: Reals) -> Reals:
                full = p.reshape(1) if not shape else np.broadcast_to(p, shape).ravel()
                return full[elements][:, np.newaxis]

            return evaluate(chain, np.broadcast_to(x, (len(elements), x.shape[-1])), pick).astype(np.float32)

        return self.make(key, fn, q, name, layer, rounds_only)

    def make(
        self, key: Type, fn: Function, q: Quantizer, name: str, layer: str, rounds_only: bool = False
    ) -> Table:
        """A tensor of tables, one per element of `key` (one table if it is a scalar).

        Every table's values get the narrowest format that holds them. `rounds_only` leaves the quantiser's overflow
        out, for tracing, and its rounding too where that follows from the range. Raises Refusal for keys too wide to
        enumerate, and for results that are no numbers.
        """
        _check_size(key)
        shape = (1, *key.shape)
        k, i, f = (_spread(a, shape) for a in (q.k, q.i, q.f))
        if rounds_only and q.total_bits:
            f = np.full_like(f, UNROUNDED)
        parts: list[Codes] = [np.empty(0, dtype=object)] * key.size
        fracs = [0] * key.size
        for fmt, elements in _groups(key):
            x = np.ldexp(key_codes(fmt).astype(np.float64), -fmt.frac)
            y = fn(elements, x[np.newaxis])
            if not np.isfinite(y).all() and q.overflow is Overflow.WRAP:
                raise Refusal(
                    "a function's result is infinite where its quantiser wraps",
                    "use overflow_mode='SAT' there",
                )
            if np.isnan(y).any():
                raise Refusal(
                    "a function is not defined for some of its inputs",
                    "narrow the quantiser in front of it to where it is defined",
                )
            mine = tuple(a[elements][:, np.newaxis] for a in (k, i, f))
            codes = self._codes(y, mine, q, layer, rounds_only)
            for element, row in zip(elements.tolist(), codes, strict=True):
                parts[element], fracs[element] = _coarsest(row, int(f[element]))
        return rom_tables(name, key, parts, fracs)

    def _codes(self, y: Any, kif: tuple[Int, ...], q: Quantizer, layer: str, rounds_only: bool) -> Any:
        """Quantise a group of tables; also counts the entries in doubt."""
        k, i, f = kif
        kind = y.dtype.type
        scaled = y * np.exp2(f.astype(np.float64)).astype(kind)
        live = k + i + f > 0
        self._count_ties(scaled, y, q, f, live, layer)
        if q.overflow is not Overflow.WRAP:
            bits = np.maximum(i + f, 0).astype(np.float64)
            high = (np.exp2(bits) - 1).astype(kind)
            low = -k * (high if q.overflow is Overflow.SATURATE_SYMMETRIC else high + 1)
            scaled = np.clip(scaled, low, high)
        codes = round_float(scaled, q.rounding)
        exact = np.array([int(c) for c in codes.ravel().tolist()], dtype=object).reshape(codes.shape)
        if rounds_only:
            return exact
        if q.overflow is Overflow.WRAP:
            one = np.array(1, dtype=object)
            span = one << np.maximum(k + i + f, 0).astype(object)
            low = -k.astype(object) * (span // 2)
            exact = (exact - low) % span + low
        return np.where(live, exact, 0)

    def _count_ties(self, scaled: Any, y: Any, q: Quantizer, f: Int, live: Any, layer: str) -> None:
        half = 0.5 if "nearest" in q.rounding.value else 0.0
        inside = np.isfinite(scaled)
        off = np.where(inside, scaled, 0).astype(np.float64) - half
        gap = np.abs(off - np.rint(off))
        reach = (
            FLOAT32_DOUBT * np.abs(np.where(inside, y, 0).astype(np.float64)) * np.exp2(f.astype(np.float64))
        )
        doubtful = int((live & inside & (gap <= reach) & (gap > 0)).sum())
        if doubtful:
            self.ties[layer] = self.ties.get(layer, 0) + doubtful


def _spread(a: Int, shape: tuple[int, ...]) -> Int:
    """One number per element of a tensor with a batch axis of 1; a lone table's quantiser has one number anyway."""
    if len(shape) == 1:
        return a.reshape(1)
    return np.broadcast_to(a.reshape((1,) * (len(shape) - a.ndim) + a.shape), shape).ravel()


def _coarsest(codes: Codes, frac: int) -> tuple[Codes, int]:
    """The same numbers in the coarsest steps that hold them all, and their bits after the point."""
    bits = int(np.bitwise_or.reduce(codes, initial=0))
    drop = trailing_zeros(bits)
    return codes >> drop, frac - drop


def _groups(key: Type) -> Iterator[tuple[Fixed, Int]]:
    """The elements of each format."""
    where: dict[Fixed, list[int]] = {}
    for element, fmt in enumerate(key.formats):
        where.setdefault(fmt, []).append(element)
    for fmt, elements in where.items():
        # Large groups go in pieces, so that a layer's hidden units for all keys fit in memory.
        step = max(1, (1 << 18) >> fmt.width)
        for start in range(0, len(elements), step):
            yield fmt, np.array(elements[start : start + step], dtype=np.int64)


def _check_size(key: Type) -> None:
    widest, entries = key.max_width, 0
    if widest <= MAX_KEY_BITS:
        entries = Table.entries(key)
    if widest > MAX_KEY_BITS or entries > MAX_ENTRIES:
        size = f"keys of up to {widest} bits" if widest > MAX_KEY_BITS else f"{entries} entries"
        raise Refusal(
            f"its truth tables have {size}, which is more than 2**{MAX_KEY_BITS} each or 2**"
            f"{int(math.log2(MAX_ENTRIES))} together",
            "quantise the input of the function more coarsely; if the ranges of WRAP quantisers were never traced, "
            "give calibration data: --calibrate x.npy",
        )
