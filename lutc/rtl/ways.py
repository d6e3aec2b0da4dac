"""The slowest ways through a netlist, cells only: picoseconds to each bit, and from it to the next register or port.

Delays are those that Yosys has for the family (`xilinx/cells_sim.v`), rounded: a LUT's inputs are not equally quick,
and its latest ones are taken to have the quickest pins; a carry chain adds little for every bit. They compare two
circuits for the same device, and promise no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from lutc.rtl.bits import Bits
from lutc.rtl.sites import mapped

# Of a LUT's pins, quickest first; a LUT of n inputs has the first n of them.
PINS = (127, 238, 407, 472, 631, 642)
_PROPAGATE = 430  # from a chain's LUT to the carry above it
_ALONG = 30  # from one carry to the next
_SUM = 223  # from a chain's LUT to its bit
_OUT = 240  # from a carry to a bit


def through(arrivals: Iterable[int]) -> int:
    """When a LUT answers whose inputs arrive so, the latest ones at the quickest pins."""
    return max((t + pin for t, pin in zip(sorted(arrivals, reverse=True), PINS, strict=False)), default=0)


class Ways:
    """When the bits of a module are there (`ready`), and how long the way behind them is (`behind`), both in ps."""

    def __init__(self, bits: Bits) -> None:
        at_carry, free = mapped(bits)
        self.ready: dict[int, int] = {}
        self.behind: defaultdict[int, int] = defaultdict(int)
        self._chains = {chain[0]: chain for chain in bits.chains if chain}
        self._reads = {n: at_carry.get(n, frozenset(bits.carries[n])) for n in bits.carries}
        self._free, self._at_carry = free, at_carry
        order = sorted({*free, *(bit for chain in bits.chains for bit in chain)})
        self._walk(order)
        self._back(order)

    def _of(self, signals: Iterable[int]) -> list[int]:
        return [self.ready.get(x, 0) for x in signals]

    def longest(self) -> int:
        """The slowest way of all."""
        return max(self.ready.values(), default=0)

    def _entering(self, bit: int) -> int:
        """When the LUT of a chain's bit answers; a bit whose LUT is a wire reads it directly."""
        arrivals = self._of(self._reads.get(bit, ()))
        return through(arrivals) if bit in self._at_carry else max(arrivals, default=0)

    def _walk(self, order: Sequence[int]) -> None:
        done: set[int] = set()
        for n in order:
            if n in self._free:
                self.ready[n] = through(self._of(self._free[n]))
            elif n not in done:
                carry = 0
                for bit in self._chains[n]:
                    enters = self._entering(bit)
                    self.ready[bit] = max(enters + _SUM if bit in self._reads else 0, carry + _OUT)
                    carry = max(carry + _ALONG, enters + _PROPAGATE)
                    done.add(bit)

    def _back(self, order: Sequence[int]) -> None:
        done: set[int] = set()
        heads = {chain[-1]: chain for chain in self._chains.values()}
        for n in reversed(order):
            if n in self._free:
                self._push(self._free[n], self.behind[n], lut=True)
            elif n not in done:
                above = 0  # behind the carry that leaves a bit
                for bit in reversed(heads[n]):
                    here = max(self.behind[bit] + _SUM, above + _PROPAGATE if above else 0)
                    above = max(self.behind[bit] + _OUT, above + _ALONG if above else 0)
                    self._push(self._reads.get(bit, ()), here, lut=bit in self._at_carry)
                    done.add(bit)

    def _push(self, signals: Iterable[int], behind: int, *, lut: bool) -> None:
        if not lut:
            for x in signals:
                self.behind[x] = max(self.behind[x], behind)
            return
        late = sorted(signals, key=lambda x: self.ready.get(x, 0), reverse=True)
        for x, pin in zip(late, PINS, strict=False):
            self.behind[x] = max(self.behind[x], behind + pin)
