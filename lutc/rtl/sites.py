"""How many LUT sites a netlist takes on a device whose LUTs serve as two: counted, not guessed, where LUTs are named.

LUTs by name and the bits of carry chains are there as they stand. What synthesis makes of the rest it decides itself;
here a function goes into those that read it as long as each still fits a LUT, which is what mappers for area find on
circuits as small as those between chains and named LUTs. Then LUTs are put together two by two as the device can:
with five signals in common, or beside the LUT of a carry chain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from lutc.rtl.bits import Bits, bits_of
from lutc.rtl.nets import Module
from lutc.target import Target

INPUTS = 6
BOTH = INPUTS - 1  # signals that two functions in one LUT may have together

Signals = frozenset[int]


def counts(target: Target) -> bool:
    """Whether a target's LUTs are of the kind that is counted here."""
    luts = target.primitive
    return luts is not None and luts.shared and target.fractured and target.lut_inputs == INPUTS


def sites(modules: Sequence[Module], target: Target) -> dict[str, float]:
    """The sites of a netlist, callees first, by layer (`""` for what has none). Modules count once per instance."""
    times = Counter({modules[-1]: 1})
    found: defaultdict[str, float] = defaultdict(float)
    for module in reversed(modules):
        for instance in module.instances:
            times[instance.module] += times[module]
        for layer, count in _sites(module, target).items():
            found[layer] += times[module] * count
    return dict(found)


def _sites(module: Module, target: Target) -> dict[str, float]:
    bits = bits_of(module, target)
    at_carry, free = mapped(bits)
    found = defaultdict(float, bits.other)
    for made in (*bits.carries, *free):
        found[bits.origin[made]] += 1
    small = {made: signals for made, signals in at_carry.items() if len(signals) < INPUTS}
    numbers = list(free)
    beside, pairs = paired(list(small.values()), list(free.values()))
    for n in beside:
        found[bits.origin[numbers[n]]] -= 1
    for pair in pairs:
        for n in pair:
            found[bits.origin[numbers[n]]] -= 0.5
    return found


def mapped(bits: Bits) -> tuple[dict[int, Signals], dict[int, Signals]]:
    """The LUTs: those at the bits of carry chains that have one, and the others; each with the signals it reads."""
    reads = {n: frozenset(x) - {0} for n, x in (bits.logic | bits.carries).items()}
    readers: defaultdict[int, set[int]] = defaultdict(set)
    for n, signals in reads.items():
        for x in signals:
            readers[x].add(n)
    for n in bits.logic:
        if n in bits.kept or len(reads[n]) > INPUTS:
            continue
        users = readers[n]
        most = INPUTS if len(users) == 1 else BOTH  # made twice only where that costs no pair
        if all(len(reads[u] | reads[n]) - 1 <= most for u in users):
            for u in users:
                reads[u] = reads[u] - {n} | reads[n]
                for x in reads[n]:
                    readers[x].add(u)
            for x in reads.pop(n):
                readers[x].discard(n)
    at_carry = {
        n: reads[n] for n in bits.carries if len(reads[n]) > 1 or reads[n] != frozenset(bits.carries[n])
    }
    free = {n: reads[n] for n in bits.logic if n in reads and (readers[n] or n in bits.kept)}
    free |= {n: frozenset(x) for n, x in bits.named.items()}
    return at_carry, free


def paired(at_carry: Sequence[Signals], free: Sequence[Signals]) -> tuple[list[int], list[tuple[int, int]]]:
    """Which of the `free` functions go beside a carry chain's, and which of the others go together; greedily.

    at_carry: what the LUTs of chains read that have an input to spare. free: what every other LUT reads. Functions are
    named by their place in `free`.
    """
    order = sorted((i for i, s in enumerate(free) if len(s) < INPUTS), key=lambda i: -len(free[i]))
    reading: defaultdict[int, set[int]] = defaultdict(set)
    for place, i in enumerate(order):
        for bit in free[i]:
            reading[bit].add(place)
    used: set[int] = set()

    def partner(signals: Signals, common: int) -> int | None:
        best, found = (-1, -1, 0), None
        for j in set().union(*(reading[b] for b in signals)) - used:
            other = free[order[j]]
            both = len(signals & other)
            if both >= common and len(signals) + len(other) - both <= BOTH:
                rank = both, len(other), -j
                if rank > best:
                    best, found = rank, j
        if found is not None:
            used.add(found)
            for bit in free[order[found]]:
                reading[bit].discard(found)
        return found

    beside = [order[j] for s in sorted(at_carry, key=len, reverse=True) if (j := partner(s, 2)) is not None]
    pairs = []
    for place, i in enumerate(order):
        if place not in used:
            used.add(place)
            j = partner(free[i], 0)
            if j is not None:
                pairs.append((i, order[j]))
    return beside, pairs
