"""Small PyTorch models made on the spot, and what PyTorch says they compute."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import lutc
from lutc.ir.graph import Design

torch.set_num_threads(1)


def fake(x: Any, scale: float = 0.25, zero: int = 0, lo: int = -128, hi: int = 127) -> Any:
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, lo, hi)


class Model(nn.Module):
    """A function between two quantisers, with modules whose weights are multiples of 1/8."""

    def __init__(
        self, function: Callable[..., Any], *modules: nn.Module, last: bool = True, seed: int = 0
    ) -> None:
        super().__init__()
        self.function, self.last = function, last
        self.m = nn.ModuleList(modules)
        gridded(self, seed)

    def forward(self, *inputs: Any) -> Any:
        y = self.function(*self.m, *(fake(x) for x in inputs))
        return fake(y, 0.5) if self.last else y


def gridded(model: nn.Module, seed: int = 0) -> None:
    """Give every weight a random multiple of 1/8; the statistics of normalisations stay real numbers."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.ndim and value.is_floating_point():
                values = np.rint(rng.normal(0, 4, value.shape)) / 8
                if "var" in name:
                    values = rng.uniform(0.5, 2, value.shape)
                value.copy_(torch.as_tensor(values))


def samples(*shapes: Sequence[int], rows: int = 60, seed: int = 1) -> list[torch.Tensor]:
    """Numbers on a grid finer than the quantisers', so with ties, some beyond their range, and zeros."""
    rng = np.random.default_rng(seed)
    arrays = [np.rint(rng.normal(0, 6, (rows, *s)) * 16) / 16 for s in shapes]
    for a in arrays:
        a[0], a[1], a[2] = 0, 500, -500
    return [torch.as_tensor(a, dtype=torch.float32) for a in arrays]


def theirs(model: nn.Module, *inputs: torch.Tensor) -> Any:
    """What PyTorch computes in evaluation mode."""
    was = model.training
    model.eval()
    with torch.no_grad():
        done = model(*inputs)
    model.train(was)
    return done.numpy()


def same(
    model: nn.Module, *shapes: Sequence[int], inputs: Sequence[torch.Tensor] = (), **options: Any
) -> Design:
    """The design of a model equals it on every sample, number for number. Returns the design."""
    given = list(inputs) or samples(*shapes)
    design: Design = lutc.load(model, example_inputs=tuple(given), **options)
    want = theirs(model, *given)
    got = np.asarray(design.run(*(x.double().numpy() for x in given)), dtype=np.float64)
    np.testing.assert_array_equal(got.reshape(want.shape), want)
    assert len(np.unique(want)) > 2, "the model's output is all but constant"
    return design


__all__ = ["F", "Model", "fake", "gridded", "nn", "same", "samples", "theirs", "torch"]
