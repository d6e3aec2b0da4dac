"""Makes netlist modules: structural sharing and the obvious folding on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import index

from lutc.primitives import Primitive
from lutc.rtl.arrival import arrival
from lutc.rtl.inputs import latest_last, live_inputs
from lutc.rtl.nets import (
    Add,
    And,
    Append,
    As,
    Binary,
    Compare,
    Const,
    Eq,
    Gt,
    Input,
    Instance,
    InstanceOutput,
    Lt,
    Lut,
    Module,
    Mul,
    Mux,
    Net,
    Not,
    Or,
    Output,
    Reg,
    Resize,
    Rom,
    Slice,
    Sub,
    Xor,
    highest,
    lowest,
    require,
    wrap,
)

_FOLD: Mapping[type[Net], Callable[[int, int], int]] = {
    Add: lambda a, b: a + b,
    Sub: lambda a, b: a - b,
    Mul: lambda a, b: a * b,
    And: lambda a, b: a & b,
    Or: lambda a, b: a | b,
    Xor: lambda a, b: a ^ b,
    Eq: lambda a, b: int(a == b),
    Lt: lambda a, b: int(a < b),
    Gt: lambda a, b: int(a > b),
}


class ModuleBuilder:
    """Makes one module. Equal operations give one net; the obvious is folded (constants, resize to the same
    width, slices of slices, muxes that do not choose), so that the text people read is short.

    ``name`` and ``origin`` are hints; the first name of a net stays. ``origin`` says which layer a net comes
    from and becomes a comment over its group; :meth:`at` sets it for everything built inside a ``with``.
    ``luts`` are LUTs of the target that can be asked for by name, with :meth:`lut`; ``tables`` says that tables are
    made of them, too.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: bool = False,
        clock_enable: bool = False,
        reset: bool = False,
        luts: Primitive | None = None,
        tables: bool = True,
    ) -> None:
        require(clock or not (clock_enable or reset), "a clock enable or a reset needs a clock")
        self.name = name
        self.luts, self.lut_tables = luts, luts is not None and tables
        self.clock, self.clock_enable, self.reset = clock, clock_enable, reset
        self.notes: dict[str, str] = {}
        self._nets: dict[Net, float] = {}  # and when they are ready
        self._known: dict[tuple[object, ...], Net] = {}
        self._instances: dict[tuple[object, ...], Instance] = {}
        self._inputs: dict[str, Input] = {}
        self._outputs: dict[str, Output] = {}
        self._names: dict[Net | Instance, str] = {}
        self._origins: dict[Net | Instance, str] = {}
        self._tables: dict[tuple[int, ...], str] = {}
        self._port_comments: dict[str, str] = {}
        self._origin: str | None = None

    # Labels

    @contextmanager
    def at(self, origin: str | None) -> Iterator[None]:
        """Everything built inside comes from ``origin`` (a layer's name)."""
        before, self._origin = self._origin, origin
        try:
            yield
        finally:
            self._origin = before

    def label(self, net: Net, name: str | None = None, origin: str | None = None) -> Net:
        """Name a net, unless it has a name; the net. A constant takes no name: its value says more."""
        if net not in self._nets:
            raise ValueError(f"{net!r} is not of module {self.name}")
        if name is not None and not isinstance(net, Const | Input):
            self._names.setdefault(net, name)
        if origin is not None:
            self._origins.setdefault(net, origin)
        return net

    # Ports, instances, the end

    def _new_port(self, port: str, comment: str | None) -> None:
        require(port not in self._inputs and port not in self._outputs, f"there are two ports {port}")
        if comment is not None:
            self._port_comments[port] = comment

    def input(self, port: str, width: int, signed: bool = False, comment: str | None = None) -> Input:
        """A new input port; ``comment`` says what it carries."""
        self._new_port(port, comment)
        net = self._inputs[port] = Input(port, width, signed)
        self._nets[net] = 0.0
        return net

    def output(self, port: str, net: Net, comment: str | None = None) -> None:
        """A new output port with the format of ``net``."""
        self._new_port(port, comment)
        require(net in self._nets, f"{net!r} is not of module {self.name}")
        self._outputs[port] = Output(port, net)

    def instance(self, module: Module, inputs: Mapping[str, Net], name: str | None = None) -> dict[str, Net]:
        """Instantiate ``module``; its output nets by port name. ``clk``, ``ce``, ``rst`` are implied."""
        if module.clock:
            require(
                self.clock and self.clock_enable == module.clock_enable,
                f"{self.name} and its instance of {module.name} differ in clock or clock enable",
            )
            require(self.reset or not module.reset, f"{module.name} needs a reset that {self.name} has not")
        require(
            set(inputs) == {port.port for port in module.inputs},
            f"inputs of {module.name} are {[port.port for port in module.inputs]}, not {list(inputs)}",
        )
        nets = tuple(inputs[port.port] for port in module.inputs)
        for port, net in zip(module.inputs, nets, strict=True):
            if net not in self._nets:
                raise ValueError(f"{net!r} is not of module {self.name}")
            if net.format != port.format:
                raise ValueError(f"{module.name}.{port.port} takes {port.text}, not {net.text}")
        known = self._instances.setdefault((module, *nets), Instance(module, nets))
        if name is not None:
            self._names.setdefault(known, name)
        if self._origin is not None:
            self._origins.setdefault(known, self._origin)
        return {output.port: self._make(InstanceOutput, known, output.port) for output in module.outputs}

    def build(self) -> Module:
        """The finished module, without what no output depends on. Input ports all stay."""
        require(bool(self._outputs), f"module {self.name} has no output")
        live: set[Net] = set()
        used: set[Instance] = set()
        todo: list[Net] = [output.net for output in self._outputs.values()]
        while todo:
            net = todo.pop()
            if net not in live:
                live.add(net)
                if not isinstance(net, InstanceOutput):
                    todo.extend(net.operands)
                elif net.instance not in used:
                    used.add(net.instance)
                    todo.extend(net.instance.inputs)
        # Every output of a live instance stays: the printers have to connect it.
        nets = tuple(
            net
            for net in self._nets
            if net in live
            or isinstance(net, Input)
            or (isinstance(net, InstanceOutput) and net.instance in used)
        )
        instances = tuple(instance for instance in self._instances.values() if instance in used)
        kept = {*nets, *instances}
        return Module(
            self.name,
            tuple(self._inputs.values()),
            tuple(self._outputs.values()),
            nets,
            instances,
            {key: name for key, name in self._names.items() if key in kept},
            {key: origin for key, origin in self._origins.items() if key in kept},
            dict(self._tables),
            dict(self._port_comments),
            self.clock,
            self.clock_enable,
            self.reset,
            dict(self.notes),
        )

    def _make(self, kind: type[Net], *arguments: object) -> Net:
        """The one net of this kind with these arguments."""
        key = (kind, *arguments)
        net = self._known.get(key)
        if net is None:
            net = kind(*arguments)
            if kind is not InstanceOutput:  # whose operands are many, and known
                for operand in net.operands:
                    if operand not in self._nets:
                        raise ValueError(f"{operand!r} is not of module {self.name}")
            self._known[key] = net
            self._nets[net] = arrival(net, self._nets)
            if self._origin is not None:
                self._origins[net] = self._origin
        return net

    def again(self, source: Module, net: Net, operands: Sequence[Net], *, shared: bool = False) -> Net:
        """The operation of ``net``, a net of the module ``source``, here and on ``operands``; labels come with it.

        It is not looked for among the nets that are here already, unless it is to be `shared` with those: it was the
        only one of its kind there.
        """
        for operand in operands:
            if operand not in self._nets:
                raise ValueError(f"{operand!r} is not of module {self.name}")
        made = net.on(operands)
        if shared:
            key = (type(made), *(getattr(made, f.name) for f in fields(made) if f.init))
            made = self._known.setdefault(key, made)
        self._nets[made] = 0.0  # LUTs here have their inputs in order
        if isinstance(net, Rom) and net.contents in source.table_names:
            self._tables.setdefault(net.contents, source.table_names[net.contents])
        return self.label(made, source.names.get(net), source.origins.get(net))

    # Wiring

    def const(self, value: int, width: int, signed: bool = False) -> Net:
        """A constant; ValueError where the format cannot hold it."""
        return self._make(Const, index(value), width, signed)

    def as_(self, net: Net, signed: bool) -> Net:
        """The same bits, read as signed or unsigned."""
        if net.signed == signed:
            return net
        match net:
            case Const(value=value):
                return self.const(wrap(value, net.width, signed), net.width, signed)
            case As(a=a):
                return a
        return self._make(As, net)

    def resize(self, net: Net, width: int) -> Net:
        """Sign or zero extension to ``width`` bits, the signedness kept."""
        match net:
            case _ if width == net.width:
                return net
            case Const(value=value) if width > net.width:
                return self.const(value, width, net.signed)
            case Resize(a=a) if width > net.width:
                return self.resize(a, width)
        return self._make(Resize, net, width)

    def append(self, *nets: Net) -> Net:
        """All bits side by side, the first operand most significant; unsigned."""
        parts: list[Net] = []
        for net in nets:
            bits = self.as_(net, False)
            parts.extend(bits.parts if isinstance(bits, Append) else (bits,))
        if len(parts) == 1:
            return parts[0]
        if parts and isinstance(parts[0], Const) and all(isinstance(part, Const) for part in parts):
            value = 0
            for part in parts:
                assert isinstance(part, Const)
                value = value << part.width | part.value
            return self.const(value, sum(part.width for part in parts))
        return self._make(Append, tuple(parts))

    def slice(self, net: Net, high: int, low: int) -> Net:
        """Bits ``high`` down to ``low``, both included; unsigned."""
        if (low, high) == (0, net.width - 1):
            return self.as_(net, False)
        match net:
            case Const(value=value) if 0 <= low <= high < net.width:
                return self.const(wrap(value >> low, high - low + 1, False), high - low + 1)
            case As(a=a):
                return self.slice(a, high, low)
            case Resize(a=a) if high < a.width:
                return self.slice(a, high, low)
            case Resize(a=a, signed=False) if high < net.width:
                known = self.slice(a, a.width - 1, low) if low < a.width else self.const(0, 1)
                return self.resize(known, high - low + 1)
            case Slice(a=a, low=base) if high < net.width:
                return self.slice(a, high + base, low + base)
            case Append(parts=parts) if 0 <= low <= high < net.width:
                taken, below = [], net.width
                for part in parts:
                    below -= part.width
                    if low < below + part.width and below <= high:
                        taken.append(self.slice(part, min(high - below, part.width - 1), max(low - below, 0)))
                return self.append(*taken)
        return self._make(Slice, net, high, low)

    def bit(self, net: Net, index: int) -> Net:
        """One bit; index 0 is the least significant."""
        return self.slice(net, index, index)

    def msb(self, net: Net) -> Net:
        """The most significant bit: the sign of a signed net."""
        return self.bit(net, net.width - 1)

    def shift_left(self, net: Net, places: int) -> Net:
        """``net * 2**places``, ``places`` bits wider, the signedness kept."""
        if places == 0:
            return net
        return self.as_(self.append(net, self.const(0, places)), net.signed)

    def fit(self, net: Net, width: int, signed: bool) -> Net:
        """``net`` in another format, modulo ``2**width``: exact where that format holds the value."""
        if width < net.width:
            net = self.slice(net, width - 1, 0)
        return self.as_(self.resize(net, width), signed)

    # Arithmetic and logic: operands of one format

    def _binary(self, kind: type[Binary], a: Net, b: Net, *more: object) -> Net:
        if isinstance(a, Const) and isinstance(b, Const) and a.format == b.format:
            width, signed = (1, False) if issubclass(kind, Compare) else a.format
            return self.const(wrap(_FOLD[kind](a.value, b.value), width, signed), width, signed)
        return self._make(kind, a, b, *more)

    def add(self, a: Net, b: Net) -> Net:
        """``a + b`` modulo ``2**width``."""
        if _is(a, 0) and a.format == b.format:
            return b
        return a if _is(b, 0) and a.format == b.format else self._binary(Add, a, b)

    def sub(self, a: Net, b: Net) -> Net:
        """``a - b`` modulo ``2**width``."""
        if a is b:
            return self.const(0, *a.format)
        return a if _is(b, 0) and a.format == b.format else self._binary(Sub, a, b)

    def neg(self, a: Net) -> Net:
        """``-a`` modulo ``2**width``."""
        return self.sub(self.const(0, *a.format), a)

    def mul(self, a: Net, b: Net, dsp: bool = False) -> Net:
        """``a * b`` modulo ``2**width``. Give it ``resize``d operands: printers see their true widths."""
        for one, two in ((a, b), (b, a)):
            if one.format == two.format and (_is(one, 0) or _is(two, 1)):
                return one
        return self._binary(Mul, a, b, dsp)

    def and_(self, a: Net, b: Net) -> Net:
        """Bitwise and."""
        if a.format == b.format:
            for one, two in ((a, b), (b, a)):
                if one is two or _is(one, 0) or _is(two, _ones(two)):
                    return one
        return self._binary(And, a, b)

    def or_(self, a: Net, b: Net) -> Net:
        """Bitwise or."""
        if a.format == b.format:
            for one, two in ((a, b), (b, a)):
                if one is two or _is(one, _ones(one)) or _is(two, 0):
                    return one
        return self._binary(Or, a, b)

    def xor(self, a: Net, b: Net) -> Net:
        """Bitwise exclusive or."""
        if a.format == b.format:
            for one, two in ((a, b), (b, a)):
                if one is two:
                    return self.const(0, *a.format)
                if _is(two, 0):
                    return one
        return self._binary(Xor, a, b)

    def not_(self, a: Net) -> Net:
        """Every bit inverted."""
        match a:
            case Const(value=value):
                return self.const(wrap(~value, *a.format), *a.format)
            case Not(a=inner):
                return inner
        return self._make(Not, a)

    def eq(self, a: Net, b: Net) -> Net:
        """1 where ``a == b``; one unsigned bit."""
        if a is b:
            return self.const(1, 1)
        if a.format == b.format and (highest(a) < lowest(b) or highest(b) < lowest(a)):
            return self.const(0, 1)
        return self._binary(Eq, a, b)

    def lt(self, a: Net, b: Net) -> Net:
        """1 where ``a < b``; one unsigned bit."""
        return self._order(Lt, a, b, a, b)

    def gt(self, a: Net, b: Net) -> Net:
        """1 where ``a > b``; one unsigned bit."""
        return self._order(Gt, a, b, b, a)

    def _order(self, kind: type[Binary], a: Net, b: Net, less: Net, more: Net) -> Net:
        """The comparison of ``a`` with ``b`` that is 1 where ``less < more``."""
        if less is more:
            return self.const(0, 1)
        if a.format == b.format:
            if highest(less) < lowest(more):
                return self.const(1, 1)
            if lowest(less) >= highest(more):
                return self.const(0, 1)
        return self._binary(kind, a, b)

    # Choice, tables, registers

    def mux(self, select: Net, then: Net, other: Net) -> Net:
        """``then`` where ``select`` is 1, else ``other``."""
        if then is other:
            return then
        match select:
            case Const(value=value, width=1) if then.format == other.format:
                return then if value else other
            case Not(a=inverted):
                return self.mux(inverted, other, then)
        return self._make(Mux, select, then, other)

    def rom(
        self, key: Net, contents: Sequence[int], width: int, signed: bool = False, table: str | None = None
    ) -> Net:
        """``contents[bit pattern of key]``, numbers of the given format; ``table`` names the contents."""
        entries = tuple(index(entry) for entry in contents)
        if table is not None:
            self._tables.setdefault(entries, table)
        bits = self.as_(key, False)
        if isinstance(bits, Const) and len(entries) == 1 << bits.width:
            return self.const(entries[bits.value], width, signed)
        if entries and len(entries) == 1 << bits.width and entries.count(entries[0]) == len(entries):
            return self.const(entries[0], width, signed)
        return self._make(Rom, bits, entries, width, signed)

    def lut(
        self, inputs: Sequence[Net], contents: Sequence[int], ready: Mapping[Net, float] | None = None
    ) -> Net:
        """One bit as one LUT: ``contents[i]`` is the answer where the bits of ``inputs``, the first lowest, read i.

        Inputs may repeat or be constant; those the answer does not depend on are left out, and an answer that copies
        one is that net, without a LUT. The last input has the quickest pin, and is the one that is there last: by
        `ready`, or as far as the builder knows.
        """
        bits, contents = live_inputs(inputs, contents)
        if len(bits) <= 1 and tuple(contents) in ((0,), (1,), (0, 1)):
            return bits[0] if bits else self.const(contents[0], 1)
        assert self.luts
        if len(bits) == 1 and not self.luts.chained:
            return self.not_(
                bits[0]
            )  # what reads it has room for that; carry chains that have are given it apart
        bits, contents = latest_last(bits, contents, self._nets if ready is None else ready)
        return self._make(Lut, self.append(*reversed(bits)), tuple(contents), 1, False, self.luts)

    def ready(self, net: Net) -> float:
        """When a net is ready, in levels of LUTs."""
        return self._nets[net]

    def reg(self, net: Net, reset: int | None = None) -> Net:
        """``net`` one clock later. A constant needs no register."""
        require(self.clock, f"module {self.name} has no clock")
        if isinstance(net, Const) and reset in (None, net.value):
            return net
        return self._make(Reg, net, reset)

    def delay(self, net: Net, clocks: int, reset: int | None = None) -> Net:
        """``net`` after ``clocks`` registers."""
        for _ in range(clocks):
            net = self.reg(net, reset)
        return net


def _is(net: Net, value: int) -> bool:
    return isinstance(net, Const) and net.value == value


def _ones(net: Net) -> int:
    """The number whose bits are all 1."""
    return -1 if net.signed else (1 << net.width) - 1
