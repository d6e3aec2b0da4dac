"""The list of refusals: everything once, and what many layers share in one message."""

from __future__ import annotations

import pytest

from lutc.diagnostics import LirError
from lutc.lowering.refusals import MANY, Refusals


def listed(count: int, reason: str = "has weights that are not quantised: they take {} bits") -> list[str]:
    found = Refusals()
    for i in range(count):
        found.add(f"gemm{i} (Gemm)", reason.format(20 + i), "train with quantised weights")
    found.add("last (Softmax)", "divides")
    with pytest.raises(LirError) as raised:
        found.check()
    return [f"{d.where}: {d.message}" for d in raised.value.diagnostics]


def test_a_few_layers_have_a_message_each() -> None:
    assert len(listed(MANY)) == MANY + 1


def test_what_many_layers_share_is_said_once() -> None:
    first, last = listed(30)
    assert first.startswith("gemm0 (Gemm), gemm1 (Gemm), gemm2 (Gemm) and 27 more layers: has weights")
    assert last == "last (Softmax): divides"


def test_other_reasons_are_told_apart() -> None:
    found = Refusals()
    for i in range(MANY + 1):
        found.add(f"layer {i}", f"is of kind {'abcdefgh'[i]}")
    with pytest.raises(LirError) as raised:
        found.check()
    assert len(raised.value.diagnostics) == MANY + 1
