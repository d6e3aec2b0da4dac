"""Vectors reach the corners, and words hold what the ports carry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutc.backends.vectors import element_runs, pack_bits, stimulus, unpack_bits, vectors
from lutc.build import Builder
from lutc.diagnostics import LirError
from lutc.ir.graph import Design
from lutc.types import Fixed, Type, scalar, tensor, uniform

S4F2, U3, NOTHING = Fixed(True, 4, 2), Fixed(False, 3), Fixed(False, 0)
MIXED = tensor((2, 2), [S4F2, NOTHING, Fixed(True, 1), U3])
WIDE = tensor((3,), [Fixed(True, 130), Fixed(False, 65), Fixed(True, 2)])


def design(*kinds: Type) -> Design:
    build = Builder("t")
    for number, kind in enumerate(kinds):
        port = build.input(f"x{number}", kind)
        build.output(f"y{number}", build.neg(port))
    return build.design()


def test_element_0_lies_lowest() -> None:
    kind = uniform((3,), Fixed(True, 4))
    assert pack_bits(np.array([[1, -1, 2], [-8, 7, 0]]), kind) == [0x2F1, 0x078]
    assert pack_bits(np.array([[[-8, 0], [-1, 5]]]), MIXED) == [0b101_1_1000]
    assert pack_bits(np.array([3, -1]), scalar(S4F2)) == [3, 15]
    assert pack_bits(np.array([[-1, 1, -2]], dtype=object), WIDE) == [
        (2 << 195) + (1 << 130) + (1 << 130) - 1
    ]


@st.composite
def types(draw: st.DrawFn) -> Type:
    formats = st.builds(Fixed, st.booleans(), st.integers(0, 70), st.integers(-3, 9))
    drawn = draw(st.lists(formats, min_size=1, max_size=6))
    return tensor((len(drawn),), drawn)


@settings(max_examples=60, deadline=None)
@given(types(), st.integers(0, 99))
def test_words_and_codes_go_both_ways(kind: Type, seed: int) -> None:
    codes = vectors(design(kind), 40, seed)["x0"]
    words = pack_bits(codes, kind)
    assert all(0 <= word < 1 << kind.bits for word in words)
    back = unpack_bits(words, kind)
    assert back.shape == codes.shape and (back == codes).all()
    slow = pack_bits(codes.astype(object), kind)
    assert slow == words


@pytest.mark.parametrize(
    "kinds", [(MIXED,), (WIDE, MIXED), (scalar(S4F2), scalar(U3), scalar(Fixed(True, 40)))]
)
def test_corners_are_there(kinds: tuple[Type, ...]) -> None:
    found = vectors(design(*kinds), 120, 1)
    rows = np.concatenate([found[f"x{i}"].reshape(120, -1).astype(object) for i in range(len(kinds))], axis=1)
    have = {tuple(row) for row in rows.tolist()}
    formats = [fmt for kind in kinds for fmt in kind.formats]
    lo, hi, zero = [f.lo for f in formats], [f.hi for f in formats], [0] * len(formats)
    assert {tuple(lo), tuple(hi), tuple(zero)} <= have
    assert all(low <= code <= high for row in have for low, code, high in zip(lo, row, hi, strict=True))
    for i in range(len(formats)):  # each alone at its extremes
        for limit in (lo, hi):
            assert (*zero[:i], limit[i], *zero[i + 1 :]) in have
    for i, fmt in enumerate(formats):
        if 0 < fmt.width <= 3:  # chance leaves no code of a short format out
            assert {row[i] for row in have} == set(range(fmt.lo, fmt.hi + 1))
    assert len(have) > 60


def test_count_seed_and_ports_without_bits() -> None:
    one = design(MIXED, uniform((2,), NOTHING))
    for count in (1, 2, 30):
        assert [len(codes) for codes in vectors(one, count, 3).values()] == [count, count]
    same, other = (vectors(one, 50, seed)["x0"] for seed in (3, 4))
    assert (vectors(one, 50, 3)["x0"] == same).all() and not (same == other).all()
    inputs, outputs = stimulus(one, 5, 3, names={"x0": "x0_i", "y0": "y0_o"})
    assert list(inputs) == ["x0_i"] and list(outputs) == ["y0_o"]
    assert list(element_runs(one)) == ["y0"]


def test_stimulus_expects_what_the_interpreter_says() -> None:
    build = Builder("t")
    x = build.input("x", scalar(S4F2))
    build.output("y", build.neg(x))
    given_rows = {"x": [0.25, -2.0, 100.0]}
    inputs, outputs = stimulus(build.design(), 4, 1, given_rows)
    assert len(inputs["x"]) == 7 and inputs["x"][:3] == [
        1,
        8,
        7,
    ]  # first those given, saturated as the port does
    codes = unpack_bits(inputs["x"], scalar(S4F2))
    (width,) = {o.value.type.bits for o in build.design().outputs}
    assert outputs["y"] == [-code % (1 << width) for code in codes.tolist()]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"x0": [1.0]}, "lack its input 'x1'"),
        ({"x0": [1.0], "x1": [1.0], "z": [1.0]}, "no input 'z'"),
        ({"x0": [1.0], "x1": [1.0, 2.0]}, "number of vectors: x0 1, x1 2"),
        ({"x0": [1.0], "x1": [[1.0, 2.0]]}, "needs shape"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(extra: dict[str, list[float]], message: str) -> None:
    with pytest.raises(LirError, match=message):
        vectors(design(scalar(S4F2), scalar(U3)), 4, 1, extra)
