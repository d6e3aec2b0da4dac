"""The comparison with PyTorch finds what a wrong rule makes, names the layer, and forgives only float rounding."""

from __future__ import annotations

from typing import Any

import pytest
from torch_models import F, Model, fake, nn, samples, torch

import lutc
from lutc.diagnostics import LirError
from lutc.frontends.torch import lower, quantisers


def loaded(model: nn.Module, *shape: int) -> Any:
    return lutc.load(model, example_inputs=torch.zeros(1, *shape))


def test_a_wrong_rule_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lower.RULES, "aten::relu", lambda c: c.tensor("self"))
    model = Model(
        lambda first, act, last, x: last(act(first(x))), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)
    )
    with pytest.raises(LirError, match=r"m\.1 \(ReLU\): error: computes 0 in the model, -"):
        loaded(model, 6)


def test_a_wrong_quantiser_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = quantisers.affine

    def wrong(walk: Any, t: Any, s: Any, z: Any, lo: Any, hi: Any) -> Any:
        return right(walk, t, s, z, lo, hi - (s == 0.5))

    monkeypatch.setattr(quantisers, "affine", wrong)
    with pytest.raises(
        LirError, match=r"fake_quantize_per_tensor_affine_1 .*error: computes 63\.5 in the model"
    ):
        loaded(Model(lambda m, x: m(x), nn.Linear(6, 3)), 6)


def test_ties_of_scales_that_are_no_powers_of_two() -> None:
    """The mean of two steps is a tie, and which way PyTorch takes it depends on how 0.1 was rounded."""

    class Pool(nn.Module):
        def forward(self, x: Any) -> Any:
            return fake(F.avg_pool1d(fake(x, 0.1)[:, None], 2), 0.1)

    design = loaded(Pool(), 8)
    assert any("of 72 other numbers on test inputs" in n for n in design.notes)
    x = (torch.tensor([[1.0, 2, 2, 3, 3, 4, 4, 5]]) * 0.1).double().numpy()
    assert [round(v * 10) for v in design.run(x).ravel().tolist()] == [2, 2, 4, 4]  # half to even


def test_powers_of_two_need_no_note() -> None:
    (x,) = samples((6,))
    assert lutc.load(Model(lambda m, x: m(x), nn.Linear(6, 3)), example_inputs=x).notes == ()
