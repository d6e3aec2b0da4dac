"""Two pictures of a quantised model: what accuracy costs, and where its formats lie in the ranges of its numbers."""

from __future__ import annotations

import numpy as np

from lutc.files.pictures import BLUE, GREY, ORANGE, figure, svg

from .result import Quantized


def trade_off(found: Quantized) -> str:
    """The metric on the rows held back against LUTs, as SVG: the assignments looked at, and the one chosen."""
    drawn = figure(6.4, 4)
    axes = drawn.add_subplot()
    unit = 100 if found.percent else 1
    points, front = ([(o.luts, o.score) for o in part] for part in (found.outcomes, found.front()))
    axes.plot([p[0] for p in points], [unit * p[1] for p in points], "o", color=GREY, ms=4, label="tried")
    axes.step(
        [p[0] for p in front], [unit * p[1] for p in front], where="post", color=BLUE, lw=1.5, label="front"
    )
    axes.plot([found.chosen.luts], [unit * found.score], "o", color=ORANGE, ms=9, label="chosen")
    axes.axhline(unit * found.float_score, color="#333", lw=1, ls="--", label="float")
    axes.set_xscale("log")
    axes.set_xlabel("LUTs (estimated)")
    axes.set_ylabel(found.metric + (" in %" if unit == 100 else ""))
    axes.grid(color="#ddd")
    axes.legend(loc="lower right")
    return svg(drawn)


def ranges(found: Quantized) -> str:
    """Magnitudes of the float model's weights and data by layer, as SVG, with the bits that their formats keep.

    A bar goes from the 5th to the 95th percentile, a line from the least to the greatest; the band behind is from the
    finest step to the top of the widest format.
    """
    rows = found.layers()
    drawn = figure(7.2, 1.2 + 0.32 * len(rows))
    axes = drawn.add_subplot()
    for y, row in enumerate(reversed(rows)):
        q = found.ranges[row["name"], row["kind"]]
        color = BLUE if row["kind"] == "data" else ORANGE
        if row["bits"]:
            axes.barh(y, row["msb"] - row["lsb"], left=row["lsb"], height=0.85, color=color, alpha=0.2)
        if q[-1] > 0:
            low, start, middle, stop, high = np.log2(np.maximum(q[[0, 5, 50, 95, 100]], 2.0**-24))
            axes.plot([low, high], [y, y], color=color, lw=1)
            axes.barh(y, stop - start, left=start, height=0.4, color=color)
            axes.plot([middle, middle], [y - 0.2, y + 0.2], color="white", lw=1.5)
    axes.set_yticks(range(len(rows)), [f"{r['name']} ({r['kind']})" for r in reversed(rows)])
    axes.set_xlabel("power of two")
    axes.grid(axis="x", color="#ddd")
    axes.set_axisbelow(True)
    axes.set_title("magnitudes (bar: 5 % to 95 %, line: all) and formats (band)", fontsize=10)
    return svg(drawn)
