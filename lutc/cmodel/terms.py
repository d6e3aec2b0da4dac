"""What an element of a value means, as a term over integers: one meaning, printed for machine words and for limbs.

A term is exact: how many bits it needs on its way is known (`bits`), and a printer that has fewer does not take it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lutc.numbers import rounded
from lutc.types import Fixed, Overflow, Rounding


@dataclass(frozen=True, slots=True)
class Term:
    """An integer: a word that says how it is made, of what, and the ends of its range.

    `kind` is `ref` (operand number `k`), `lit` (the number `k`), `add`, `sub`, `mul`, `and`, `or`, `xor`, `shr` (by
    `k`, towards minus infinity), `div` (by `k` > 0, likewise), `lt`, `eq` (0 or 1), `sel` (the second where the first
    is not 0, else the third) or `look` (entry `args[0]` of table number `k`).
    """

    kind: str
    args: tuple[Term, ...]
    lo: int
    hi: int
    k: int = 0

    @property
    def bits(self) -> int:
        """Two's complement bits that hold its range."""
        return signed_bits(self.lo, self.hi)


def signed_bits(lo: int, hi: int) -> int:
    """Bits of the narrowest two's complement integer that holds `[lo, hi]`."""
    return max((-lo - 1).bit_length() if lo < 0 else 0, hi.bit_length() if hi > 0 else 0) + 1


def needed(term: Term) -> int:
    """The bits that this term and all below it need."""
    return max(t.bits for t in walked(term))


def walked(term: Term) -> Iterator[Term]:
    """A term and those it stands on, operands first, each once."""
    done: set[int] = set()
    stack = [(term, False)]
    while stack:
        here, ready = stack.pop()
        if id(here) in done:
            continue
        if ready:
            done.add(id(here))
            yield here
        else:
            stack.append((here, True))
            stack += [(t, False) for t in reversed(here.args)]


def ref(number: int, fmt: Fixed) -> Term:
    """An operand, which is a code of a format."""
    return Term("ref", (), fmt.lo, fmt.hi, number) if fmt.width else lit(0)


def lit(number: int) -> Term:
    return Term("lit", (), number, number, number)


def add(a: Term, b: Term) -> Term:
    if b.kind == "lit" and not b.k:
        return a
    if a.kind == "lit":
        return b if not a.k else lit(a.k + b.k) if b.kind == "lit" else _plain("add", b, a)
    return _plain("add", a, b)


def _plain(kind: str, a: Term, b: Term) -> Term:
    if kind == "add":
        return Term("add", (a, b), a.lo + b.lo, a.hi + b.hi)
    return Term("sub", (a, b), a.lo - b.hi, a.hi - b.lo)


def sub(a: Term, b: Term) -> Term:
    if b.kind == "lit":
        return add(a, lit(-b.k))
    return _plain("sub", a, b)


def mul(a: Term, b: Term) -> Term:
    if a.kind == "lit" and b.kind == "lit":
        return lit(a.k * b.k)
    if a.kind == "lit":
        a, b = b, a
    if b.kind == "lit" and b.k in (0, 1):
        return a if b.k else lit(0)
    corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return Term("mul", (a, b), min(corners), max(corners))


def weighted(terms: Sequence[tuple[Term, int]], bias: int = 0) -> Term:
    """A sum of terms times integers, and a number."""
    result = lit(0)
    for term, weight in terms:
        if weight < 0 and not (result.kind == "lit" and not result.k):
            result = sub(result, mul(term, lit(-weight)))
        else:
            result = add(result, mul(term, lit(weight)))
    return add(result, lit(bias))


def up(a: Term, shift: int) -> Term:
    """Times a power of two."""
    return mul(a, lit(1 << shift)) if shift > 0 else a


def shr(a: Term, shift: int) -> Term:
    if not shift:
        return a
    if a.kind == "lit":
        return lit(a.k >> shift)
    return Term("shr", (a,), a.lo >> shift, a.hi >> shift, shift)


def div(a: Term, by: int) -> Term:
    if a.kind == "lit":
        return lit(a.k // by)
    return Term("div", (a,), a.lo // by, a.hi // by, by)


def bitwise(kind: str, a: Term, b: Term) -> Term:
    """`and`, `or` or `xor` of two's complement integers."""
    if a.kind == b.kind == "lit":
        return lit({"and": a.k & b.k, "or": a.k | b.k, "xor": a.k ^ b.k}[kind])
    bits = max(a.bits, b.bits) - 1
    lo = -(1 << bits) if a.lo < 0 or b.lo < 0 else 0
    hi = (1 << bits) - 1
    if kind == "and":  # a side that is never negative bounds the result
        tops = [t.hi for t in (a, b) if t.lo >= 0]
        lo, hi = (0, min(tops)) if tops else (lo, hi)
    return Term(kind, (a, b), lo, hi)


def low(a: Term, width: int) -> Term:
    """The lowest bits, as an unsigned number."""
    if not width:
        return lit(0)
    if a.lo >= 0 and a.hi < 1 << width:
        return a
    return bitwise("and", a, lit((1 << width) - 1))


def wrapped(a: Term, to: Fixed) -> Term:
    """Modulo two to the width of a format."""
    if to.lo <= a.lo and a.hi <= to.hi:
        return a
    if not to.signed:
        return low(a, to.width)
    sign = 1 << (to.width - 1)
    turned = bitwise("xor", low(a, to.width), lit(sign))
    if turned.kind == "lit":
        return lit(turned.k - sign)
    return Term("sub", (turned, lit(sign)), to.lo, to.hi)


def less(a: Term, b: Term) -> Term:
    if a.hi < b.lo or a.lo >= b.hi:
        return lit(int(a.hi < b.lo))
    return Term("lt", (a, b), 0, 1)


def equal(a: Term, b: Term) -> Term:
    if a.hi < b.lo or a.lo > b.hi or a.lo == a.hi == b.lo == b.hi:
        return lit(int(a.lo == b.lo and a.hi == b.hi))
    return Term("eq", (a, b), 0, 1)


def negated(a: Term) -> Term:
    """1 where a 0-or-1 term is 0."""
    if a.kind == "lit":
        return lit(1 - a.k)
    return bitwise("xor", a, lit(1))


def select(condition: Term, yes: Term, no: Term) -> Term:
    if condition.kind == "lit":
        return yes if condition.k else no
    return Term("sel", (condition, yes, no), min(yes.lo, no.lo), max(yes.hi, no.hi))


def lesser(a: Term, b: Term) -> Term:
    if a.hi <= b.lo or a.lo >= b.hi:
        return a if a.hi <= b.lo else b
    found = select(less(a, b), a, b)
    return Term("sel", found.args, min(a.lo, b.lo), min(a.hi, b.hi))


def greater(a: Term, b: Term) -> Term:
    if a.hi <= b.lo or a.lo >= b.hi:
        return b if a.hi <= b.lo else a
    found = select(less(a, b), b, a)
    return Term("sel", found.args, max(a.lo, b.lo), max(a.hi, b.hi))


def within(a: Term, lo: int, hi: int) -> Term:
    """Stopped at both ends of a range."""
    a = greater(a, lit(lo)) if a.lo < lo else a
    return lesser(a, lit(hi)) if a.hi > hi else a


def contained(a: Term, to: Fixed, mode: Overflow) -> Term:
    """Brought into a format's range."""
    if mode is Overflow.WRAP:
        return wrapped(a, to)
    least = max(to.lo, -to.hi) if mode is Overflow.SATURATE_SYMMETRIC else to.lo
    return within(a, least, to.hi)


def halved(a: Term, shift: int, mode: Rounding) -> Term:
    """Divided by a power of two and rounded; a negative shift multiplies."""
    if shift <= 0:
        return up(a, -shift)
    rest, half = (1 << shift) - 1, 1 << (shift - 1)
    signed = a.lo < 0
    by_sign = {  # what is added before the low bits are dropped: where negative, and where not
        Rounding.FLOOR: (0, 0),
        Rounding.CEIL: (rest, rest),
        Rounding.TOWARD_ZERO: (rest, 0),
        Rounding.AWAY: (0, rest),
        Rounding.HALF_UP: (half, half),
        Rounding.HALF_DOWN: (half - 1, half - 1),
        Rounding.HALF_AWAY: (half - 1, half),
        Rounding.HALF_ZERO: (half, half - 1),
    }
    if mode is Rounding.HALF_EVEN:
        odd = low(shr(a, shift), 1)
        return shr(add(add(a, lit(half - 1)), odd), shift)
    below, above = by_sign[mode]
    if below == above or not signed:
        return shr(add(a, lit(above)), shift)
    return shr(add(a, select(less(a, lit(0)), lit(below), lit(above))), shift)


def quotient(a: Term, by: int, mode: Rounding) -> Term:
    """Divided by a positive integer and rounded."""
    if a.kind == "lit":
        return lit(rounded(Fraction(a.k, by), mode))
    if not by & (by - 1):
        return halved(a, by.bit_length() - 1, mode)
    floor = div(a, by)
    left = sub(a, mul(floor, lit(by)))
    left = Term(left.kind, left.args, 0, by - 1)
    twice = mul(left, lit(2))
    half, over = equal(twice, lit(by)), less(lit(by), twice)
    negative = less(a, lit(0))
    rest = less(lit(0), left)
    more = {
        Rounding.FLOOR: lit(0),
        Rounding.CEIL: rest,
        Rounding.TOWARD_ZERO: bitwise("and", rest, negative),
        Rounding.AWAY: bitwise("and", rest, negated(negative)),
        Rounding.HALF_UP: bitwise("or", over, half),
        Rounding.HALF_DOWN: over,
        Rounding.HALF_EVEN: bitwise("or", over, bitwise("and", half, low(floor, 1))),
        Rounding.HALF_AWAY: bitwise("or", over, bitwise("and", half, negated(negative))),
        Rounding.HALF_ZERO: bitwise("or", over, bitwise("and", half, negative)),
    }
    return add(floor, more[mode])
