"""What rules build values with: movements, rows, constants, formats, truth tables, contractions, names."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lutc.build import Builder, as_type
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Param, Value, topo
from lutc.ir.ops import Op
from lutc.ir.ops.flow import Map
from lutc.lowering.attention import einsum
from lutc.lowering.constants import Constants, each_narrowest
from lutc.lowering.formats import formats, hull, typed
from lutc.lowering.given import by_name, given_type
from lutc.lowering.letters import Contraction, terms
from lutc.lowering.lookup import key_codes, rom_order, rom_tables
from lutc.lowering.moves import gathered, moved, positions, rearranged
from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal
from lutc.lowering.rows import alike, mapped
from lutc.types import ZERO, Fixed, Type, tensor

RNG = np.random.default_rng(0)


def built(kind: str, build: Callable[[Builder, Param], Value]) -> Design:
    b = Builder("test")
    b.output("y", build(b, b.input("x", kind)))
    return b.design()


def answers(design: Design, x: Any) -> Any:
    return np.asarray(design.run(x), dtype=float)


# The movement, and the operations it becomes.
MOVES: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "nothing": (lambda x: x, []),
    "a shape": (lambda x: x.reshape(len(x), 4, 6), ["reshape"]),
    "a turn": (lambda x: x.transpose(0, 3, 1, 2), ["transpose"]),
    "a slice": (lambda x: x[:, 1:, ::2], ["slice"]),
    "an order": (lambda x: x[:, :, [2, 0, 1]], ["gather"]),
    "a border": (lambda x: np.pad(x, [(0, 0), (1, 2), (0, 0), (0, 1)], constant_values=-1), ["pad"]),
    "a mixture": (lambda x: x.reshape(len(x), -1)[:, [5, 3, 3, 20]], ["reshape", "gather"]),
    "zeros between": (
        lambda x: np.where(np.arange(4) % 2, x, -1).reshape(len(x), -1)[:, 1:],
        ["reshape", "pad", "gather"],
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_movement_becomes_the_plainest_operations(name: str) -> None:
    move, operations = MOVES[name]
    shape = (2, 3, 4)
    index = moved(move, positions(shape))[0]
    design = built("s8f4[2, 3, 4]", lambda b, x: rearranged(b, x, index))
    x = RNG.integers(-100, 100, (5, *shape)) / 16
    expected = np.where(index < 0, 0, x.reshape(5, -1)[:, index])
    np.testing.assert_array_equal(answers(design, x), expected)
    made = [v.keyword for v in topo([design.outputs[0].value]) if isinstance(v, Op)]
    assert made == operations


def test_a_movement_that_mixes_samples_is_refused() -> None:
    for move in (lambda x: x[::-1].copy(), lambda x: x.reshape(-1, len(x)), lambda x: x[:1] + 0 * len(x)):
        with pytest.raises(Refusal, match="batch"):
            moved(move, positions((4,)))


def test_gathered_takes_zeros_too() -> None:
    index = np.array([[3, -1], [0, 2]])
    design = built("s8f4[2, 2]", lambda b, x: gathered(b, x, index))
    np.testing.assert_array_equal(answers(design, [[[1, 2], [3, 4]]]), [[[4, 0], [1, 3]]])


def test_rows_that_differ_are_widened_and_mapped() -> None:
    kind = as_type("<s4f2, u3, s6f1, u0>[2, 2]")

    def build(b: Builder, x: Value) -> Value:
        rows = alike(b, x)
        assert rows.type == tensor((2, 2), [Fixed(True, 7, 2), Fixed(False, 3, 0)] * 2)
        return mapped(b, rows, Builder("row"), lambda v: v, "layer")

    design = built(str(kind), build)
    (func,) = {v.func for v in [design.outputs[0].value] if isinstance(v, Map)}
    assert func.params[0].type == tensor((2,), [Fixed(True, 7, 2), Fixed(False, 3, 0)])
    np.testing.assert_array_equal(answers(design, [[[-1.75, 7], [15.5, 0]]]), [[[-1.75, 7], [15.5, 0]]])


def test_equal_constants_are_one_and_the_narrowest() -> None:
    constants = Constants(Names())
    first, again = (constants.of(np.array([0.5, -1.25, 3]), "layer weight") for _ in range(2))
    assert first is again
    assert (first.name, str(first.type), first.codes.tolist()) == ("layer_weight", "s5f2[3]", [2, -5, 12])
    assert constants.of(np.array([Fraction(3, 4)], dtype=object), "layer weight").name == "layer_weight_2"
    assert str(each_narrowest([3], [3, -4, 0], [1, 1, 5])) == "<u2f1, s3f1, u0>[3]"


def test_formats_of_arrays() -> None:
    made = formats([[1], [0]], [4, -2], 1)
    assert made.tolist() == [[Fixed(True, 4, 1), ZERO], [Fixed(False, 4, 1), ZERO]]
    assert typed(made, (3, 2, 2)) == tensor((3, 2, 2), made.ravel().tolist() * 3)
    with pytest.raises(ValueError, match="dimensions"):
        typed(made, (3,))
    assert hull({Fixed(True, 4, 1), Fixed(False, 6, 3), ZERO}) == Fixed(True, 7, 3)


def test_tables_are_in_the_order_of_the_key_bits() -> None:
    fmt = Fixed(True, 2, 0)
    assert key_codes(fmt).tolist() == [0, 1, -2, -1]
    assert rom_order(fmt, np.array([-2, -1, 0, 1])).tolist() == key_codes(fmt).tolist()
    squares = key_codes(fmt) ** 2
    table = rom_tables("squares", tensor((2,), [fmt, Fixed(False, 1)]), [squares, np.array([-1, 0])], [0, 2])
    assert str(table.value) == "<u3, s1f2>[2]"
    design = built("<s2, u1>[2]", lambda b, x: b.lut(x, table))
    np.testing.assert_array_equal(answers(design, [[-2, 0], [1, 1]]), [[4, -0.25], [1, 0]])


def test_the_letters_of_a_contraction() -> None:
    axes = Contraction.of("abcd", "cbxy", "bax")
    assert (axes.alone, axes.shared, axes.summed) == (("d", "y"), "b", "c")
    assert (axes.rows, axes.columns) == ("a", "x")
    assert terms("z...i,io->z...o", 4, constant=True) == ("ABi", "io", "ABo")
    assert terms("bij,bjk->bik", 3) == ("ij", "jk", "ik")
    for equation, constant in (("bij,bjk->bik", True), ("bij,jk->bik", False), ("ib,bjk->ibk", False)):
        with pytest.raises(Refusal, match="batch axis"):
            terms(equation, 3, constant)


def test_einsum_is_numpys() -> None:
    left, right, out = "abcd", "cbxy", "bax"
    b = Builder("test")
    u, v = b.input("u", "s5[2, 3, 4, 2]"), b.input("v", "s5[4, 3, 2, 3]")
    b.output("y", einsum(b, left, right, out, u, v))
    x, y = (RNG.integers(-16, 16, (1, *p.type.shape)) for p in (u, v))
    expected = np.einsum(f"z{left},z{right}->z{out}", x, y)
    np.testing.assert_array_equal(np.asarray(b.design().run(x, y), dtype=float), expected)


def test_names_are_legal_and_given_once() -> None:
    names = Names(("x",))
    found = [names.take(wish) for wish in ("X", "a.b", "A b", "3", "", "a_b_2")]
    assert found == ["X_2", "a_b", "A_b_2", "n_3", "n", "a_b_2_2"]
    assert [names.distinct(word) for word in ("a/b", "A/b")] == ["a/b", "A/b_2"]


def test_what_is_given_by_name() -> None:
    assert by_name(["a", "b"], None) == {}
    assert by_name(["a", "b"], "s8") == {"a": "s8", "b": "s8"}
    assert by_name(["a", "b"], ["s8"]) == {"a": "s8"}
    assert by_name(["a", "b"], {"b": "s8"}) == {"b": "s8"}
    assert by_name(["a", "b"], {"": "s4", "b": "s8"}) == {"a": "s4", "b": "s8"}
    with pytest.raises(LirError, match="no input 'c'"):
        by_name(["a", "b"], {"c": "s8"})
    assert given_type("s8f4", (2, 3)) == as_type("s8f4[2, 3]")
    assert given_type("s8f4[2]", (2,)) == Type((2,), ((2, Fixed(True, 8, 4)),))
    with pytest.raises(Refusal, match="3 numbers"):
        given_type("s8f4[2]", (3,))
