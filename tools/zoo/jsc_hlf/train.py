"""Train the jet tagger on 16 features, 16-20-5 in LUT layers (HGQ-LUT, arXiv 2604.22293).

python tools/zoo/jsc_hlf/train.py [--data openml | FILE.arff] --out runs/jsc_hlf
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from lutc import nn as lnn

sys.path.insert(0, str(Path(__file__).parents[3]))
from tools.zoo.common import Task, main
from tools.zoo.jsc_hlf.generator import parts


def model(hidden: int = 20) -> nn.Module:
    """16 -> hidden -> 5."""
    return nn.Sequential(lnn.LUTDense(16, hidden, fraction=3), lnn.LUTDense(hidden, 5, fraction=4))


TASK = Task(
    "jsc_hlf",
    parts,
    model,
    nn.functional.cross_entropy,
    lnn.accuracy,
    "accuracy",
    outputs=5,
    steps=1200,
    beta=(1e-6, 1e-4),
)

if __name__ == "__main__":
    main(TASK)
