"""nextpnr's JSON netlist as Verilog: an instance a cell, whose models stand in `models/`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

PADS = {"TRELLIS_IO": "B", "SB_IO": "PACKAGE_PIN"}  # cells, and their pin that is one of the chip
# What inputs count as that a router leaves open: most of them, and those named.
OPEN: dict[str, tuple[str, dict[str, str]]] = {
    "ecp5": ("1", {"LSR": "0", "FCI": "0"}),
    "ice40": ("0", {"CEN": "1"}),
}


def verilog(netlist: Mapping[str, Any], name: str, family: str) -> str:
    """The module of a routed netlist, called `name`, for the models of a family."""
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
        pins = ", ".join(f".{pin}({wire})" for pin, wire in _pins(cell, names, inputs, OPEN[family]))
        lines.append(f"  {cell['type']} #({parameters}) c{number} ({pins});")
    return "\n".join([*lines, "endmodule", ""])


def _pins(
    cell: Mapping[str, Any],
    names: Mapping[int | str, str],
    inputs: Collection[str],
    open_: tuple[str, Mapping[str, str]],
) -> Iterator[tuple[str, str]]:
    for pin, bits in cell["connections"].items():
        if bits and PADS.get(cell["type"]) == pin:  # the models have two pins for it, one a direction
            yield ("INTO" if names[bits[0]] in inputs else "OUT_OF"), names[bits[0]]
        elif bits:
            yield pin, names[bits[0]]
        elif cell["port_directions"].get(pin) == "input":
            yield pin, f"1'b{open_[1].get(pin, open_[0])}"


def _parameters(cell: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from cell["parameters"].items()
    if cell["connections"].get("FXA"):
        yield "SIX", "1"


def _value(text: str) -> str:
    """A parameter: nextpnr writes numbers as bits, and a text that could be taken for one with a blank behind."""
    return f"{len(text)}'b{text}" if text and set(text) <= {"0", "1"} else f'"{text.rstrip()}"'
