"""nextpnr's JSON netlist as Verilog: an instance a cell, whose models stand in `models/`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

PAD_CELLS = ("TRELLIS_IO", "SB_IO", "IBUF", "OBUF")
PADS = ("B", "PACKAGE_PIN", "PAD")  # their pin that is one of the chip
# Inputs that a router leaves open count as 1, but these; those of a LUT do not matter.
OPEN = {"LSR": "1'b0", "FCI": "1'b0", "SR": "1'b0", "CIN": "1'b0", "I1": "1'b0", "I2": "1'b0"}


def verilog(netlist: Mapping[str, Any], name: str) -> str:
    """The module of a routed netlist, called `name`."""
    (module,) = (m for m in netlist["modules"].values() if m["cells"])
    ports = module["ports"]
    # A pad's wire is its port, whichever way it leads.
    inputs = [port for port, said in ports.items() if said["direction"] == "input"]
    names = {bit: port for port, said in ports.items() for bit in said["bits"]}
    for cell in module["cells"].values():
        for bits in cell["connections"].values():
            for bit in bits:
                names.setdefault(bit, f"n{bit}" if isinstance(bit, int) else f"1'b{bit}")
    lines = [f"module {name} ({', '.join(ports)});"]
    lines += [f"  {said['direction']} wire {port};" for port, said in ports.items()]
    lines += [f"  wire {n};" for bit, n in names.items() if isinstance(bit, int) and n not in ports]
    for number, cell in enumerate(module["cells"].values()):
        parameters = ", ".join(f".{k}({_value(v)})" for k, v in _parameters(cell))
        pins = ", ".join(f".{pin}({wire})" for pin, wire in _pins(cell, names, inputs))
        lines.append(f"  {cell['type']} #({parameters}) c{number} ({pins});")
    return "\n".join([*lines, "endmodule", ""])


def _pins(
    cell: Mapping[str, Any], names: Mapping[int | str, str], inputs: Collection[str]
) -> Iterator[tuple[str, str]]:
    for pin, bits in cell["connections"].items():
        if (
            pin in PADS and cell["type"] in PAD_CELLS and bits
        ):  # the models have two pins for it, one a direction
            yield ("INTO" if names[bits[0]] in inputs else "OUT_OF"), names[bits[0]]
        elif bits:
            yield pin, names[bits[0]]
        elif cell["port_directions"].get(pin) == "input":
            yield pin, OPEN.get(pin, "1'b1")


def _parameters(cell: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from cell["parameters"].items()
    if cell["connections"].get("FXA"):
        yield "SIX", "1"


def _value(text: str) -> str:
    """A parameter: nextpnr writes numbers as bits, and a text that could be taken for one with a blank behind."""
    return f"{len(text)}'b{text}" if text and set(text) <= {"0", "1"} else f'"{text.rstrip()}"'
