"""The inputs of a function of one bit: those that it depends on, and in which order a LUT has them.

The inputs of a LUT are not equally quick: the last one (I5 of a LUT6) chooses between what the others have chosen, and
takes a fifth of the first one's time. Vendors' tools exchange pins as they place and route; open ones leave a LUT that
is asked for by name as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from lutc.rtl.nets import Const, Net


def live_inputs(inputs: Sequence[Net], contents: Sequence[int]) -> tuple[list[Net], Sequence[int]]:
    """The inputs that the answer depends on, each once and none of them constant; and the answers for those."""
    bits = [net for net in dict.fromkeys(inputs) if not isinstance(net, Const)]
    if len(bits) < len(inputs):
        known = [net.value if isinstance(net, Const) else bits.index(net) for net in inputs]
        fixed = [isinstance(net, Const) for net in inputs]
        contents = [
            contents[
                sum((k if c else w >> k & 1) << i for i, (k, c) in enumerate(zip(known, fixed, strict=True)))
            ]
            for w in range(1 << len(bits))
        ]
    word = int.from_bytes(bytes(contents), "little")  # a byte an answer
    for i in reversed(range(len(bits))):
        if not (word >> (8 << i) ^ word) & _lower(len(contents), i):
            contents = [bit for w, bit in enumerate(contents) if not w >> i & 1]
            word = int.from_bytes(bytes(contents), "little")
            del bits[i]
    return bits, contents


@cache
def _lower(entries: int, bit: int) -> int:
    """A byte of ones for each of so many entries whose number has a 0 in this bit."""
    return sum(0xFF << 8 * w for w in range(entries) if not w >> bit & 1)


def latest_last(
    bits: Sequence[Net], contents: Sequence[int], ready: Mapping[Net, float]
) -> tuple[list[Net], Sequence[int]]:
    """A function's inputs in the order in which they are ready, and its answers for them so."""
    order = sorted(range(len(bits)), key=lambda i: ready[bits[i]])
    if order == list(range(len(bits))):
        return list(bits), contents
    words = range(1 << len(bits))
    moved = [contents[sum((w >> place & 1) << i for place, i in enumerate(order))] for w in words]
    return [bits[i] for i in order], moved
