"""Train a LUT network on MAGIC gamma: one run along a ramp of beta gives the whole front.

    python tools/zoo/magic_gamma/train.py --data PATH --out runs/magic

Selection is by validation accuracy alone; the test set is looked at once per point, for the table at the end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lutc import nn as lnn
from lutc.files.writing import write_text
from lutc.nn.datasets import magic_gamma


def build_model(hidden: int = 10) -> nn.Sequential:
    """10 -> hidden -> 2, both LUT layers, that begin smooth."""
    return nn.Sequential(
        lnn.LUTDense(10, hidden, weight_scale=0.3), lnn.LUTDense(hidden, 2, weight_scale=0.3)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", help="the public file or a folder of CSV files; without it the file is downloaded"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/magic_gamma"))
    parser.add_argument("--epochs", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--hidden", type=int, default=10)
    parser.add_argument("--beta", type=float, nargs=2, default=(1e-6, 1e-2), help="ends of the ramp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=20)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    parts = {
        name: (torch.from_numpy(x), torch.from_numpy(y)) for name, (x, y) in magic_gamma(args.data).items()
    }
    model = build_model(args.hidden)
    optimiser = torch.optim.Adam(model.parameters(), args.lr)
    steps = len(parts["train"][0]) // args.batch * args.epochs
    trainer = lnn.Trainer(
        model,
        optimiser,
        nn.functional.cross_entropy,
        train=parts["train"],
        validation=parts["validation"],
        metric=lnn.accuracy,
        beta=lnn.LogRamp(args.beta[0], args.beta[1], steps=steps * 9 // 10, hold=steps // 10),
        folder=args.out,
        batch=args.batch,
        seed=args.seed,
        every=args.every,
        schedule=lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, max(steps // 5, 1)),
    )
    front = trainer.fit(args.epochs, progress=True)
    rows = []
    for point in front.points:
        model.load_state_dict(front.load(point))
        model.eval()
        with torch.no_grad():
            test = lnn.accuracy(model(parts["test"][0]), parts["test"][1])
        rows.append({"epoch": point.epoch, "validation": point.metric, "test": test, "luts": point.cost})
        print(f"{point.cost:>9.0f} LUT  validation {point.metric:.4f}  test {test:.4f}")
    best = front.best()
    model.load_state_dict(front.load(best))
    lnn.save(
        model, args.out / "magic_gamma.pt", about={"validation accuracy": best.metric, "luts": best.cost}
    )
    lnn.export_onnx(model, args.out / "magic_gamma.onnx", name="magic_gamma")
    design = lnn.export(model, name="magic_gamma")
    x = parts["test"][0].double()
    with torch.no_grad():
        same = np.array_equal(design.run(x.numpy()), model.eval()(x).numpy())
    write_text(args.out / "front_tested.json", json.dumps({"front": rows, "exact": bool(same)}, indent=1))
    told = "exact" if same else "NOT EXACT"
    print(f"best: {best.metric:.4f} at {best.cost:.0f} LUT; the design is {told} on the test set")


if __name__ == "__main__":
    main()
