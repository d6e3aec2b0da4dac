"""Language-neutral RTL: what the Verilog and the VHDL printer print.

A :class:`Module` holds ports, nets in topological order and instances of other modules. It is made with
``lutc.netlist_build.ModuleBuilder`` and does not change afterwards. A net is its operation: a frozen
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
    Lut                     one bit: a LUT of the device that synthesis leaves as it is, a key of at most 6 bits
    Reg                     the operand one clock later (one enabled clock where there is a clock enable)
    Input, InstanceOutput   the format of the port

A broken rule is a mistake of the program that builds the netlist: it raises ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache

from lutc.lazy import lazy

LUT_INPUTS = 6  # of the largest LUT that can be asked for by name


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

    @classmethod
    @cache
    def arguments(cls) -> tuple[str, ...]:
        """The fields that a net of this kind is made from."""
        return tuple(f.name for f in fields(cls) if f.init)

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


class Mul(Binary):
    pass


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
        require(
            len(self.contents) == 1 << self.key.width,
            f"a key of {self.key.width} bits does not go with {len(self.contents)} entries",
        )
        for value in (min(self.contents), max(self.contents)):
            require(representable(value, *self.format), f"the entry {value} does not fit {self.text}")

    @property
    def operands(self) -> tuple[Net, ...]:
        return (self.key,)


@dataclass(frozen=True, eq=False, repr=False)
class Lut(Rom):
    """A one-bit function as one LUT of the device, which a synthesiser neither takes apart nor merges with others.

    Tables, and the roundings and clamps in front of them, are made of these: a synthesiser that flattens all of it
    repeats what stands in front in every output bit of every table, because it counts levels before it counts LUTs.
    """

    of_width: int = 1
    of_signed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width == 1 and not self.signed, f"a LUT has one unsigned bit, not {self.text}")
        require(self.key.width <= LUT_INPUTS, f"no LUT has {self.key.width} inputs")

    @property
    def init(self) -> int:
        """The truth table as a number: bit `i` is the answer to key `i`."""
        return sum(bit << i for i, bit in enumerate(self.contents))


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
