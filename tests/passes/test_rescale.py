"""`rescale` as hardware: each way it may be written gives the exact answer for every code, all modes of rounding."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lutc import target as targets
from lutc.ir.graph import Design, Output, Param, Stage, Value, body
from lutc.ir.interp import execute
from lutc.ir.ops import Compare, Max, Min, Number, Quant, Relu, Rescale
from lutc.ir.verify import verify
from lutc.numbers import bounded, rounded
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.manager import run
from lutc.passes.pipelines import standard
from lutc.passes.rescale import rescale
from lutc.passes.rescale.line import Line, Stairs, stairs_of
from lutc.passes.rescale.multiplier import Each, Floors, demands, highest, multiplier, slopes
from lutc.passes.rescale.parts import in_parts
from lutc.passes.rescale.rescale import LowerRescale
from lutc.passes.rescale.ties import floor_form, ties
from lutc.passes.rewriter import Rewriter
from lutc.passes.sums.blocks import Prices
from lutc.types import Fixed, Overflow, Rounding, scalar, uniform

FORMATS = [
    (Fixed(True, 7, 3), Fixed(True, 4, 1)),
    (Fixed(True, 6, -2), Fixed(False, 5, 2)),
    (Fixed(False, 7, 4), Fixed(True, 5, -1)),
    (Fixed(True, 5, 0), Fixed(True, 12, 5)),
    (Fixed(True, 1, 2), Fixed(True, 3, 2)),
    (Fixed(False, 6, 0), Fixed(False, 1, 0)),
    (Fixed(True, 6, 9), Fixed(True, 1, 3)),
]
SATURATE = Overflow.SATURATE
MODES = [(r, o) for r in Rounding for o in Overflow]
IDS = [f"{r.value}-{o.value}" for r, o in MODES]


def factors(rng: random.Random, source: Fixed, to: Fixed) -> tuple[Fraction, Fraction]:
    """A factor and an offset for which the format is about filled, ties and all."""
    fill = Fraction(1 << to.width, 1 << source.width) * to.step / source.step
    by = fill * Fraction(rng.randint(1, 40), rng.choice([3, 5, 6, 7, 9, 11, 12, 24, 49]))
    add = to.step * Fraction(rng.randint(-30, 30), rng.choice([1, 2, 3, 4, 7, 12]))
    return rng.choice([by, -by]), rng.choice([Fraction(0), add])


def design_of(op: Value, x: Param) -> Design:
    design = Design("d", (x,), (Output("y", op),), Stage.SCALAR)
    verify(design)
    return design


def same(before: Rescale, after: Value, codes: Any) -> None:
    """Two values of one parameter agree on codes, and in their format."""
    assert isinstance(before.x, Param)
    want = execute(design_of(before, before.x), {"x": codes})["y"]
    got = execute(design_of(after, before.x), {"x": codes})["y"]
    assert after.type == before.type
    wrong = np.flatnonzero(np.asarray(want != got))
    assert not len(wrong), (before.by, before.add, before.type, before.x.type, codes[wrong[0]])


def every(fmt: Fixed) -> Any:
    return np.arange(fmt.lo, fmt.hi + 1)


def rescales(
    count: int, rounding: Rounding, overflow: Overflow, formats: Sequence[tuple[Fixed, Fixed]]
) -> list[Rescale]:
    rng = random.Random(f"{rounding} {overflow}")
    made = []
    for source, to in formats:
        for _ in range(count):
            by, add = factors(rng, source, to)
            x = Param(scalar(source), name="x")
            made.append(Rescale(x, scalar(to), (by,), (add,), -1, rounding, overflow))
    return made


def affine(op: Rescale) -> Value:
    stairs, rw = stairs_of(op), Rewriter()
    return rw.fit(rescale._affine(rw, op, multiplier(stairs, 3), stairs), op.to)


def in_tables(op: Rescale) -> list[Value]:
    """The sum of tables, on LUTs of six inputs and of four, if there is one."""
    found, rw = [], Rewriter()
    for target in (targets.load("xcvu13p"), targets.load("ice40up5k")):
        parts = in_parts(stairs_of(op), op.x.type.scalar, target, 3)
        found += [rw.fit(rescale._parts(rw, op, parts), op.to)] if parts else []
    return found


@pytest.mark.parametrize(("rounding", "overflow"), MODES, ids=IDS)
def test_every_way_on_every_code(rounding: Rounding, overflow: Overflow) -> None:
    """A multiplier, a table, a sum of tables: on formats small enough to try all codes."""
    for op in rescales(6, rounding, overflow, FORMATS):
        if stairs_of(op).answer(op.x.type.scalar.lo) != stairs_of(op).answer(op.x.type.scalar.hi):
            codes = every(op.x.type.scalar)
            for way in (affine(op), rescale._table(Rewriter(), op, stairs_of(op)), *in_tables(op)):
                same(op, way, codes)


@pytest.mark.parametrize(("rounding", "overflow"), MODES, ids=IDS)
def test_the_pass_on_every_code(rounding: Rounding, overflow: Overflow) -> None:
    """What the pass chooses, and what is left of it after the whole pipeline."""
    target = targets.load("xcvu13p")
    for op in rescales(3, rounding, overflow, FORMATS):
        chosen = rescale.lowered(Rewriter(), op, target)
        codes = every(op.x.type.scalar)
        same(op, Rewriter().fit(chosen, op.to), codes)
        source = design_of(op, op.x)  # type: ignore[arg-type]
        final = run(source, standard(stages=0))
        assert not any(isinstance(v, Rescale) for v in body(final))
        assert (execute(final, {"x": codes})["y"] == execute(source, {"x": codes})["y"]).all()


@pytest.mark.parametrize("rounding", Rounding)
def test_all_ways_on_every_code(rounding: Rounding) -> None:
    """Those that others are cheaper than too, some of them on saturated operands."""
    target = targets.load("xcvu13p")
    for op in rescales(
        2, rounding, SATURATE, [(Fixed(True, 9, 3), Fixed(False, 3, 1)), FORMATS[0], FORMATS[2]]
    ):
        stairs = stairs_of(op)
        if stairs.answer(stairs.lo) == stairs.answer(stairs.hi):
            continue
        rw = Rewriter()
        for way in rescale._ways(rw, op, target, Prices(target, 0.0)):
            same(op, rw.fit(way.build(), op.to), every(op.x.type.scalar))


WIDE = [(Fixed(True, 13, 4), Fixed(True, 8, 2)), (Fixed(False, 13, 0), Fixed(True, 14, 3))]


@pytest.mark.parametrize(("rounding", "overflow"), MODES, ids=IDS)
def test_wide_operands_on_every_code(rounding: Rounding, overflow: Overflow) -> None:
    """More than 4,096 codes, which are never asked one by one."""
    for op in rescales(1, rounding, overflow, WIDE):
        design = run(design_of(op, op.x), [LowerRescale()])  # type: ignore[arg-type]
        codes = every(op.x.type.scalar)
        want = execute(design_of(op, op.x), {"x": codes})["y"]  # type: ignore[arg-type]
        assert (execute(design, {"x": codes})["y"] == want).all(), (op.by, op.add)


@pytest.mark.parametrize("rounding", Rounding)
def test_very_wide_operands_around_ties(rounding: Rounding) -> None:
    """Codes whose answers lie just beside a tie or an integer, where a slope that is off would show."""
    rng = random.Random(rounding.value)
    for source, to in ((Fixed(True, 40, 7), Fixed(True, 37, 3)), (Fixed(False, 70, 0), Fixed(True, 80, 4))):
        for _ in range(4):
            by, add = factors(rng, source, to)
            x = Param(scalar(source), name="x")
            op = Rescale(x, scalar(to), (by,), (add,), -1, rounding, Overflow.SATURATE)
            line = stairs_of(op).line
            codes = {source.lo, source.hi, 0}
            for _ in range(60):
                aim = Fraction(rng.randint(2 * to.lo, 2 * to.hi), 2)
                at = round((aim - line.start) / line.slope)
                codes |= {min(max(at + d, source.lo), source.hi) for d in (-1, 0, 1)}
            for way in (affine(op), *in_tables(op)):
                same(op, way, np.array(sorted(codes), dtype=object))


@pytest.mark.parametrize("rounding", Rounding)
def test_the_floor_forms(rounding: Rounding) -> None:
    """The floor of the shifted line is the rounding, stopped."""
    rng = random.Random(rounding.value)
    found = tried = 0
    for _ in range(300):
        slope = Fraction(rng.randint(1, 50), rng.randint(1, 24))
        line = Line(slope, Fraction(rng.randint(-50, 50), rng.choice([1, 2, 6, 7, 24])), rounding)
        stairs = Stairs.of(line, *random_ends(rng), Fixed(rng.random() < 0.5, rng.randint(1, 7)), SATURATE)
        lo, hi = stairs.lo, stairs.hi
        if stairs.answer(lo) == stairs.answer(hi):
            continue
        tried += 1
        form = floor_form(stairs)
        if form:
            found += 1
            shifted = Stairs(form, lo, hi, stairs.least, stairs.most)
            assert [shifted.answer(x) for x in range(lo, hi + 1)] == [
                stairs.answer(x) for x in range(lo, hi + 1)
            ]
    plain = (Rounding.FLOOR, Rounding.CEIL, Rounding.HALF_UP, Rounding.HALF_DOWN)
    assert found == tried if rounding in plain else 0 < found < tried


def random_ends(rng: random.Random) -> tuple[int, int]:
    lo = rng.randint(-60, 30)
    return lo, lo + rng.randint(1, 60)


def test_ties() -> None:
    """The congruence finds the codes whose values are halves."""
    rng = random.Random(1)
    for _ in range(300):
        line = Line(
            Fraction(rng.randint(-40, 40) or 1, rng.randint(1, 40)),
            Fraction(rng.randint(-40, 40), rng.choice([1, 2, 3, 8, 40])),
            Rounding.HALF_EVEN,
        )
        lo, hi = random_ends(rng)
        assert list(ties(line, lo, hi)) == [x for x in range(lo, hi + 1) if line.at(x) % 1 == Fraction(1, 2)]


@pytest.mark.parametrize("rounding", Rounding)
def test_windows_and_steps(rounding: Rounding) -> None:
    """Codes out of the window are answered like its ends, which are the last of their kind; steps are all changes."""
    rng = random.Random(rounding.value)
    for _ in range(300):
        slope = Fraction(rng.randint(-50, 50) or 1, rng.randint(1, 60))
        line = Line(slope, Fraction(rng.randint(-50, 50), rng.randint(1, 9)), rounding)
        mode = rng.choice([SATURATE, Overflow.SATURATE_SYMMETRIC])
        to = Fixed(rng.random() < 0.5, rng.randint(1, 5))
        stairs = Stairs.of(line, *random_ends(rng), to, mode)
        lo, hi = stairs.lo, stairs.hi
        answers = {x: bounded(rounded(line.at(x), rounding), to, mode) for x in range(lo, hi + 1)}
        assert all(stairs.answer(x) == a for x, a in answers.items())
        if answers[lo] == answers[hi]:
            continue
        first, last = stairs.window
        assert first == (max(x for x in answers if answers[x] == answers[lo]) if low(stairs) else lo)
        assert last == (min(x for x in answers if answers[x] == answers[hi]) if high(stairs) else hi)
        changes = [(x, answers[x]) for x in range(lo + 1, hi + 1) if answers[x] != answers[x - 1]]
        assert stairs.steps() == changes


def low(stairs: Stairs) -> bool:
    return (stairs.least if stairs.line.slope > 0 else stairs.most) is not None


def high(stairs: Stairs) -> bool:
    return (stairs.most if stairs.line.slope > 0 else stairs.least) is not None


def test_the_highest_of_a_floor_and_a_line() -> None:
    rng = random.Random(2)
    for _ in range(3000):
        n, m, c = rng.randint(1, 30), rng.randint(1, 40), rng.randint(0, 60)
        a, b, d = (rng.randint(-50, 50) for _ in range(3))
        value, x = highest(n, a, b, c, d, m)
        assert value == max(a * x + b * ((c * x + d) // m) for x in range(n))
        assert 0 <= x < n and value == a * x + b * ((c * x + d) // m)


@pytest.mark.parametrize("rounding", Rounding)
def test_the_right_slopes_are_an_interval(rounding: Rounding) -> None:
    """Just inside its ends a slope is right with some offset, at the ends with none; found by floors or one by one."""
    rng = random.Random(rounding.value)
    for _ in range(60):
        line = Line(
            Fraction(rng.randint(1, 50), rng.randint(1, 60)), Fraction(rng.randint(-9, 9), 7), rounding
        )
        stairs = Stairs.of(line, *random_ends(rng), Fixed(True, 5), SATURATE)
        lo, hi = stairs.lo, stairs.hi
        if stairs.answer(lo) == stairs.answer(hi):
            continue
        asked = demands(stairs)
        assert asked
        inside = slopes(asked, line.slope)
        if isinstance(asked, Floors):
            assert inside == slopes(each(stairs), line.slope)
        if inside is None:
            continue
        for end, towards in zip(inside, (1, -1), strict=True):
            assert end in (line.slope / 2, line.slope * 2) or not right_somehow(stairs, end)
            assert right_somehow(stairs, end + towards * (inside[1] - inside[0]) / 100)


def each(stairs: Stairs) -> Each:
    """The demands of all codes, asked one by one."""
    codes = np.arange(stairs.lo, stairs.hi + 1)
    answers = np.array([stairs.answer(x) for x in codes.tolist()])
    above = answers > (-(10**9) if stairs.least is None else stairs.least)
    below = answers < (10**9 if stairs.most is None else stairs.most)
    return Each((codes[above], answers[above]), (codes[below], answers[below]))


def right_somehow(stairs: Stairs, slope: Fraction) -> bool:
    """Whether some offset makes all answers right, by looking at all codes."""
    asked = each(stairs)
    (x, w), (y, v) = asked.above, asked.below
    reach = max(int(a) - int(c) * slope for c, a in zip(x, w, strict=True))
    stay = min(int(a) + 1 - int(c) * slope for c, a in zip(y, v, strict=True))
    return bool(reach < stay)


def test_few_steps_become_thresholds() -> None:
    x = Param(scalar(Fixed(True, 8)), name="x")
    op = Rescale(x, scalar(Fixed(False, 1)), (Fraction(1, 300),), (Fraction(1, 3),), -1, Rounding.FLOOR)
    design = run(design_of(op, x), [LowerRescale()], check=200)
    assert sum(isinstance(v, Number) for v in body(design)) == 1, "it saturates at 0 throughout"
    wide = Rescale(x, scalar(Fixed(True, 3)), (Fraction(1, 100),), (Fraction(0),))
    design = run(design_of(wide, x), [LowerRescale()], check=200)
    assert sum(isinstance(v, Compare) for v in body(design)) == 2
    same(wide, design.outputs[0].value, every(Fixed(True, 8)))


@pytest.mark.parametrize(("rounding", "overflow"), MODES, ids=IDS)
def test_a_search_among_many_codes(rounding: Rounding, overflow: Overflow) -> None:
    """Wide operands and short answers: tried beside every code from which on the answer is another."""
    found = 0
    for op in rescales(
        2, rounding, overflow, [(Fixed(True, 24, 5), Fixed(s, w, 1)) for s in (False, True) for w in (2, 4)]
    ):
        source, stairs = op.x.type.scalar, stairs_of(op)
        if overflow is Overflow.WRAP and not in_format(stairs, op.to.scalar):
            continue
        found += 1
        steps, first = stairs.steps(), stairs.answer(source.lo)
        near = {code + d for code, _ in steps for d in (-1, 0)} | {source.lo, source.hi, 0}
        some = random.Random(len(steps)).choices(range(source.lo, source.hi + 1), k=200)
        same(op, rescale._search(Rewriter(), op, first, steps), np.array(sorted(near | set(some))))
    assert found or overflow is Overflow.WRAP


def in_format(stairs: Stairs, to: Fixed) -> bool:
    return all(to.lo <= stairs.answer(x) <= to.hi for x in (stairs.lo, stairs.hi))


def test_dyadic_factors_need_no_multiplier() -> None:
    x = Param(scalar(Fixed(True, 12, 2)), name="x")
    op = Rescale(x, scalar(Fixed(True, 10, 1)), (Fraction(3, 8),), (Fraction(-1, 4),))
    design = run(design_of(op, x), [LowerRescale()])
    assert {v.keyword for v in body(design) if not isinstance(v, Param)} == {"lincomb", "quant"}  # type: ignore[attr-defined]
    same(op, design.outputs[0].value, every(Fixed(True, 12, 2)))


@pytest.mark.parametrize("rounding", Rounding)
def test_what_is_constant_becomes_a_number(rounding: Rounding) -> None:
    x = Param(scalar(Fixed(True, 4)), name="x")
    none = Rescale(x, scalar(Fixed(True, 4, 1)), (Fraction(0),), (Fraction(5, 3),), -1, rounding)
    empty = Rescale(x, scalar(Fixed(False, 0)), (Fraction(1, 3),), (Fraction(5, 3),), -1, rounding)
    for op in (none, empty):
        design = run(design_of(op, x), [LowerRescale()])
        assert sum(isinstance(v, Number) for v in body(design)) == 1
        same(op, design.outputs[0].value, every(Fixed(True, 4)))


def test_bounds_make_it_cheaper() -> None:
    """An operand that fills a part of its format only: codes out of bounds need no right answer."""
    x = Param(scalar(Fixed(False, 3)), name="x")
    wide = Quant(x, scalar(Fixed(True, 16)))
    op = Rescale(wide, scalar(Fixed(True, 6, 1)), (Fraction(7, 3),), (Fraction(1, 7),))
    design = run(design_of(op, x), standard(stages=0), check=8)
    assert all(v.type.max_width <= 8 for v in body(design))


def clipped(rng: random.Random, x: Value) -> Value:
    """A value, stopped in one of the ways there are, at its steps or between them."""
    fmt = x.type.scalar
    bound = Number(fmt.value(rng.randint(fmt.lo, fmt.hi)) + rng.choice([Fraction(0)] * 5 + [fmt.step / 2]))
    to = Fixed(rng.random() < 0.5, rng.randint(1, fmt.width + 1), fmt.frac)
    mode = rng.choice([SATURATE, SATURATE, Overflow.SATURATE_SYMMETRIC, Overflow.WRAP])
    return rng.choice(
        [Relu(x), Min(x, bound), Max(bound, x), Min(bound, x), Quant(x, scalar(to), Rounding.FLOOR, mode)]
    )


@pytest.mark.parametrize("rounding", Rounding)
def test_clips_in_front_and_behind(rounding: Rounding) -> None:
    """Whatever stops the operand or the answer, and is taken in, the answers stay."""
    rng = random.Random(rounding.value)
    fewer = 0
    for _ in range(120):
        source, to = Fixed(rng.random() < 0.7, 6, 1), Fixed(rng.random() < 0.5, rng.randint(2, 6), -1)
        x = Param(scalar(source), name="x")
        by, add = factors(rng, source, to)
        value: Value = x
        for _ in range(rng.randint(0, 2)):
            value = clipped(rng, value)
        value = Rescale(value, scalar(to), (by,), (add,), -1, rounding, rng.choice(list(Overflow)))
        for _ in range(rng.randint(0, 2)):
            value = clipped(rng, value)
        design = run(design_of(value, x), [Narrow()])
        codes = {"x": every(source)}
        want = execute(design_of(value, x), codes)["y"]
        after = run(design, [LowerRescale()])
        assert (execute(after, codes)["y"] == want).all()
        fewer += count_clips(after) < count_clips(design)
    assert fewer


def count_clips(design: Design) -> int:
    return sum(isinstance(v, Relu | Min | Max) for v in body(design))


def test_one_factor_per_index() -> None:
    """The tensor's factors reach the right elements."""
    x = Param(uniform((2, 3), Fixed(True, 5, 1)), name="x")
    by = (Fraction(1, 3), Fraction(-2, 7), Fraction(5, 11))
    for axis, numbers in ((-1, by), (1, by), (0, by[:2])):
        op = Rescale(x, uniform((2, 3), Fixed(True, 6, 2)), numbers, (Fraction(1, 9),), axis)
        run(Design("d", (x,), (Output("y", op),)), standard(stages=2), check=200)


@pytest.mark.parametrize("mode", Rounding, ids=lambda m: m.value)
def test_many_roundings_at_once(mode: Rounding) -> None:
    """As one by one, ties and signs included, within 64 bits and beyond."""
    rng = random.Random(mode.value)
    for denominator in (1, 2, 6, 64, 2**50 + 1):
        for bits in (4, 30, 70):
            slope = Fraction(rng.randint(1, 99) * rng.choice([1, -1]), denominator)
            line = Line(slope, Fraction(rng.randint(-99, 99), rng.choice([1, 2, 3, 4])), mode)
            lo = rng.choice([-8, rng.getrandbits(bits), -rng.getrandbits(bits)])
            assert line.wanted(lo, lo + 16).tolist() == [
                rounded(line.at(x), mode) for x in range(lo, lo + 17)
            ]


def fibonacci(bits: int) -> Fraction:
    """The quotient of two neighbours, on which Euclid's algorithm takes the most steps."""
    a, b = 1, 1
    while b.bit_length() < bits:
        a, b = b, a + b
    return Fraction(a, b)


HUGE = {
    "ties of 72 bits": (Fixed(True, 72), Fixed(True, 72), Fraction(1, 6)),
    "even ties of 300 bits": (Fixed(True, 300), Fixed(True, 300), Fraction(1, 3000)),
    "more steps of Euclid's than calls": (Fixed(True, 720), Fixed(True, 24), fibonacci(720)),
    "digits far apart": (Fixed(True, 1300), Fixed(True, 8), Fraction(1000003, 12345)),
    "one code": (Fixed(False, 64), Fixed(False, 1), Fraction(10**40, 3)),
}


@pytest.mark.parametrize(
    "rounding", [Rounding.FLOOR, Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.HALF_AWAY]
)
@pytest.mark.parametrize("case", HUGE)
def test_operands_beyond_all_words(case: str, rounding: Rounding) -> None:
    """No count of codes, no depth of calls and no field of bits sets a limit to them."""
    source, to, by = HUGE[case]
    op = Rescale(
        Param(scalar(source), name="x"), scalar(to), (by,), (Fraction(1, 2),), -1, rounding, SATURATE
    )
    rng = random.Random(case)
    last = max(int((to.hi + 1) / by), 1)
    near = [rng.choice([1, 1, -1]) * rng.randrange(2 * last) for _ in range(60)]
    codes = [*(min(max(c, source.lo), source.hi) for c in near), 0, 1, source.lo, source.hi]
    after = rescale.lowered(Rewriter(), op, targets.load("xcvu13p"))
    same(op, after, np.array(codes, dtype=object))
