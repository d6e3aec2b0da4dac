"""VHDL-2008, one entity a file.

Ports are std_logic and std_logic_vector; inside, every net is a numeric_std ``signed`` or ``unsigned`` vector,
one bit wide nets too. Tables are constant arrays. A simulator says "metavalue detected" for registers that have
no value yet; it is meant (GHDL: ``--ieee-asserts=disable``).

LUTs that the netlist asks for by name are instances of components called as the vendor's library calls them: synthesis
finds its own cells for these. Simulators find the entities that `models` gives. They are not for synthesis, which keeps
what it does not know the inside of, and would dissolve them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lutc.plugins import Backend
from lutc.primitives import Primitive
from lutc.rtl.nets import (
    Add,
    And,
    Append,
    As,
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
    Reg,
    Resize,
    Rom,
    Slice,
    Sub,
    Xor,
)

from .arrangement import Layout, Section, Table, arrange, identifiers, named_cells
from .text import aligned, comment, fold, header, in_rows, steered, with_comments

_OPERATORS: dict[type[Net], str] = {
    Add: "+",
    Sub: "-",
    And: "and",
    Or: "or",
    Xor: "xor",
    Eq: "=",
    Lt: "<",
    Gt: ">",
}
_TRUNCATE = """
  -- The low bits, where numeric_std's resize would keep the sign.
  function truncate(value : {kind}; width : positive) return {kind} is
    alias bits : {kind}(value'length - 1 downto 0) is value;
  begin
    return bits(width - 1 downto 0);
  end function;"""


def emit(modules: Sequence[Module], head: str) -> dict[str, str]:
    """The files of ``modules`` by name, instantiated modules first. ``head`` starts each file, as a comment."""
    return {f"{layout.name}.vhd": _Printer(layout).file(head) for layout in arrange(modules)}


def models(modules: Sequence[Module], head: str) -> dict[str, str]:
    """What simulators need besides, by file name: the LUTs that are asked for by name."""
    return {f"{name}.vhd": _lut_model(of, inputs, head) for of, inputs, name in named_cells(modules)}


class Vhdl:
    """The emitter, as `lutc.plugins.Backend` says."""

    name = "vhdl"
    suffix = ".vhd"
    named_luts = True
    simulators: tuple[str, ...] = ("ghdl",)
    identifiers = staticmethod(identifiers)
    emit = staticmethod(emit)
    models = staticmethod(models)


BACKEND: Backend = Vhdl()


def _interface(of: Primitive, inputs: int) -> list[str]:
    """The generic and the ports of a LUT, as its entity has them and its component."""
    size = 1 << inputs
    return [
        f"generic ({of.init} : bit_vector({size - 1} downto 0) := (others => '0'));",
        f"port ({of.output} : out std_logic; {', '.join(of.pins[:inputs])} : in std_logic);",
    ]


def _lut_model(of: Primitive, inputs: int, head: str) -> str:
    """A LUT of the device, for simulators."""
    name, pins = of.cell(inputs)[1], of.pins[:inputs]
    lines = [
        *header("--", head, {}),
        *(["--"] if head else []),
        "-- For simulation only: synthesis has a cell of this name, which it keeps, and would dissolve this entity.",
        "library ieee;",
        "use ieee.std_logic_1164.all;",
        "use ieee.numeric_std.all;",
        "",
        f"entity {name} is",
        *(f"  {line}" for line in _interface(of, inputs)),
        "end entity;",
        "",
        f"architecture simulation of {name} is",
        f"  signal key : {_vector('std_logic_vector', inputs)};",
        "begin",
        f"  key <= ({', '.join(f'{i} => {pin}' for i, pin in reversed([*enumerate(pins)]))});",
        f"  {of.output} <= 'X' when is_x(key) else to_stdulogic({of.init}(to_integer(unsigned(key))));",
        "end architecture;",
        "",
    ]
    return "\n".join(lines)


def _kind(net: Net) -> str:
    return "signed" if net.signed else "unsigned"


def _vector(kind: str, width: int) -> str:
    return f"{kind}({width - 1} downto 0)"


def _port_type(net: Net) -> str:
    return "std_logic" if net.width == 1 else _vector("std_logic_vector", net.width)


def _bits(pattern: int, width: int) -> str:
    """A bit string: binary where short, else hexadecimal."""
    return f'"{pattern:0{width}b}"' if width < 4 else f'{width}x"{pattern:0{(width + 3) // 4}x}"'


def _literal(value: int, width: int, signed: bool) -> str:
    kind = "signed" if signed else "unsigned"
    if width > 1 and -(1 << 31) < value < 1 << 31:
        return f"to_{kind}({value}, {width})"
    return f"{kind}'({_bits(value & ((1 << width) - 1), width)})"


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text


class _Printer:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        inputs = {net: name for net, name in layout.inner.items() if isinstance(net, Input)}
        self.names = {net: name for net, name in layout.names.items() if isinstance(net, Net)} | inputs
        self.truncated = {
            _kind(net)
            for net in layout.module.nets
            if isinstance(net, Mul) and sum(f.width for f in net.factors(self.names)) > net.width
        }

    def file(self, head: str) -> str:
        layout, module = self.layout, self.layout.module
        inputs = [net for net in layout.names if isinstance(net, Input)]
        lines = header("--", head, module.notes)
        lines += [
            "library ieee;",
            "use ieee.std_logic_1164.all;",
            "use ieee.numeric_std.all;",
            "",
            f"entity {layout.name} is",
            "  port (",
            *self._ports(),
            "  );",
            "end entity;",
            "",
            f"architecture rtl of {layout.name} is",
        ]
        for kind in sorted(self.truncated):
            lines += _TRUNCATE.format(kind=kind).splitlines()
        steering = [name for net in module.nets if isinstance(net, Mul) for name, _ in steered(net)]
        lines += [f"  attribute {name} : string;" for name in dict.fromkeys(steering)]
        for of, size, name in named_cells([module]):
            inside = [f"    {line}" for line in _interface(of, size)]
            lines += ["", f"  component {name} is", *inside, "  end component;"]
        for table in dict.fromkeys(layout.tables.values()):
            lines += ["", *self._table(table)]
        lines += ["", *self._signals((net, self.names[net]) for net in inputs)]
        for section in layout.sections:
            lines += ["", *self._declarations(section)]
        copies = [
            (_target(net, self.names[net]), f"<= {_from_port(net, layout.names[net])};") for net in inputs
        ]
        lines += ["begin", *aligned(copies, "  ")]
        for section in layout.sections:
            lines += ["", *self._section(section)]
        outputs = [
            (name, f"<= {self.to_port(output.net)};")
            for name, output in zip(layout.outputs, module.outputs, strict=True)
        ]
        lines += ["", *aligned(outputs, "  "), "end architecture;", ""]
        return "\n".join(lines)

    # Expressions

    def top(self, net: Net) -> str:
        """An expression that stands alone."""
        return _bare(self.expression(net))

    def expression(self, net: Net) -> str:
        """An operand; one operator's text is wholly in parentheses."""
        return self.names[net] if net in self.names else self.operation(net)

    def operation(self, net: Net) -> str:
        """What a net is computed by, an expression of the net's type and width (Mux and Compare: a waveform)."""
        operand = self.expression
        match net:
            case Const(value=value):
                return _literal(value, *net.format)
            case As(a=Slice(a=a) as part) if part not in self.names:
                return f"{_kind(net)}({self.part(part)})"
            case As(a=a):
                return f"{_kind(net)}({self.top(a)})"
            case Resize(a=a):
                return f"resize({self.top(a)}, {net.width})"
            case Append(parts=parts):
                return (
                    f"({' & '.join(f'unsigned({self.top(a)})' if a.signed else operand(a) for a in parts)})"
                )
            case Slice(a=a):
                return f"unsigned({self.part(net)})" if a.signed else self.part(net)
            case Not(a=a):
                return f"(not {operand(a)})"
            case Sub(a=Const(value=0), b=b, signed=True):
                return f"(-{operand(b)})"
            case Mul():
                a, b = net.factors(self.names)
                text = f"{operand(a)} * {operand(b)}"
                if a.width + b.width == net.width:
                    return f"({text})"
                return f"{'resize' if a.width + b.width < net.width else 'truncate'}({text}, {net.width})"
            case Add(a=a, b=b) | Sub(a=a, b=b) | And(a=a, b=b) | Or(a=a, b=b) | Xor(a=a, b=b):
                return f"({operand(a)} {_OPERATORS[type(net)]} {operand(b)})"
            case Compare():
                return f'"1" when {self.comparison(net)} else "0"'
            case Mux(select=select, then=then, other=other):
                return f"{self.top(then)} when {self.condition(select)} else {self.top(other)}"
            case Rom(key=key):
                return f"{_kind(net)}({self.layout.tables[net].name}(to_integer({self.top(key)})))"
        raise ValueError(f"no VHDL for {net!r}")

    def part(self, net: Slice) -> str:
        """A slice, of the type of what is sliced."""
        return f"{self.names[net.a]}({net.high} downto {net.low})"

    def condition(self, net: Net) -> str:
        """A boolean: whether one bit is 1."""
        if net in self.names:
            return f"{self.names[net]}(0) = '1'"
        match net:
            case Slice(a=a, high=high):
                return f"{self.names[a]}({high}) = '1'"
            case Compare():
                return self.comparison(net)
        return f'{self.expression(net)} = "1"'

    def comparison(self, net: Compare) -> str:
        """A boolean."""
        return f"{self.expression(net.a)} {_OPERATORS[type(net)]} {self.expression(net.b)}"

    def to_port(self, net: Net) -> str:
        """What a port takes."""
        if net.width == 1:
            return f"'{net.value & 1}'" if isinstance(net, Const) else f"{self.names[net]}(0)"
        if net not in self.names and isinstance(net, Rom):
            return f"{self.layout.tables[net].name}(to_integer({self.top(net.key)}))"
        if net not in self.names and isinstance(net, Mux):
            return (
                f"{self.to_port(net.then)} when {self.condition(net.select)} else {self.to_port(net.other)}"
            )
        return f"std_logic_vector({self.top(net)})"

    # Statements

    def _ports(self) -> list[str]:
        module = self.layout.module
        comments = module.port_comments
        rows = [(name, ": in ", "std_logic") for name in self.layout.controls]
        rows += [(self.layout.names[port], ": in ", _port_type(port)) for port in module.inputs]
        rows += [
            (name, ": out", _port_type(output.net))
            for name, output in zip(self.layout.outputs, module.outputs, strict=True)
        ]
        notes = ["" for _ in self.layout.controls]
        notes += [comments.get(port.port, "") for port in module.inputs]
        notes += [comments.get(port.port, "") for port in module.outputs]
        return with_comments(aligned(rows, "    ", folded=False), notes, ";", "--")

    def _table(self, table: Table) -> list[str]:
        size = 1 << table.key_width
        cells = [f"{_bits(pattern, table.width)}," for pattern in table.patterns]
        cells[-1] = cells[-1].rstrip(",")
        element = _vector("std_logic_vector", table.width)
        return [
            f"  type {table.type_name} is array (0 to {size - 1}) of {element};",
            f"  constant {table.name} : {table.type_name} := (",
            *in_rows(cells, "    "),
            "  );",
        ]

    def _signals(self, named: Iterable[tuple[Net, str]]) -> list[str]:
        rows = []
        for net, name in named:
            start = (
                f" := {_literal(net.reset, *net.format)}"
                if isinstance(net, Reg) and net.reset is not None
                else ""
            )
            rows.append(("signal", name, f": {_vector(_kind(net), net.width)}{start};"))
        return aligned(rows, "  ")

    def _declarations(self, section: Section) -> list[str]:
        lines = comment("--", section.origin, "  ") if section.origin else []
        lines += self._signals((net, self.names[net]) for net in section.nets)
        rows = [
            ("signal", self.layout.inner[net], f": {_port_type(net)};")
            for instance in section.instances
            for net in self.layout.results[instance]
        ]
        steering = [
            f'  attribute {name} of {self.names[net]} : signal is "{value}";'
            for net in section.nets
            if isinstance(net, Mul)
            for name, value in steered(net)
        ]
        return lines + aligned(rows, "  ") + steering

    def _section(self, section: Section) -> list[str]:
        lines = comment("--", section.origin, "  ") if section.origin else []
        rows = []
        for net in section.nets:
            if isinstance(net, InstanceOutput):
                value = _from_port(net, self.layout.inner[net])
                rows.append((_target(net, self.names[net]), f"<= {value};"))
            elif not isinstance(net, Reg | Lut):
                rows.append((self.names[net], f"<= {_bare(self.operation(net))};"))
        for instance in section.instances:
            lines += self._instance(instance)
        for net in section.nets:
            if isinstance(net, Lut):
                lines += self._lut(net)
        return lines + aligned(rows, "  ") + self._registers(section.registers)

    def _instance(self, instance: Instance) -> list[str]:
        callee = self.layout.callees[instance.module]
        pins = [(name, name) for name in callee.controls]
        for port, net in zip(instance.module.inputs, instance.inputs, strict=True):
            value = _bits(net.value & ((1 << net.width) - 1), net.width) if isinstance(net, Const) else ""
            pins.append((callee.names[port], value if value and net.width > 1 else self.to_port(net)))
        pins += [
            (pin, self.layout.inner[net])
            for pin, net in zip(callee.outputs, self.layout.results[instance], strict=True)
        ]
        text = ", ".join(f"{pin} => {wire}".replace(" ", "\0") for pin, wire in pins)
        return fold(f"  {self.layout.names[instance]} : entity work.{callee.name} port map ({text});")

    def _lut(self, net: Lut) -> list[str]:
        """An instance of one of the device's LUTs, which is why synthesis leaves it as it is."""
        inputs, cell = net.cell
        pins = [(net.primitive.output, f"{self.names[net]}(0)")]
        pins += [(pin, "'0'" if bit is None else self.pin(bit)) for pin, bit in net.connected]
        ports = ", ".join(f"{pin}\0=>\0{wire}" for pin, wire in pins)
        init = f"{net.primitive.init}\0=>\0{_bits(net.init, 1 << inputs)}"
        return fold(f"  {self.layout.lut_names[net]} : {cell} generic map ({init}) port map ({ports});")

    def pin(self, net: Net) -> str:
        """One bit as a std_logic."""
        while isinstance(net, As) and net not in self.names:
            net = net.a
        if isinstance(net, Slice) and net not in self.names:
            return f"{self.names[net.a]}({net.low})"
        return f"{self.names[net]}(0)"

    def _registers(self, registers: list[Reg]) -> list[str]:
        module = self.layout.module
        lines: list[str] = []
        for resets in (False, True):
            group = [net for net in registers if (module.reset and net.reset is not None) == resets]
            if not group:
                continue
            loads = aligned([(self.names[net], f"<= {self.top(net.a)};") for net in group], "        ")
            lines += ["  process (clk)", "  begin", "    if rising_edge(clk) then"]
            enable = "if ce = '1' then" if module.clock_enable else ""
            if resets:
                clears = [(self.names[net], f"<= {_literal(net.reset or 0, *net.format)};") for net in group]
                lines += [
                    "      if rst = '1' then",
                    *aligned(clears, "        "),
                    f"      {'els' + enable if enable else 'else'}",
                    *loads,
                    "      end if;",
                ]
            elif enable:
                lines += [f"      {enable}", *loads, "      end if;"]
            else:
                lines += [line[2:] for line in loads]
            lines += ["    end if;", "  end process;"]
        return lines


def _target(net: Net, name: str) -> str:
    """What a port's value is assigned to: the only element of a vector of one bit."""
    return f"{name}(0)" if net.width == 1 else name


def _from_port(net: Net, name: str) -> str:
    return name if net.width == 1 else f"{_kind(net)}({name})"
