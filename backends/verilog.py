"""Verilog-2001, one module a file.

LUTs that the netlist asks for by name are instances of the vendor's own cells, such as AMD's LUT1 to LUT6; a file for
each holds what it means, for simulators, and nothing where SYNTHESIS is defined.

Tables of up to 256 entries are case functions, larger ones are arrays set in an ``initial`` block. Measured with
Icarus 11, Verilator 5.006 and Yosys 0.70 against ``TABLE[key * WIDTH +: WIDTH]`` on a constant vector: all three
are free of warnings and give about the same number of LUTs. A look-up among 64 entries takes Icarus 3 us by case,
1 us by array and 2 us by vector; among 4096 entries 108 us, 2 us and 1500 us. Yosys spends 25 ms on every array
before it is logic again, too much for networks made of thousands of small tables. ``syn_romstyle`` keeps a large
table with a register behind it out of block RAM; Yosys refuses Vivado's word for that, "distributed".

Bits that nobody reads end in one reduction called ``unused``: a name with that word in it is how Verilator is
told that they are meant to be unread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from lutc.plugins import Backend
from lutc.primitives import Primitive
from lutc.rtl.nets import (
    Add,
    And,
    Append,
    As,
    Const,
    Eq,
    Gt,
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

_LARGEST_CASE = 256
_OPERATORS: dict[type[Net], str] = {
    Add: "+",
    Sub: "-",
    And: "&",
    Or: "|",
    Xor: "^",
    Eq: "==",
    Lt: "<",
    Gt: ">",
}


def emit(modules: Sequence[Module], head: str) -> dict[str, str]:
    """The files of ``modules`` by name, instantiated modules first. ``head`` starts each file, as a comment."""
    files = {f"{layout.name}.v": _Printer(layout).file(head) for layout in arrange(modules)}
    return files | {f"{name}.v": _lut_model(of, inputs, head) for of, inputs, name in named_cells(modules)}


class Verilog:
    """The emitter, as `lutc.plugins.Backend` says."""

    name = "verilog"
    suffix = ".v"
    named_luts = True
    simulators: tuple[str, ...] = ("icarus", "verilator")
    identifiers = staticmethod(identifiers)
    emit = staticmethod(emit)


BACKEND: Backend = Verilog()


def _lut_model(of: Primitive, inputs: int, head: str) -> str:
    """A LUT of the device, for simulators. Synthesis, where SYNTHESIS is defined, has its own."""
    pins, name = of.pins[:inputs], of.cell(inputs)[1]
    lines = [
        *header("//", head, {}),
        "`ifndef SYNTHESIS",
        f"module {name} #(parameter [{(1 << inputs) - 1}:0] {of.init} = 0) (",
        f"  output wire {of.output},",
        f"  input  wire {', '.join(pins)}",
        ");",
        f"  wire {f'[{inputs - 1}:0] ' if inputs > 1 else ''}key = {{{', '.join(reversed(pins))}}};",
        f"  assign {of.output} = {of.init}[key];",
        "endmodule",
        "`endif",
        "",
    ]
    return "\n".join(lines)


def _range(width: int) -> str:
    return f"[{width - 1}:0]" if width > 1 else ""


def _sign(net: Net) -> str:
    return "signed" if net.signed else ""


def _literal(value: int, width: int, signed: bool) -> str:
    """Decimal where people would say it so, else hexadecimal."""
    if width > 32 or value == -1 << (width - 1):
        return f"{width}'{'s' if signed else ''}h{value & ((1 << width) - 1):x}"
    return f"{'-' if value < 0 else ''}{width}'{'s' if signed else ''}d{abs(value)}"


@cache
def _keys(width: int) -> list[str]:
    """All keys of so many bits, under each other."""
    keys = [f"{width}'d{i}" for i in range(1 << width)]
    return [key.rjust(len(keys[-1])) for key in keys]


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text


class _Printer:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.names = layout.names

    def file(self, head: str) -> str:
        lines = header("//", head, self.layout.module.notes)
        lines += [f"module {self.layout.name} (", *self._ports(), ");"]
        for table in dict.fromkeys(self.layout.tables.values()):
            lines += ["", *self._table(table)]
        for section in self.layout.sections:
            lines += ["", *self._section(section)]
        outputs = zip(self.layout.outputs, self.layout.module.outputs, strict=True)
        lines += [
            "",
            *aligned([(f"assign {name}", f"= {self.top(output.net)};") for name, output in outputs], "  "),
        ]
        lines += [*self._unread(), "endmodule", ""]
        return "\n".join(lines)

    # Expressions

    def top(self, net: Net) -> str:
        """An expression that stands alone."""
        return _bare(self.expression(net))

    def expression(self, net: Net) -> str:
        """An operand; one operator's text is wholly in parentheses."""
        return self.names[net] if net in self.names else self.operation(net)

    def operation(self, net: Net) -> str:
        """What a net is computed by. Every expression has its net's width, so context changes no bit of it."""
        operand = self.expression
        match net:
            case Const(value=value):
                return _literal(value, *net.format)
            case As(a=a):  # the sign matters to * < > only, and they ask for it themselves
                return operand(a)
            case Resize(a=a, signed=False):
                return f"{{{net.width - a.width}'d0, {operand(a)}}}"
            case Resize(a=a):
                more, sign = net.width - a.width, self.sign(a)
                return f"{{{sign if more == 1 else f'{{{more}{{{sign}}}}}'}, {operand(a)}}}"
            case Append(parts=parts):
                return f"{{{', '.join(map(operand, parts))}}}"
            case Slice(a=a, high=high, low=low):
                return operand(a) + (
                    "" if a.width == 1 else f"[{high}]" if high == low else f"[{high}:{low}]"
                )
            case Not(a=a):
                return f"(~{operand(a)})"
            case Sub(a=Const(value=0), b=b):
                return f"(-{operand(b)})"
            case Mul():  # never part of a larger expression: the wire's width is that of the product
                a, b = net.factors(self.names)
                return f"({self.factor(a)} * {self.factor(b)})"
            case Lt(a=a, b=b) | Gt(a=a, b=b):
                return f"({self.typed(a)} {_OPERATORS[type(net)]} {self.typed(b)})"
            case Add(a=a, b=b) | Sub(a=a, b=b) | And(a=a, b=b) | Or(a=a, b=b) | Xor(a=a, b=b) | Eq(a=a, b=b):
                return f"({operand(a)} {_OPERATORS[type(net)]} {operand(b)})"
            case Mux(select=select, then=then, other=other):
                return f"({operand(select)} ? {operand(then)} : {operand(other)})"
            case Rom(key=key):
                table = self.layout.tables[net]
                brackets = "()" if len(table.patterns) <= _LARGEST_CASE else "[]"
                return f"{table.name}{brackets[0]}{self.top(key)}{brackets[1]}"
        raise ValueError(f"no Verilog for {net!r}")

    def typed(self, net: Net) -> str:
        """An operand that Verilog, too, takes for signed or unsigned as the net is."""
        if net in self.names or isinstance(net, Const):
            as_it_is = True
        else:
            as_it_is = not net.signed and isinstance(net, Append | Slice | Resize)
        if as_it_is:
            return self.expression(net)
        return f"${'signed' if net.signed else 'unsigned'}({self.top(net)})"

    def factor(self, net: Net) -> str:
        """A factor of a product. A minus before a narrow literal would make lint tools ask for its width."""
        if isinstance(net, Const) and net.value < 0:
            return f"{net.width}'sh{net.value & ((1 << net.width) - 1):x}"
        return self.typed(net)

    def sign(self, net: Net) -> str:
        """The most significant bit of something with a name, or of a slice of it."""
        while isinstance(net, As) and net not in self.names:
            net = net.a
        if isinstance(net, Slice) and net not in self.names:
            return f"{self.names[net.a]}[{net.high}]"
        return self.names[net] + (f"[{net.width - 1}]" if net.width > 1 else "")

    # Statements

    def _ports(self) -> list[str]:
        module = self.layout.module
        comments = module.port_comments
        rows = [("input  wire", "", "", name) for name in self.layout.controls]
        rows += [("input  wire", _sign(port), _range(port.width), self.names[port]) for port in module.inputs]
        rows += [
            ("output wire", _sign(output.net), _range(output.net.width), name)
            for name, output in zip(self.layout.outputs, module.outputs, strict=True)
        ]
        notes = ["" for _ in self.layout.controls]
        notes += [comments.get(port.port, "") for port in module.inputs]
        notes += [comments.get(port.port, "") for port in module.outputs]
        return with_comments(aligned(rows, "  ", folded=False), notes, ",", "//")

    def _table(self, table: Table) -> list[str]:
        size, vector = 1 << table.key_width, f"{_range(table.width)} ".lstrip()
        digits, hexits = len(str(size - 1)), (table.width + 3) // 4
        values = [f"{table.width}'h{pattern:0{hexits}x};" for pattern in table.patterns]
        if size > _LARGEST_CASE:
            cells = [f"{table.name}[{i:{digits}}] = {value}" for i, value in enumerate(values)]
            return [
                '  (* syn_romstyle = "logic" *)',
                f"  reg {vector}{table.name} [0:{size - 1}];",
                "  initial begin",
                *in_rows(cells, "    "),
                "  end",
            ]
        cells = [
            f"{key}: {table.name} = {value}"
            for key, value in zip(_keys(table.key_width), values, strict=True)
        ]
        key = self.layout.key_name
        argument = f"{_range(table.key_width)} {key}".lstrip()
        return [
            f"  function {vector}{table.name};",
            f"    input {argument};",
            f"    case ({key})",
            *in_rows(cells, "      "),
            f"      default: {table.name} = {table.width}'bx;",
            "    endcase",
            "  endfunction",
        ]

    def _section(self, section: Section) -> list[str]:
        lines = comment("//", section.origin, "  ") if section.origin else []
        rows: list[list[str]] = []
        for net in section.nets:
            kind = "reg " if isinstance(net, Reg) else "wire"
            value = ""
            if isinstance(net, Reg):
                value = "" if net.reset is None else f"= {_literal(net.reset, *net.format)}"
            elif not isinstance(net, InstanceOutput | Lut | Mul):
                value = f"= {_bare(self.operation(net))}"
            rows.append([kind, _sign(net), _range(net.width), self.names[net], value])
            if isinstance(net, Mul):  # Icarus ignores attributes of a declaration that assigns, and says so
                steering = ", ".join(f'{name} = "{value}"' for name, value in steered(net))
                *before, declaration = aligned([*rows], "  ", ";")
                lines += [*before, f"  (* {steering} *)", declaration]
                lines += fold(f"  assign {self.names[net]} = {_bare(self.operation(net))};")
                rows = []
        lines += aligned(rows, "  ", ";")
        for instance in section.instances:
            lines += self._instance(instance)
        for net in section.nets:
            if isinstance(net, Lut):
                lines += self._lut(net)
        return lines + self._registers(section.registers)

    def _instance(self, instance: Instance) -> list[str]:
        callee = self.layout.callees[instance.module]
        pins = [(name, name) for name in callee.controls]
        pins += [
            (callee.names[port], self.expression(net))
            for port, net in zip(instance.module.inputs, instance.inputs, strict=True)
        ]
        pins += [
            (pin, self.names[net])
            for pin, net in zip(callee.outputs, self.layout.results[instance], strict=True)
        ]
        text = ", ".join(f".{pin}({wire})" for pin, wire in pins)
        return fold(f"  {callee.name} {self.names[instance]} ({text});")

    def _lut(self, net: Lut) -> list[str]:
        """An instance of one of the device's LUTs, which is why synthesis leaves it as it is."""
        inputs, cell = net.cell
        pins = [(net.primitive.output, self.names[net])]
        pins += [(pin, "1'b0" if bit is None else self.expression(bit)) for pin, bit in net.connected]
        text = ", ".join(f".{pin}({wire})" for pin, wire in pins)
        init = f".{net.primitive.init}({1 << inputs}'h{net.init:0{max((1 << inputs) // 4, 1)}x})"
        return fold(f"  {cell} #({init}) {self.layout.lut_names[net]} ({text});")

    def _registers(self, registers: list[Reg]) -> list[str]:
        module = self.layout.module
        lines: list[str] = []
        for resets in (False, True):
            group = [net for net in registers if (module.reset and net.reset is not None) == resets]
            if not group:
                continue
            condition = "if (ce) " if module.clock_enable else ""
            loads = aligned([(self.names[net], f"<= {self.top(net.a)};") for net in group], "    ")
            if resets:
                clears = [(self.names[net], f"<= {_literal(net.reset or 0, *net.format)};") for net in group]
                lines += [
                    "  always @(posedge clk)",
                    "  if (rst) begin",
                    *aligned(clears, "    "),
                    f"  end else {condition}begin",
                    *loads,
                    "  end",
                ]
            else:
                lines += [f"  always @(posedge clk) {condition}begin", *loads, "  end"]
        return lines

    def _unread(self) -> list[str]:
        if not self.layout.unread:
            return []
        parts = []
        for name, width, high, low in self.layout.unread:
            whole = (high, low) == (width - 1, 0)
            parts.append(name if whole else f"{name}[{high}]" if high == low else f"{name}[{high}:{low}]")
        return [
            "",
            "  // Bits that nothing reads, gathered so that lint tools know it is meant.",
            *fold(f"  wire {self.layout.unread_name} = &{{1'b0, {', '.join(parts)}}};"),
        ]
