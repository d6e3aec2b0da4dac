"""Which codes a rounding treats in its own way, and the floor that does the same where there are none.

`floor(v + 1/2)` rounds halves up. The other roundings to the nearest differ from it at ties only, values n + 1/2. The
values are (x*p + r)/d for codes x, so a tie is a solution of `x*p = d/2 - r` modulo d: none if d is odd or if
g = gcd(p, d) does not divide the right side, else all numbers of one class modulo d/g (Hardy and Wright, "An
Introduction to the Theory of Numbers", section 5.4).
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from lutc.numbers import rounded
from lutc.passes.rescale.line import Line, Stairs
from lutc.types import Rounding


def ties(line: Line, lo: int, hi: int) -> range:
    """The codes from `lo` to `hi` whose values are halfway between integers."""
    d = line.denominator
    p, r = int(line.slope * d), int(line.start * d)
    g = gcd(p, d)
    if d % 2 or (d // 2 - r) % g:
        return range(0)
    period = d // g
    first = (d // 2 - r) // g * pow(p // g, -1, period) % period
    return range(lo + (first - lo) % period, hi + 1, period)


def floor_form(stairs: Stairs) -> Line | None:
    """A line whose floor, stopped alike, is every answer of stairs that rise; None where no floor of that slope is.

    Values are multiples of 1/D: less than 1/D above an integer there is none.
    """
    line, (lo, hi) = stairs.line, stairs.window
    for more in _more(line, lo + (stairs.least is not None), hi - (stairs.most is not None)):
        form = Line(line.slope, line.start + more, Rounding.FLOOR)
        # Where answers stop, passing the end is enough.
        low = stairs.least is None or form.whole(lo) <= stairs.least
        high = stairs.most is None or form.whole(hi) >= stairs.most
        if low and high:
            return form
    return None


def _more(line: Line, lo: int, hi: int) -> list[Fraction]:
    """What makes the rounding of all codes from `lo` to `hi` the floor of that much more: any of these."""
    room = 1 - Fraction(1, line.denominator)
    up, down = Fraction(1, 2), Fraction(1, 2) - Fraction(1, 2 * line.denominator)
    match line.round:
        case Rounding.FLOOR:
            return [Fraction(0)]
        case Rounding.CEIL:
            return [room]
        case Rounding.TOWARD_ZERO | Rounding.AWAY:
            negative, positive = line.at(lo) < 0, line.at(hi) > 0
            if negative and positive:
                return []
            return [room if negative == (line.round is Rounding.TOWARD_ZERO) else Fraction(0)]
        case Rounding.HALF_UP:
            return [up]
        case Rounding.HALF_DOWN:
            return [down]
    found = _upwards(line, ties(line, lo, hi))
    return [up] * (False not in found) + [down] * (True not in found)


def _upwards(line: Line, codes: range) -> set[bool]:
    """Whether ties at these codes are rounded up: both, if some are and some are not."""
    if not codes:
        return set()
    # From tie to tie values grow by the same integer, so what is even takes turns, or does not. Of the other roundings
    # only the sign decides, which changes once at most. (`len` of a range ends at 2**63.)
    some = codes[:2] if line.round is Rounding.HALF_EVEN else (codes[0], codes[-1])
    return {rounded(line.at(x), line.round) > line.at(x) for x in some}
