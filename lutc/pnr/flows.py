"""How each family of devices is placed and routed: the tools, what they are told, and what their cells are.

Sources: the help of yosys' `synth_ecp5`, `synth_ice40` and `synth_gowin`, and of nextpnr 0.11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lutc.diagnostics import error
from lutc.pnr.harness import PADS
from lutc.target import Target


@dataclass(frozen=True)
class Flow:
    """A family's flow.

    `cells` are weights by a cell's type, for every figure that is counted; a type ending in * is all that begin so.
    """

    router: str
    synth: str
    no_dsp: str
    cells: Mapping[str, Mapping[str, int]]
    inside: str = ""  # synthesis' options for what has no pads
    options: Sequence[str] = ()  # the router's, always
    lacks_delays: bool = False  # the router does not know them of all cells, which `lutc.pnr.sdf` puts right

    def device(self, target: Target) -> list[str]:
        """The router's options for a part, with the harness' pins."""
        chosen = ["--vopt", f"cst={PINS}"] if pins(target, PADS) else []
        return [*self.part(target), *chosen]

    def variant(self, target: Target) -> str:
        """What Gowin's devices are called by the packer."""
        return next(word for word in self.part(target) if word.startswith("family=")).removeprefix("family=")

    def part(self, target: Target) -> list[str]:
        """The router's options for a part. Raises LirError if the part is none that it knows how to name."""
        found = _OPTIONS[target.family](target.part)
        if found is None:
            raise error(
                f"the part {target.part!r} of the target {target.name} is not one that {self.router} knows",
                help="compile for a target whose part is written in full: lutc targets --show " + target.name,
            )
        return found


def flow_of(target: Target) -> Flow:
    """The flow of a target's family. Raises LirError if there is none."""
    if target.family not in FLOWS:
        raise error(
            f"no open tool places and routes on {target.description} (family {target.family})",
            help=f"families that can be: {', '.join(FLOWS)}; for others use the vendor's tools on rtl/",
        )
    return FLOWS[target.family]


_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA", "TG": "TQFP"}
_KINDS = {"U": "", "UM": "um-", "UM5G": "um5g-"}


def _ecp5(part: str) -> list[str] | None:
    found = re.fullmatch(r"LFE5(U|UM|UM5G)-(12|25|45|85)F-([678])(BG|MG|TG)(\d+)[CI]?", part)
    if not found:
        return None
    kind, size, speed, package, pins = found.groups()
    return [f"--{_KINDS[kind]}{size}k", "--package", _PACKAGES[package] + pins, "--speed", speed]


def _ice40(part: str) -> list[str] | None:
    found = re.fullmatch(r"ice40((?:up|lp|hx|u)\d+k?)-(\w+)", part)
    return [f"--{found[1]}", "--package", found[2]] if found else None


_GOWIN = re.compile(r"(GW\dN|GW\dA)(Z|R|NR|AR|SR|SE|S)?-\w+?(\d+)([A-Z]+\d+P?)(C\d/I\d|ES)")


def _gowin(part: str) -> list[str] | None:
    found = _GOWIN.fullmatch(part)
    families = {"9": "GW1N-9C", "18": "GW2A-18C", "1": "GW1N-1", "4": "GW1N-4", "2": "GW1N-2"}
    if not found or found[3] not in families or found[4] not in _PINS:
        return None
    return ["--device", part, "--vopt", f"family={families[found[3]]}"]


PINS = "pins.cst"
# Of Gowin's packages, where the router chooses none: pins that may be anything, the first two for clocks.
_PINS = {"QN88": (4, 10, 15, 16, 17)}


def pins(target: Target, names: Sequence[str]) -> str:
    """Pins for ports, clocks first, as a file that the router reads; empty where it chooses them.

    The part is one that `Flow.part` knows.
    """
    found = _GOWIN.fullmatch(target.part) if target.family == "gowin" else None
    chosen = zip(names, _PINS[found[4]], strict=True) if found else ()
    return "".join(f'IO_LOC "{n}" {pin};\n' for n, pin in chosen)


_OPTIONS = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin}

FLOWS: dict[str, Flow] = {
    "ecp5": Flow(
        router="nextpnr-ecp5",
        synth="synth_ecp5 -nobram",
        no_dsp="-nodsp",
        cells={
            "luts": {"LUT4": 1, "CCU2C": 2},  # a CCU2C takes the places of two LUTs
            "carries": {"CCU2C": 2},
            "ffs": {"TRELLIS_FF": 1},
            "dsps": {"MULT18X18D": 1},
            "brams": {"DP16KD": 1, "PDPW16KD": 1},
        },
        options=["--lpf-allow-unconstrained"],
    ),
    "ice40": Flow(
        router="nextpnr-ice40",
        synth="synth_ice40 -nobram",
        no_dsp="",
        cells={
            "luts": {"SB_LUT4": 1},
            "carries": {"SB_CARRY": 1},  # each beside a LUT
            "ffs": {"SB_DFF*": 1},
            "dsps": {"SB_MAC16": 1},
            "brams": {"SB_RAM40_4K*": 1},
        },
    ),
    "gowin": Flow(
        router="nextpnr-himbaechel-gowin",
        synth="synth_gowin -nobram",
        no_dsp="-nodsp",
        inside="-noiopads",
        lacks_delays=True,
        cells={
            "luts": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1},
            "carries": {"ALU": 1},
            "ffs": {"DFF*": 1},
            "dsps": {"MULT*": 1},
            "brams": {"SP*": 1, "DP*": 1, "SDP*": 1},
        },
    ),
}


def counted(flow: Flow, cells: Mapping[str, int]) -> dict[str, int]:
    """Figures of a netlist from its cells by type."""
    return {
        figure: sum(
            number * weight
            for kind, weight in weights.items()
            for cell, number in cells.items()
            if cell == kind or (kind.endswith("*") and cell.startswith(kind[:-1]))
        )
        for figure, weights in flow.cells.items()
    }
