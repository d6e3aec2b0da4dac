"""Every row of the op table: `eval` against its definition, `bounds` and `infer` against all there is, `rtl` too."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from netlist_model import Model, number
from op_definitions import DEFINITIONS, meanings, reals
from random_designs import random_design

from lutc.backends.vectors import pack_bits, vectors
from lutc.diagnostics import LirError
from lutc.emit import netlist
from lutc.ir.graph import Const, Design, Func, Output, Param, Stage, Value, body
from lutc.ir.interp import execute
from lutc.ir.latency import latency
from lutc.ir.ops import ALL, TABLE, Relation
from lutc.ir.ops.base import Op
from lutc.ir.ops.flow import bound, evaluate
from lutc.numbers import narrowest
from lutc.types import BIT, ZERO, Fixed, Overflow, Rounding, Type, scalar, tensor, uniform

SEEDS = 12
PROGRAMS = Path(__file__).parents[1] / "lir" / "ops"
OPS: Any = TABLE  # to be made with operands, which mypy cannot know
# Drawn besides the operation itself, so that it meets what it needs.
COMPANY = {"element": ["call"], "gather": ["reshape"], "argmax": ["reshape"]}


def test_every_operation_is_defined() -> None:
    """By answers worked out by hand, in its file; those of lutc's own, in rational numbers besides."""
    assert set(DEFINITIONS) <= set(TABLE)
    for keyword in TABLE:
        assert "\nrun " in (PROGRAMS / f"{keyword}.lir").read_text(), keyword


def some_designs(op: type[Op], count: int = SEEDS) -> Iterator[Design]:
    ops = [op, *(TABLE[k] for k in COMPANY.get(op.keyword, []))]
    for stage in sorted(op.stages, key=lambda s: s.value):
        for seed in range(count):
            yield random_design(random.Random(seed), stage.value, ops, size=5)


@pytest.mark.parametrize("op", ALL, ids=lambda op: op.keyword)
def test_eval_and_bounds(op: type[Op]) -> None:
    """Of random designs of this operation: all values are what the definitions say, and within their bounds."""
    met = 0
    for design in some_designs(op):
        codes = vectors(design, 24, 3)
        values = [v for v in body(design) if not isinstance(v, Param)]
        inputs: dict[Value, Any] = {p: codes[p.name or ""] for p in design.params}
        got = evaluate(body(design), inputs, values)
        want = meanings(design, codes)
        ranges = bound(body(design), {p: p.type.ranges for p in design.params})
        for value in values:
            met += type(value) is op
            answer = reals(got[value], value.type)
            assert (np.broadcast_to(answer, want[value].shape) == want[value]).all(), value
            lo, hi = ranges[value]
            assert ((got[value] >= lo) & (got[value] <= hi)).all(), value
            type_lo, type_hi = value.type.ranges
            assert np.all(np.asarray(lo >= type_lo)) and np.all(np.asarray(hi <= type_hi)), value
    assert met >= SEEDS


FORMATS = [
    ZERO,
    BIT,
    Fixed(True, 1, 2),
    Fixed(False, 2, -1),
    Fixed(True, 3, 1),
    Fixed(True, 2, -2),
    Fixed(False, 3),
]


def everything(kinds: Sequence[Type]) -> list[Any]:
    """All codes of some small types together: one array `(batch, *shape)` for each."""
    sizes = [t.size for t in kinds]
    formats = [f for t in kinds for f in t.formats]
    rows = np.array(list(itertools.product(*(range(f.lo, f.hi + 1) for f in formats))), dtype=np.int64)
    columns = np.split(rows.reshape(-1, len(formats)), np.cumsum(sizes)[:-1], axis=1)
    return [c.reshape(-1, *t.shape) for c, t in zip(columns, kinds, strict=True)]


def small_ops() -> Iterator[Op]:
    """Operations whose type is inferred, on operands that differ, few enough to try every code."""

    def param(kind: Fixed | Type, name: str) -> Param:
        return Param(scalar(kind) if isinstance(kind, Fixed) else kind, name=name)

    for keyword in ("neg", "abs", "relu"):
        yield from (OPS[keyword](param(f, "x")) for f in FORMATS)
    for by in (0, 1, -1, 3, -5, Fraction(3, 4), Fraction(-1, 8), 6):
        yield from (OPS["scale"](param(f, "x"), Fraction(by)) for f in FORMATS)
    for f, g in itertools.product(FORMATS, repeat=2):
        for keyword in ("add", "sub", "mul", "min", "max"):
            yield OPS[keyword](param(f, "a"), param(g, "b"))
        yield OPS["select"](param(BIT, "c"), param(f, "a"), param(g, "b"))
        for p, q in ((1.0, 1.0), (3.0, -2.0), (0.5, -1.25), (0.0, 1.0)):
            bias = Fraction(random.Random(str((f, g, p, q))).randint(-6, 6), 4)
            yield OPS["lincomb"]((param(f, "a"), param(g, "b")), (Fraction(p), Fraction(q)), bias)
        for p, q in ((1.0, -2.0), (-0.5, -1.0), (4.0, 0.25)):
            yield OPS["add3"]((param(f, "a"), param(g, "b")), (Fraction(p), Fraction(q)), Fraction(p * q) / 4)
    mixed = tensor((2, 2), [FORMATS[4], ZERO, FORMATS[1], FORMATS[5]])
    for kind in (mixed, uniform((2, 2), FORMATS[5]), uniform((2, 2), BIT)):
        yield from (OPS["sum"](param(kind, "x"), axes) for axes in ((), (0,), (1,), (-1, 0)))
        weights = Const("w", uniform((2, 3), Fixed(True, 4, 2)), np.array([3, 0, -8, 4, 0, 7], dtype=object))
        yield OPS["dense"](param(kind, "x"), weights)


def test_types_are_the_narrowest() -> None:
    """The type inferred is that of the codes that really come, and the bounds are theirs."""
    tried = 0
    for op in small_ops():
        inputs = dict(zip(op.operands, everything([v.type for v in op.operands]), strict=True))
        codes = evaluate([*op.operands, op], inputs, [op])[op].astype(object)
        lo, hi = codes.min(axis=0), codes.max(axis=0)
        whole = op.bounds(*(v.type.ranges for v in op.operands))
        assert np.all(np.asarray(whole[0]) == lo) and np.all(np.asarray(whole[1]) == hi), (op, op.operands)
        assert op.type == narrowest(op.type.shape, lo, hi, op.lsb()), (op, op.operands)
        if not op.type.shape and all(not v.type.shape for v in op.operands):
            _bounds_of_parts(op, inputs, codes)
        tried += 1
    assert tried > 500


def _bounds_of_parts(op: Op, inputs: dict[Value, Any], codes: Any) -> None:
    """Bounds are exact too where operands reach only a part of what their formats hold."""
    rng = random.Random(repr(op))
    for _ in range(3):
        ends = [sorted(rng.choices(range(f.lo, f.hi + 1), k=2)) for v in op.operands for f in v.type.formats]
        reached = np.ones(len(codes), dtype=bool)
        for (a, b), x in zip(ends, inputs.values(), strict=True):
            reached &= (x >= a) & (x <= b)
        lo, hi = op.bounds(*((a, b) for a, b in ends))
        assert (lo, hi) == (codes[reached].min(), codes[reached].max()), (op, op.operands, ends)


def circuit_ops() -> list[type[Op]]:
    return [op for op in ALL if Stage.SCALAR in op.stages and (op.rtl is not Op.rtl or op.keyword == "call")]


def agrees(design: Design, codes: dict[str, Any]) -> None:
    """The netlist, evaluated in Python, gives what the interpreter gives."""
    modules = netlist(design)
    model = Model(modules[-1])
    expected = execute(design, codes)
    words = {p.name or "": pack_bits(codes[p.name or ""], p.type) for p in design.params}
    answers = {o.name: pack_bits(expected[o.name], o.value.type) for o in design.outputs}
    ports = {port.port: port for port in modules[-1].inputs}
    for row in range(len(next(iter(answers.values())))):
        pins = {name: number(words[name][row], port) for name, port in ports.items()}
        for _ in range(latency(design) + 1):
            got = model.outputs(pins)
            model.clock(1, 0)
        for output in modules[-1].outputs:
            value = got[output.port]
            assert value is not None
            assert value % (1 << output.net.width) == answers[output.port][row], (design, row)


@pytest.mark.parametrize("op", circuit_ops(), ids=lambda op: op.keyword)
def test_circuit(op: type[Op]) -> None:
    for seed in range(SEEDS):
        ops = [op, *(TABLE[k] for k in COMPANY.get(op.keyword, []) if TABLE[k] in circuit_ops())]
        ops += [o for o in circuit_ops() if op.keyword == "call"][:12]
        design = random_design(random.Random(seed), "scalar", ops, size=4)
        if any(o.value.type.bits for o in design.outputs):
            agrees(design, vectors(design, 12, 5))


def of(value: Value, *params: Param) -> Design:
    return Design("d", params, (Output("y", value),), Stage.SCALAR)


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
def test_quant_circuit_on_every_code(rounding: Rounding, overflow: Overflow) -> None:
    """All ways to lose bits at both ends, or to gain some, signed and not."""
    targets = [Fixed(s, w, f) for s in (False, True) for w in (1, 2, 4) for f in (-2, 0, 1, 4)]
    for source in (Fixed(True, 5, 2), Fixed(False, 4, 2), Fixed(True, 1, 1), BIT):
        x = Param(scalar(source), name="x")
        outputs = tuple(
            Output(f"y{i}", OPS["quant"](x, scalar(t), rounding, overflow)) for i, t in enumerate(targets)
        )
        agrees(Design("d", (x,), outputs, Stage.SCALAR), {"x": everything([x.type])[0]})


def test_two_operand_circuits_on_every_code() -> None:
    """Mixed signs and steps, overlapping or far apart."""
    formats = [BIT, Fixed(True, 3, 1), Fixed(True, 2, -2), Fixed(False, 3), Fixed(True, 1, 4)]
    for f, g in itertools.product(formats, repeat=2):
        a, b = Param(scalar(f), name="a"), Param(scalar(g), name="b")
        made: list[Value] = [OPS[k](a, b) for k in ("add", "sub", "mul", "min", "max")]
        made += [OPS["compare"](a, b, rel) for rel in Relation]
        made += [OPS["lincomb"]((a, b), (Fraction(-3, 2), Fraction(5)), Fraction(-7, 4))]
        made += [OPS["scale"](a, Fraction(-3, 4)), OPS["neg"](a), OPS["abs"](a), OPS["relu"](a)]
        outputs = tuple(Output(f"y{i}", v) for i, v in enumerate(made) if v.type.bits)
        columns = everything([a.type, b.type])
        agrees(Design("d", (a, b), outputs, Stage.SCALAR), {"a": columns[0], "b": columns[1]})


def test_a_condition_may_have_become_zero() -> None:
    """Found by the fuzzer: a narrowed condition that is always 0 has no bits."""
    x = Param(scalar(Fixed(True, 3)), name="x")
    chosen = OPS["select"](OPS["number"](Fraction(0)), OPS["neg"](x), x)
    agrees(of(chosen, x), {"x": everything([x.type])[0]})


def test_constants_pass_no_register() -> None:
    """Found by the fuzzer: a design whose registers all hold constants has no clock."""
    x = Param(scalar(Fixed(True, 3)), name="x")
    late = OPS["reg"](OPS["number"](Fraction(3)))
    modules = netlist(of(OPS["add"](x, late), x))
    assert not modules[-1].clock
    agrees(of(OPS["add"](x, late), x), {"x": everything([x.type])[0]})
    inner = Param(scalar(Fixed(False, 2)), name="a")
    func = Func("f", (inner,), OPS["pack"]((OPS["reg"](inner), OPS["number"](Fraction(-1))), (2,)))
    called = OPS["call"](func, (OPS["number"](Fraction(3)),))
    agrees(of(OPS["add"](x, OPS["element"](called, 0)), x), {"x": everything([x.type])[0]})


def test_what_has_no_circuit_is_refused_by_name() -> None:
    x = Param(uniform((2,), BIT), name="x")
    design = Design("d", (x,), (Output("y", OPS["sum"](x, name="total")),))
    with pytest.raises(LirError, match=r"%total: error: 'sum' has no circuit(.|\n)*scalarize"):
        netlist(design)
    one = Param(scalar(Fixed(True, 4)), name="x")
    rescaled = OPS["rescale"](one, scalar(BIT), (Fraction(1, 3),), (Fraction(0),))
    with pytest.raises(LirError, match=r"'rescale' has no circuit"):
        netlist(of(rescaled, one))
    with pytest.raises(LirError, match="nothing to build"):
        netlist(of(OPS["number"](Fraction(0)), one))
