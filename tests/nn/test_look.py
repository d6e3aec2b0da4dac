"""An exported design is compared with its model: a wrong rule is found, whatever it drops or swaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError
from lutc.nn import rules as lowering
from lutc.nn import rules_conv as lower_conv
from lutc.nn import to_design as lower_module
from lutc.types import Rounding


def seen(model: nn.Module, *shape: int) -> nn.Module:
    torch.manual_seed(0)
    for _ in range(3):
        model(torch.randn(30, *shape) * 2)
    return model.eval()


@contextmanager
def rule(kind: type[nn.Module], change: Callable[[Any], Any]) -> Iterator[None]:
    """Another rule for a layer, for as long as the context lasts."""
    old = lowering.lower.registry[kind]
    lowering.lower.register(kind, change(old))
    try:
        yield
    finally:
        lowering.lower.register(kind, old)


def with_(**changes: Any) -> Callable[[Any], Any]:
    """A rule that sees a layer with other attributes."""

    def change(old: Any) -> Any:
        def lower(layer: Any, b: Any, x: Any) -> Any:
            was = {name: getattr(layer, name) for name in changes}
            try:
                for name, value in changes.items():
                    setattr(layer, name, value)
                return old(layer, b, x)
            finally:
                for name, value in was.items():
                    setattr(layer, name, value)

        return lower

    return change


Q = lnn.Quantizer
FAULTS: dict[str, tuple[type[nn.Module], Callable[[Any], Any], Callable[[], nn.Module], tuple[int, ...]]] = {
    "a layer skipped": (nn.ReLU, lambda old: lambda layer, b, x: x, lambda: lnn.QLinear(6, 4), (6,)),
    "stride": (lnn.QConv2d, with_(stride=(1, 1)), lambda: lnn.QConv2d(1, 2, 2, stride=2), (1, 5, 5)),
    "dilation": (
        lnn.QConv1d,
        with_(dilation=(1,), padding=(0,)),
        lambda: lnn.QConv1d(1, 2, 3, dilation=2, padding=1),
        (1, 7),
    ),
    "eps": (lnn.QBatchNorm, with_(eps=0.0), lambda: lnn.QBatchNorm(6, eps=0.5), (6,)),
    "stable": (lnn.QSoftmax, with_(stable=False), lambda: lnn.QSoftmax(), (1, 6)),
    "a branch lost": (
        lnn.QAdd,
        lambda old: lambda layer, b, x: lowering.branch_of(layer.branches[0], b, x),
        lambda: lnn.QAdd(nn.Identity(), lnn.QReLU(())),
        (6,),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_rule_is_found(name: str) -> None:
    kind, change, make, shape = FAULTS[name]
    model = seen(nn.Sequential(Q(()), make(), nn.ReLU()), *shape)
    with rule(kind, change), pytest.raises(LirError, match=r"in PyTorch|numbers in PyTorch"):
        lutc.load(model, example_inputs=torch.zeros(1, *shape))


def test_a_wrong_scale_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lowering.quantise

    def double(q: Any, b: Any, x: Any, by: Fraction = Fraction(1)) -> Any:
        return right(q, b, b.scale(x, by=Fraction(2)), by)

    monkeypatch.setattr(lowering, "quantise", double)
    with pytest.raises(LirError, match="in PyTorch"):
        lutc.load(seen(nn.Sequential(lnn.QLinear(6, 4)), 6))


def test_a_wrong_mean_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lowering.quantise
    monkeypatch.setattr(lower_conv, "quantise", lambda q, b, x, by=1: right(q, b, x, Fraction(by) * 2))
    with pytest.raises(LirError, match="in PyTorch"):
        lutc.load(seen(nn.Sequential(Q(()), lnn.QAvgPool1d(2)), 2, 6), example_inputs=torch.zeros(1, 2, 6))


def test_a_repeated_layer_dropped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = lowering.chain

    def once(layer: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        found: set[nn.Module] = set()
        for where, inner in right(layer, name):
            if inner not in found:
                found.add(inner)
                yield where, inner

    layer = lnn.QLinear(6, 6)
    model = seen(nn.Sequential(layer, nn.ReLU(), layer), 6)
    monkeypatch.setattr(lower_module, "chain", once)
    with pytest.raises(LirError, match="in PyTorch"):
        lutc.load(model)


def test_what_it_was_compared_with_is_said(tmp_path: Any) -> None:
    model = seen(nn.Sequential(lnn.LUTDense(3, 2)), 3)
    lnn.save(model, tmp_path / "model.pt")
    said = f"PyTorch {torch.__version__.split('+')[0]}, 18 samples: equal"
    assert lutc.load(model).compared == said == lutc.load(tmp_path / "model.pt").compared
    assert lutc.load(model, compare=False).compared == "not compared: as it was asked"


def test_a_shape_that_does_not_fit() -> None:
    model = seen(nn.Sequential(Q((6,)), nn.ReLU()), 6)
    with pytest.raises(LirError, match=r"has formats for \[6\], but is given \[4\]"):
        lutc.load(model, example_inputs=torch.zeros(1, 4))


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_a_weight_is_the_same_at_every_call(bits: int) -> None:
    """Where `max_bits` takes fraction bits away, the range of a weight must not follow the calls."""
    torch.manual_seed(1)
    layer = lnn.QConv2d(2, 4, 2, weights={"max_bits": bits}).eval()
    x = torch.randn(3, 2, 6, 6)
    answers = [layer(x).detach().numpy() for _ in range(3)]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[1], answers[2])


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a stride": lambda m: setattr(m[1], "stride", (2,)),
    "an epsilon": lambda m: setattr(m[2], "eps", 0.5),
    "another layer": lambda m: m[3].branches.__setitem__(0, nn.Identity()),
    "another rounding": lambda m: setattr(m[0], "rounding", Rounding.FLOOR),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_was_changed_is_not_saved_as_it_was_made(name: str, tmp_path: Any) -> None:
    model: Any = seen(
        nn.Sequential(Q(()), lnn.QConv1d(2, 2, 2), lnn.QBatchNorm(2), lnn.QAdd(nn.ReLU())), 2, 6
    )
    CHANGES[name](model)
    with pytest.raises(LirError, match="the model is no longer as it was made"):
        lnn.save(model, tmp_path / "model.pt", shape=(2, 6))
