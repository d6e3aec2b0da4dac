"""What a training has come to, validation by validation: kept as JSON, and shown as a page with pictures."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.files.foreign import first_line
from lutc.files.pictures import BLUE, GREY, ORANGE, drawable, figure, svg
from lutc.files.writing import write_text

from .pareto import ParetoFront

ROWS = 40  # of the table on the page, at most: the last ones
SHARE = 20  # pictures take a twentieth of the time at most
_CSS = (
    "body{font:14px/1.5 sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "table{border-collapse:collapse}td,th{text-align:right;padding:1px 14px 1px 0;border-bottom:1px solid #ddd}"
    "svg{max-width:100%;height:auto}"
)


@dataclass(frozen=True)
class Record:
    """One validation: after how many epochs and steps, and what was found.

    - `loss`: mean of the training loss since the record before, without the resources.
    - `metric`: of the checkpoint; `luts`: its resources (`lutc.nn.resource_total`).
    - `beta`, `rate`: factor of the resources and learning rate of the last step.
    - `kept`: whether the front has taken the checkpoint.
    """

    epoch: int
    step: int
    loss: float
    metric: float
    luts: float
    beta: float
    rate: float
    kept: bool


class History:
    """The records of a run, in ``history.json`` of its folder; ``report.html`` and ``front.svg`` show them."""

    def __init__(self, folder: Path, epoch: int) -> None:
        """Those up to ``epoch``, where the run goes on. Raises LirError for a damaged file."""
        self.folder, self.file = folder, folder / "history.json"
        self.records: list[Record] = []
        self._drawn, self._cost = -math.inf, 0.0
        if self.file.exists() and epoch:
            try:
                found = [Record(**row) for row in json.loads(self.file.read_text())]
            except (ValueError, TypeError) as e:
                text = f"no history of a training: {first_line(e)}"
                raise error(text, where=str(self.file), help="delete it: the run goes on without") from None
            self.records = [r for r in found if r.epoch <= epoch]

    def add(self, record: Record) -> None:
        """Take in a record, and write the file anew."""
        self.records.append(record)
        rows = ",\n".join(json.dumps(asdict(r), allow_nan=False) for r in self.records)
        write_text(self.file, f"[{rows}]\n")

    def draw(self, front: ParetoFront, *, last: bool = False) -> None:
        """Write the page and the picture anew, unless that would take more than its share of the time."""
        now = time.monotonic()
        if not self.records or (not last and now - self._drawn < SHARE * self._cost):
            return
        pictures = {}
        if drawable():
            pictures = {"front": _front(self.records, front), "course": _course(self.records)}
            write_text(self.folder / "front.svg", pictures["front"])
        write_text(self.folder / "report.html", page(self.folder.name, self.records, front, pictures))
        self._drawn = time.monotonic()
        self._cost = self._drawn - now


def _front(records: list[Record], front: ParetoFront) -> str:
    drawn = figure(6.4, 4)
    axes = drawn.add_subplot()
    axes.plot(
        [r.luts for r in records], [r.metric for r in records], "o", color=GREY, ms=3, label="validations"
    )
    costs, metrics = [p.cost for p in front.points], [p.metric for p in front.points]
    axes.step(costs, metrics, where="post", color=BLUE, lw=1.5, label="front")
    axes.plot(costs, metrics, "o", color=BLUE, ms=5)
    axes.plot([records[-1].luts], [records[-1].metric], "o", color=ORANGE, ms=8, label="now")
    if min([r.luts for r in records] + costs) > 0:
        axes.set_xscale("log")
    axes.set_xlabel("LUTs (resources in training)")
    axes.set_ylabel("metric on the validation data")
    axes.grid(color="#ddd")
    axes.legend(loc="lower right")
    return svg(drawn)


def _course(records: list[Record]) -> str:
    drawn = figure(8, 6)
    epochs = [r.epoch for r in records]
    axes: Any = None
    for k, (name, log) in enumerate((("loss", False), ("metric", False), ("luts", True), ("beta", True))):
        values = [getattr(r, name) for r in records]
        axes = drawn.add_subplot(4, 1, k + 1, sharex=axes)
        axes.plot(epochs, values, color=BLUE, marker="." if len(records) < 50 else "", lw=1)
        axes.set_ylabel("LUTs" if name == "luts" else name)
        if log and min(values) > 0:
            axes.set_yscale("log")
        axes.grid(color="#ddd")
    axes.set_xlabel("epoch")
    return svg(drawn)


def page(title: str, records: list[Record], front: ParetoFront, pictures: dict[str, str]) -> str:
    """The page as HTML, that needs nothing else."""
    points = [(f"{p.cost:,.0f}", f"{p.metric:.5g}", p.epoch, p.file) for p in front.points]
    rows = [
        (r.epoch, r.step, f"{r.loss:.5g}", f"{r.metric:.5g}", f"{r.luts:,.0f}", f"{r.beta:.3g}", f"{r.rate:.3g}",
         "yes" if r.kept else "")
        for r in records[: -ROWS - 1 : -1]
    ]  # fmt: skip
    missing = "" if pictures else "<p>For pictures, install matplotlib.</p>"
    # the drawing alone, without the declaration of a file of its own
    inline = {name: text[text.index("<svg") :] for name, text in pictures.items()}
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="refresh" content="30"><style>{_CSS}</style></head><body>\n'
        f"<h1>{escape(title)}: epoch {records[-1].epoch}</h1>\n{missing}"
        f"<h2>Front</h2>\n{inline.get('front', '')}\n"
        f"{_table(('LUTs', 'metric', 'epoch', 'file'), points)}\n"
        f"<h2>Course</h2>\n{inline.get('course', '')}\n"
        f"<h2>Validations, the last first</h2>\n"
        f"{_table(('epoch', 'step', 'loss', 'metric', 'LUTs', 'beta', 'rate', 'kept'), rows)}\n</body></html>\n"
    )


def _table(heads: tuple[str, ...], rows: list[Any]) -> str:
    first = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>\n" for row in rows)
    return f"<table><tr>{first}</tr>\n{body}</table>"
