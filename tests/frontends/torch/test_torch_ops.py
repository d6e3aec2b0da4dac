"""Every module and function between quantisers, against PyTorch itself, number for number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch_models import F, Model, fake, nn, same, torch

VECTOR, LINE, IMAGE = (6,), (4, 8), (2, 6, 6)
CASES: dict[str, tuple[Callable[..., Any], tuple[nn.Module, ...], tuple[tuple[int, ...], ...]]] = {}


def case(name: str, function: Callable[..., Any], *modules: nn.Module, on: Any = (VECTOR,)) -> None:
    assert name not in CASES
    CASES[name] = (function, modules, on if isinstance(on[0], tuple) else (on,))


def layer(name: str, module: nn.Module, on: Any = VECTOR) -> None:
    case(name, lambda m, x: m(x), module, on=on)


layer("Linear", nn.Linear(6, 3))
layer("Linear without bias", nn.Linear(6, 3, bias=False))
layer("Linear on rows", nn.Linear(8, 3), LINE)
layer("Conv1d", nn.Conv1d(4, 3, 3, stride=2, padding=1), LINE)
layer("Conv1d same", nn.Conv1d(4, 3, 3, padding="same"), LINE)
layer("Conv2d", nn.Conv2d(2, 3, 3), IMAGE)
layer(
    "Conv2d stride padding dilation",
    nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1)),
    IMAGE,
)
layer("Conv2d groups", nn.Conv2d(2, 4, 3, groups=2, padding=1), IMAGE)
layer("Conv2d depthwise", nn.Conv2d(2, 2, 3, groups=2, bias=False), IMAGE)
layer("ConvTranspose2d", nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), (2, 3, 3))
layer("ConvTranspose1d groups", nn.ConvTranspose1d(4, 2, 3, stride=2, groups=2), LINE)
layer("BatchNorm1d", nn.BatchNorm1d(6))
layer("BatchNorm2d", nn.BatchNorm2d(2), IMAGE)
layer("BatchNorm without affine", nn.BatchNorm1d(6, affine=False))
layer("ReLU", nn.ReLU())
layer("ReLU in place", nn.ReLU(inplace=True))
layer("ReLU6", nn.ReLU6())
layer("LeakyReLU", nn.LeakyReLU(0.125))
layer("LeakyReLU by a tenth", nn.LeakyReLU(0.1))  # products that are ties in float32
layer("PReLU", nn.PReLU())
layer("PReLU per channel", nn.PReLU(2), IMAGE)
layer("Hardtanh", nn.Hardtanh(-1.5, 2.25))
case("clamp to bounds of the data", lambda x: x.clamp(x[:, :1], x[:, 1:2]))
case("clamp above a bound of the data", lambda x: x.clamp(min=x[:, :1]))
case("clamp to a number and the data", lambda x: torch.clamp(x, torch.tensor(-1.0), x[:, :1]))
layer("MaxPool1d", nn.MaxPool1d(2), LINE)
layer("MaxPool2d", nn.MaxPool2d(3, stride=2, padding=1), IMAGE)
layer("MaxPool2d ceil", nn.MaxPool2d(4, ceil_mode=True), IMAGE)
layer("AvgPool1d", nn.AvgPool1d(2), LINE)
layer("AvgPool2d", nn.AvgPool2d(2, padding=1), IMAGE)
layer("AvgPool2d inside", nn.AvgPool2d(2, padding=1, count_include_pad=False), IMAGE)
layer("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d(1), (2, 4, 4))
layer("AdaptiveAvgPool2d halves", nn.AdaptiveAvgPool2d((3, 2)), (2, 6, 4))
layer("AdaptiveMaxPool2d", nn.AdaptiveMaxPool2d(2), IMAGE)
layer("Flatten", nn.Flatten(), IMAGE)
layer("Unflatten", nn.Unflatten(1, (2, 3)))
layer("Dropout and Identity", nn.Sequential(nn.Dropout(0.3), nn.Identity(), nn.Dropout1d(0.1)))
layer("Upsample nearest", nn.Upsample(scale_factor=2), (1, 3, 3))
layer("PixelShuffle", nn.PixelShuffle(2), (4, 2, 2))
layer("ZeroPad2d", nn.ZeroPad2d((1, 2, 0, 1)), IMAGE)
layer("ConstantPad1d", nn.ConstantPad1d((1, 2), 0.75), LINE)
layer("ReflectionPad2d", nn.ReflectionPad2d(2), IMAGE)
layer("ReplicationPad1d", nn.ReplicationPad1d((2, 1)), LINE)
case("add", lambda x, y: x + y, on=(VECTOR, VECTOR))
case("add alpha", lambda x, y: torch.add(x, y, alpha=0.5), on=(VECTOR, VECTOR))
case("add a constant", lambda x: x + 1.5)
case("sub", lambda x, y: x - y, on=(VECTOR, VECTOR))
case("rsub", lambda x: 1 - x)
case("sub alpha", lambda x, y: torch.sub(x, y, alpha=2), on=(VECTOR, VECTOR))
case("mul", lambda x, y: x * y / 16, on=(VECTOR, VECTOR))
case("mul by a third", lambda x: x * (1 / 3) + 0.1 * x)
case("div by five", lambda x: x / 5)
case(
    "two readers of a convolution",
    lambda m, x: fake(y := m(x), 0.5) + fake(-y, 2.0),
    nn.Conv2d(2, 3, 3),
    on=IMAGE,
)
case("mul by a row", lambda x: x * torch.tensor([0.5, 1, 2, 0.25, -1, 1]))
case("broadcast", lambda x, y: x * y / 8, on=((2, 1, 3), (2, 4, 1)))
case("minimum", torch.minimum, on=(VECTOR, VECTOR))
case("maximum", torch.max, on=(VECTOR, VECTOR))
case("in place", lambda x: x.clone().add_(1).mul_(0.5).clamp_(-3, 5))
case("what is not used", lambda x: (torch.cumsum(x, 1), x + 1)[1])
case("pow as a table", lambda x: abs(x) ** 1.5)
case("comparisons", lambda x, y: (x > 1).float() + (x <= y).float() + (x == 0).float(), on=(VECTOR, VECTOR))
case("neg and abs", lambda x, y: -x + abs(y), on=(VECTOR, VECTOR))
case("square", lambda x: x.square() / 32)
case("pow", lambda x: (x**2) * 0.125)
case("clamp", lambda x: x.clamp(-2, 3.5))
case("clamp from below", lambda x: x.clamp(min=-2.25))
case("clamp to what floats cannot hold", lambda x: x.clamp(-1.45, 0.1) * 10)
case("clamp to infinity", lambda x: x.clamp(-2, float("inf")))
case("clamp_max", lambda x: torch.clamp_max(x, 1.5))
case("cat", lambda x, y: torch.cat([x, y, 2 * x], 1), on=(VECTOR, (2,)))
case("stack", lambda x, y: torch.stack([x, y], -1), on=(VECTOR, VECTOR))
case("reshape and view", lambda x: x.reshape(-1, 3, 2).view(x.shape[0], 6))
case("permute", lambda x: x.permute(0, 2, 3, 1), on=IMAGE)
case("transpose", lambda x: x.transpose(1, -1), on=IMAGE)
case("squeeze and unsqueeze", lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(-1))
case("slice and select", lambda x: x[:, :, 1:6:2] + x[:, 0, None, :3], on=LINE)
case("chunk and split", lambda x: x.chunk(2, 1)[1] - x.split([3, 3], 1)[0])
case("flip, roll and repeat", lambda x: x.flip(1).roll(1, 1).repeat(1, 2))
case("expand", lambda x: x[:, :, None].expand(-1, -1, 3))
case("expand_as", lambda x: x[:, :1].expand_as(x) + x.expand_as(x))
case("expand_as of a constant", lambda x: torch.stack([x, torch.tensor([0.5, 1]).repeat(3).expand_as(x)], -1))
case("view_as and reshape_as", lambda x, y: y.view_as(x) + y.reshape_as(x), on=((6,), (3, 2)))
case("split with a piece of nothing", lambda x: torch.cat([x.split([0, 2, 4], 1)[i] for i in (2, 0, 1)], 1))
case("split with pieces that nobody reads", lambda x: torch.split(x, [6, 0], 1)[0])
case("pad", lambda x: F.pad(x, (1, 1, 0, 2), value=-1.0), on=LINE)
case("mean", lambda x: x.mean(2), on=LINE)
case("mean of all, kept", lambda x: x.mean((1, 2), keepdim=True) + x, on=LINE)
case("sum", lambda x: x.sum(-1) / 4, on=LINE)
case("amax and amin", lambda x: x.amax(1) + x.amin(1), on=LINE)
case("max along", lambda x: x.max(2).values, on=LINE)
case("matmul", lambda x, y: x @ y / 32, on=((3, 4), (4, 2)))
case("matmul by a constant", lambda x: x @ torch.tensor([[1.0], [0.5], [-2], [0.25], [1], [3]]))
case("bmm", lambda x, y: torch.bmm(x, y) / 32, on=((3, 4), (4, 2)))
case("addmm", lambda m, x: torch.addmm(m.bias, x, m.weight.t(), beta=2), nn.Linear(6, 3))
case("einsum", lambda x: torch.einsum("bij,jk->bik", x, torch.ones(8, 2) / 8), on=LINE)
case("where", lambda x, y: torch.where(x > y, x, -y), on=(VECTOR, VECTOR))
case("round by hand", lambda x: torch.clamp(torch.round(x * 2), -8, 7) / 2)
case("floor by hand", lambda x: torch.floor(x / 2).clamp(-3, 3))
for name in ("tanh", "sigmoid", "gelu", "silu", "exp", "softplus", "elu", "mish", "hardswish", "hardsigmoid"):
    case(name, getattr(F, name, None) or getattr(torch, name))
for name in ("sin", "log1p", "rsqrt", "sqrt", "reciprocal", "expm1", "selu"):
    case(name, partial(lambda f, x: f(abs(x) + 0.5), getattr(torch, name)))
for name in ("erf", "sign", "cos"):
    case(name, partial(lambda f, x: f(x) * 2, getattr(torch, name)))
case("a function that is moved", lambda x: torch.tanh(x).permute(0, 2, 1)[:, 1:].flatten(1) * 2, on=LINE)
case("a function of sums", lambda m, x: torch.tanh(fake(m(x), 0.5, 0, -16, 15)) * 3 + 1, nn.Linear(6, 3))


@pytest.mark.parametrize("name", CASES)
def test_equal(name: str) -> None:
    function, modules, shapes = CASES[name]
    same(Model(function, *modules), *shapes)


def test_argmax_is_an_index() -> None:
    design = same(Model(lambda m, x: m(x).argmax(1), nn.Linear(6, 4), last=False), VECTOR)
    assert design.outputs[0].value.type.shape == ()


def test_argmax_of_the_second_result() -> None:
    same(Model(lambda m, x: m(x).max(1).indices, nn.Linear(6, 4), last=False), VECTOR)


def test_min_along() -> None:
    same(Model(lambda x: torch.min(x, 2, keepdim=True)[0]), LINE)
