"""The independent look: what a framework answers decides whether a design is handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import lutc
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Param
from lutc.lowering.compare import ROWS, CannotRun, Look, compared, not_compared, samples
from lutc.types import Fixed, Overflow, Rounding, uniform


def half() -> Design:
    """Half of a number of three fractional bits."""
    b = lutc.Builder("half")
    b.output("y", b.scale(b.input("x", "s6f3[2]"), by=0.5))
    return b.design()


@dataclass
class Model:
    """A framework of a test: what it answers in its own floats, and in doubles (None: it cannot run in them)."""

    single: Callable[[Any], Any]
    double: Callable[[Any], Any] | None = None
    name: str = "Testing 1.0"

    def run(self, inputs: Mapping[str, Any], double: bool) -> Sequence[Any]:
        x = inputs["x"]
        if not double:
            return [np.asarray(self.single(x))]
        if self.double is None:
            raise CannotRun("it has no doubles")
        return [np.asarray(self.double(x))]


def rounded(x: Any) -> Any:
    """The port's rule: s6f3, half to even, saturating."""
    return np.clip(np.rint(x * 8) / 8, -4, 3.875)


def right(x: Any) -> Any:
    return rounded(x) / 2


def test_equal_answers() -> None:
    assert compared(half(), Model(right), "m").compared == f"Testing 1.0, {ROWS} samples: equal"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: rounded(x),
        lambda x: right(x) + 2.0**-4,
        lambda x: right(x)[:, ::-1],
        lambda x: np.roll(right(x), 1, axis=0),
        lambda x: np.where(np.arange(ROWS)[:, None] == 5, 0.0, right(x)),
        lambda x: np.clip(right(x), -1, 1),
        lambda x: right(x) * np.nan,
    ],
    ids=["scale", "offset", "elements", "samples", "one sample", "clip", "nan"],
)
def test_other_answers_are_refused(wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(LirError, match=r"its output y\[\d\] is .* in Testing 1.0 in double precision"):
        compared(half(), Model(wrong, wrong), "m")
    with pytest.raises(LirError, match=r"Testing 1.0 \(double precision: it has no doubles\)"):
        compared(half(), Model(wrong), "m")


def test_what_doubles_confirm_is_float32s_rounding_and_noted() -> None:
    found = compared(half(), Model(lambda x: right(x) + 2.0**-4, right), "m")
    assert found.compared.endswith("equal in double precision")
    assert "36 of 36 numbers otherwise on test inputs, by up to 0.0625" in found.notes[0]


def test_last_bits_need_no_note() -> None:
    model = Model(lambda x: (right(x) * (1 + 2.0**-20)).astype(np.float32), right)
    for double in (right, None):
        model.double = double
        found = compared(half(), model, "m")
        assert found.compared.endswith("equal to within float32's rounding") and not found.notes


@pytest.mark.parametrize(
    ("answers", "says"),
    [(lambda x: x[:, :1], "has 1 numbers in Testing"), (lambda x: [x, x], "has 4 numbers in Testing")],
)
def test_answers_of_other_shapes_are_refused(answers: Callable[[Any], Any], says: str) -> None:
    with pytest.raises(LirError, match=says):
        compared(half(), Model(answers), "m")


def test_a_framework_that_cannot_run_says_so() -> None:
    def never(x: Any) -> Any:
        raise CannotRun("it is not installed")

    assert compared(half(), Model(never), "m").compared.startswith("not compared: Testing 1.0 cannot run it")
    assert not_compared(half(), "why").compared == "not compared: why"


def test_what_is_left_to_the_host_is_applied_first() -> None:
    look = Look(hosts={"y": lambda y: np.exp(y)})
    assert compared(half(), Model(lambda x: np.exp(right(x)).astype(np.float32)), "m", look).compared
    with pytest.raises(LirError):
        compared(half(), Model(lambda x: right(x)), "m", look)


def test_samples_without_an_answer_are_left_out_if_the_model_has_such() -> None:
    def some(x: Any) -> Any:
        return np.where(np.arange(ROWS)[:, None] < 3, np.nan, right(x))

    assert "15 samples: equal" in compared(half(), Model(some), "m", Look(undefined=True)).compared
    nowhere = Model(lambda x: x * np.nan)
    assert compared(half(), nowhere, "m", Look(undefined=True)).compared.startswith("not compared")


@pytest.mark.parametrize("fmt", ["s6f3", "u8", "s16f20", "s64", "u64", "s70f3", "s8f-4"])
@pytest.mark.parametrize("fixed", [False, True])
def test_samples_are_float32_and_fixed_ones_within_the_port(fmt: str, fixed: bool) -> None:
    kind = lutc.build.as_type(f"{fmt}[3]")
    port = Param(kind, Rounding.HALF_UP, Overflow.WRAP, Fraction(1, 3), Fraction(1, 7), name="x")
    found = samples(port, fixed)
    assert found.shape == (ROWS, 3) and (found.astype(np.float32) == found).all()
    scaled = kind.formats[0]
    lo, hi = (port.scale * scaled.value(c) + port.offset for c in (scaled.lo, scaled.hi))
    inside = [lo <= Fraction(v) <= hi for v in found.ravel().tolist()]
    assert all(inside) if fixed else all(inside) is (scaled.width > 22)
    assert len({r.tobytes() for r in found}) >= ROWS - 4  # ends of the range may meet


def test_samples_lie_between_the_steps_unless_fixed() -> None:
    port = Param(uniform((4,), Fixed(True, 6, 3)), name="x")
    assert (np.rint(samples(port) * 8) != samples(port) * 8).any()
    assert (np.rint(samples(port, fixed=True) * 8) == samples(port, fixed=True) * 8).all()
