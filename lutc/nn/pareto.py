"""The front of metric against resources, kept on disk."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lutc.diagnostics import error
from lutc.files.foreign import first_line
from lutc.files.writing import write_text, written


@dataclass(frozen=True)
class Point:
    """A checkpoint on the front: larger metric and smaller cost are better."""

    metric: float
    cost: float
    epoch: int

    @property
    def file(self) -> str:
        return f"epoch_{self.epoch:06d}.pt"

    def beats(self, other: Point) -> bool:
        """Whether it is at least as good in both and better in one; of equals the earlier epoch stands."""
        return (
            self.metric >= other.metric
            and self.cost <= other.cost
            and (self.metric > other.metric or self.cost < other.cost or self.epoch <= other.epoch)
        )


class ParetoFront:
    """Checkpoints that no other beats, in a folder: ``front.json`` and a file per point. Reopening it goes on."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        index = self.folder / "front.json"
        self.points = _points(index) if index.exists() else []

    def offer(self, metric: float, cost: float, epoch: int, state: dict[str, Any]) -> bool:
        """Take a checkpoint in if nothing beats it, and drop those that it beats; a second time changes nothing.

        Raises LirError for a metric or a cost that is not finite: nothing would ever beat it.
        """
        for name, value in (("metric", metric), ("cost", cost)):
            if not math.isfinite(value):
                help = "let the metric be a finite number for every model"
                raise error(
                    f"the {name} of the checkpoint of epoch {epoch} is {value}", where="front", help=help
                )
        new = Point(metric, cost, epoch)
        if any(p.beats(new) for p in self.points):
            return False
        gone = [p for p in self.points if new.beats(p)]
        save({"metric": metric, "cost": cost, "epoch": epoch, "model": state}, self.folder / new.file)
        self.points = sorted([p for p in self.points if p not in gone] + [new], key=lambda p: p.cost)
        write_text(
            self.folder / "front.json",
            json.dumps([asdict(p) for p in self.points], indent=1, allow_nan=False),
        )
        for p in (
            gone
        ):  # last: a run killed here leaves files that no index names, never an index without its file
            (self.folder / p.file).unlink(missing_ok=True)
        return True

    def load(self, point: Point) -> dict[str, Any]:
        """The model's state at a point."""
        state: dict[str, Any] = torch.load(self.folder / point.file, weights_only=True)["model"]
        return state

    def best(self, max_cost: float = float("inf")) -> Point:
        """The best metric for at most ``max_cost``. Raises ValueError if no point is that small."""
        fits = [p for p in self.points if p.cost <= max_cost]
        if not fits:
            raise ValueError(f"no checkpoint costs at most {max_cost}")
        return max(fits, key=lambda p: p.metric)


def _points(index: Path) -> list[Point]:
    """Those of an index that are numbers. Raises LirError if it is none."""
    try:
        found = [
            Point(float(p["metric"]), float(p["cost"]), int(p["epoch"]))
            for p in json.loads(index.read_text())
        ]
    except (ValueError, TypeError, KeyError) as e:
        help = "delete it, with the files beside it, to begin a front anew"
        raise error(f"no index of a front: {first_line(e)}", where=str(index), help=help) from None
    return [p for p in found if math.isfinite(p.metric) and math.isfinite(p.cost)]


def save(content: Any, path: Path) -> None:
    """`torch.save` that leaves either the old file or the new one, whenever it is interrupted."""
    whole = io.BytesIO()  # what goes wrong with a file itself, such as a full disk, torch does not tell
    torch.save(content, whole)
    with written(path) as file:
        file.write(whole.getbuffer())
