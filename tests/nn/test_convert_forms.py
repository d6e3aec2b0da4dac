"""Forms in which a float model may call operators: what `lutc.nn.convert` makes of each is what torch computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_convert import check_design
from torch import Tensor, nn
from torch.nn import functional as F

import lutc
from lutc import nn as lnn

ROW, TOKENS, PLANE = (6,), (4, 6), (2, 6, 6)
Run = Callable[[Any, Tensor], Tensor]


class Own(nn.Module):
    """A forward of its own, with layers and tensors of several kinds at hand."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.a, self.b, self.place, self.run = nn.Linear(6, 6), nn.Linear(6, 6), nn.Embedding(4, 6), run
        self.p = nn.Parameter(torch.rand(6))
        self.c: Tensor
        self.register_buffer("c", torch.rand(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def in_place(f: Callable[[Tensor], Tensor]) -> Run:
    """What a tensor is after what `f` makes of it was changed."""

    def run(m: Any, x: Tensor) -> Tensor:
        y = m.a(x).transpose(1, 2)
        z = f(y).relu_()
        return y + z  # type: ignore[no-any-return]

    return run


def asserted(x: Tensor) -> Tensor:
    """What an exported program asserts is no part of what it computes."""
    assert x.shape[0] > 0
    torch._check(x.shape[1] == 6)  # type: ignore[no-untyped-call]
    torch._assert_async(x.sum() < 1e9)
    return x


FORMS: dict[str, tuple[Run, tuple[int, ...]]] = {
    "relu6": (lambda m, x: F.relu6(9 * m.a(x)), ROW),
    "relu6 in place": (lambda m, x: F.relu6(9 * m.a(x), inplace=True), ROW),
    "max of two": (lambda m, x: torch.max(m.a(x), m.b(x)), ROW),
    "maximum": (lambda m, x: torch.maximum(m.a(x), x.mean(1, keepdim=True)), PLANE),
    "maximum of a constant": (lambda m, x: torch.maximum(m.c, m.a(x)), ROW),
    "maximum of zeros": (lambda m, x: torch.max(m.a(x), torch.zeros(6)), ROW),
    "min of two": (lambda m, x: torch.min(m.a(x), other=x), TOKENS),
    "minimum of a constant": (lambda m, x: torch.minimum(m.a(x), m.c), ROW),
    "max over an axis": (lambda m, x: m.a(x).max(dim=1)[0], TOKENS),
    "min over an axis": (lambda m, x: m.a(x).min(-1, keepdim=True).values, TOKENS),
    "amin": (lambda m, x: m.a(x).amin((1, 3)), PLANE),
    "amax": (lambda m, x: m.a(x).amax(2), TOKENS),
    "clamp_min": (lambda m, x: m.a(x).clamp_min(0.25), ROW),
    "clamp above": (lambda m, x: m.a(x).clamp(max=0.25), ROW),
    "clamp at zero": (lambda m, x: m.a(x).clamp(min=0), ROW),
    "clamp_max in place": (lambda m, x: m.a(x).clamp_max_(0.25), ROW),
    "clamp to tensors": (lambda m, x: torch.clamp(m.a(x), -m.c, m.c), ROW),
    "mean": (lambda m, x: x.mean([-1, 1]), PLANE),
    "sum": (lambda m, x: torch.sum(x, dim=(1, 2), keepdim=True), PLANE),
    "positions": (lambda m, x: x + m.place(torch.arange(x.shape[1])), TOKENS),
    "turned": (lambda m, x: x @ m.a.weight.mT.contiguous() + m.a.bias, ROW),
    "contiguous copy": (in_place(lambda y: y.contiguous()), TOKENS),
    "to a copy": (in_place(lambda y: y.to(torch.float32, copy=True)), TOKENS),
    "all of it": (lambda m, x: m.a(x)[...] * 2, ROW),
    "whole axis": (lambda m, x: m.a(x[:, :]), ROW),
    "unbound": (lambda m, x: torch.stack(x.unbind(1)[::-1], 2), TOKENS),
    "parts": (lambda m, x: m.a(x)[:, 1:, ::2] + x[:, :-1, :3], TOKENS),
    "from the end": (lambda m, x: m.a(x)[:, -1, -4:], TOKENS),
    "spread": (lambda m, x: m.a(x)[:, None].expand(-1, 3, -1), ROW),
    "dropped in place": (lambda m, x: F.dropout(m.a(x), 0.5, m.training, inplace=True), ROW),
    "made in place": (lambda m, x: m.a(x) + torch.ones(4, 6).triu_(1), TOKENS),
    "cloned": (in_place(lambda y: y.clone()), TOKENS),
    "negative": (lambda m, x: -m.a(x), ROW),
    "square": (lambda m, x: m.a(x).square() + x**2, ROW),
    "linear turned": (lambda m, x: F.linear(x, m.a.weight.t(), m.p), ROW),
    "Einstein's other order": (lambda m, x: torch.einsum("oi,bi->bo", m.a.weight, x), ROW),
    "part of a constant": (lambda m, x: m.a(x)[:, :3] * m.c.chunk(2)[0], ROW),
    "number of a constant": (lambda m, x: m.a(x) * m.c.sum().item() + 0.5, ROW),
    "asserted": (lambda m, x: asserted(m.a(x)), ROW),
    "cast asserted": (lambda m, x: m.a(x.to(m.p.dtype)), ROW),
    "rolled": (lambda m, x: m.a(x).roll((1, -1), (1, 2)), TOKENS),
    "repeated": (lambda m, x: m.a(x).repeat(1, 2, 1), TOKENS),
    "in two": (lambda m, x: torch.cat(m.a(x).split([2, 4], 2)[::-1], dim=2), TOKENS),
    "matrix products": (lambda m, x: torch.bmm(m.a(x), x.mT), TOKENS),
    "adaptive": (lambda m, x: F.adaptive_avg_pool2d(x, (6, 6)) + F.adaptive_max_pool2d(x, 1), PLANE),
    "stepped": (lambda m, x: F.max_pool2d(F.relu(x), (3, 2), stride=(2, 1), padding=(1, 0)), PLANE),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form(form: str) -> None:
    torch.manual_seed(0)
    run, shape = FORMS[form]
    module = Own(run).eval()
    x = torch.randn(60, *shape)
    model = lnn.convert(module, x, bits=16).eval()
    with torch.no_grad():
        want = module(x.clone())
        assert (model(x) - want).abs().max() < 1e-3 * want.abs().max()
    state = lnn.to_float(model)
    assert all(torch.equal(state[k], v) for k, v in module.state_dict().items())
    assert np.array_equal(np.asarray(lutc.load(model).run(x.double().numpy())), _exact(model, x))


def test_extremes_train_and_become_circuits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Own(lambda m, x: torch.max(m.a(x), torch.min(m.b(x), m.c)).clamp_max(0.75) - x.min(1, True)[0])
    check_design(module.eval(), ROW, tmp_path, onnx=True)


def _exact(model: lnn.Graph, x: Tensor) -> Any:
    with torch.no_grad():
        return model(x.double()).numpy()


def test_the_state_keeps_its_types(tmp_path: Path) -> None:
    """What is read in another type than the model's, too, and what nothing reads."""
    torch.manual_seed(0)
    module = nn.Linear(6, 3)
    kept = {
        "wide": torch.rand(6, dtype=torch.float64),
        "unread": torch.rand(2, dtype=torch.float64),
        "narrow": torch.rand(2, dtype=torch.float16),
        "counts": torch.arange(6) + 2**40,
        "flag": torch.tensor(True),
    }
    for name, value in kept.items():
        module.register_buffer(name, value)
    module.whole = nn.Parameter(torch.arange(6), requires_grad=False)

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.m: Any = module

        def forward(self, x: Tensor) -> Tensor:
            m = self.m
            y = x * m.wide.to(x.dtype) + m.whole - (m.counts - 2**40)
            return m(y)  # type: ignore[no-any-return]

    around = Around().eval()
    x = torch.randn(40, 6)
    model = lnn.convert(around, x, bits=16)
    with torch.no_grad():
        assert torch.allclose(model(x), around(x), atol=1e-2)
    lnn.save(model, tmp_path / "model.pt")
    for state in (lnn.to_float(model), lnn.to_float(lnn.load(tmp_path / "model.pt"))):
        for key, value in around.state_dict().items():
            assert state[key].dtype == value.dtype, key
            assert torch.equal(state[key], value), key
        around.load_state_dict(state)
    moved = lnn.to_float(model.double())["m.narrow"]
    assert moved.dtype == torch.float16


def test_a_double_that_is_read_stays_what_it_is() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by: Tensor
            self.register_buffer("by", torch.rand(6, dtype=torch.float64))
            self.fc = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc((x * self.by).to(self.fc.weight.dtype))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    module = Scaled()
    state = lnn.to_float(lnn.convert(module, torch.randn(20, 6)))
    assert state["by"].dtype == torch.float64
    assert torch.equal(state["by"], module.by)


def test_the_data_stay_what_they_are() -> None:
    """Also where the model changes its input in place."""
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2)).double()
    x = torch.randn(20, 6, dtype=torch.float64)
    before = x.clone()
    lnn.convert(module, x)
    assert torch.equal(x, before)


def test_names() -> None:
    """Those of the modules, spelt as Python's; none that a Graph has for itself."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
            self.made_with, self.reads, self.steps = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.net(x) + x
            return self.steps(self.reads(self.made_with(y)))  # type: ignore[no-any-return]

    model = lnn.convert(Named(), torch.randn(20, 6))
    found = list(model.reads)
    assert found[:2] == ["net_0", "net_1"]
    assert "add" in found
    assert found[-3:] == ["made_with_2", "reads_2", "steps_2"]
    nested = lnn.convert(nn.Sequential(nn.Sequential(nn.Linear(6, 2), nn.ReLU())), torch.randn(20, 6))
    assert list(nested.reads) == ["layer_0_0", "layer_0_1"]


def test_a_parameter_that_is_turned_and_zero() -> None:
    """By where its elements go, not by what they are."""

    class Zero(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(6, 6))
            self.shift = nn.Parameter(torch.ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w.transpose(0, 0) + self.shift

    module, x = Zero(), torch.randn(20, 6)
    model: Any = lnn.convert(module, x, bits=16)
    with torch.no_grad():
        model.matmul.weight.copy_(torch.triu(torch.full((6, 6), 0.5)))
    lnn.trace_ranges(model, [x])
    module.load_state_dict(lnn.to_float(model))
    with torch.no_grad():
        assert torch.allclose(model.eval()(x), module(x), atol=1e-2)
