"""The best network for one constant: the fewest two-operand adders that multiply a value by it.

After Dempster and Macleod, "Constant integer multiplication using minimum adders" (1994): an adder makes the sum or
the difference of two values made before, one of them shifted to the left. All graphs of up to three adders are tried;
the last adder is found by asking what it would have to add.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from lutc.cmvm.network import Network, Sum, weighed
from lutc.numbers import trailing_zeros

WIDEST = 14  # bits of a constant that is tried

# An adder: `sign * u + other * 2**shift * v`, for values u and v made before.
_Adder = tuple[int, int, int, int, int]


def single(weight: int) -> Network | None:
    """The network for `weight * x` with the fewest adders, if three suffice and the constant is not too wide."""
    odd = abs(weight) >> trailing_zeros(weight)
    graph = _graph(odd) if 1 < odd < 1 << WIDEST else None
    if graph is None:
        return None
    number = {1: 0}
    sums: list[Sum] = []
    for u, sign, v, other, shift in graph:
        sums.append(weighed([(number[u], 0, sign), (number[v], shift, other)]))
        number[sign * u + other * (v << shift)] = len(sums)
    return Network(1, tuple(sums[:-1]), (tuple((v, w * (weight // odd)) for v, w in sums[-1]),))


@lru_cache(maxsize=1 << 12)
def _graph(odd: int) -> tuple[_Adder, ...] | None:
    """The adders for an odd constant above 1, in order."""
    bits = odd.bit_length() + 1
    if last := _last((1,), odd):
        return (last,)
    for first, adder in _reached((1,), bits):
        if last := _last((1, first), odd):
            return adder, last
    for first, adder in _reached((1,), bits):
        for second, another in _reached((1, first), bits):
            if last := _last((1, first, second), odd):
                return adder, another, last
    return None


def _reached(values: Sequence[int], bits: int) -> Iterator[tuple[int, _Adder]]:
    """What one adder makes of some values, odd and new."""
    known = set(values)
    for u in values:
        for v in values:
            for shift in range(1, bits):
                high = v << shift
                if high >> bits:
                    break
                for made, sign, other in ((u + high, 1, 1), (high - u, -1, 1), (u - high, 1, -1)):
                    if made > 0 and made not in known:
                        known.add(made)
                        yield made, (u, sign, v, other, shift)


def _last(values: Sequence[int], odd: int) -> _Adder | None:
    """The adder that makes the constant of some values, if there is one."""
    for u in values:
        for sign in (1, -1):
            rest = odd - sign * u  # has to be plus or minus a value, shifted
            shift = trailing_zeros(rest)
            if rest and shift:
                for v in values:
                    if abs(rest) == v << shift:
                        return u, sign, v, 1 if rest > 0 else -1, shift
    return None
