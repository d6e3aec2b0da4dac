"""A small SVG of accuracy against LUTs, written without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 16, 48
INKS = ("#1668a8", "#d1691b", "#6a8f2f")
Curve = Sequence[Sequence[float]]  # (LUTs at most, mean accuracy, deviation)


def picture(curves: Mapping[str, Curve]) -> str:
    """Mean accuracies against the LUTs allowed, on a logarithmic axis, with a band of a deviation; three at most.

    Raises ValueError if no curve has a point.
    """
    points = [p for curve in curves.values() for p in curve]
    if not points:
        raise ValueError("there is no curve to draw")
    least, most = min(p[0] for p in points), max(p[0] for p in points)
    low = math.floor(100 * min(p[1] - p[2] for p in points)) / 100
    high = math.ceil(100 * max(p[1] + p[2] for p in points)) / 100

    def x(luts: float) -> float:
        share = math.log(luts / least) / math.log(most / least) if most > least else 0.5
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(accuracy: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (accuracy - low) / max(high - low, 0.01)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="13" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for k in range(round(100 * low), round(100 * high) + 1):
        out.append(f'<path d="M{LEFT} {y(k / 100):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(k / 100) + 4:.1f}" text-anchor="end">{k} %</text>')
    for tick in _ticks(least, most):
        out.append(f'<path d="M{x(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:,}</text>')
    out.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">LUTs at most</text>'
    )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">test accuracy</text>'
    )
    inked = list(zip(curves.items(), INKS, strict=False))
    for (_, curve), ink in inked:
        there = [f"{x(p[0]):.1f} {y(p[1] + p[2]):.1f}" for p in curve]
        back = [f"{x(p[0]):.1f} {y(p[1] - p[2]):.1f}" for p in reversed(curve)]
        out.append(f'<path d="M{"L".join([*there, *back])}Z" fill="{ink}" fill-opacity="0.15"/>')
    for (_, curve), ink in inked:
        line = "L".join(f"{x(p[0]):.1f} {y(p[1]):.1f}" for p in curve)
        out.append(f'<path d="M{line}" fill="none" stroke="{ink}" stroke-width="2" stroke-linejoin="round"/>')
    out.append(
        f'<rect x="{LEFT + 8}" y="{TOP + 6}" width="192" height="{20 * len(inked) + 8}" fill="#fff" stroke="#ddd"/>'
    )
    for k, ((name, _), ink) in enumerate(inked):
        at = TOP + 24 + 20 * k
        out.append(f'<path d="M{LEFT + 16} {at - 4}h20" stroke="{ink}" stroke-width="3"/>')
        out.append(f'<text x="{LEFT + 44}" y="{at}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _ticks(least: float, most: float) -> Iterable[int]:
    for decade in range(6):
        yield from (m * 10**decade for m in (1, 2, 5) if least <= m * 10**decade <= most)
