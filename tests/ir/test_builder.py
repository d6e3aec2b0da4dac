"""What a user of `lutc.Builder` sees of it: completion, help, and what to write in the place of an operator."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import lutc
from lutc.ir.graph import Stage, Value
from lutc.ir.ops import ALL
from lutc.ir.ops.base import Op

METHODS = {op: f"{op.keyword}_" if op.keyword in ("and", "or", "not") else op.keyword for op in ALL}


def test_the_package_shows_its_public_names_and_nothing_else() -> None:
    assert dir(lutc) == sorted(lutc.__all__)
    assert all(getattr(lutc, name) is not None for name in dir(lutc))


@pytest.mark.parametrize("op", ALL, ids=lambda op: op.keyword)
def test_every_operation_is_a_method_with_words_of_its_own(op: type[Op]) -> None:
    b = lutc.Builder("d")
    name = METHODS[op]
    assert name in dir(b)
    method = getattr(b, name)
    assert inspect.ismethod(method) and method.__name__ == name
    assert (inspect.getdoc(method) or "").startswith(inspect.cleandoc(op.__doc__ or "").splitlines()[0])
    assert {"name", "origin"} <= set(inspect.signature(method).parameters)


def test_help_of_an_operation() -> None:
    b = lutc.Builder("d")
    shown = "(x, /, *, to, round=Ellipsis, overflow=Ellipsis, name=None, origin=None) -> 'Op'"
    assert str(inspect.signature(b.quant)) == shown
    assert "nearest-half-even  the nearest; of two, the even one" in (inspect.getdoc(b.quant) or "")
    assert str(inspect.signature(b.dense)).startswith("(x, w, b=None, /, *, name=None")
    assert str(inspect.signature(b.call)).startswith("(func, /, *args")


def test_a_name_that_is_no_operation() -> None:
    with pytest.raises(AttributeError, match="did you mean quant"):
        lutc.Builder("d").quants  # noqa: B018


OPERATORS: list[tuple[str, Callable[[Any], Any]]] = [
    ("b.add(x, y)", lambda x: x + x),
    ("b.add(x, y)", lambda x: 1 + x),
    ("b.sub(x, y)", lambda x: x - 1),
    ("b.scale(x, by=0.5)", lambda x: x * 0.5),
    ("b.scale(x, by=0.5)", lambda x: x / 2),
    ("b.neg(x)", operator.neg),
    ('rel="gt"', lambda x: x > 0),
    ('rel="gt"', lambda x: operator.lt(0, x)),
    ("b.dense(x, w)", lambda x: x @ x),
]


@pytest.mark.parametrize(("instead", "write"), OPERATORS)
def test_operators_say_what_to_write(instead: str, write: Callable[[Any], Any]) -> None:
    x = lutc.Builder("d").input("x", "s4[2]")
    with pytest.raises(lutc.LirError, match="values have no operator") as raised:
        write(x)
    assert instead in str(raised.value) and str(raised.value).startswith("x: error")
    assert isinstance(raised.value, TypeError)


def test_what_the_operators_name_works_with_numbers_and_constants() -> None:
    b = lutc.Builder("d")
    x = b.input("x", "s4[2]")
    c = b.constant("c", "s4[2]", [1, -2])
    made: dict[str, Value] = {
        "add": b.add(x, 0.5),
        "sub": b.sub(1, x),
        "mul": b.mul(x, 0.5),
        "scaled": b.scale(x, by=0.5),
        "const": b.add(x, c),
        "gt": b.compare(x, 0, rel="gt"),
        "neg": b.neg(x),
    }
    for name, value in made.items():
        b.output(name, value)
    y = b.design().run([[3, -1]])
    assert {k: v.tolist()[0] for k, v in y.items()} == {
        "add": [3.5, -0.5],
        "sub": [-2.0, 2.0],
        "mul": [1.5, -0.5],
        "scaled": [1.5, -0.5],
        "const": [4.0, -3.0],
        "gt": [1.0, 0.0],
        "neg": [-3.0, 1.0],
    }


def test_values_stay_what_containers_take() -> None:
    x, y = (lutc.Builder("d").input(n, "s4") for n in "xy")
    assert x in [y, x] and x != y and {x: 1}[x] == 1
    assert not isinstance(x, Iterable)


def test_what_a_layer_gives_is_called_as_the_layer() -> None:
    """As far as nobody has named it, and by a name that the text and the HDL can spell, once."""
    b = lutc.Builder("d")
    x = b.input("x", "s4[2]")
    with b.origin("/net/conv.1"):
        h = b.relu(b.neg(x))
    with b.origin("net_conv_1"):
        i = b.add(h, 1)
    b.output("y", b.add(i, 1, name="mine", origin="8"))
    b.output("z", b.neg(i, origin="9"))
    design = b.design()
    found = {v.name for v in design.values if v.name}
    assert found == {"x", "net_conv_1", "net_conv_1_2", "mine", "v_9"}
    assert "%net_conv_1 = relu" in " ".join(str(design).split())
    names = {n for m in lutc.compile(design, stages=0).modules for n in m.names.values()}
    assert {"net_conv_1_0", "net_conv_1_2_1"} <= names


def test_the_scalar_stage_spreads_nothing() -> None:
    """What is wrong is told of what was written, and not of a broadcast that nobody wrote."""
    b = lutc.Builder("d", Stage.SCALAR)
    x, c = b.input("x", "s4"), b.constant("c", "s4[2]", [1, 2])
    with pytest.raises(lutc.LirError, match="needs operands of one shape"):
        b.add(x, c)
