"""Random models in which anything may stand twice: layers, blocks, quantisers, weights. Every door gives the model.

``LUTC_SHARED_MODELS=500 python -m pytest tests/nn/test_random_shared.py`` looks at as many as one likes.
"""

from __future__ import annotations

import copy
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_random_models import Draw, _train, convolution, linear, next_layer, same, samples
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError

MODELS = int(os.environ.get("LUTC_SHARED_MODELS", 60))
Shape = tuple[int, ...]
SEEDS = range(10_000, 10_000 + MODELS)


def repeated(d: Draw, layers: list[nn.Module], y: torch.Tensor) -> nn.Module | None:
    """Something made of layers that are there already and that takes ``y``, if there is any."""
    fits = [m for m in layers if _takes(m, y)]
    if not fits:
        return None
    layer = d.of(*fits)
    ends = layer(y).shape == y.shape
    forms: list[Callable[[], nn.Module]] = [
        lambda: layer,
        lambda: nn.Sequential(layer),
        lambda: nn.Sequential(nn.Identity(), nn.Sequential(nn.ReLU(), layer)),
        lambda: lnn.QAdd(layer, layer),
        lambda: lnn.QAdd(layer, d.of(*[m for m in fits if m(y).shape == layer(y).shape])),
        lambda: lnn.QConcat(layer, nn.Sequential(nn.Identity(), layer), dim=layer(y).dim() - 1),
    ]
    if ends:
        forms += [lambda: nn.Sequential(layer, layer), lambda: lnn.QAdd(nn.Identity(), layer)]
    made: nn.Module = d.of(*forms)()
    return made if _takes(made, y) else None


def other_layer(d: Draw, shape: Shape) -> nn.Module:
    """What the models of the other file have not: constants, means, movements, and layers that read one another."""
    ones = [1] * len(shape)
    forms: list[Callable[[], nn.Module]] = [
        lambda: lnn.QAffine(d.of((1, *shape), (1, *ones)), d.of(None, (1, *shape)), weights=d.mode()),
        lambda: lnn.Move("flip", len(shape)),
        lambda: lnn.QMean([len(shape)], True, **d.quantiser()),
        lambda: _graph(linear(d, shape, shape[-1])),
    ]
    made: nn.Module = d.of(*forms)()
    return made


def _graph(layer: nn.Module) -> nn.Module:
    """A layer under two names, and their difference."""
    layers = {"first": layer, "again": layer, "less": lnn.Add(subtract=True), "both": lnn.Concat(-1)}
    reads = {"first": ["x"], "again": ["first"], "less": ["again", "first"], "both": ["less", "again"]}
    return lnn.Graph(layers, reads)


def _takes(layer: nn.Module, y: torch.Tensor) -> bool:
    try:
        with torch.no_grad():
            found = layer(y)
    except (RuntimeError, IndexError, ValueError):  # of another shape
        return False
    return bool(found.dim() > 1 and found.shape[1:].numel() <= 64)


def share_parts(d: Draw, model: nn.Module) -> bool:
    """Let one layer use a quantiser or a weight of another, of the same shape; False if there are no two."""
    pairs: list[tuple[nn.Module, str, Any]] = []
    for m in model.modules():
        for name, part in m._modules.items():
            if isinstance(part, lnn.Quantizer):
                pairs.append((m, name, part))
        for name, weight in m._parameters.items():
            if weight is not None and name in ("weight", "bias"):
                pairs.append((m, name, weight))
    found = [(m, n, b) for m, n, a in pairs for k, o, b in pairs if k is not m and n == o and _alike(a, b)]
    if not found:
        return False
    home, name, part = d.of(*found)
    setattr(home, name, part)
    return True


def _alike(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a is not b and a.shape == b.shape


@cache
def shared_model(seed: int) -> tuple[nn.Module, Shape]:
    """Three to seven layers, at least one of which stands there twice, or shares something with another."""
    attempt = 0
    while True:
        made = _draw(seed + 100_000 * attempt)
        attempt += 1
        if made is not None:
            return made


def _draw(seed: int) -> tuple[nn.Module, Shape] | None:
    torch.manual_seed(seed)
    d = Draw(seed)
    shape: Shape = d.of((3,), (4,), (3, 4), (2, 6), (2, 4, 4), (1, 5, 3))
    first: nn.Module = (
        convolution(d, shape) if len(shape) > 1 and d.of(True, False) else linear(d, shape, shape[-1])
    )
    d.first = False
    layers, shared = [first], False
    y = first(torch.randn(16, *shape))
    for _ in range(d.of(2, 4, 6)):
        again = repeated(d, layers, y) if d.of(True, False) else None
        more = d.of(next_layer, next_layer, other_layer)
        layer = again or more(d, tuple(y.shape[1:]))
        if not _takes(layer, y):
            continue
        shared |= again is not None or isinstance(layer, lnn.Graph)
        layers.append(layer)
        y = layer(y)
    if d.of(True, False) and len(layers) > 2:
        layers = [layers[0], nn.Sequential(*layers[1:-1]), layers[-1]]
    model = nn.Sequential(*layers)
    if d.of(True, False, False):
        shared |= share_parts(d, model)
    if not shared:
        return None
    _train(model, shape, d)
    return model.eval(), shape


def doors(model: nn.Module, shape: Shape, folder: Path) -> Iterator[tuple[str, Callable[[], lutc.Design]]]:
    """The ways of a model to a design."""

    def saved() -> lutc.Design:
        lnn.save(model, folder / "model.pt", shape=shape)
        return lutc.load(folder / "model.pt")

    def written() -> lutc.Design:
        lnn.export_onnx(model, folder / "model.onnx", shape)
        return lutc.load(folder / "model.onnx")

    yield "module", lambda: lutc.load(model, example_inputs=torch.zeros(1, *shape))
    yield "copy", lambda: lutc.load(copy.deepcopy(model), example_inputs=torch.zeros(1, *shape))
    yield (
        "pickle",
        lambda: lutc.load(pickle.loads(pickle.dumps(model)), example_inputs=torch.zeros(1, *shape)),
    )
    yield ".pt", saved
    yield ".onnx", written


def check(seed: int, folder: Path) -> set[str]:
    """Compare every door with the model; the doors that refused it."""
    model, shape = shared_model(seed)
    x = samples(shape, 500, seed)
    refused = set()
    for name, load in doors(model, shape, folder):
        try:
            design = load()
        except LirError as e:
            assert e.diagnostics[0].where, f"seed {seed}, {name}: {e}"
            refused.add(name)
            continue
        assert same(model, design.run(x.numpy()), x), f"seed {seed}, {name}: {model}"
    return refused


@pytest.mark.parametrize("first", range(0, MODELS, 20))
def test_every_door_gives_the_model(first: int, tmp_path: Path) -> None:
    refused = [check(seed, tmp_path) for seed in SEEDS[first : first + 20]]
    # What no port prepares exactly is refused, and by files what was exchanged after it was made; most is not.
    assert sum(bool(r) for r in refused) <= len(refused) // 2, refused


@pytest.mark.parametrize("seed", SEEDS[:: max(MODELS // 4, 1)])
def test_the_circuit_is_the_model(seed: int, tmp_path: Path, need_tool: Callable[[str], str]) -> None:
    need_tool("iverilog")
    model, shape = shared_model(seed)
    x = samples(shape, 50, seed).numpy()
    try:
        build = lutc.compile(lnn.export(model, shape), clock_ns=5)
    except LirError as e:
        assert e.diagnostics[0].where, e  # what is refused says where
        return
    with torch.no_grad():
        want = model(torch.from_numpy(x)).numpy()
    assert np.array_equal(np.asarray(build.run(x), dtype=np.float64), want)
    result = lutc.simulate(build.write(tmp_path / "build", vectors=20, user_vectors={"": x}))
    assert result.passed, result.message


def test_each_model_shares_something() -> None:
    """Modules or parameters stand in it more often than there are different ones."""
    for seed in SEEDS[:40]:
        model, _ = shared_model(seed)
        modules = list(model.named_modules(remove_duplicate=False))
        parameters = list(model.named_parameters(remove_duplicate=False))
        assert len(modules) > len({m for _, m in modules}) or len(parameters) > len(
            {p for _, p in parameters}
        )


def test_layers_of_all_kinds_are_shared() -> None:
    found: set[str] = set()
    for seed in SEEDS[:60]:
        model, _ = shared_model(seed)
        modules = [m for _, m in model.named_modules(remove_duplicate=False)]
        found |= {type(m).__name__ for m, n in Counter(modules).items() if n > 1}
    assert found >= {
        "QLinear", "LUTDense", "QConv1d", "LUTConv1d", "QFunction", "QAdd", "QSoftmax", "QBatchNorm", "Quantizer",
        "QAffine", "QMean", "Move", "Sequential", "ReLU",
    }  # fmt: skip


def test_what_was_hooked_onto_a_part_is_refused_by_every_door(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(lnn.QLinear(3, 3))
    model(torch.randn(30, 3))
    model[0].input_quantizer.register_forward_hook(lambda m, i, o: o * 2)  # type: ignore[union-attr]
    for name, load in doors(model, (3,), tmp_path):
        if name != "pickle":  # which does not hold a lambda
            with pytest.raises(LirError, match="forward hook"):
                load()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(lnn.QLinear(3, 3), lnn.LUTDense(3, 2))
    model(torch.randn(30, 3))
    model.eval().to(dtype)
    x = samples((3,), 200, 0)
    assert same(model, lutc.load(model).run(x.numpy()), x)
    with pytest.raises(LirError, match=r"holds float32 or float64(?s:.*)model\.float\(\)"):
        lnn.save(model, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_none(tmp_path: Path) -> None:
    model = nn.Sequential(lnn.QLinear(3, 3))
    model[0].input_quantizer.integer[0] = torch.nan  # type: ignore[union-attr,operator]
    with pytest.raises(LirError, match=r"0: error: its buffer 'input_quantizer\.integer' holds numbers"):
        lutc.load(model)
    with pytest.raises(LirError, match="on the device 'meta'"):
        lnn.export(nn.Sequential(lnn.QLinear(3, 3)).to("meta"))


EXCHANGED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a gap": (lambda m: m.register_module("gone", None), "PyTorch does not run it: TypeError"),
    "a weight's shape": (
        lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(5, 3))),
        "does not run it",
    ),
    "no weight": (lambda m: setattr(m[0], "weight", None), "PyTorch does not run it: AttributeError"),
    "a table's weights": (
        lambda m: setattr(m[1], "w_in", nn.Parameter(m[1].w_in[:1].detach())),
        "does not run it",
    ),
    "sparse": (
        lambda m: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach().to_sparse())),
        "no plain tensor",
    ),
    "complex": (
        lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(3, 3, dtype=torch.complex64))),
        "'weight' is no plain tensor of real numbers",
    ),
    "traced": (lambda m: setattr(m[0].input_quantizer, "tracing", True), "its ranges are being traced"),
}


@pytest.mark.parametrize("name", EXCHANGED)
def test_what_was_exchanged_for_something_else(name: str) -> None:
    change, message = EXCHANGED[name]
    torch.manual_seed(0)
    model = nn.Sequential(lnn.QLinear(3, 3), lnn.LUTDense(3, 2)).eval()
    change(model)
    with pytest.raises(LirError, match=message):
        lnn.export(model)


def test_a_model_is_not_saved_while_its_ranges_are_traced(tmp_path: Path) -> None:
    model: Any = nn.Sequential(lnn.QLinear(3, 3))
    model[0].input_quantizer.tracing = True
    with pytest.raises(LirError, match=r"0\.input_quantizer has another tracing now"):
        lnn.save(model, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())
