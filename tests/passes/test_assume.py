"""Assumed inputs: exact on every row that was given, whatever the design, and smaller for it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from random_designs import random_design
from table_networks import tables

import lutc
from lutc.assumed import Assumed, Rows, digest
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Param
from lutc.ir.interp import execute
from lutc.ir.ops import Lut, Quant
from lutc.passes.assume.fills import as_nearest, distances, fewer_inputs, fewer_subtables
from lutc.passes.assume.observe import entries_read, in_order
from lutc.passes.assume.ranges import AssumeRanges
from lutc.passes.assume.tables import AssumeKeys, AssumeTables
from lutc.passes.context import Context
from lutc.passes.manager import Pass, random_codes, run
from lutc.passes.pipelines import standard
from lutc.passes.scalarize import Scalarize
from lutc.target import load
from lutc.truth import table_luts
from lutc.types import Fixed, scalar, uniform

KINDS: list[type[Pass]] = [AssumeRanges, AssumeTables, AssumeKeys]
TARGET = load("xcvu13p")


def some(design: Design, count: int, margin: int = 0) -> Assumed:
    """Random codes of a design, as if they were given."""
    return Assumed({name: x[2:] for name, x in random_codes(design, count + 2).items()}, margin)


@pytest.mark.parametrize("stage", ["tensor", "scalar"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_assumed_row_is_answered_as_before(kind: type[Pass], stage: str) -> None:
    changed = 0
    for seed in range(40):
        design = random_design(random.Random(seed), stage, size=15)
        if not design.params:
            continue
        assumed = some(design, 3, seed % 3)
        steps = [kind()] if stage == "scalar" else [Scalarize(), kind()]
        after = run(design, steps, Context(assumed=assumed))
        for port, right in execute(design, assumed.codes).items():
            assert np.array_equal(execute(after, assumed.codes)[port], right), (seed, port)
        changed += assumed.said in after.notes
        assert not after.runs or assumed.said not in after.notes
    assert changed > (5 if kind is AssumeRanges else 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_without_rows_nothing_is_done(kind: type[Pass]) -> None:
    design = tables()
    assert kind()(design, Context()) is design


def test_all_rows_there_are_leave_the_design_exact() -> None:
    """What every input reads is no don't-care."""
    x = Param(scalar(Fixed(True, 5, 2)), name="x")
    design = lutc.loads(
        "lir 1 scalar\ntable @f: s5f2 -> u3 = [" + ", ".join(str(n * n % 8) for n in range(32)) + "]\n"
        "design d(%x: s5f2) -> (y = %y, z = %z) {\n %y = lut %x, @f\n %z = mul %x, %x\n}\n"
    )
    assumed = Assumed({"x": np.arange(x.type.scalar.lo, x.type.scalar.hi + 1)})
    after = run(design, [kind() for kind in KINDS], Context(assumed=assumed))
    answers = (execute(d, assumed.codes) for d in (design, after))
    assert all(np.array_equal(a, b) for a, b in zip(*(found.values() for found in answers), strict=True))
    assert AssumeTables()(design, Context(assumed=assumed)) is design
    assert AssumeKeys()(design, Context(assumed=assumed)) is design


def test_a_compilation_is_exact_on_the_rows_and_smaller() -> None:
    for seed in range(3):
        design = tables(seed)
        assumed = some(design, 30)
        after = run(design, standard(stages=0, assume=True), Context(assumed=assumed), check=50)
        want, got = (execute(d, assumed.codes)["y"] for d in (design, after))
        assert np.array_equal(want, got)
        exact, built = (lutc.compile(d, stages=0).report["estimate"]["luts"] for d in (design, after))
        assert built < 0.97 * exact


def test_the_margin_keeps_more() -> None:
    design = tables()
    read = [entries_read(design, some(design, 5, margin)) for margin in (0, 1, 3, 200)]
    counts = [sum(int(seen.sum()) for seen in found.values()) for found in read]
    assert 0 < counts[0] < counts[1] < counts[2] and not read[3]
    for op, seen in read[0].items():
        order = in_order(len(seen), op.key.type.scalar.signed)
        wider = {int(n) + d for n in np.flatnonzero(seen[order]) for d in (-1, 0, 1)}
        if op in read[1]:
            assert {int(n) for n in np.flatnonzero(read[1][op][order])} == wider & {*range(len(seen))}


def test_fills_keep_what_is_read() -> None:
    rng = np.random.default_rng(1)
    for width in range(2, 11):
        key, value = Fixed(bool(width % 2), width), Fixed(bool(width % 3), 4)
        codes = rng.integers(value.lo, value.hi + 1, 1 << width)
        read = rng.random(1 << width) < 0.3
        read[rng.integers(1 << width)] = True
        filled = as_nearest(codes, read, key.signed)
        fewer = fewer_inputs(codes, read, key, value, filled, TARGET)
        merged = list(fewer_subtables(codes, read, key, value, filled)) if width > 3 else []
        for way in (filled, fewer, *merged):
            assert np.array_equal(way[read], codes[read]) and value.lo <= way.min() <= way.max() <= value.hi
        assert table_luts(fewer, 4, TARGET) <= table_luts(filled, 4, TARGET) + 0.5  # pairs may come apart


def test_the_nearest_entry_is_the_nearest_number() -> None:
    """By brute force, over the numbers that the keys stand for."""
    rng = np.random.default_rng(2)
    for signed in (False, True):
        keys = np.arange(16) - (16 * (np.arange(16) > 7) if signed else 0)
        read = rng.random(16) < 0.3
        read[3] = True
        nearest, far = distances(read, signed)
        for entry, key in enumerate(keys):
            off = {int(k): abs(int(key) - int(k)) for k in keys[read]}
            assert far[entry] == min(off.values())
            assert keys[nearest[entry]] == min(k for k, d in off.items() if d == far[entry])


def test_a_pass_that_breaks_an_assumed_row_is_caught() -> None:
    """Also one that says that it assumes: with vectors to check, some of which are the rows."""

    @dataclass(frozen=True)
    class Wrong(Pass):
        name: ClassVar[str] = "wrong"
        assumes: ClassVar[bool] = True

        def __call__(self, design: Design, context: Context) -> Design:
            return lutc.loads(
                "lir 1 scalar\ndesign d(%x: s4) -> (y = %y) {\n %r = relu %x\n %y: s4 = quant %r\n}\n"
            )

    design = lutc.loads("lir 1 scalar\ndesign d(%x: s4) -> (y = %x) {\n}\n")
    good, bad = (Context(assumed=Assumed({"x": np.array([n, 7])})) for n in (2, -2))
    assert run(design, [Wrong()], good, check=20).values != design.values
    with pytest.raises(LirError, match="changed output 'y' on assumed row 0"):
        run(design, [Wrong()], bad, check=20)
    with pytest.raises(LirError, match="changed output 'y' on random vector"):
        run(design, [_Plain()], good, check=20)


@dataclass(frozen=True)
class _Plain(Pass):
    """The same without the right to assume."""

    name: ClassVar[str] = "plain"

    def __call__(self, design: Design, context: Context) -> Design:
        return lutc.loads(
            "lir 1 scalar\ndesign d(%x: s4) -> (y = %y) {\n %r = relu %x\n %y: s4 = quant %r\n}\n"
        )


def test_functions_are_looked_into() -> None:
    design = lutc.loads(
        "lir 1 scalar\ntable @f: u3 -> u3 = [0, 1, 2, 3, 4, 5, 6, 7]\n"
        "func @look(%a: u3) -> %b {\n %b = lut %a, @f\n}\n"
        "design d(%x: u3, %y: u3) -> (z = %z) {\n %p = call @look, %x\n %q = call @look, %y\n %z = add %p, %q\n}\n"
    )
    read = entries_read(design, Assumed({"x": np.array([1, 1]), "y": np.array([6, 5])}))
    assert [np.flatnonzero(seen).tolist() for seen in read.values()] == [[1, 5, 6]]
    assert all(isinstance(op, Lut) for op in read)


def test_saturation_that_rows_need_stays() -> None:
    design = lutc.loads(
        "lir 1 scalar\ndesign d(%x: s6) -> (y = %y) {\n %q: s4 = quant %x, overflow=saturate\n %y = neg %q\n}\n"
    )
    for rows, saturates in (([3, -8], False), ([3, -9], True)):
        after = AssumeRanges()(design, Context(assumed=Assumed({"x": np.array(rows)})))
        kinds = [v.overflow.value for v in after.values if isinstance(v, Quant) and v.x in after.params]
        assert (kinds == ["saturate"]) == saturates


def test_the_digest_is_of_the_codes() -> None:
    """Not of the file: the same rows as integers, floats or in other memory have the same."""
    design = lutc.loads("lir 1\ndesign d(%x: s6f1[2]) -> (y = %x) {\n}\n")
    rows = np.array([[1, 2], [3, -4]])
    found = {
        Assumed.of(design, Rows.of(given, "assume_inputs"), 0).digest
        for given in (rows, rows.astype(np.float32), {"x": np.asfortranarray(rows)}, rows.astype(np.int8))
    }
    assert found == {digest({"x": rows * 2})} and len(found.pop()) == 64
    assert digest({"x": rows * 2}) != digest({"x": rows}) != digest({"y": rows})
    wide = Param(uniform((1,), Fixed(True, 70)), name="w")
    big = Design("big", (wide,), ())
    assert len(Assumed.of(big, Rows.of(np.array([[1.0]]), "assume_inputs"), 0).digest) == 64
    assert Fraction(1) == wide.scale
