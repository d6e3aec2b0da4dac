"""Train the muon's angle from chamber hits: a convolution, a dense layer and LUT layers in one model.

python tools/zoo/tgc_muon/train.py --out runs/tgc_muon
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

from lutc import nn as lnn

sys.path.insert(0, str(Path(__file__).parents[3]))
from tools.zoo.common import Task, main
from tools.zoo.tgc_muon.generator import SCALE, parts


def model(filters: int = 6, wide: int = 12) -> nn.Module:
    """[7, 50] -> conv of 5 channels in steps of 3 -> dense -> LUT -> LUT -> one number, in units of 32 mrad."""
    hits = {"fraction": 0, "integer": 1, "signed": False, "overflow": "saturate", "trainable": False}
    weights = {"fraction": 4}
    return nn.Sequential(
        lnn.QConv1d(7, filters, 5, stride=3, data={**hits, "shape": (), "max_bits": 1}, weights=weights),
        lnn.QReLU((filters, 1), fraction=3),
        nn.Flatten(),
        lnn.QLinear(16 * filters, wide, data={"fraction": 3}, weights={"fraction": 5}),
        lnn.LUTDense(wide, wide, fraction=3),
        lnn.LUTDense(wide, 1, fraction=4),
    )


def loss(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(output, target / SCALE, beta=0.2)


def metric(output: Tensor, target: Tensor) -> float:
    """Minus the resolution: the root mean square of the angle's error, mrad."""
    return -(output * SCALE - target).square().mean().sqrt().item()


TASK = Task(
    "tgc_muon",
    parts,
    model,
    loss,
    metric,
    "- resolution (mrad)",
    outputs=1,
    events=30_000,
    steps=600,
    batch=256,
    beta=(1e-7, 2e-5),
)

if __name__ == "__main__":
    main(TASK)
