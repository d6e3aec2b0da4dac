"""Language-neutral RTL: what the Verilog and the VHDL printer print.

A :class:`Module` holds ports, nets in topological order and instances of other modules. It is made with
``lutc.rtl.builder.ModuleBuilder`` and does not change afterwards. A net is its operation: a frozen
dataclass compared by identity, with a ``width`` (bits, at least 1) and a ``signed`` flag (two's complement).

The invariant lives in the constructors, so that the printers need not think about widths:

    Const                   the value is representable in the net's format
    As                      the same bits read with the other signedness
    Resize                  wider than its operand, same signedness: sign or zero extension
    Append                  operands side by side, the first one most significant; unsigned
    Slice                   bits ``high`` down to ``low`` of the operand; unsigned
    Add Sub Mul And Or Xor  operands and result have one format; arithmetic is modulo ``2**width``
    Not                     operand and result have one format
    Eq Lt Gt                both operands have one format; the result is one unsigned bit
    Mux                     one unsigned bit selects ``then`` (1) or ``other`` (0); all of one format
    Rom                     ``2**key.width`` entries, indexed by the key's bit pattern
    Lut                     one bit: a LUT of the device that synthesis leaves as it is, a key no wider than that
    Reg                     the operand one clock later (one enabled clock where there is a clock enable)
    Input, InstanceOutput   the format of the port

A broken rule is a mistake of the program that builds the netlist: it raises ValueError.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import zip_longest

from lutc.lazy import lazy
from lutc.primitives import Primitive

_BITS = frozenset((0, 1))
_DIGITS = b"01" + bytes(254)
VALID = ("valid_in", "valid_out")  # control ports of a top, if it has them
DATA = " (data)"  # behind the name of a data port that would be called like one of them; printed names are mended


def representable(value: int, width: int, signed: bool) -> bool:
    """Whether ``value`` is one of the numbers of a two's complement or unsigned format of ``width`` bits."""
    low = -(1 << (width - 1)) if signed else 0
    return low <= value < low + (1 << width)


def wrap(value: int, width: int, signed: bool) -> int:
    """The number that the low ``width`` bits of ``value`` mean."""
    value &= (1 << width) - 1
    return value - (1 << width) if signed and value >> (width - 1) else value


def require(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless ``condition`` holds."""
    if not condition:
        raise ValueError(message)


# Nets


@dataclass(frozen=True, eq=False, repr=False)
class Net:
    """A value on wires. Subclasses say where it comes from."""

    width: int = field(init=False)
    signed: bool = field(init=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self.text}>"

    @property
    def text(self) -> str:
        """The format in words, for messages."""
        return f"{'signed' if self.signed else 'unsigned'} {self.width} bits"

    @property
    def operands(self) -> tuple[Net, ...]:
        """The nets this one is computed from."""
        return ()

    @property
    def format(self) -> tuple[int, bool]:
        """(width, signed)."""
        return self.width, self.signed

    def on(self, operands: Sequence[Net]) -> Net:
        """The same operation on other operands, which have the formats of its own."""
        if not operands:
            return self
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.__dict__.update(self._by_field(operands))
        return made

    @classmethod
    def _by_field(cls, operands: Sequence[Net]) -> Iterable[tuple[str, Net | tuple[Net, ...]]]:
        return zip(cls._operand_fields(), operands, strict=True)

    @classmethod
    @cache
    def _operand_fields(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls) if f.type == "Net")

    def _set_format(self, width: int, signed: bool) -> None:
        if width < 1:
            raise ValueError(f"a net needs at least one bit, not {width}")
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "signed", signed)


@dataclass(frozen=True, eq=False, repr=False)
class Const(Net):
    value: int
    of_width: int
    of_signed: bool

    def __post_init__(self) -> None:
        self._set_format(self.of_width, self.of_signed)
        if not representable(self.value, self.width, self.signed):
            raise ValueError(f"{self.value} does not fit {self.text}")


@dataclass(frozen=True, eq=False, repr=False)
class Input(Net):
    """An input port. ``port`` is its name as asked for; printers make it legal."""

    port: str
    of_width: int
    of_signed: bool

    def __post_init__(self) -> None:
        self._set_format(self.of_width, self.of_signed)


@dataclass(frozen=True, eq=False, repr=False)
class Unary(Net):
    a: Net

    @property
    def operands(self) -> tuple[Net, ...]:
        return (self.a,)


@dataclass(frozen=True, eq=False, repr=False)
class As(Unary):
    def __post_init__(self) -> None:
        self._set_format(self.a.width, not self.a.signed)


@dataclass(frozen=True, eq=False, repr=False)
class Resize(Unary):
    to: int

    def __post_init__(self) -> None:
        if self.to <= self.a.width:
            raise ValueError(f"resize only widens: {self.a.text} to {self.to} bits")
        self._set_format(self.to, self.a.signed)


@dataclass(frozen=True, eq=False, repr=False)
class Slice(Unary):
    high: int
    low: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high < self.a.width:
            raise ValueError(f"bits {self.high}..{self.low} are not all in {self.a.text}")
        self._set_format(self.high - self.low + 1, False)


@dataclass(frozen=True, eq=False, repr=False)
class Not(Unary):
    def __post_init__(self) -> None:
        self._set_format(*self.a.format)


@dataclass(frozen=True, eq=False, repr=False)
class Reg(Unary):
    """``reset`` is the value at power-up, and under ``rst`` where the module has one; None: undefined."""

    reset: int | None

    def __post_init__(self) -> None:
        self._set_format(*self.a.format)
        if not (self.reset is None or representable(self.reset, *self.format)):
            raise ValueError(f"the reset value {self.reset} does not fit {self.text}")


@dataclass(frozen=True, eq=False, repr=False)
class Append(Net):
    parts: tuple[Net, ...]

    def __post_init__(self) -> None:
        self._set_format(sum(part.width for part in self.parts), False)

    @property
    def operands(self) -> tuple[Net, ...]:
        return self.parts

    @classmethod
    def _by_field(cls, operands: Sequence[Net]) -> Iterable[tuple[str, Net | tuple[Net, ...]]]:
        return [("parts", tuple(operands))]


@dataclass(frozen=True, eq=False, repr=False)
class Binary(Net):
    a: Net
    b: Net

    def __post_init__(self) -> None:
        if self.a.width != self.b.width or self.a.signed != self.b.signed:
            name = type(self).__name__
            raise ValueError(f"{name} needs operands of one format, not {self.a.text} and {self.b.text}")
        self._set_format(*self._result())

    def _result(self) -> tuple[int, bool]:
        return self.a.format

    @property
    def operands(self) -> tuple[Net, ...]:
        return (self.a, self.b)


class Add(Binary):
    pass


class Sub(Binary):
    pass


@dataclass(frozen=True, eq=False, repr=False)
class Mul(Binary):
    """``dsp``: made by DSP blocks of the device; else by LUTs. An attribute in the text tells synthesis."""

    dsp: bool = False

    def factors(self, named: Container[object]) -> tuple[Net, Net]:
        """The factors without the extensions that made them as wide as the product; ``named`` ones stay."""
        return _factor(self.a, named), _factor(self.b, named)


def _factor(net: Net, named: Container[object]) -> Net:
    inner = net.a if isinstance(net, As) and net not in named else net
    if isinstance(inner, Resize) and inner not in named and net.signed and not inner.signed:
        return As(Resize(inner.a, inner.a.width + 1))  # a zero in the sign's place is all it needs
    while isinstance(net, Resize) and net not in named:
        net = net.a
    if isinstance(net, Const):
        width = net.value.bit_length() if net.value >= 0 else (~net.value).bit_length()
        return Const(net.value, max(1, width + net.signed), net.signed)
    return net


class And(Binary):
    pass


class Or(Binary):
    pass


class Xor(Binary):
    pass


class Compare(Binary):
    """Eq, Lt and Gt."""

    def _result(self) -> tuple[int, bool]:
        return 1, False


class Eq(Compare):
    pass


class Lt(Compare):
    pass


class Gt(Compare):
    pass


@dataclass(frozen=True, eq=False, repr=False)
class Mux(Net):
    select: Net
    then: Net
    other: Net

    def __post_init__(self) -> None:
        if self.select.format != (1, False):
            raise ValueError(f"a select is one unsigned bit, not {self.select.text}")
        if self.then.format != self.other.format:
            raise ValueError(f"Mux needs arms of one format, not {self.then.text} and {self.other.text}")
        self._set_format(*self.then.format)

    @property
    def operands(self) -> tuple[Net, ...]:
        return (self.select, self.then, self.other)


@dataclass(frozen=True, eq=False, repr=False)
class Rom(Net):
    """``contents[i]`` is the number that a key with bit pattern ``i`` reads."""

    key: Net
    contents: tuple[int, ...]
    of_width: int
    of_signed: bool

    def __post_init__(self) -> None:
        self._set_format(self.of_width, self.of_signed)
        if len(self.contents) != 1 << self.key.width:
            raise ValueError(f"a key of {self.key.width} bits does not go with {len(self.contents)} entries")
        for value in (min(self.contents), max(self.contents)):
            if not representable(value, *self.format):
                raise ValueError(f"the entry {value} does not fit {self.text}")

    @property
    def operands(self) -> tuple[Net, ...]:
        return (self.key,)


@dataclass(frozen=True, eq=False, repr=False)
class Lut(Rom):
    """A one-bit function as one LUT of the device, which a synthesiser neither takes apart nor merges with others.

    Tables, and the roundings and clamps in front of them, are made of these: a synthesiser that flattens all of it
    repeats what stands in front in every output bit of every table, because it counts levels before it counts LUTs.
    """

    of_width: int
    of_signed: bool
    primitive: Primitive

    def __post_init__(self) -> None:
        self._set_format(self.of_width, self.of_signed)
        if self.format != (1, False):
            raise ValueError(f"a LUT has one unsigned bit, not {self.text}")
        if self.key.width > self.primitive.inputs:
            raise ValueError(f"no LUT has {self.key.width} inputs")
        if len(self.contents) != 1 << self.key.width or not _BITS.issuperset(self.contents):
            raise ValueError(f"{len(self.contents)} answers are no truth table of {self.key.width} inputs")

    @property
    def cell(self) -> tuple[int, str]:
        """The library's cell: how many inputs it has, at least as many as the key has bits, and its name."""
        return self.primitive.cell(self.key.width)

    @property
    def init(self) -> int:
        """The cell's truth table as a number: bit `i` is the answer to key `i`, whatever the pins beyond it read."""
        times = 1 << self.cell[0] - self.key.width
        return int(bytes((self.contents * times)[::-1]).translate(_DIGITS), 2)

    @property
    def connected(self) -> list[tuple[str, Net | None]]:
        """The cell's inputs with the bits of the key, the lowest first, and None for those that do not matter."""
        bits = self.key.parts[::-1] if isinstance(self.key, Append) else (self.key,)
        pins = self.primitive.pins[: self.cell[0]]
        return list(zip_longest(pins, bits))


@dataclass(frozen=True, eq=False, repr=False)
class Instance:
    """One use of ``module``; ``inputs`` follow ``module.inputs``."""

    module: Module
    inputs: tuple[Net, ...]


@dataclass(frozen=True, eq=False, repr=False)
class InstanceOutput(Net):
    """The output port ``port`` of an instance."""

    instance: Instance
    port: str

    def __post_init__(self) -> None:
        self._set_format(*self.instance.module.output(self.port).format)

    @property
    def operands(self) -> tuple[Net, ...]:
        return self.instance.inputs


# Ends


def lowest(net: Net) -> int:
    """The least number a net may carry, by its format alone, and through extensions."""
    match net:
        case Const(value=value):
            return value
        case Resize(a=a):
            return lowest(a)
    return -(1 << (net.width - 1)) if net.signed else 0


def highest(net: Net) -> int:
    """The largest number it may carry."""
    match net:
        case Const(value=value):
            return value
        case Resize(a=a):
            return highest(a)
    return (1 << (net.width - net.signed)) - 1


# Modules


@dataclass(frozen=True)
class Output:
    """An output port."""

    port: str
    net: Net


@dataclass(frozen=True, eq=False, repr=False)
class Module:
    """A finished module. Names and origins are hints: printers make them legal and unique.

    ``nets`` holds every net that an output depends on, operands before users; ``instances`` likewise.
    ``clock`` adds the port ``clk``; ``clock_enable`` adds ``ce``, and all registers hold while it is 0;
    ``reset`` adds ``rst`` (synchronous, active high, stronger than ``ce``). ``notes`` are the lines
    ``key: text`` of the header comment; ``table_names`` are hints for the names of ROM contents and
    ``port_comments`` say what a port carries.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    nets: tuple[Net, ...]
    instances: tuple[Instance, ...]
    names: Mapping[Net | Instance, str]
    origins: Mapping[Net | Instance, str]
    table_names: Mapping[tuple[int, ...], str]
    port_comments: Mapping[str, str]
    clock: bool = False
    clock_enable: bool = False
    reset: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)

    def output(self, port: str) -> Net:
        """The net behind an output port; ValueError where there is no such port."""
        found = self._by_port.get(port)
        if found is None:
            raise ValueError(f"module {self.name} has no output {port}")
        return found

    @lazy
    def _by_port(self) -> dict[str, Net]:
        return {output.port: output.net for output in self.outputs}
