"""Which bits of which values the bits of others are, through what only rewires: what registers have to hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lutc.analysis.flipflops import wired
from lutc.ir.graph import Value
from lutc.ir.ops.base import Op
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.circuits import net_format, zero
from lutc.rtl.nets import Net


@dataclass(frozen=True)
class Held:
    """So many bits of a value that are read by the same operations, and perhaps leave the body."""

    value: Value
    bits: int
    readers: tuple[Value, ...]
    leaves: bool


class Sources:
    """Of a body: what only rewires, and who reads the bits of all else."""

    def __init__(self, values: Sequence[Value], wires: Iterable[Value], fixed: set[Value]) -> None:
        self.fixed = fixed
        self.wires: set[Value] = set()
        self._build = ModuleBuilder("bits")
        self._nets: dict[Value, Net] = {}
        self._bits: dict[Net, list[int]] = {}
        self._origin: dict[int, Value] = {}  # of each bit; those of constants, and what is fixed, have none
        might = {*wires}
        for value in values:
            rewires = value in might and isinstance(value, Op) and type(value).rtl is not Op.rtl
            self._nets[value] = self._rewired(value) if rewires else self._own(value)

    def _own(self, value: Value) -> Net:
        """A net for a value that is computed."""
        kind = value.type
        if not kind.bits:
            net = zero(self._build)
            self._bits[net] = [0]
            return net
        format = (kind.bits, False) if kind.shape else net_format(kind.scalar)
        net = self._build.input(f"v{len(self._nets)}", *format)
        first = len(self._origin) + 2
        self._bits[net] = [*range(first, first + net.width)]
        self._origin |= dict.fromkeys(self._bits[net], value)
        return net

    def _rewired(self, value: Value) -> Net:
        assert isinstance(value, Op)
        net = value.rtl(self._build, *(self._nets[v] for v in value.operands))
        if self._traced(net) is None:
            return self._own(value)
        self.wires.add(value)
        return net

    def _traced(self, net: Net) -> list[int] | None:
        """The bits of a net; None if it is not wires alone."""
        if net not in self._bits:
            if any(self._traced(n) is None for n in net.operands):
                return None
            found = wired(net, self._bits)
            if found is None:
                return None
            self._bits[net] = found
        return self._bits[net]

    def bits(self, value: Value) -> Iterator[int]:
        """Those of a value's bits that change, by numbers."""
        return (b for b in self._bits[self._nets[value]] if b > 1 and self._origin[b] not in self.fixed)

    def held(self, ends: Iterable[Value]) -> list[Held]:
        """All bits, grouped by their readers; `ends` leave the body."""
        readers: defaultdict[int, dict[Value, None]] = defaultdict(dict)
        for value in self._nets:
            if value not in self.wires and value not in self.fixed:
                for operand in value.operands:
                    for bit in self.bits(operand):
                        readers[bit][value] = None
        leaving = {bit for value in ends for bit in self.bits(value)}
        groups: defaultdict[tuple[Value, tuple[Value, ...], bool], int] = defaultdict(int)
        for bit in sorted({*readers, *leaving}):
            groups[self._origin[bit], tuple(readers.get(bit, ())), bit in leaving] += 1
        return [Held(value, bits, read, leaves) for (value, read, leaves), bits in groups.items()]
