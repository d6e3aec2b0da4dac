"""What judges settings tells every kind of outcome apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from settings import Setting, Verdict, judge, sampled, table

import lutc
from lutc.diagnostics import error

ROWS = np.array([[0.5], [-1.0]])


def identity() -> lutc.Design:
    b = lutc.Builder("same")
    b.output("y", b.relu(b.input("x", "s6f3[1]")))
    return b.design()


def refuse() -> Any:
    raise error("no")


def stumble() -> Any:
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("load", "right", "refusal", "verdict"),
    [
        (identity, [[0.5], [0.0]], "", Verdict.EXACT),
        (identity, [[0.5], [0.125]], "", Verdict.DIFFERENT),
        (identity, [[0.5]], "", Verdict.DIFFERENT),
        (refuse, [[0.5], [0.0]], "", Verdict.FALSELY),
        (refuse, [[0.5], [0.0]], "it cannot be", Verdict.REFUSED),
        (stumble, [[0.5], [0.0]], "it cannot be", Verdict.BROKEN),
    ],
)
def test_verdicts(load: Callable[[], Any], right: Any, refusal: str, verdict: Verdict) -> None:
    setting = Setting("none", "relu", "x=1", lambda: (load, np.array(right), {"x": ROWS}), refusal)
    assert judge(setting).verdict is verdict


def test_a_setting_that_the_framework_does_not_take_is_invalid() -> None:
    assert judge(Setting("none", "relu", "x=1", stumble)).verdict is Verdict.INVALID


def test_a_sample_is_spread_over_all_and_the_table_counts() -> None:
    many = [Setting("none", f"op{i}", "", stumble) for i in range(1000)]
    some = sampled(many, 10)
    assert len({s.item for s in some}) == 10 and max(int(s.item[2:]) for s in some) > 500
    assert "| none | 10 | 0 | 0 | 0 | 0 | 0 | 10 |" in table(map(judge, some))
