"""The lutc side of magic_front.py: recipe and answer are JSON, as on the other side.

Reads the recipe from standard input, writes the traced models into its folder, and prints a row per record.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

import lutc
from lutc import nn as lnn

sys.path.insert(0, str(Path(__file__).parents[2]))
from lutc.nn.datasets import magic_gamma
from tools.bench.magic_recipe import Recipe, Row, surrogate
from tools.zoo.magic_gamma.train import build_model

Data = tuple[torch.Tensor, torch.Tensor]


def record(trainer: lnn.Trainer, parts: dict[str, Data], epoch: int, folder: Path) -> Row:
    """The trainer's checkpoint, with ranges traced on the training data; training goes on with what it had."""
    with trainer.checkpoint() as twin, torch.no_grad():
        layers = [layer for layer in twin.modules() if isinstance(layer, lnn.LUTDense)]
        widths = [(key.numpy(), value.numpy()) for key, value in (layer.resource_bits() for layer in layers)]
        scores = {name: lnn.accuracy(twin(parts[name][0]), parts[name][1]) for name in ("validation", "test")}
        own = lnn.resource_total(twin).item()
        file = folder / f"epoch_{epoch:06d}.pt"
        lnn.save(twin, file, name="magic_gamma")
    return Row(epoch, scores["validation"], scores["test"], surrogate(widths), own, file.name)


def main() -> None:
    recipe = Recipe(**json.loads(sys.stdin.read()))
    torch.manual_seed(recipe.seed)
    parts = {
        name: (torch.from_numpy(x), torch.from_numpy(y)) for name, (x, y) in magic_gamma(recipe.data).items()
    }
    model = build_model(recipe.hidden)
    trainer = lnn.Trainer(
        model,
        torch.optim.Adam(model.parameters(), recipe.lr),
        nn.functional.cross_entropy,
        train=parts["train"],
        validation=parts["validation"],
        metric=lnn.accuracy,
        beta=lnn.LogRamp(recipe.beta_first, recipe.beta_last, recipe.steps * 9 // 10, recipe.steps // 10),
        folder=Path(recipe.folder) / "trainer",
        batch=recipe.batch,
        seed=recipe.seed,
        every=recipe.every,
        average=recipe.average,
        report=False,  # the time is that of the training
        schedule=lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, recipe.period),
    )
    rows, spent = [], 0.0
    for epoch in range(recipe.every, recipe.epochs + 1, recipe.every):
        start = time.process_time()
        trainer.fit(epoch)
        spent += time.process_time() - start
        rows.append(record(trainer, parts, epoch, Path(recipe.folder)))
        print(rows[-1], file=sys.stderr, flush=True)
    versions = {"lutc": lutc.__version__, "torch": torch.__version__}
    print(json.dumps({"rows": [r.__dict__ for r in rows], "cpu_s": round(spent, 1), "versions": versions}))


if __name__ == "__main__":
    main()
