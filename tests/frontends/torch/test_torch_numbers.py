"""Integers, truth values, random numbers and arguments that no rule reads: exact, or refused with the true reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_torch_refusals import Bare, refused
from torch_models import F, Model, nn, same, torch

import lutc
from lutc.diagnostics import LirError
from lutc.frontends.torch import lower

INTEGERS: dict[str, tuple[torch.dtype, Callable[[Any], Any], str]] = {
    "int32 squared": (torch.int32, lambda x: x * x, "makes int32 numbers that may be from"),
    "int32 doubled": (torch.int32, lambda x: x + x, "int32 numbers, which wrap around"),
    "int32 products": (
        torch.int32,
        lambda x: x @ torch.ones(6, 2, dtype=torch.int32),
        "wrap around in the model",
    ),
    "int8 sums": (torch.int8, lambda x: x + x, "int8 numbers, which wrap around"),
    "uint8 differences": (torch.uint8, lambda x: x - 1, "uint8 numbers, which wrap around"),
    "int8's smallest": (torch.int8, lambda x: x.abs(), "wrap around in the model"),
    "truth values added": (torch.bool, lambda x: x + x, "bool numbers"),
    "half precision": (torch.float16, lambda x: x.float() * 2, "holds float16 numbers"),
    "quotients": (torch.int32, lambda x: x // 2, "aten.floor_divide, which is no operator"),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_numbers_that_wrap(name: str) -> None:
    kind, function, message = INTEGERS[name]
    assert message in refused(Bare(function), torch.ones(1, 6, dtype=kind))


def test_a_narrower_input_does_not_wrap() -> None:
    example = torch.ones(1, 6, dtype=torch.int32)
    design = lutc.load(Bare(lambda x: x * x + 3), example_inputs=example, input_types="s8")
    assert design.run([[-128, 127, 0, 1, 2, 3]]).tolist() == [[16387, 16132, 3, 4, 7, 12]]
    assert str(design.params[0].type) == "s8[6]"


def test_one_format_for_all_inputs_is_one_for_integers() -> None:
    text = refused(Bare(lambda x: x * 2), torch.ones(1, 6, dtype=torch.int8), input_types="s8f2")
    assert "holds int8 numbers, and s8f2 has others" in text


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x > 0).sum(1),
        lambda x: (x > 0).float() * 2 - x,
        lambda x: torch.where((x > 0) & ~(x > 2) | (x < -2), x, -x),
        lambda x: torch.where((x > 0) ^ (x != 1), x, x * 2),
        lambda x: x.masked_fill(x > 0.5, 0.25),
        lambda x: torch.tril(x.reshape(-1, 2, 3)).flatten(1),
        lambda x: torch.triu(x.reshape(-1, 2, 3), 1).flatten(1),
        lambda x: x.gather(1, torch.tensor([[1, 0, 2]]).expand(x.shape[0], -1)),
        lambda x: x[:, torch.tensor([4, 0])],
        lambda x: F.interpolate(x[:, None], scale_factor=2, mode="nearest-exact")[:, 0],
        lambda x: torch.cumsum(x, 1),
        lambda x: torch.rsub(x, 3, alpha=2),
        lambda x: x * (torch.tensor([100], dtype=torch.int8) * 2).float(),
        lambda x: x.scatter(1, torch.zeros(x.shape[0], 1, dtype=torch.int64), 1.5),
    ],
)
def test_operators(function: Callable[[Any], Any]) -> None:
    last = function(torch.zeros(1, 6)).is_floating_point()
    same(Model(function, last=last), (6,))


def written(x: Any) -> Any:
    y = x.clone()
    y[:, 1] = 1
    y[:, 2:4] = x[:, 3:5] * 2
    return y


def test_elements_are_written() -> None:
    same(Model(written), (6,))


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "bernoulli": (Model(lambda x: x + torch.bernoulli(torch.full((6,), 0.5))), "draws random numbers (aten.bernoulli)"),
    "rand": (Model(lambda x: x + torch.rand(6).round()), "draws random numbers (aten.rand)"),
    "randint": (Model(lambda x: x + torch.randint(0, 9, (6,))), "draws random numbers (aten.randint)"),
    "dropout": (Model(lambda x: F.dropout(x, 0.5, training=True)), "drops elements at random"),
    "bits": (Model(lambda x: x.view(torch.int32) * 1, last=False), "takes the bits of its input"),
    "autocast": (
        Model(lambda x: in_half(x)),
        "computes in a lower precision (torch.autocast), which rounds at every step",
    ),
    "cond": (
        Bare(lambda x: torch.cond(x[0, 0] > 0, lambda v: v * 2, lambda v: v * 3, (x,))),
        "chooses by the data which branch runs (torch.cond)",
    ),
    "LSTM": (Model(lambda m, x: m(x[:, None])[0], nn.LSTM(6, 3)), "calls aten.lstm, which is no operator"),
    "sort": (Model(lambda x: x.sort(1)[0]), "calls aten.sort, which is no operator"),
}  # fmt: skip


def in_half(x: Any) -> Any:
    with torch.autocast("cpu"):
        return x @ torch.ones(6, 2)


@pytest.mark.parametrize("name", REFUSED)
def test_the_true_reason(name: str) -> None:
    model, message = REFUSED[name]
    text = refused(model)
    assert message in text and "did you mean" not in text


def test_an_argument_that_is_not_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lower.RULES, "aten::leaky_relu", lower.RULES["aten::relu"])
    text = refused(Model(lambda x: F.leaky_relu(x, 0.25)))
    assert "sets the argument negative_slope=0.25, which lutc does not read here" in text


def test_bytes_are_no_model() -> None:
    with pytest.raises(LirError, match="bytes do not say what kind of model they are"):
        lutc.load(b"PK")
