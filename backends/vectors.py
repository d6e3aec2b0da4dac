"""Test vectors for a design, and the words its ports carry.

Codes are what `lutc.ir.interp.execute` takes and gives: one integer array `(batch, *shape)` per port. A word holds the
bits of all elements of a port side by side, row-major, element 0 in the lowest bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lutc.diagnostics import did_you_mean, error
from lutc.ir.graph import Design
from lutc.ir.interp import execute, port_codes
from lutc.numbers import SAFE_BITS
from lutc.types import Ints, Type

_BATCH = 1024  # vectors packed at once


def vectors(design: Design, count: int, seed: int, extra: Mapping[str, Any] | None = None) -> dict[str, Ints]:
    """Codes for every input port: the rows of `extra`, then `count` of our own, the first half of them corners.

    `extra` gives real numbers `(batch, *shape)` per port, converted by the port's rule. The corners: everything at
    zero, at its least, at its most, the two by turns, alternating bits; each port, then each element alone at its
    extremes. Raises LirError if `extra` lacks a port, names an unknown one or has unequal numbers of samples.
    """
    rng = np.random.default_rng(seed)
    kinds = [p.type for p in design.params]
    names = [p.name or "" for p in design.params]
    lo, hi = _limits(kinds)
    corners = _corners(kinds, lo, hi, count // 2, rng)
    rows = np.concatenate([corners, _random(lo, hi, count - len(corners), rng)])
    given = {} if extra is None else _given(design, extra)
    result: dict[str, Ints] = {}
    start = 0
    for name, kind in zip(names, kinds, strict=True):
        mine = rows[:, start : start + kind.size].reshape(len(rows), *kind.shape)
        start += kind.size
        result[name] = np.concatenate([given[name].astype(mine.dtype), mine]) if given else mine
    return result


def stimulus(
    design: Design,
    count: int,
    seed: int,
    extra: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Words at the inputs and words expected at the outputs, by port, of the vectors that `vectors` makes.

    `names` gives the ports' identifiers in the HDL (`simulate.bench_for`). Ports without bits are left out, as
    they are in the HDL.
    """
    codes = vectors(design, count, seed, extra)
    answers = execute(design, codes)
    if not design.params:  # one answer, the same in every cycle
        answers = {port: np.repeat(codes, count, axis=0) for port, codes in answers.items()}
    params = {p.name or "": p.type for p in design.params}
    outputs = {o.name: o.value.type for o in design.outputs}

    def words(ports: Mapping[str, Type], values: Mapping[str, Ints]) -> dict[str, list[int]]:
        there = {port: kind for port, kind in ports.items() if kind.bits}
        return {names[port] if names else port: pack_bits(values[port], kind) for port, kind in there.items()}

    return words(params, codes), words(outputs, answers)


def element_runs(design: Design) -> dict[str, list[tuple[int, int]]]:
    """The widths of the elements of every output that is a tensor, as (count, width) runs; for `Bench.elements`."""
    kinds = {o.name: o.value.type for o in design.outputs}
    return {
        name: [(n, fmt.width) for n, fmt in kind.runs]
        for name, kind in kinds.items()
        if kind.shape and kind.bits
    }


def pack_bits(codes: Ints, kind: Type) -> list[int]:
    """Codes `(batch, *shape)` of a type as one word per row."""
    rows = np.asarray(codes).reshape(len(codes), kind.size)
    if kind.max_width > SAFE_BITS or rows.dtype == object:
        return [_pack(row, kind) for row in rows.tolist()]
    return [word for at in range(0, len(rows), _BATCH) for word in _pack_rows(rows[at : at + _BATCH], kind)]


def _pack_rows(rows: Ints, kind: Type) -> list[int]:
    parts, start = [np.zeros((len(rows), 0), np.uint8)], 0
    for count, fmt in kind.runs:
        block = rows[:, start : start + count, None] >> np.arange(fmt.width) & 1
        parts.append(block.astype(np.uint8).reshape(len(rows), count * fmt.width))
        start += count
    packed = np.packbits(np.concatenate(parts, axis=1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _pack(row: Iterable[int], kind: Type) -> int:
    # Through text, since adding to an ever longer integer takes quadratic time.
    bits = [
        f"{code & ((1 << f.width) - 1):0{f.width}b}"
        for code, f in zip(row, kind.formats, strict=True)
        if f.width
    ]
    return int("".join(reversed(bits)) or "0", 2)


def unpack_bits(words: Iterable[int], kind: Type) -> Ints:
    """Words as codes `(batch, *shape)`: int64, or Python integers where elements are wider than that allows."""
    wide = kind.max_width > SAFE_BITS
    rows = [_unpack(word, kind) for word in words]
    return np.array(rows, dtype=object if wide else np.int64).reshape(len(rows), *kind.shape)


def _unpack(word: int, kind: Type) -> list[int]:
    text = f"{word:0{kind.bits}b}"
    if len(text) > kind.bits and kind.bits:
        raise ValueError(f"a word of {len(text)} bits is none of {kind}")
    codes, end = [], len(text)
    for fmt in kind.formats:
        code = int(text[end - fmt.width : end], 2) if fmt.width else 0
        codes.append(code - (1 << fmt.width) if code > fmt.hi else code)
        end -= fmt.width
    return codes


def _given(design: Design, extra: Mapping[str, Any]) -> dict[str, Ints]:
    names = [p.name or "" for p in design.params]
    for name in extra:
        if name not in names:
            raise error(f"{design.name} has no input {name!r}", help=did_you_mean(name, names))
    if missing := [name for name in names if name not in extra]:
        raise error(f"the vectors for {design.name} lack its input {missing[0]!r}")
    given = {p.name or "": port_codes(p, extra[p.name or ""]) for p in design.params}
    if len({len(codes) for codes in given.values()}) > 1:
        counts = ", ".join(f"{name} {len(codes)}" for name, codes in given.items())
        raise error(f"the inputs of {design.name} differ in their number of vectors: {counts}")
    return given


def _limits(kinds: list[Type]) -> tuple[Ints, Ints]:
    """The smallest and largest codes of all elements of all ports."""
    formats = [f for kind in kinds for f in kind.formats]
    whole = object if any(f.width > SAFE_BITS for f in formats) else np.int64
    return np.array([f.lo for f in formats], dtype=whole), np.array([f.hi for f in formats], dtype=whole)


def _corners(kinds: list[Type], lo: Ints, hi: Ints, at_most: int, rng: np.random.Generator) -> Ints:
    zero = np.zeros_like(lo)
    one = np.minimum(hi, 1)
    odd = np.arange(len(lo)) % 2 == 1
    wave = np.array(
        [_alternating(int(top) - int(low)) for low, top in zip(lo, hi, strict=True)], dtype=lo.dtype
    )
    rows = [zero, lo, hi, np.where(odd, lo, hi), np.where(odd, hi, lo)]
    rows += [lo + wave, hi - wave, one, np.where(lo < 0, -1, hi), hi - np.minimum(hi, 1), lo + one]
    start = 0
    for kind in kinds if len(kinds) > 1 else []:
        mine = np.zeros(len(lo), dtype=bool)
        mine[start : start + kind.size] = True
        rows += [np.where(mine, a, b) for a, b in ((lo, zero), (hi, zero), (lo, hi), (hi, lo))]
        start += kind.size
    unique = {tuple(row.tolist()): row for row in rows}
    room = max(0, (at_most - len(unique)) // 2)
    moving = np.flatnonzero(np.asarray(hi != lo, dtype=bool))
    if len(moving) > room:
        moving = np.sort(rng.choice(moving, room, replace=False))
    for element in moving:
        for limit in (lo, hi):
            row = zero.copy()
            row[element] = limit[element]
            unique.setdefault(tuple(row.tolist()), row)
    chosen = list(unique.values())[:at_most]
    return np.array(chosen, dtype=lo.dtype).reshape(len(chosen), len(lo))


def _alternating(span: int) -> int:
    """0b..0101 below a span of 0b11..1."""
    return int("01" * span.bit_length(), 2) & span if span else 0


def _random(lo: Ints, hi: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Half of the rows uniform, a quarter of small numbers, a quarter of extremes."""
    shape = (count, len(lo))
    if lo.dtype == object:
        rows = _wide_uniform(lo, hi, shape, rng)
    else:
        rows = rng.integers(lo, hi, shape, endpoint=True)
    way = rng.integers(0, 4, count)
    widest = max((int(h - x).bit_length() for x, h in zip(lo, hi, strict=True)), default=0)
    places = rng.integers(0, min(widest, SAFE_BITS) + 1, (count, 1)).astype(lo.dtype)
    choices = np.stack([lo, hi, np.zeros_like(lo), np.minimum(hi, 1), np.maximum(lo, -1)])
    extremes = choices[rng.integers(0, len(choices), shape), np.arange(len(lo))]
    return np.where((way == 0)[:, None], rows >> places, np.where((way == 1)[:, None], extremes, rows))


def _wide_uniform(lo: Ints, hi: Ints, shape: tuple[int, int], rng: np.random.Generator) -> Ints:
    """Uniform codes of any width: the spans are powers of two, so low bits of long random numbers are uniform."""
    limbs = -(-max(int(h - x).bit_length() for x, h in zip(lo, hi, strict=True)) // 32)
    total = np.zeros(shape, dtype=object)
    for _ in range(limbs):
        total = (total << 32) + rng.integers(0, 1 << 32, shape).astype(object)
    return (total & (hi - lo)) + lo
