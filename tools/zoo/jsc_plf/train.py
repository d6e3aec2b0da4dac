"""Train the jet tagger on particles: LUT layers shared by all particles, their sum, then LUT layers of the jet.

python tools/zoo/jsc_plf/train.py --out runs/jsc_plf
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from lutc import nn as lnn

sys.path.insert(0, str(Path(__file__).parents[3]))
from tools.zoo.common import Task, main
from tools.zoo.jsc_plf.generator import parts


def model(wide: int = 8) -> nn.Module:
    """[16, 4] -> per particle 4 -> wide -> wide, summed -> wide -> 5."""
    return nn.Sequential(
        lnn.LUTDense(4, wide, hidden=4, fraction=4, table_fraction=4),
        lnn.LUTDense(wide, wide, hidden=4, fraction=3, table_fraction=4),
        lnn.Sum(1),
        lnn.LUTDense(wide, wide, fraction=3),
        lnn.LUTDense(wide, 5),
    )


TASK = Task(
    "jsc_plf",
    parts,
    model,
    nn.functional.cross_entropy,
    lnn.accuracy,
    "accuracy",
    outputs=5,
    events=20_000,
    steps=700,
    batch=256,
    beta=(1e-7, 2e-5),
)

if __name__ == "__main__":
    main(TASK)
