"""What `lutc quantize` leaves: the model, its figures as JSON, and two pictures beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.files.pictures import needed
from lutc.files.writing import may_be_written, written

from . import picture
from .result import Quantized


def facts(found: Quantized) -> dict[str, Any]:
    """The figures of a quantised model, for a machine to read."""
    return {
        "metric": found.metric,
        "float": round(found.float_score, 6),
        "chosen": found.outcomes.index(found.chosen),
        "outcomes": [
            {
                "luts": o.luts,
                "compiled": o.compiled,
                "latency_cycles": o.latency,
                "score": round(o.score, 6),
                "fall": round(o.fall, 6),
                "loss": float(f"{o.loss:.4g}"),
            }
            for o in found.outcomes
        ],
        "layers": found.layers(),
        "notes": list(found.notes),
        "target": found.build.report["target"],
        "compared": found.build.report["compared"],
    }


_BESIDE = (".json", ".tradeoff.svg", ".ranges.svg")


def may_write(path: str | Path, *read: Path | None) -> None:
    """Raise what writing the files would raise, before hours are spent on what goes into them.

    Raises LirError, too, for a file that is `read`, and for files beside `path` that no earlier result left.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise error(f"{path.name} does not end in .onnx", help=f"say -o {path.stem or 'quantised'}.onnx")
    may_be_written(path)
    if any(source and source.exists() and path.exists() and path.samefile(source) for source in read):
        raise error(
            "this file is read, and would be written over", where=str(path), help="choose another name: -o"
        )
    taken = [] if path.exists() else [p for p in map(path.with_suffix, _BESIDE) if p.exists()]
    if taken:
        help = "choose another name: -o, or move the file away"
        raise error(
            "this file would be written over, and is none of an earlier result",
            where=str(taken[0]),
            help=help,
        )
    needed()


def write(found: Quantized, path: str | Path) -> list[Path]:
    """Write the model to `path`, and beside it, by the same stem, `.json`, `.tradeoff.svg` and `.ranges.svg`.

    Raises OSError that names the file.
    """
    path = Path(path)
    beside = (json.dumps(facts(found), indent=1) + "\n", picture.trade_off(found), picture.ranges(found))
    texts = {path: found.model.SerializeToString()}
    texts |= {path.with_suffix(end): text.encode() for end, text in zip(_BESIDE, beside, strict=True)}
    for place, data in texts.items():
        with written(place) as stream:
            stream.write(data)
    return list(texts)
