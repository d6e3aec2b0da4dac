"""The comparison with PyTorch finds what a wrong rule makes, names the layer, and forgives only float rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
from torch.ao import quantization as ao
from torch_models import F, Model, fake, nn, samples, torch

import lutc
from lutc.diagnostics import LirError
from lutc.frontends.torch import brevitas, leaves, lower, quantisers, trace
from lutc.lowering import exact as ex
from lutc.lowering.quantise import Grid, quantise
from lutc.types import Rounding


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


def test_ties_the_wrong_way_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step at a tie is no rounding of float32's where its numbers are exact."""

    def upwards(walk: Any, t: Any, s: Any, z: Any, lo: Any, hi: Any) -> Any:
        return quantise(
            walk, t, Grid(ex.compress(np.asarray(1 / s, dtype=object)), z, lo, hi, Rounding.HALF_UP, 0)
        )

    monkeypatch.setattr(quantisers, "affine", upwards)
    with pytest.raises(LirError, match=r"in the model, -?[0-9.]+ in the design"):
        loaded(Model(lambda x: x + 0.125), 6)


def with_options(name: str, **options: Any) -> Callable[[Any], Any]:
    """The rule of an operator, which is told something else than the model says."""
    rule = lower.RULES[name]

    def told(c: Any) -> Any:
        c.given._given.update(options)
        return rule(c)

    return told


FAULTS: dict[str, tuple[str, dict[str, Any], nn.Module, tuple[int, ...]]] = {
    "alpha": ("aten::add", {"alpha": 1}, Model(lambda x: torch.add(x, x, alpha=2)), (6,)),
    "bias": ("aten::linear", {"bias": None}, Model(lambda m, x: m(x), nn.Linear(6, 3)), (6,)),
    "stride": (
        "aten::conv2d",
        {"stride": [1, 1]},
        Model(lambda m, x: m(x), nn.Conv2d(1, 2, 3, 2)),
        (1, 7, 7),
    ),
    "ceil_mode": (
        "aten::max_pool2d",
        {"ceil_mode": False},
        Model(lambda x: F.max_pool2d(x, 2, ceil_mode=True)),
        (1, 5, 5),
    ),
    "padding counted": (
        "aten::avg_pool2d",
        {"count_include_pad": False},
        Model(lambda x: F.avg_pool2d(x, 2, padding=1)),
        (1, 4, 4),
    ),
    "eps": ("aten::batch_norm", {"eps": 0.0}, Model(lambda m, x: m(x), nn.BatchNorm1d(6, eps=0.5)), (6,)),
    "the dimension": ("aten::amax", {"dim": [2]}, Model(lambda x: x.amax(1)), (4, 4)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_option_read_wrongly_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, options, model, shape = FAULTS[name]
    monkeypatch.setitem(lower.RULES, operator, with_options(operator, **options))
    with pytest.raises(LirError, match="in the model"):
        loaded(model, *shape)


def frozen(kind: type = ao.FakeQuantize) -> nn.Module:
    torch.manual_seed(0)
    module: Any = kind(quant_min=0, quant_max=255)
    module(torch.randn(20, 6) * 3)
    module.apply(ao.disable_observer)
    return module  # type: ignore[no-any-return]


@pytest.mark.parametrize(("field", "change"), [("scale", 2.0), ("hi", -1), ("zero", 1), ("lo", 1)])
def test_a_module_read_wrongly_is_found(field: str, change: float, monkeypatch: pytest.MonkeyPatch) -> None:
    read, of_brevitas = leaves._fake, brevitas._parameters

    def changed(q: Any) -> Any:
        value = getattr(q, field)
        return replace(q, **{field: value * change if field == "scale" else value + change})

    monkeypatch.setattr(leaves, "_fake", lambda m: lambda rank: changed(read(m)(rank)))
    monkeypatch.setattr(brevitas, "_parameters", lambda p, f: lambda rank: changed(of_brevitas(p, f)(rank)))
    for model in (nn.Sequential(frozen()), nn.Sequential(qnn.QuantIdentity(), qnn.QuantReLU()).eval()):
        with pytest.raises(LirError, match="in the model"):
            loaded(model, 6)


class Moved(ao.FakeQuantize):
    def forward(self, x: Any) -> Any:
        return super().forward(x) + 4  # type: ignore[no-untyped-call]


def test_the_comparison_does_not_take_the_readings_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass that slips through is found: the model itself is asked, not what was read of it."""
    monkeypatch.setattr(trace, "refuse_odd", lambda model: None)
    with pytest.raises(LirError, match="computes 4 in the model, 0 in the design"):
        loaded(nn.Sequential(frozen(Moved)), 6)


class Dead(nn.Module):
    """A channel whose weights are next to nothing, and a bias on a tie of the quantiser behind."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1e-30, -2e-30], [0.5, 0.25]]))
        self.bias = nn.Parameter(torch.tensor([0.25, 0.5]))

    def forward(self, x: Any) -> Any:
        scale, zero = torch.tensor([1e-30, 0.125]), torch.zeros(2, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(self.weight, scale, zero, 0, -128, 127)
        return fake(F.linear(fake(x), weight, self.bias), 0.5)


def test_a_tie_that_float32_cannot_see_is_noted() -> None:
    design = loaded(Dead(), 2)
    assert any("other numbers on test inputs, by up to 0.5" in note for note in design.notes)
    assert "equal in exact arithmetic" in design.compared
    assert design.run([[1, 0]]).tolist()[0][0] == 0.5 and design.run([[0, 1]]).tolist()[0][0] == 0


def test_what_it_was_compared_with_is_said() -> None:
    model = Model(lambda m, x: m(x), nn.Linear(6, 3))
    assert loaded(model, 6).compared == f"PyTorch {torch.__version__.split('+')[0]}, 18 samples: equal"
    asked = lutc.load(model, example_inputs=torch.zeros(1, 6), compare=False)
    assert asked.compared == "not compared: as it was asked"
