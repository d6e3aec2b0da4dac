"""A program instead of a circuit: the C model of a design, for software that has to answer as the circuit does."""

from __future__ import annotations

from collections.abc import Sequence

from lutc.cmodel.prepared import c_model
from lutc.diagnostics import error
from lutc.ir.graph import Design
from lutc.rtl.nets import DATA, VALID, Module

from .identifiers import legal


class C:
    """C99 that is C++17 as well; see `lutc.cmodel`."""

    name = "c"
    suffix = ".c"
    named_luts = False
    simulators = ()

    def identifiers(self, modules: Sequence[Module]) -> tuple[str, dict[str, str]]:
        top = modules[-1]
        ports = [p.port for p in top.inputs if p.port not in VALID]
        results = [p.port for p in top.outputs if p.port not in VALID]
        names = {p.removesuffix(DATA): f"in{n}" for n, p in enumerate(ports)}
        return legal(top.name), names | {p.removesuffix(DATA): f"out{n}" for n, p in enumerate(results)}

    def emit(self, modules: Sequence[Module], head: str) -> dict[str, str]:
        raise error("a C model is made from a design, not from a netlist", help="lutc compile MODEL --hdl c")

    def emit_design(self, design: Design, head: str, notes: Sequence[str]) -> dict[str, str]:
        """The program and its header."""
        name = legal(design.name)
        made = c_model(design, name, head, notes=notes)
        return {f"{name}.c": made.source, f"{name}.h": made.header}


BACKEND = C()
