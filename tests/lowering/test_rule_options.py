"""Options that a rule reads, and those that it leaves."""

from __future__ import annotations

import numpy as np
import pytest

from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, AnyOf, Options


def test_what_is_read_is_understood() -> None:
    options = Options({"alpha": 0.5, "axis": 1})
    assert options["alpha"] == 0.5 and options.get("axis") == 1 and options.get("beta", 2) == 2
    options.check()


def test_what_is_not_read_is_refused_by_name() -> None:
    options = Options({"alpha": 0.5, "axis": 1}, noun="attribute")
    assert options["axis"] == 1 and "alpha" in options and options.peek("alpha") == 0.5 and list(options)
    with pytest.raises(Refusal, match=r"sets the attribute alpha=0\.5"):
        options.check()


@pytest.mark.parametrize(
    ("neutral", "value", "fine"),
    [
        (None, None, True),
        (None, False, False),
        (0, False, False),
        (0, 0.0, True),
        (FREE, object(), True),
        (AnyOf(None, "linear"), "linear", True),
        (AnyOf(None, "linear"), "relu", False),
        ((1, 1), [1, 1], True),
        ((1, 1), [1, 2], False),
        (np.ones(2), [1, 1], True),
        (np.ones(2), np.array([1, 2]), False),
    ],
)
def test_a_neutral_value_may_stay_unread(neutral: object, value: object, fine: bool) -> None:
    assert (not Options({"x": value}, {"x": neutral}).unread()) is fine


def test_options_below_are_named_by_their_path() -> None:
    options = Options({"iq": {"round": "RND", "seed": 1}})
    inner = options.below("iq", options["iq"], {"seed": FREE})
    with pytest.raises(Refusal, match=r"iq\.round='RND'"):
        options.check()
    assert inner["round"] == "RND"
    options.check()
