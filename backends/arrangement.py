"""What both printers agree on: names, which nets get a wire of their own, groups, tables, unread bits.

A net without a name that is short and read once is written where it is read. Wiring (sign changes, slices,
extensions of a named net) is written in place however often it is read. Everything else gets a wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from lutc.numbers import trailing_zeros
from lutc.primitives import Primitive
from lutc.rtl.nets import (
    DATA,
    VALID,
    Append,
    As,
    Binary,
    Compare,
    Const,
    Input,
    Instance,
    InstanceOutput,
    Lut,
    Module,
    Mul,
    Mux,
    Net,
    Not,
    Reg,
    Resize,
    Rom,
    Slice,
)

from .identifiers import Scope

# Longest expression written in place of a wire, counted in names and operators of one operand.
_LONGEST = 3
_LONGEST_APPEND = 4
CLOCKED = ("clk", "ce", "rst")  # control ports of every module with registers
CONTROLS = (*CLOCKED, *VALID)


@dataclass(frozen=True)
class Table:
    """ROM contents as bit patterns. ``type_name`` is the name of VHDL's array type."""

    name: str
    type_name: str
    key_width: int
    width: int
    patterns: tuple[int, ...]


@dataclass(frozen=True)
class Section:
    """Neighbouring wires of one origin, in an order in which they can be written."""

    origin: str | None
    nets: tuple[Net, ...]
    instances: tuple[Instance, ...]

    @property
    def registers(self) -> list[Reg]:
        return [net for net in self.nets if isinstance(net, Reg)]


@dataclass(frozen=True)
class Layout:
    """One module, ready to print. ``names`` has an entry for every net with a wire, and for every instance.

    ``lut_names`` are instance names for LUTs that are asked for by name.
    ``results`` are the output nets of instances, in the order of the ports.
    ``inner`` are VHDL's typed copies of ports: of input ports, and of the outputs of instances.
    ``unread`` are the bits that nothing reads, as (name, width, high, low). ``unread_name`` and
    ``key_name`` are free identifiers for what gathers them, and for the argument of a table's function.
    """

    module: Module
    name: str
    outputs: tuple[str, ...]
    names: dict[Net | Instance, str]
    inner: dict[Net, str]
    sections: tuple[Section, ...]
    results: dict[Instance, tuple[Net, ...]]
    tables: dict[Rom, Table]
    lut_names: dict[Lut, str]
    unread: tuple[tuple[str, int, int, int], ...]
    unread_name: str
    key_name: str
    callees: dict[Module, Layout] = field(repr=False)

    @property
    def ports(self) -> dict[str, str]:
        """The identifier of every data port, by the name it was built with."""
        inputs = {port.port: self.names[port] for port in self.module.inputs}
        outputs = (output.port for output in self.module.outputs)
        return inputs | dict(zip(outputs, self.outputs, strict=True))

    @property
    def controls(self) -> list[str]:
        """The ports clk, ce and rst, as far as this module has them."""
        module = self.module
        present = (module.clock, module.clock_enable, module.reset)
        return [name for name, there in zip(CLOCKED, present, strict=True) if there]


def arrange(modules: Sequence[Module]) -> list[Layout]:
    """Lay out ``modules``, those that are instantiated before those that instantiate them.

    Raises ValueError where an instance is of a module that is not among them, or one module is there twice.
    """
    return list(_arranged(tuple(modules)))


@lru_cache(maxsize=1)  # of one compilation: the names of ports, the HDL and the bench all ask for it
def _arranged(modules: tuple[Module, ...]) -> tuple[Layout, ...]:
    if len(set(modules)) != len(modules):
        raise ValueError("a module is there twice")
    scope = Scope()
    scope.reserve(
        *CONTROLS
    )  # in VHDL a port hides a module of its name, and simulators find a top by its name
    names = {module: scope.claim(module.name) for module in modules}
    done: dict[Module, Layout] = {}

    def place(module: Module) -> None:
        if module in done:
            return
        for instance in module.instances:
            if instance.module not in names:
                raise ValueError(
                    f"{module.name} has an instance of {instance.module.name}, which is not emitted"
                )
            place(instance.module)
        done[module] = _lay_out(module, names[module], done)

    for module in modules:
        place(module)
    return tuple(done.values())


def named_cells(modules: Sequence[Module]) -> list[tuple[Primitive, int, str]]:
    """The LUTs that are asked for by name: the library, the cell's inputs and its name, smallest first."""
    found = {(net.primitive, *net.cell) for module in modules for net in module.nets if isinstance(net, Lut)}
    return sorted(found, key=lambda cell: (cell[0].name, cell[1]))


def identifiers(modules: Sequence[Module]) -> tuple[str, dict[str, str]]:
    """The top module's identifier, and those of its ports by the names the design gives them."""
    top = {placed.module: placed for placed in arrange(modules)}[modules[-1]]
    return top.name, by_data_port(top.ports)


def by_data_port(names: Mapping[str, str]) -> dict[str, str]:
    """Ports' identifiers by the names the design gives them; a control port gives way to a data port of its name."""
    plain = {asked: name for asked, name in names.items() if not asked.endswith(DATA)}
    return plain | {asked.removesuffix(DATA): name for asked, name in names.items() if asked.endswith(DATA)}


def _lay_out(module: Module, name: str, callees: dict[Module, Layout]) -> Layout:
    scope = Scope()
    scope.reserve(*CLOCKED, name)
    ports = [*(p.port for p in module.inputs), *(p.port for p in module.outputs)]
    # Those that a bench must find under their names are the first to be given theirs.
    given = {port: scope.claim(port) for port in sorted(ports, key=lambda port: port not in VALID)}
    names: dict[Net | Instance, str] = {port: given[port.port] for port in module.inputs}
    outputs = tuple(given[output.port] for output in module.outputs)
    wires = _wires(module)
    # Hints first: a net without a name must not take a good one away.
    for net in wires:
        if net in module.names:
            names[net] = scope.claim(module.names[net])
    for instance in module.instances:
        names[instance] = scope.claim(module.names.get(instance, f"u_{instance.module.name}"))
    delayed: dict[Net, tuple[str, int]] = {}
    count = 0
    for net in wires:
        if net in names:
            continue
        if isinstance(net, Reg):
            source = net.a.a if isinstance(net.a, As) else net.a
            base, clocks = delayed.get(source, (names.get(source, "r"), 0))
            delayed[net] = base, clocks + 1
            names[net] = scope.claim(f"{base}_d{clocks + 1}")
        elif isinstance(net, InstanceOutput):
            names[net] = scope.claim(f"{names[net.instance]}_{net.port}")
        else:
            count += 1
            names[net] = scope.claim(f"t{count}")
    inner: dict[Net, str] = {
        net: scope.claim(f"{names[net]}_i") for net in wires if isinstance(net, Input | InstanceOutput)
    }
    return Layout(
        module,
        name,
        outputs,
        names,
        inner,
        _sections(module, wires),
        _results(module),
        _tables(module, scope),
        {net: scope.claim(f"lut_{names[net]}") for net in module.nets if isinstance(net, Lut)},
        _unread(module, names),
        scope.claim("unused"),
        scope.claim("key"),
        callees,
    )


def _wires(module: Module) -> list[Net]:
    """The nets with a wire or a port of their own, in the module's order."""
    reads = Counter(
        operand for net in module.nets if not isinstance(net, InstanceOutput) for operand in net.operands
    )
    driven = Counter(output.net for output in module.outputs)
    pins = Counter(net.key for net in module.nets if isinstance(net, Lut) and isinstance(net.key, Append))
    in_pins = {key for key, count in pins.items() if reads[key] + driven[key] == count}
    needed = _needed_by_name(module)
    selects = {net.select for net in module.nets if isinstance(net, Mux)}
    size: dict[Net, int] = {}
    wires: list[Net] = []
    for net in module.nets:
        if net in in_pins:  # a LUT's instance names its inputs one by one
            size[net] = sum(size[part] for part in net.operands)
        elif not _written_in_place(net, module, reads, driven, needed, selects, size):
            wires.append(net)
            size[net] = 1
    return wires


def _needed_by_name(module: Module) -> set[Net]:
    """Nets whose readers need a name: a bit of them is taken, or a port connected."""
    needed: set[Net] = {net for instance in module.instances for net in instance.inputs}
    # VHDL's one-bit ports are scalars: they take the only element of something with a name.
    needed.update(output.net for output in module.outputs if output.net.width == 1)
    for net in module.nets:
        match net:
            case Slice(a=a):
                needed.add(a)
            case Resize(a=a, signed=True):
                source = a.a if isinstance(a, As) else a
                if not isinstance(source, Slice):  # whose sign bit is a bit of what it slices
                    needed.add(source)
            case Lut():  # VHDL's pins are bits of something with a name
                bits = (bit for _, bit in net.connected if bit is not None)
                bare = (bit.a if isinstance(bit, As) else bit for bit in bits)
                needed.update(bit for bit in bare if not isinstance(bit, Slice))
            case Rom(key=key) if not isinstance(key, Slice | Append):
                needed.add(key)  # Icarus 11 does not wrap around in `table[key + 1]`
    return {net for net in needed if not isinstance(net, Const)}


def _written_in_place(
    net: Net,
    module: Module,
    reads: Counter[Net],
    driven: Counter[Net],
    needed: set[Net],
    selects: set[Net],
    size: dict[Net, int],
) -> bool:
    """Decide; where the answer is yes, ``size`` gets an entry."""
    if isinstance(net, Const):
        size[net] = 1
        return True
    if net in module.names or net in needed or isinstance(net, Input | InstanceOutput | Reg | Mul):
        return False
    uses = reads[net] + driven[net]
    size[net] = sum(size[operand] for operand in net.operands)
    if driven[net] == 1 == uses:
        return True
    match net:
        case As(a=a) | Slice(a=a) | Resize(a=a) if size[a] == 1:
            return True
        case As() | Not() | Resize():
            size[net] += 1
            return uses == 1 and size[net] <= _LONGEST
        case Append():
            return uses == 1 and size[net] <= _LONGEST_APPEND
        case Compare():  # VHDL's comparisons are no bits: they can stand in a condition only
            return uses == 1 and net in selects and size[net] <= _LONGEST_APPEND
        case Binary():
            return uses == 1 and size[net] <= _LONGEST
    return False


def _sections(module: Module, wires: Iterable[Net]) -> tuple[Section, ...]:
    """Cut the wires where the origin changes. An instance stands in the section of its first output."""
    sections: list[tuple[str | None, list[Net], list[Instance]]] = []
    placed: set[Instance] = set()
    for net in wires:
        if isinstance(net, Input):
            continue
        origin = module.origins.get(net)
        if not sections or sections[-1][0] != origin:
            sections.append((origin, [], []))
        sections[-1][1].append(net)
        if isinstance(net, InstanceOutput) and net.instance not in placed:
            placed.add(net.instance)
            sections[-1][2].append(net.instance)
    return tuple(Section(origin, tuple(nets), tuple(instances)) for origin, nets, instances in sections)


def _results(module: Module) -> dict[Instance, tuple[Net, ...]]:
    results: dict[Instance, dict[str, Net]] = {instance: {} for instance in module.instances}
    for net in module.nets:
        if isinstance(net, InstanceOutput):
            results[net.instance][net.port] = net
    return {
        instance: tuple(nets[output.port] for output in instance.module.outputs)
        for instance, nets in results.items()
    }


def _tables(module: Module, scope: Scope) -> dict[Rom, Table]:
    """The table of every ROM; equal contents are one table."""
    known: dict[tuple[int, tuple[int, ...]], Table] = {}
    tables: dict[Rom, Table] = {}
    for net in module.nets:
        if isinstance(net, Rom) and not isinstance(net, Lut):
            mask = (1 << net.width) - 1
            key = net.width, tuple(value & mask for value in net.contents)
            if key not in known:
                name = scope.claim(module.table_names.get(net.contents, "rom"))
                known[key] = Table(name, scope.claim(f"{name}_t"), net.key.width, *key)
            tables[net] = known[key]
    return tables


def _unread(module: Module, names: dict[Net | Instance, str]) -> tuple[tuple[str, int, int, int], ...]:
    """Bits of wires and ports that nothing reads; lint tools want to know that this is meant."""
    read: dict[Net, int] = {}
    for net in module.nets:
        if isinstance(net, Slice):
            read[net.a] = read.get(net.a, 0) | ((1 << (net.high + 1)) - (1 << net.low))
        elif not isinstance(net, InstanceOutput):
            for operand in net.operands:
                read[operand] = (1 << operand.width) - 1
    for pin in (net for instance in module.instances for net in instance.inputs):
        read[pin] = (1 << pin.width) - 1
    for output in module.outputs:
        read[output.net] = (1 << output.net.width) - 1
    unread: list[tuple[str, int, int, int]] = []
    registers = [net for net in module.nets if isinstance(net, Reg)]
    callees = [instance.module for instance in module.instances]
    if module.clock and not registers and not any(callee.clock for callee in callees):
        unread.append(("clk", 1, 0, 0))
        if module.clock_enable:
            unread.append(("ce", 1, 0, 0))
    resets = any(net.reset is not None for net in registers) or any(callee.reset for callee in callees)
    if module.reset and not resets:
        unread.append(("rst", 1, 0, 0))
    for net in module.nets:
        missing = ~read.get(net, 0) & ((1 << net.width) - 1)
        while net in names and missing:
            low = trailing_zeros(missing)
            high = low + (~(missing >> low) & -~(missing >> low)).bit_length() - 2
            unread.append((names[net], net.width, high, low))
            missing &= -1 << (high + 1)
    return tuple(unread)
