"""A small SVG of accuracy against LUTs, written without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 16, 48
INKS = ("#1668a8", "#d1691b")
Points = list[tuple[float, float]]


def picture(fronts: dict[str, Points], least: float = 30, low: float = 0.80) -> str:
    """Steps through each front's (LUTs, test accuracy), LUTs on a logarithmic axis; two fronts at most.

    Points below ``least`` LUTs or the accuracy ``low`` are left out.
    """
    shown = {
        name: sorted(p for p in points if p[0] >= least and p[1] >= low) for name, points in fronts.items()
    }
    everything = [p for points in shown.values() for p in points]
    most, high = (
        max(p[0] for p in everything) * 1.15,
        math.ceil(max(p[1] for p in everything) * 100 + 0.3) / 100,
    )

    def x(luts: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(luts / least) / math.log(most / least)

    def y(accuracy: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (accuracy - low) / (high - low)

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
        out.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">LUTs</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">test accuracy</text>'
    )
    for k, ((name, points), ink) in enumerate(zip(shown.items(), INKS, strict=True)):
        line = "".join(
            f"{'M' if i == 0 else 'H'}{x(a):.1f}{' ' if i == 0 else 'V'}{y(b):.1f}"
            for i, (a, b) in enumerate(points)
        )
        out.append(f'<path d="{line}" fill="none" stroke="{ink}" stroke-width="1.5"/>')
        out += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.5" fill="{ink}"/>' for a, b in points]
        at = HEIGHT - BOTTOM - 40 + 20 * k
        out.append(f'<circle cx="{WIDTH - RIGHT - 110}" cy="{at - 4}" r="4" fill="{ink}"/>')
        out.append(f'<text x="{WIDTH - RIGHT - 98}" y="{at}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _ticks(least: float, most: float) -> Iterable[int]:
    for decade in range(6):
        yield from (m * 10**decade for m in (1, 2, 5) if least <= m * 10**decade <= most)
