"""Train cluster counting in drift-chamber waveforms: a convolution, LUT convolutions and their sum.

python tools/zoo/gas_pid/train.py --out runs/gas_pid
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from torch import Tensor, nn

from lutc import nn as lnn

sys.path.insert(0, str(Path(__file__).parents[3]))
from tools.zoo.common import Task, main
from tools.zoo.gas_pid.generator import CELLS, SCALE, parts


def model(filters: int = 4) -> nn.Module:
    """[1, 48] -> conv -> LUT conv -> LUT conv of one position -> summed over positions: clusters, in units of 4."""
    data = {"overflow": "saturate", "integer": 3, "fraction": 4}
    return nn.Sequential(
        lnn.QConv1d(1, filters, 5, padding=2, data=data, weights={"fraction": 4}),
        lnn.QReLU((filters, 1), overflow="saturate", integer=2, fraction=4),
        lnn.LUTConv1d(filters, filters, 3, stride=2, hidden=4, fraction=3, table_fraction=4),
        lnn.LUTConv1d(filters, 1, 1, hidden=4, fraction=4, table_integer=0, table_fraction=6),
        lnn.Sum(2),
    )


def loss(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.mse_loss(output[:, 0], (target[:, 0] - 14.5) / SCALE)


def metric(output: Tensor, target: Tensor) -> float:
    """Separation power over a track: difference of pions' and kaons' means / mean deviation * sqrt(cells)."""
    pion, kaon = output[target[:, 1] == 0, 0].double(), output[target[:, 1] == 1, 0].double()
    deviation = (pion.std() + kaon.std()).item() / 2
    if not deviation > 0:
        return 0.0  # a model that always answers the same
    return (pion.mean() - kaon.mean()).item() / deviation * math.sqrt(CELLS)


TASK = Task(
    "gas_pid",
    parts,
    model,
    loss,
    metric,
    "separation power",
    outputs=1,
    events=20_000,
    steps=500,
    batch=256,
    beta=(1e-7, 1e-5),
)

if __name__ == "__main__":
    main(TASK)
