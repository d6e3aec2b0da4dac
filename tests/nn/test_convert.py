"""Float models become layers of `lutc.nn`: the same numbers, the same weights back, and a design that is the model."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lutc
from lutc import nn as lnn

Shape = tuple[int, ...]
ROW, LINE, PLANE, TOKENS = (6,), (2, 8), (2, 6, 6), (4, 8)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights whatever ran before."""
    torch.manual_seed(0)


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with statistics and affine parts that a training would have left."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
                assert m.running_mean is not None and m.running_var is not None
                assert m.num_batches_tracked is not None
                m.running_mean.normal_(0, 0.3, generator=generator)
                m.running_var.uniform_(0.5, 2, generator=generator)
                m.num_batches_tracked += 7
                if m.affine:
                    m.weight.uniform_(0.5, 1.5, generator=generator)
                    m.bias.normal_(0, 0.3, generator=generator)
    return model.eval()


def data(shape: Shape, n: int = 100, seed: int = 1) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def off(model: lnn.Graph, module: nn.Module, x: Tensor) -> float:
    """The largest error on data, of the largest number."""
    with torch.no_grad():
        right = copy.deepcopy(module).eval().double()(x.double())
        return float((model.eval()(x.double()) - right).abs().max() / right.abs().max())


def check_same(module: nn.Module, shape: Shape) -> None:
    """Wide enough, the model is the module; its error falls with the bits; and it gives the weights back."""
    x, before = data(shape), copy.deepcopy(module.state_dict())
    models = [lnn.convert(module, x, bits=bits) for bits in (8, 12, 16)]
    errors = [off(model, module, x) for model in models]
    assert errors[0] < 0.2
    assert errors[1] < errors[0] / 6  # four bits should be 16
    assert errors[2] < min(1e-3, errors[1] / 6)
    state = lnn.to_float(models[0])
    assert list(state) == list(before) == list(module.state_dict())
    for key, value in before.items():
        assert torch.equal(state[key], value), key
        assert torch.equal(module.state_dict()[key], value), key
        assert state[key].dtype == value.dtype
    module.load_state_dict(state)


def check_design(module: nn.Module, shape: Shape, folder: Path, bits: int = 5, onnx: bool = False) -> None:
    """A few steps of training, and what is exported, live and from a file, is the model."""
    x = data(shape)
    model = lnn.convert(module, x, bits=bits).train()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(2):
        optimiser.zero_grad()
        torch.autograd.backward(model(x).square().mean() + 1e-6 * lnn.resource_total(model))
        optimiser.step()
    lnn.trace_ranges(model, [x])
    model.eval()
    more = torch.cat([x, data(shape, seed=2) * 3]).double()  # beyond the ranges, too
    with torch.no_grad():
        want = model(more).numpy()
    design = lnn.export(model)
    assert np.array_equal(np.asarray(design.run(more.numpy())).reshape(want.shape), want)
    assert len(np.unique(want)) > 5
    lnn.save(model, folder / "model.pt")
    assert str(lutc.load(folder / "model.pt")) == str(lutc.load(model))
    if onnx:
        again = lutc.load(lnn.export_onnx(model), compare=False)
        assert np.array_equal(np.asarray(again.run(more.numpy())).reshape(want.shape), want)
    trained, kept = lnn.to_float(model), lnn.to_float(lnn.load(folder / "model.pt"))
    assert all(torch.equal(kept[k], v) for k, v in trained.items())
    module.load_state_dict(trained)


LAYERS: dict[str, tuple[Any, Shape]] = {
    "linear": (lambda: nn.Linear(6, 3), ROW),
    "linear without bias": (lambda: nn.Linear(6, 3, bias=False), ROW),
    "linear of rows": (lambda: nn.Linear(8, 3), TOKENS),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1), LINE),
    "conv1d dilated": (lambda: nn.Conv1d(2, 4, 3, dilation=2, padding="same"), LINE),
    "conv2d": (lambda: nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0)), PLANE),
    "depthwise": (lambda: nn.Conv2d(2, 4, 3, groups=2, padding="valid", bias=False), PLANE),
    "batch norm": (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), ROW),
    "batch norm first": (lambda: nn.BatchNorm1d(6, affine=False), ROW),
    "batch norm 1d": (lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)), LINE),
    "batch norm 2d": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, eps=0.1)), PLANE),
    "max pool": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 2, 1)), PLANE),
    "padded max pool": (lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)), PLANE),
    "max pool 1d": (lambda: nn.Sequential(nn.MaxPool1d(3, stride=2, dilation=2), nn.Flatten()), LINE),
    "average": (lambda: nn.AvgPool2d(3, stride=1), PLANE),
    "average 1d": (lambda: nn.AvgPool1d(2), LINE),
    "adaptive": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten()), PLANE),
    "largest": (lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(2, 3)), PLANE),
    "adaptive 1d": (lambda: nn.AdaptiveAvgPool1d(1), LINE),
    "softmax": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1)), ROW),
    "layer norm": (lambda: nn.LayerNorm(8), TOKENS),
    "layer norm alone": (lambda: nn.LayerNorm(6, elementwise_affine=False), ROW),
    "RMS norm": (lambda: nn.RMSNorm(8, eps=1e-3), TOKENS),
    "PReLU": (lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.PReLU(3), nn.Dropout2d(0.2)), PLANE),
    "GLU": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GLU(dim=1)), ROW),
    "upsample": (lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.Upsample(scale_factor=2)), PLANE),
    "pixel shuffle": (lambda: nn.Sequential(nn.Conv2d(2, 8, 3), nn.PixelShuffle(2)), PLANE),
    "padding": (lambda: nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(2, 2, 3)), PLANE),
    "flatten": (lambda: nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(72, 2)), PLANE),
    "unflatten": (lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 2, 2), nn.Flatten()), ROW),
    "identity": (nn.Identity, ROW),
}
FUNCTIONS = [
    *(
        nn.ReLU(),
        nn.ReLU6(),
        nn.Hardtanh(-0.5, 0.75),
        nn.LeakyReLU(0.2),
        nn.ELU(0.7),
        nn.SELU(),
        nn.CELU(1.5),
    ),
    *(nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.Tanh(), nn.LogSigmoid()),
    *(nn.Hardswish(), nn.Hardsigmoid(), nn.Softplus(2.0), nn.Threshold(0.0, 0.0)),
]


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer(kind: str, tmp_path: Path) -> None:
    made, shape = LAYERS[kind]
    module = lived_in(made())
    check_same(module, shape)
    check_design(module, shape, tmp_path)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_a_function(function: nn.Module, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(6, 4), function).eval()
    check_same(module, ROW)
    check_design(module, ROW, tmp_path)


class Block(nn.Module):
    """Of a ResNet."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.short = nn.Conv2d(channels, filters, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y += x if self.short is None else self.short(x)
        return F.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(Block(2, 2, 1), Block(2, 3, 2))
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(self.layer1(x), 1)
        return self.fc(torch.flatten(y, 1))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A transformer's, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.pos = nn.Parameter(torch.randn(1, 4, 8) / 3)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.values = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        x = x + self.pos[:, :n].expand(b, -1, -1)
        q, k, v = (t.view(b, n, 2, d // 2).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        shares = F.softmax(q @ k.transpose(-2, -1) / math.sqrt(d // 2), dim=-1)
        x = self.norm(x + self.out((shares @ v).transpose(1, 2).reshape(b, n, d)))
        return self.norm2(x + self.values(x)).mean(dim=1)  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Attention by one call."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (2, 4)).permute(0, 2, 1, 3) for f in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, dropout=0.1)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x)
        return self.norm(x + y)[:, -1]  # type: ignore[no-any-return]


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep, self.up = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 1), nn.Conv2d(7, 1, 1)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        side = self.act(self.down(x))
        deep = F.interpolate(self.act(self.deep(F.max_pool2d(side, 2))), scale_factor=2)
        both = torch.cat([side, deep], dim=1)
        return self.up(both + both.amax(1, keepdim=True) - both.max(dim=2).values[:, :, None])  # type: ignore[no-any-return]


class Gate(nn.Module):
    """Squeeze and excitation, and depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3, groups=2), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).relu()
        return (y * torch.sigmoid(self.fc(y.mean((2, 3))))[:, :, None, None]).sum(dim=(2, 3))  # type: ignore[no-any-return]


class Constants(nn.Module):
    """Parameters and buffers of its own, one of which nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b, self.g = (nn.Parameter(torch.randn(*s)) for s in ((6, 4), (4,), (1,)))
        self.x = nn.Linear(2, 2)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.randn(6))
        self.register_buffer("std", torch.rand(6) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = ((x - self.mean) / self.std * self.mean + self.mean) @ self.w
        return 1 - (y * self.g + self.b).clamp(-2, 2) / 2


class Shared(nn.Module):
    """A layer called twice, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.twice(torch.relu(self.twice(x))))
        return self.b(torch.relu(self.a(y)))  # type: ignore[no-any-return]


class Einstein(nn.Module):
    """Products in his notation, and a root."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 3) / 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("bpf, fk -> bpk", x, self.w)
        size = torch.rsqrt(torch.einsum("bpk,bqk->bpq", y, y).square().mean((1, 2), keepdim=True) + 1)
        return y * size


class InPlace(nn.Module):
    """What is read after it was changed in place is what it was changed to."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x)
        z = y.relu_()
        y += 1
        return torch.stack([y, z, x], dim=1).flip(1)


MODELS: dict[str, tuple[Any, Shape]] = {
    "ResNet": (ResNet, PLANE),
    "encoder": (Encoder, TOKENS),
    "scaled": (Scaled, TOKENS),
    "attention": (Attention, TOKENS),
    "U-Net": (UNet, PLANE),
    "gate": (Gate, PLANE),
    "constants": (Constants, ROW),
    "shared": (Shared, ROW),
    "Einstein": (Einstein, TOKENS),
    "in place": (InPlace, ROW),
    "torch's encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True),
        TOKENS,
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model(kind: str, tmp_path: Path) -> None:
    made, shape = MODELS[kind]
    module = lived_in(made())
    check_same(module, shape)
    check_design(module, shape, tmp_path, bits=4, onnx=True)


class Drawn(nn.Module):
    """A random network over values of one width, each step of which reads any values before it."""

    def __init__(self, seed: int, width: int = 5) -> None:
        super().__init__()
        random = np.random.default_rng(seed)
        self.steps: list[tuple[str, list[int]]] = []
        self.layers = nn.ModuleList()
        for k in range(int(random.integers(3, 9))):
            kind = str(random.choice(["linear", "norm", "relu", "tanh", "add", "sub", "mul", "cat", "twice"]))
            self.steps.append((kind, [max(0, k - int(n)) for n in random.integers(0, 3, 2)]))
            wide = 2 * width if kind == "cat" else width
            self.layers.append(nn.BatchNorm1d(width) if kind == "norm" else nn.Linear(wide, width))
        self.last = nn.Linear(width, 2)

    def step(self, kind: str, a: Tensor, b: Tensor, layer: Any) -> Tensor:
        if kind in ("linear", "norm"):
            return layer(a)  # type: ignore[no-any-return]
        if kind == "cat":
            return layer(torch.cat([a, b], 1))  # type: ignore[no-any-return]
        if kind == "twice":
            return layer(torch.relu(layer(a))) * 0.5  # type: ignore[no-any-return]
        if kind == "relu":
            return F.relu(a)
        if kind == "tanh":
            return a.tanh()
        if kind == "mul":
            return a * b.sigmoid()
        return a + b if kind == "add" else torch.sub(a, b / 4)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for (kind, (i, j)), layer in zip(self.steps, self.layers, strict=True):
            values.append(self.step(kind, values[i], values[j], layer))
        return self.last(values[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    module = lived_in(Drawn(seed), seed)
    check_same(module, (5,))
    check_design(module, (5,), tmp_path)


def test_the_mode_the_type_and_the_device_are_the_module_s() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    x = data(ROW)
    model = lnn.convert(module, x)
    assert model.training
    assert module.training
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert not torch.equal(model(x.double()), model(x.double()))  # its dropout is active
    assert not lnn.convert(module.eval(), x).training
    check_same(module, ROW)


def test_what_is_frozen_stays_frozen() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.TransformerEncoderLayer(4, 1, 4, batch_first=True))
    module.requires_grad_(False)
    model = lnn.convert(module, data((3, 6)))
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all("quantizer" in n for n in trained)


@pytest.mark.parametrize("form", ["tensor", "array", "batches", "pairs", "generator", "one sample"])
def test_the_data(form: str) -> None:
    x = data(ROW, 40)
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    forms = {
        "tensor": x,
        "array": x.double().numpy(),
        "batches": [x[:1], x[1:]],
        "pairs": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x), 7),
        "generator": (part for part in torch.split(x, 9)),
        "one sample": x[:1],
    }
    model = lnn.convert(module, forms[form])
    if form != "one sample":
        assert str(model.state_dict()) == str(lnn.convert(module, x).state_dict())
        assert off(model, module, x) < 0.05


def test_features_of_any_size_count_alike() -> None:
    """A format follows its own range, and a weight's step the input that it meets."""
    size = torch.tensor([1e5, 1.0, 1e-4, 30.0, 1e-2, 1e3])
    x = data(ROW) * size
    module = nn.Linear(6, 3)
    with torch.no_grad():
        module.weight.div_(size)
    assert off(lnn.convert(module, x, bits=8), module, x) < 0.02


def test_the_widths_are_those_asked_for() -> None:
    x = data(ROW)
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    model = lnn.convert(module, x, bits=6, weight_bits=4, weights={"rounding": "nearest-half-even"})
    for layer in (m for m in model.modules() if isinstance(m, lnn.QLinear)):
        assert (layer.input_quantizer.formats().width <= 6).all()
        f = layer.weight_quantizer.formats()
        assert (f.width + 1 - f.signed)[f.width > 0].amax() == 4  # what is never negative has no sign
        assert layer.weight_quantizer.rounding.value == "nearest-half-even"
    saturating = lnn.convert(module, x, bits=6, quantizers={"overflow": "saturate"}).eval()
    far = saturating(100 * x.double()).detach().numpy()
    assert np.array_equal(lnn.export(saturating).run(100 * x.double().numpy()), far)


def test_nothing_is_drawn() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(6, 4), nn.Tanh())
    before = torch.get_rng_state()
    lnn.convert(module, data(ROW))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_quantised_weights_are_those_of_hardware() -> None:
    module = lived_in(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)))
    x = data(ROW).double()
    model = lnn.convert(module.double(), x, bits=16, weight_bits=3).eval()
    twin = copy.deepcopy(module)
    twin.load_state_dict(lnn.to_float(model, quantised=True))
    with torch.no_grad():
        assert (twin(x) - model(x)).abs().max() < 1e-2 * (module(x) - model(x)).abs().max()
    assert not model.training


def test_a_trainer_takes_it(tmp_path: Path) -> None:
    module = lived_in(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)))
    x = data(ROW)
    sets: Any = {"train": (x, (x[:, 0] > 0).long()), "validation": (x, (x[:, 0] > 0).long())}
    model = lnn.convert(module, x, bits=6)
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    recipe: Any = {"metric": lnn.accuracy, "beta": lnn.Constant(1e-5), "batch": 20, "every": 3}
    trainer = lnn.Trainer(model, adam, F.cross_entropy, **sets, **recipe, folder=tmp_path)
    front = trainer.fit(3)
    model.load_state_dict(front.load(front.best()))
    module.load_state_dict(lnn.to_float(model))
    found: Any = model.get_submodule("layer_1")
    inside = model.get_submodule("layer_0")(x)
    assert torch.allclose(found.running_mean, inside.mean(0), atol=0.05)  # settled on the training data
    assert isinstance(lutc.load(model.eval()), lutc.Design)


def test_training_comes_back() -> None:
    module = lived_in(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)))
    model = lnn.convert(module, data(ROW)).train()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.125)
    model(data(ROW, seed=5))
    module.load_state_dict(lnn.to_float(model))
    layer: Any = model.get_submodule("layer_1")
    assert torch.equal(module[1].running_mean, layer.running_mean)  # type: ignore[index]
    assert torch.equal(module[1].weight, layer.gamma)  # type: ignore[index]
    assert torch.equal(module[0].bias, model.get_submodule("layer_0").bias)  # type: ignore[index, arg-type]
