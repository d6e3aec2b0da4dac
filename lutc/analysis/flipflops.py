"""The flip-flops of a netlist, bit by bit as synthesis keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from lutc.rtl.nets import (
    Add,
    And,
    Append,
    As,
    Const,
    Module,
    Mul,
    Mux,
    Net,
    Not,
    Or,
    Reg,
    Resize,
    Slice,
    Sub,
    Xor,
)

# A bit on a wire: a number of its own, or one of the constants below 2.
Bit = int


def flip_flops(modules: Sequence[Module]) -> Counter[str]:
    """The flip-flops of a netlist, callees first, by layer as `costs` has them.

    They are counted there and not in the design, where registers that are the same wires, or constants, still are
    values of their own, and those of `valid` are none. A bit that nobody reads has none, and registers of the same bit
    are one, whatever wires it goes by, as every synthesiser has it. Modules count once per instance.
    """
    times = Counter({modules[-1]: 1})
    bits: Counter[str] = Counter()
    for module in reversed(modules):
        for instance in module.instances:
            times[instance.module] += times[module]
        for layer, number in _of(module).items():
            bits[layer] += times[module] * number
    return bits


def _of(module: Module) -> Counter[str]:
    if not any(isinstance(net, Reg) for net in module.nets):
        return Counter()
    wires = _Wires(module)
    read = wires.read()
    return Counter(module.origins.get(net, "") for bit, net in wires.held.items() if bit in read)


def wired(net: Net, bits: Mapping[Net, list[Bit]]) -> list[Bit] | None:
    """The bits of a net that only rewires others, the lowest first, from theirs; None for any other net."""
    match net:
        case Const(value=value):
            return [value >> i & 1 for i in range(net.width)]
        case As(a=a):
            return bits[a]
        case Resize(a=a):
            top = bits[a][-1] if a.signed else 0
            return bits[a] + [top] * (net.width - a.width)
        case Slice(a=a, low=low, high=high):
            return bits[a][low : high + 1]
        case Append(parts=parts):
            return [bit for part in reversed(parts) for bit in bits[part]]
    return None


class _Wires:
    """Where every bit of a module's nets comes from."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.fresh = count(2)
        self.bits: dict[Net, list[Bit]] = {}
        self.registers: dict[tuple[Bit, int | None], Bit] = {}  # by what they take and their resets
        self.held: dict[Bit, Net] = {}  # the bits of registers, with the first that holds them
        for net in module.nets:
            self.bits[net] = self.of(net)

    def of(self, net: Net) -> list[Bit]:
        """The bits of a net, the lowest first."""
        if isinstance(net, Reg):
            resets = [None if net.reset is None else net.reset >> i & 1 for i in range(net.width)]
            taken = zip(self.bits[net.a], resets, strict=True)
            return [self.register(net, bit, reset) for bit, reset in taken]
        found = wired(net, self.bits)
        return [next(self.fresh) for _ in range(net.width)] if found is None else found

    def register(self, net: Net, bit: Bit, reset: int | None) -> Bit:
        if bit < 2 and reset in (None, bit):
            return bit
        found = self.registers.get((bit, reset))
        if found is None:
            found = self.registers[bit, reset] = next(self.fresh)
            self.held[found] = net
        return found

    def read(self) -> set[Bit]:
        """The bits that an output depends on."""
        read = {bit for output in self.module.outputs for bit in self.bits[output.net]}
        read.update(bit for i in self.module.instances for net in i.inputs for bit in self.bits[net])
        for net in reversed(self.module.nets):
            if not isinstance(net, Const | As | Resize | Slice | Append):
                places = [i for i, bit in enumerate(self.bits[net]) if bit in read]
                if places:
                    read.update(self.behind(net, places))
        return read

    def behind(self, net: Net, places: Sequence[int]) -> Iterable[Bit]:
        """The bits that some of a net's bits depend on."""
        match net:
            case Reg(a=a) | Not(a=a):
                return [self.bits[a][i] for i in places]
            case And(a=a, b=b) | Or(a=a, b=b) | Xor(a=a, b=b):
                return [self.bits[x][i] for x in (a, b) for i in places]
            case Mux(select=select, then=a, other=b):
                return [self.bits[select][0], *(self.bits[x][i] for x in (a, b) for i in places)]
            case Add(a=a, b=b) | Sub(a=a, b=b) | Mul(a=a, b=b):  # carries come from below
                return [bit for x in (a, b) for bit in self.bits[x][: places[-1] + 1]]
        return [bit for x in net.operands for bit in self.bits[x]]
