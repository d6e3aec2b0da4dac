"""The float models of `quantise.py`: their data, their training in plain PyTorch with fixed seeds, and ONNX files."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from lutc.nn.datasets import magic_gamma

Array = NDArray[Any]
IMAGE = 28  # pixels of Fashion-MNIST's images, a side
IMAGES_AT, LABELS_AT = 16, 8  # where numbers begin in its files, in the IDX format


@dataclass(frozen=True)
class Data:
    """Rows for training and for every quantiser, and rows that none of them sees."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array


def _split(x: Array, y: Array, train: float, test: float) -> Data:
    """The first and the last part of each class, in a fixed order of its rows: shares of all rows."""
    rng = np.random.default_rng(0)
    first, last = [], []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        first.append(rows[: round(train * len(rows))])
        last.append(rows[len(rows) - round(test * len(rows)) :])
    a, b = (rng.permutation(np.concatenate(part)) for part in (first, last))
    return Data(x[a], y[a], x[b], y[b])


def _standardised(d: Data) -> Data:
    mean, std = d.x.mean(0), np.maximum(d.x.std(0), 1e-6)
    a, b = (((x - mean) / std).clip(-8, 8).astype(np.float32) for x in (d.x, d.test_x))
    return Data(a, d.y, b, d.test_y)


def dry_bean(path: Path) -> Data:
    """13,611 beans, 16 features of their outline, 7 kinds; `path` is an .npz with `x` and `y`."""
    with np.load(path) as file:
        return _standardised(_split(file["x"].astype(np.float64), file["y"].astype(np.int64), 0.6, 0.2))


def magic(path: Path) -> Data:
    """19,020 showers, 10 features, 2 classes."""
    parts = magic_gamma(path)
    (x, y), (test_x, test_y) = parts["train"], parts["test"]
    return Data(x.astype(np.float32), y.astype(np.int64), test_x.astype(np.float32), test_y.astype(np.int64))


def digits(path: Path | None) -> Data:
    """scikit-learn's 1,797 digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _split((x / 16).astype(np.float32), y.astype(np.int64), 0.6, 0.4)


def fashion(path: Path) -> Data:
    """Fashion-MNIST's first 10,000 training images and first 5,000 test images, halved to 14 x 14 pixels.

    `path` is a folder with its four files, such as Debian's package dataset-fashion-mnist brings.
    """
    parts = []
    for part, rows in (("train", 10_000), ("t10k", 5_000)):
        with gzip.open(path / f"{part}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=IMAGES_AT).reshape(-1, IMAGE, IMAGE)[:rows]
        with gzip.open(path / f"{part}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=LABELS_AT)[:rows]
        half = pixels.reshape(rows, 1, IMAGE // 2, 2, IMAGE // 2, 2).mean((3, 5)) / 255
        parts += [half.astype(np.float32), labels.astype(np.int64)]
    return Data(*parts)


def _mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 10),
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model of the comparison: how it is described, its data, its network, and the epochs of its training."""

    about: str
    data: Callable[[Any], Data]
    network: Callable[[], nn.Sequential]
    epochs: int
    decay: float


CASES = {
    "dry bean": Case("MLP 16-32-16-7, 13,611 beans", dry_bean, lambda: _mlp(16, 32, 16, 7), 60, 1e-4),
    "magic": Case("MLP 10-32-16-2, 19,020 showers", magic, lambda: _mlp(10, 32, 16, 2), 60, 1e-4),
    "digits": Case("MLP 64-32-16-10, 1,797 digits of 8 x 8", digits, lambda: _mlp(64, 32, 16, 10), 150, 1e-3),
    "fashion": Case(
        "CNN of 2 convolutions (8 and 16 of 3 x 3, each with a pool) and 64-10, "
        "Fashion-MNIST at 14 x 14", fashion, _cnn, 20, 1e-4,
    ),
}  # fmt: skip


def trained(case: Case, data: Data, path: Path) -> nn.Sequential:
    """The network after training, in evaluation; written to `path` as ONNX, with any number of rows, or read there."""
    torch.manual_seed(0)
    model = case.network()
    if path.exists():
        kept = onnx.load(path).graph.initializer
        model.load_state_dict(
            {i.name: torch.tensor(onnx.numpy_helper.to_array(i)) for i in kept if i.name[0].isdigit()}
        )
        return model.eval()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=case.decay)
    batch = 64
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, case.epochs * -(-len(x) // batch))
    for _ in range(case.epochs):
        order = torch.randperm(len(x))
        for rows in torch.split(order, batch):
            optimiser.zero_grad()
            loss: Any = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x[:2],), str(path), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False,
            dynamic_axes={"x": {0: "rows"}, "y": {0: "rows"}},
        )  # fmt: skip
    return model
