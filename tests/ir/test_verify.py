"""The verifier's rules, one test for each number of those in `ir_spec/structure.md`, under "Well-formed"."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutc.diagnostics import LirError
from lutc.ir.graph import Const, Design, Func, Output, Param, Run, Stage, Table, Value
from lutc.ir.latency import latency
from lutc.ir.ops.arith import Add, Neg
from lutc.ir.ops.flow import Call, Reg
from lutc.ir.ops.moves import Element, Pack
from lutc.ir.ops.table import ConstOp, Lut, Number
from lutc.ir.ops.tensor import Sum
from lutc.ir.verify import verify
from lutc.types import Fixed, Type, scalar, uniform

SPEC = Path(__file__).parents[2] / "ir_spec" / "structure.md"
S4 = scalar(Fixed(True, 4))
ROW = uniform((2,), Fixed(True, 4))


def param(name: str | None = "x", kind: Type = S4, **more: Any) -> Param:
    return Param(kind, name=name, **more)


def design(
    params: Sequence[Param], *values: Value, stage: Stage = Stage.TENSOR, name: str = "d", **more: Any
) -> Design:
    outputs = tuple(Output(f"y{i}", v, **more) for i, v in enumerate(values))
    return Design(name, tuple(params), outputs, stage)


def func(name: str, params: Sequence[Param], result: Value) -> Func:
    return Func(name, tuple(params), result)


def const(name: str, *codes: int) -> Const:
    return Const(name, uniform((len(codes),), Fixed(True, 4)), np.array(codes, dtype=object))


def refused(bad: Design, *messages: str) -> None:
    """The verifier must say exactly these things, each with a place or an owner, and a next step."""
    with pytest.raises(LirError) as caught:
        verify(bad)
    found = caught.value.diagnostics
    assert [d.message for d in found] == list(messages)
    assert all(d.help and (d.span or d.where) for d in found)


def test_every_rule_has_a_test() -> None:
    numbers = [
        int(n) for n in re.findall(r"^ ?(\d+)\. ", SPEC.read_text().partition("## Well-formed")[2], re.M)
    ]
    tests = [int(m[1]) for name in vars(sys.modules[__name__]) if (m := re.match(r"test_rule_(\d+)_", name))]
    assert sorted(numbers) == sorted(set(tests)) == list(range(1, len(numbers) + 1))


def test_a_good_design_passes() -> None:
    x = param()
    verify(design([x], Neg(x), x, Number(Fraction(3))))


def test_rule_01_names() -> None:
    x = param()
    refused(design([x], Neg(x, name="")), "a value has an empty name")
    refused(design([x, param(None)], x), "'' is no name for a port")
    refused(design([x], ConstOp(const("", 1))), "'' is no name for a constant")
    p = param("a b")
    refused(
        design([x], Call(func("f g", [p], p), (x,))),
        "'f g' is no name for a function",
        "'a b' is no name for a parameter of @f g",
    )


def test_rule_02_identifiers() -> None:
    x = param("in.0")
    refused(
        design([x], x, name="my design"),
        "'my design' is no name for a design",
        "'in.0' is no name for a port",
    )
    verify(design([param("_a1")], Number(Fraction(1))))


def test_rule_03_two_ports_of_one_name() -> None:
    x = param("y0")
    refused(design([x], Neg(x)), "two ports are named 'y0'")
    a, b = param("a"), param("a")
    x = param()
    refused(design([x], Call(func("f", [a, b], Add(a, b)), (x, x))), "two parameters of @f are named 'a'")


def test_rule_04_two_symbols_of_one_name() -> None:
    one, other, table = const("w", 1), const("w", 2), Table("w", S4, S4, np.zeros(16, dtype=object))
    x = param()
    verify(design([x], ConstOp(one), ConstOp(one)))
    refused(design([x], ConstOp(one), ConstOp(other)), "a constant and another constant are both named @w")
    refused(design([x], ConstOp(one), Lut(x, table)), "a constant and another table are both named @w")
    p, q = param("a"), param("a")
    f, g = func("f", [p], Neg(p)), func("f", [q], q)
    refused(design([x], Call(f, (x,)), Call(g, (x,))), "a function and another function are both named @f")


def test_rule_05_an_output() -> None:
    refused(design([param()]), "d has no output")


def test_rule_06_parameters_belong_to_one() -> None:
    x, a = param(), param("a")
    refused(design([x], Neg(a)), "d reads %a, which is none of its inputs and belongs elsewhere")
    refused(
        design([x], Call(func("f", [a], Add(a, x)), (x,))),
        "f reads %x, which is none of its inputs and belongs elsewhere",
    )
    refused(
        design([x], Call(func("f", [x], Neg(x)), (x,))), "%x is a parameter of d, but belongs to f already"
    )


def test_rule_07_scales() -> None:
    x, row = param(), param("row", ROW)
    refused(design([param(scale=Fraction(0))], Number(Fraction(1))), "the scale of input 'x' is 0")
    refused(design([x], x, scale=(Fraction(0),)), "the scale of output 'y0' is 0")
    three = (Fraction(1), Fraction(2), Fraction(3))
    refused(design([row], row, offset=three), "the offset of output 'y0' has 3 numbers for s4[2]")
    verify(design([row], row, scale=three[:2], offset=three[:1]))


def test_rule_08_stages() -> None:
    x, row = param(), param("row", ROW)
    refused(design([x], Reg(x)), "'reg' is legal at the scalar stage, and this is the tensor stage")
    a = param("a", ROW)
    total = func("f", [a], Sum(a))
    refused(
        design([row], Call(total, (row,)), stage=Stage.SCALAR),
        "'sum' is legal at the tensor stage, and this is the scalar stage",
    )


def test_rule_09_tensors_of_the_scalar_stage() -> None:
    row = param("row", ROW)
    refused(
        design([row], Neg(row), stage=Stage.SCALAR),
        "'neg' gives a tensor, s5[2], and this is the scalar stage",
    )
    packed = Pack((Element(row, 0), Element(row, 1)), (2,))
    a = param("a", ROW)
    verify(design([row], packed, row, Call(func("f", [a], a), (packed,)), stage=Stage.SCALAR))
    refused(
        design([row], Reg(packed), stage=Stage.SCALAR),
        "'reg' gives a tensor, s4[2], and this is the scalar stage",
    )


def test_rule_10_types() -> None:
    x = param()
    wrong = Neg(x)
    object.__setattr__(wrong, "type", S4)
    refused(design([x], wrong), "'neg' gives s5, but the value is stored as s4")
    broken = Add(x, x)
    object.__setattr__(broken, "b", param("row", ROW))
    del broken.__dict__["operands"]
    refused(
        design([x, broken.b], broken),  # type: ignore[list-item]
        "'add' needs operands of one shape, but has [] and [2]",
    )


def test_rule_11_keys() -> None:
    wide = scalar(Fixed(False, 21))
    x = param("x", wide)
    table = Table("t", wide, scalar(Fixed(False, 1)), np.zeros(1 << 21, dtype=object))
    refused(design([x], Lut(x, table)), "the key of @t has 21 bits; the most is 20")


def test_rule_12_all_that_meet_are_equally_late() -> None:
    x, z = param(), param("z")
    late = Reg(Reg(x, name="r"), name="rr")
    refused(
        design([x, z], Add(late, z), stage=Stage.SCALAR), "%z comes after 0 cycles, but %rr after 2 cycles"
    )
    verify(design([x], Add(late, Number(Fraction(1))), stage=Stage.SCALAR))
    a, b = param("a"), param("b")
    slow = func("f", [a], Reg(a))
    mixed = func("g", [b], Add(Call(slow, (b,), name="c"), b))
    refused(
        design([x], Call(mixed, (x,)), stage=Stage.SCALAR), "%b comes after 0 cycles, but %c after 1 cycle"
    )
    good = design([x], Reg(Call(slow, (x,))), stage=Stage.SCALAR)
    verify(good)
    assert latency(good) == 2 and latency(slow) == 1


def test_rule_13_all_outputs_are_equally_late() -> None:
    x = param()
    refused(
        design([x], x, Reg(x), stage=Stage.SCALAR),
        "the outputs come at different times: y0 after 0 cycles, y1 after 1 cycle",
    )
    verify(design([x], Reg(x), Number(Fraction(1)), stage=Stage.SCALAR))


def test_rule_14_runs() -> None:
    x = param("x", ROW)
    one = Fraction(1)
    right = Run((("x", (one, one)),), (("y", one),))
    verify(Design("d", (x,), (Output("y", x),), runs=(right,)))
    for run, message in (
        (Run((), (("y", one),)), "says nothing of the input x"),
        (Run((("x", one),), (("z", one),)), "there is no output z"),
        (Run((("x", one), ("u", one)), ()), "there is no input u"),
        (Run((("x", one),), (("y", one), ("y", one))), "says the output y twice"),
        (Run((("x", ((one,), (one,))),), ()), "do not have its shape"),
        (Run((("x", (one,)),), (("y", one),)), "do not have its shape"),
    ):
        with pytest.raises(LirError, match=message):
            verify(Design("d", (x,), (Output("y", x),), runs=(run,)))


def test_everything_is_said_at_once() -> None:
    x = param("a b", ROW)
    bad = design([x], Reg(x), Neg(x, name=""), name="1")
    with pytest.raises(LirError) as caught:
        verify(bad)
    assert len(caught.value.diagnostics) == 5


def test_what_is_known_to_be_right_is_not_asked_again() -> None:
    x = param()
    wrong, fine = Neg(x), Neg(x)
    object.__setattr__(wrong, "type", S4)
    both = design([x], wrong, fine)
    verify(both, {wrong})
    with pytest.raises(LirError, match="stored as s4"):
        verify(both, {fine})
