"""Cuts a large module into several, so that tools whose time grows with the square of a module's size keep up.

Icarus 11 compiles 8,000 nets in one module in 4.2 s and the same nets in eight modules in 1.1 s; a network of some
100,000 nets in one module it does not finish at all. People, too, read one file a layer more easily.

The nets of a module stand in topological order, so any cut of that order into runs gives modules without a loop
among them. A run ends where the layer changes, or where it is full. Wiring (constants, slices, extensions) costs
nothing and is made again wherever it is read; all else that crosses a cut becomes a port.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.nets import Append, As, Const, Input, Instance, InstanceOutput, Module, Net, Reg, Resize, Slice

LARGEST = 2000
"""Nets of one module, wiring not counted."""

_Wiring = Const | As | Resize | Slice | Append


def _outer(net: Net) -> bool:
    """Whether a net belongs to no part: a port, a piece of one, what an instance of another module answers."""
    return isinstance(net, Input | InstanceOutput) or (isinstance(net, Slice) and isinstance(net.a, Input))


def _wiring(net: Net) -> bool:
    return isinstance(net, _Wiring) and not _outer(net)


def split(module: Module, largest: int = LARGEST) -> list[Module]:
    """The modules that together do what ``module`` does, the one that replaces it last.

    A module of at most ``largest`` nets stays as it is. Instances of other modules stay in the last one.
    """
    if sum(not isinstance(net, _Wiring) for net in module.nets) <= largest:
        return [module]
    return _Split(module, largest).modules()


class _Split:
    def __init__(self, module: Module, largest: int) -> None:
        self.module = module
        self.wiring = {net for net in module.nets if _wiring(net)}
        self.sources: dict[Net, tuple[Net, ...]] = {}
        for net in module.nets:
            behind = [self.sources[operand] for operand in net.operands] if net in self.wiring else [(net,)]
            self.sources[net] = tuple(dict.fromkeys(source for some in behind for source in some))
        self.parts = list(self._runs(largest))
        self.part = {net: number for number, part in enumerate(self.parts) for net in part}
        self.ports = self._ports()
        self.leaving = {port: net for net, port in self.ports.items()}

    def modules(self) -> list[Module]:
        """The parts, and the module that connects them."""
        module = self.module
        top = ModuleBuilder(
            module.name, clock=module.clock, clock_enable=module.clock_enable, reset=module.reset
        )
        top.notes.update(module.notes)
        nets: dict[Net, Net] = {
            net: top.input(net.port, *net.format, module.port_comments.get(net.port)) for net in module.inputs
        }
        made: list[Module] = []
        connected: dict[Instance, dict[str, Net]] = {}
        numbers: Counter[str] = Counter()

        def read(net: Net) -> Net:
            """The net, in the connecting module."""
            if net not in nets:
                if isinstance(net, InstanceOutput):
                    nets[net] = connect(net.instance)[net.port]
                else:
                    nets[net] = top.again(module, net, [read(operand) for operand in net.operands])
            return nets[net]

        def connect(instance: Instance) -> dict[str, Net]:
            """An instance that was there before."""
            if instance not in connected:
                ports = zip(instance.module.inputs, instance.inputs, strict=True)
                pins = {port.port: read(net) for port, net in ports}
                with top.at(module.origins.get(instance)):
                    connected[instance] = top.instance(instance.module, pins, module.names.get(instance))
            return connected[instance]

        for part in self.parts:
            origin = module.origins.get(part[0])
            stem = f"{module.name}_{origin.split('/')[-1] if origin else 'part'}"
            numbers[stem] += 1
            made.append(self._module(part, f"{stem}_{numbers[stem]}"))
            pins = {port.port: read(self.leaving[port.port]) for port in made[-1].inputs}
            with top.at(origin):
                results = top.instance(made[-1], pins)
            nets.update((net, results[self.ports[net]]) for net in part if net in self.ports)
        for output in module.outputs:
            top.output(output.port, read(output.net), module.port_comments.get(output.port))
        return [*made, top.build()]

    def _ports(self) -> dict[Net, str]:
        """The name of the port by which a net reaches other parts, for those that do."""
        leaving: dict[Net, None] = {}
        for net in self.module.nets:
            if net in self.part:
                for operand in net.operands:
                    for source in self.sources[operand]:
                        if self.part.get(source) != self.part[net]:
                            leaving[source] = None
        needed = [output.net for output in self.module.outputs]
        needed += [net for instance in self.module.instances for net in instance.inputs]
        for net in needed:
            leaving.update(dict.fromkeys(self.sources[net]))
        names: dict[str, Net] = {}
        numbers: Counter[str] = Counter()
        for net in leaving:  # the names of nets are hints and may be the same; those of ports may not
            name = stem = self._port(net)
            while name in names:
                numbers[stem] += 1
                name = f"{stem}_{numbers[stem]}"
            names[name] = net
        return {net: name for name, net in names.items()}

    def _port(self, net: Net) -> str:
        if isinstance(net, Slice) and isinstance(net.a, Input):
            return f"{net.a.port}_{net.low}"
        return net.port if isinstance(net, Input) else self.module.names.get(net, "t")

    def _module(self, nets: list[Net], name: str) -> Module:
        """The module of some nets. Its ports have the same names as in every other part."""
        module = self.module
        clock = any(isinstance(net, Reg) for net in nets)
        build = ModuleBuilder(
            name, clock=clock, clock_enable=clock and module.clock_enable, reset=clock and module.reset
        )
        here: dict[Net, Net] = {}

        def read(net: Net) -> Net:
            if net not in here:
                if net in self.wiring:
                    here[net] = build.again(module, net, [read(operand) for operand in net.operands])
                else:
                    here[net] = build.input(self.ports[net], *net.format)
            return here[net]

        for net in nets:
            here[net] = build.again(module, net, [read(operand) for operand in net.operands])
        for net in nets:
            if net in self.ports:
                build.output(self.ports[net], here[net])
        return build.build()

    def _runs(self, largest: int) -> Iterator[list[Net]]:
        """The nets that compute something, cut into runs."""
        module = self.module
        run: dict[Net, None] = {}
        for net in module.nets:
            if net in self.wiring or (_outer(net) and not isinstance(net, InstanceOutput)):
                continue
            if isinstance(net, InstanceOutput):
                # What reads the instance must not stand in one part with what the instance reads.
                full = any(source in run for operand in net.operands for source in self.sources[operand])
            else:
                changes = bool(run) and module.origins.get(next(reversed(run))) != module.origins.get(net)
                full = len(run) >= (largest // 4 if changes else largest)
            if full and run:
                yield list(run)
                run = {}
            if not isinstance(net, InstanceOutput):
                run[net] = None
        if run:
            yield list(run)
