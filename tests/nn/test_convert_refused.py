"""What `lutc.nn.convert` cannot turn into layers is refused: all of it at once, with its places and what to do."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from lutc import nn as lnn
from lutc.diagnostics import Diagnostic, LirError

ROW, TOKENS, PLANE = (6,), (4, 6), (2, 6, 6)


def refused(module: Any, shape: tuple[int, ...] = ROW, given: Any = None) -> tuple[Diagnostic, ...]:
    with pytest.raises(LirError) as caught:
        lnn.convert(module, torch.randn(8, *shape) if given is None else given)
    for d in caught.value.diagnostics:
        assert d.help, d
    return caught.value.diagnostics


class Own(nn.Module):
    """A forward of its own, around two linear layers."""

    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.run = nn.Linear(6, 6), nn.Linear(6, 6), run
        self.p, self.count = nn.Parameter(torch.rand(6)), 0
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def with_hook() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6))
    module[0].register_forward_hook(lambda layer, given, result: 2 * result)
    return module


def old_norm(norm: Callable[..., nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(norm(nn.Linear(6, 3)))


def instead() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6))
    module[0].forward = torch.tanh
    return module


class First(nn.Module):
    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        return x[0]


class Derived(nn.Linear):
    """With a forward of its own, which is followed and not taken for a Linear's."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).cumsum(1)


def scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(nn.Sequential(nn.Linear(6, 2)), torch.zeros(1, 6))  # type: ignore[no-untyped-call]


def pruned() -> nn.Module:
    return nn.Sequential(prune.l1_unstructured(nn.Linear(6, 3), "weight", 0.5))  # type: ignore[no-untyped-call]


def spoilt() -> nn.Module:
    module = nn.Linear(6, 2)
    with torch.no_grad():
        module.weight[0, 0] = torch.nan
    return module


ALONE: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(6, 3)), ROW, "parametrized weight"),
    "old weight norm": (lambda: old_norm(nn.utils.weight_norm), ROW, "WeightNorm computes anew"),
    "spectral norm": (lambda: old_norm(nn.utils.spectral_norm), ROW, "SpectralNorm computes anew"),
    "hook": (with_hook, ROW, "has a forward hook"),
    "another forward": (instead, ROW, "has a forward of its own"),
    "subclass": (lambda: nn.Sequential(Derived(6, 6)), ROW, "calls aten.cumsum.default"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), ROW, "is lazy"),
    "script": (scripted, ROW, "TorchScript"),
    "compiled": (lambda: torch.compile(nn.Linear(6, 3)), ROW, "compiled by torch.compile"),
    "half": (lambda: nn.Linear(6, 3).half(), ROW, "parameters of type float16"),
    "two types": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 2).double()),
        ROW,
        "several float types",
    ),
    "not finite": (spoilt, ROW, "not finite"),
    "converted": (lambda: lnn.convert(nn.Linear(6, 3), torch.rand(4, 6)), ROW, "layer of lutc.nn already"),
    "partly": (lambda: nn.Sequential(nn.Linear(6, 3), lnn.QLinear(3, 2)), ROW, "layer of lutc.nn already"),
    "no module": (lambda: 3, ROW, "is no torch.nn.Module"),
    "batch statistics": (lambda: nn.BatchNorm1d(6, track_running_stats=False), ROW, "keeps no statistics"),
    "all batches": (lambda: nn.BatchNorm1d(6, momentum=None), ROW, "momentum=None"),
    "batch second": (lambda: nn.TransformerEncoderLayer(6, 2, 6), TOKENS, "batch as its second dimension"),
    "dict": (lambda: Own(lambda m, x: {"a": m.a(x)}), ROW, "is a dict"),
    "tuple": (lambda: Own(lambda m, x: (m.a(x), m.b(x))), ROW, "is a tuple"),
    "two inputs": (lambda: nn.Bilinear(6, 6, 2), ROW, "fails on the data"),
    "recurrent": (lambda: nn.Sequential(nn.GRU(6, 3, batch_first=True), First()), TOKENS, "is recurrent"),
    "made inside": (
        lambda: Own(lambda m, x: nn.LSTM(6, 3).eval()(x)[0]),
        TOKENS,
        "torch.export cannot follow",
    ),
    "masked": (lambda: Own(lambda m, x: x.masked_fill(x > 0, 0)), ROW, "aten.gt.Scalar"),
    "by the data": (lambda: Own(lambda m, x: m.a(x) if x.sum() > 0 else m.b(x)), ROW, "cannot follow"),
    "tied turned": (lambda: Own(lambda m, x: F.linear(m.a(x), m.a.weight.T)), ROW, "shares a.weight"),
    "computed": (
        lambda: Own(lambda m, x: F.linear(x, m.a.weight / m.a.weight.norm())),
        ROW,
        "computed from parameters",
    ),
    "divided": (lambda: Own(lambda m, x: m.a(x) / m.p), ROW, "divides by a parameter"),
    "quotient": (lambda: Own(lambda m, x: m.a(x) / (x * x)), ROW, "divides by what the network computes"),
    "mixed": (lambda: Own(lambda m, x: m.a(x) - m.a(x).mean(0)), ROW, "has the batch for its axis"),
    "merged": (lambda: Own(lambda m, x: m.a(x.reshape(-1, 6))), TOKENS, "batch as its first dimension"),
    "turned": (lambda: Own(lambda m, x: m.a(x.transpose(0, 1)).transpose(0, 1)), TOKENS, "moves the batch"),
    "views in place": (
        lambda: Own(lambda m, x: _in_place(m, x)),
        ROW,
        "changed in place through another view",
    ),
    "random": (lambda: Own(lambda m, x: F.dropout(m.a(x))), ROW, "drops elements in evaluation too"),
    "constant": (
        lambda: Own(lambda m, x: m.a(x) * torch.ones(x.shape[0], 6)),
        ROW,
        "for every sample of the batch",
    ),
    "fails": (lambda: nn.Linear(5, 2), ROW, "fails on the data"),
    "padded by reflection": (
        lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        PLANE,
        "pads by 'reflect'",
    ),
    "uneven": (lambda: nn.Conv2d(2, 2, 2, padding="same"), PLANE, "pad"),
    "windows": (lambda: nn.AdaptiveAvgPool2d(4), PLANE, "windows of several sizes"),
    "minus infinity": (lambda: nn.MaxPool2d(3, padding=1), PLANE, "pads with minus infinity"),
    "ceil": (lambda: nn.AvgPool2d(4, ceil_mode=True), PLANE, "ceil_mode"),
    "power": (lambda: Own(lambda m, x: x**3), ROW, "takes the power 3"),
    "computed power": (lambda: Own(lambda m, x: x**m.p), ROW, "takes a power that is computed"),
    "mean of all": (lambda: Own(lambda m, x: m.a(x) - x.mean()), ROW, "the batch among them"),
    "sum of all": (lambda: Own(lambda m, x: x.sum()), TOKENS, "the batch among them"),
    "largest of all": (lambda: Own(lambda m, x: x / 2 - x.max()), ROW, "the batch among them"),
    "least of all": (lambda: Own(lambda m, x: x - x.amin()), ROW, "the batch among them"),
    "product of all": (lambda: Own(lambda m, x: x * x.prod()), ROW, "calls aten.prod.default"),
    "where": (lambda: Own(lambda m, x: m.a(x).argmax(1)), ROW, "calls aten.argmax.default"),
    "parameter as a bound": (lambda: Own(lambda m, x: torch.max(x, m.p)), ROW, "compares with a parameter"),
    "axes": (
        lambda: Own(lambda m, x: x[:, None] @ torch.stack([x.mT, x.mT], 1)),
        TOKENS,
        "multiplies [batch, 1, 4, 6] by [batch, 2, 6, 4]",
    ),
    "fewer axes": (lambda: Own(lambda m, x: x[:, None] * x), ROW, "meets [batch, 1, 6] with [batch, 6]"),
    "infinite mask": (
        lambda: Own(lambda m, x: (x @ x.mT + torch.full((4, 4), -torch.inf).triu(1)).softmax(-1)),
        TOKENS,
        "constants that are not finite",
    ),
    "large mask": (
        lambda: Own(lambda m, x: (x @ x.mT - 1e9 * torch.ones(4, 4).triu(1)).flatten(1).softmax(-1)),
        TOKENS,
        "reads scores with a mask (down to -1e+09)",
    ),
    "infinite": (lambda: Own(lambda m, x: torch.rsqrt(x)), ROW, "numbers that are not finite on the data"),
    "drawn": (lambda: Own(lambda m, x: x + torch.randn(6)), ROW, "draws random numbers"),
    "drawn like it": (lambda: Own(lambda m, x: x + torch.rand_like(x)), ROW, "draws random numbers"),
    "other order": (
        lambda: Own(lambda m, x: x + F.embedding(torch.tensor([1, 0]), m.a.weight)),
        (2, 6),
        "computed from parameters",
    ),
    "pruned": (
        pruned,
        ROW,
        "has a weight that is pruned anew",
    ),
    "counts": (lambda: Own(lambda m, x: m.a(x) + m.n.add_(1)), ROW, "changes n while it runs"),
    "counts beside": (lambda: Own(_counted), ROW, "changes n while it runs"),
    "counts by itself": (lambda: Own(_counted_aside), ROW, "when it is called again"),
    "parameter into a constant": (
        lambda: Own(lambda m, x: x + torch.zeros(6).add_(m.p)),
        ROW,
        "while it runs",
    ),
    "nothing": (lambda: Own(lambda m, x: m.a(x)[:, :0]), ROW, "without elements"),
    "mapped": (lambda: Own(lambda m, x: torch.vmap(m.a)(x)), ROW, "calls _add_batch_dim"),
    "number of a parameter": (
        lambda: Own(lambda m, x: x * m.p.sum().item()),
        ROW,
        "computed from parameters",
    ),
    "no channels": (lambda: nn.AvgPool2d(2), (6, 6), "reads [batch, 6, 6]"),
    "no channels for the largest": (lambda: nn.AdaptiveMaxPool1d(1), ROW, "reads [batch, 6]"),
    "rows": (lambda: nn.MaxPool1d(2), ROW, "reads [batch, 6]"),
    "adds to itself": (
        lambda: Own(lambda m, x: x.add_(x[:, 1:2])),
        ROW,
        "changes a tensor in place while it reads another view of it",
    ),
    "without gradient": (lambda: Own(lambda m, x: _no_grad(m, x)), ROW, "is no plain operator"),
    "for each sample": (lambda: Own(lambda m, x: m.a(x) / x.shape[0]), ROW, "the number of samples"),
    "samples and rows": (
        lambda: Own(lambda m, x: m.a(x.reshape(4 * x.shape[0], 6)).view(-1, 4, 6)),
        TOKENS,
        "without the batch as its first dimension",
    ),
    "turned shift": (lambda: Own(lambda m, x: x + m.a.weight.t()), (6, 6), "reads a turned parameter"),
}


def _counted(m: Any, x: Tensor) -> Tensor:
    m.n += 1
    return m.a(x)  # type: ignore[no-any-return]


def _counted_aside(m: Any, x: Tensor) -> Tensor:
    m.count += 1
    return m.a(x) * m.count  # type: ignore[no-any-return]


def _no_grad(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.a(x)
    return m.b(y)  # type: ignore[no-any-return]


def _in_place(m: Any, x: Tensor) -> Tensor:
    y: Tensor = m.a(x)
    y.view(-1, 2, 3).relu_()
    return y


@pytest.mark.parametrize("kind", ALONE)
def test_one_reason(kind: str) -> None:
    torch.manual_seed(0)
    made, shape, reason = ALONE[kind]
    module = made()
    if isinstance(module, nn.Module) and kind not in ("script", "compiled"):
        module.eval()
    found = refused(module, shape)
    assert len(found) == 1 + (kind == "masked")
    assert reason in found[0].message, found


def test_all_of_it_at_once_and_nothing_is_changed() -> None:
    module = nn.Sequential(
        nn.MaxPool2d(3, 1, 1),
        nn.GroupNorm(2, 2),
        parametrizations.weight_norm(nn.Conv2d(2, 4, 1)),
        nn.Identity(),
        nn.ConvTranspose2d(4, 2, 3),
        nn.BatchNorm2d(2, momentum=None),
        nn.LogSoftmax(1),
    )
    before = copy.deepcopy(module.state_dict())
    found = refused(module, PLANE)
    assert sorted(d.where or "" for d in found) == [
        "0 (MaxPool2d)",
        "1 (GroupNorm)",
        "2 (ParametrizedConv2d)",
        "4 (ConvTranspose2d)",
        "5 (BatchNorm2d)",
        "6 (LogSoftmax)",
    ]
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all("forward" not in vars(m) for m in module.modules())


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda m, x: m(x, x.flip(1), x)[0], "from another tensor"),
        (lambda m, x: m(x, x, x, attn_mask=torch.ones(4, 4))[0], "is given a mask"),
        (lambda m, x: m(x, x, x)[1], "has no translation"),
    ],
    ids=["cross", "mask", "weights"],
)
def test_attention(how: Any, reason: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.m = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x: Tensor) -> Any:
            return how(self.m, x)

    found = refused(Model(), TOKENS)
    assert any(reason in d.message for d in found), found


@pytest.mark.parametrize(
    "given",
    [
        [],
        torch.zeros(0, 6),
        torch.zeros(6, 0),
        torch.zeros(8, 6, dtype=torch.complex64),
        torch.zeros(3),
        "words",
        [torch.rand(2, 6), torch.rand(2, 5)],
        torch.full((2, 6), torch.nan),
        3,
    ],
    ids=["none", "empty", "no elements", "complex", "no axis", "words", "shapes", "nan", "number"],
)
def test_the_data(given: Any) -> None:
    (d,) = refused(nn.Linear(6, 2), given=given)
    assert "the data" in d.message or "batches" in d.message


@pytest.mark.parametrize(
    "options",
    [
        *({"bits": 0}, {"bits": 25}, {"bits": 4.0}, {"weight_bits": 1}, {"weights": {"fraction": 3}}),
        *({"quantizers": {"x": 1}}, {"quantizers": {"overflow": "clip"}}),
    ],
    ids=str,
)
def test_the_options(options: Any) -> None:
    with pytest.raises(ValueError, match=r"bits|fraction|x|clip"):
        lnn.convert(nn.Linear(6, 2), torch.rand(8, 6), **options)


def test_only_what_was_converted_goes_back() -> None:
    for model in (
        nn.Linear(2, 2),
        nn.Sequential(lnn.QLinear(2, 2)),
        lnn.Graph({"a": lnn.QLinear(2, 2)}, {"a": ["x"]}),
    ):
        with pytest.raises(LirError, match="not made by"):
            lnn.to_float(model)


@pytest.mark.parametrize(
    ("layers", "reads"),
    [
        ({"a": lnn.QLinear(2, 2)}, {"a": ["b"]}),
        ({"a": lnn.QLinear(2, 2)}, {"a": ["x"], "b": ["a"]}),
        ({"a": lnn.QLinear(2, 2)}, {}),
        ({"a": lnn.QLinear(2, 2)}, {"a": []}),
        ({"x": lnn.QLinear(2, 2)}, {"x": ["x"]}),
        ({"forward": lnn.QLinear(2, 2)}, {"forward": ["x"]}),
        ({"a.b": lnn.QLinear(2, 2)}, {"a.b": ["x"]}),
    ],
)
def test_a_graph_of_nonsense(layers: Any, reads: Any) -> None:
    with pytest.raises(ValueError, match=r"reads|called|needs"):
        lnn.Graph(layers, reads)
    with pytest.raises(ValueError, match="not one of"):
        lnn.Move("nowhere")
    with pytest.raises(ValueError, match="does not take"):
        lnn.QFunction("tanh", parameters={"slope": 1})
