"""What lets samples of a batch meet is refused, in modules and in programs with an open batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_torch_refusals import Bare, refused
from torch_models import F, Model, nn, same, torch

import lutc

MIXING: dict[str, Callable[[Any], Any]] = {
    "flip": lambda x: x.flip(0),
    "roll": lambda x: torch.roll(x, 1, 0),
    "the last": lambda x: x[-1:],
    "the first": lambda x: x[:1],
    "the first of all": lambda x: x - x[:1],
    "the last added": lambda x: x + x[-1:],
    "expand": lambda x: x[:1].expand(3, 6),
    "times the batch": lambda x: x * x.shape[0],
    "a constant of higher rank": lambda x: x + torch.ones(2, 1, 6),
    "cumsum": lambda x: x.cumsum(0),
    "a sum over all": lambda x: x - x.sum(),
    "a largest over all": lambda x: x - x.max(),
    "softmax": lambda x: F.softmax(x, 0),
    "one row": lambda x: x.reshape(1, -1),
    "one row and back": lambda x: x.reshape(1, -1).flip(1).reshape(-1, 6),
    "flatten": lambda x: x.flatten(0),
    "sort": lambda x: x.sort(0)[0],
    "stack": lambda x: torch.stack([x, x], 0),
    "cat": lambda x: torch.cat([x, x], 0),
    "a triangle": lambda x: torch.tril(x),
    "repeat": lambda x: x.repeat(2, 1),
    "a product with itself": lambda x: x @ x.t(),
    "positions in the batch": lambda x: x + torch.arange(x.shape[0])[:, None],
    "counted along the batch": lambda x: x + torch.ones(x.shape[0], 6).cumsum(0),
    "a share of the batch": lambda x: x / x.shape[0],
    "the first row written": lambda x: x.index_put((torch.tensor([0]),), torch.zeros(6)),
}


COMPARED = pytest.mark.parametrize("compare", [True, False], ids=["compared", "not compared"])


@COMPARED
@pytest.mark.parametrize("name", MIXING)
def test_in_a_module(name: str, compare: bool) -> None:
    refused(Model(MIXING[name]), compare=compare)


@COMPARED
@pytest.mark.parametrize("name", MIXING)
def test_in_a_program_with_an_open_batch(name: str, compare: bool) -> None:
    program = torch.export.export(
        Bare(MIXING[name]).eval(),
        (torch.zeros(4, 6),),
        dynamic_shapes={"x": {0: torch.export.Dim("b")}},
        strict=False,
    )
    refused(program, input_types="s6f2", compare=compare)


def test_a_length_that_is_read_and_changes_nothing() -> None:
    """A program that keeps what it reads of the batch's length among what it computes."""

    def function(x: Any) -> Any:
        return x * 0.1 + torch.zeros(x.shape[0], 6)

    program = torch.export.export(
        Bare(function).eval(),
        (torch.zeros(4, 6),),
        dynamic_shapes={"x": {0: torch.export.Dim("b")}},
        strict=False,
    )
    assert "equal" in lutc.load(program, input_types="s6f2").compared


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(x.shape[0], -1) * 2,
        lambda x: torch.cat([x, x.flip(1)], 1),
        lambda x: x.cumsum(1),
        lambda x: x - x.amax(1, keepdim=True),
        lambda x: x.reshape(-1, 2, 3).mT.flatten(1) + torch.ones(1, 6),
    ],
)
def test_what_keeps_them_apart_is_compiled(function: Callable[[Any], Any]) -> None:
    same(Model(function), (6,))


def test_a_module_for_one_sample_alone() -> None:
    design = lutc.load(Model(lambda x: x.reshape(1, 6) * 2), example_inputs=torch.zeros(1, 6))
    assert "equal" in design.compared


def test_batch_statistics() -> None:
    for norm in (nn.BatchNorm1d(6, track_running_stats=False), nn.BatchNorm2d(6, track_running_stats=False)):
        text = refused(Model(lambda m, x: m(x), norm))
        assert "keeps no statistics (track_running_stats=False)" in text and "train it with" in text


def test_a_batch_that_is_moved_and_moved_back() -> None:
    """The reason is not that samples meet, for they do not."""
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    models = [
        Model(lambda m, x: m(x, x, x, need_weights=False)[0], attention),
        Model(lambda x: (x.transpose(0, 1) * 2).transpose(0, 1)),
    ]
    for model in models:
        text = refused(model, torch.zeros(1, 3, 4))
        assert "moves the dimension that counts samples away from the front" in text
        assert "transpose): error: works across" not in text
