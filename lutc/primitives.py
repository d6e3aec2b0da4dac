"""LUTs that can be asked for by name: what each vendor's library calls them, and what synthesis does with them.

Sources: AMD UG974 (UltraScale libraries guide), Lattice FPGA-TN-02026 (iCE40), Gowin SUG283, and the cells that Yosys
reads and writes for these families (`cells_sim.v` of each); ECP5's LUT4 is as Yosys has it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Primitive:
    """The LUTs of a vendor's library: cells of some sizes, one for each of `cells`, smallest first.

    `pins` are those of the largest cell, lowest bit of the key first; a smaller one has the first of them. `init` is
    the parameter that holds the truth table. `shared`: two functions of one input less share the largest. `chained`:
    so many inputs may a function have that synthesis merges into the LUT of a carry chain which reads it.
    """

    name: str
    cells: tuple[tuple[int, str], ...]
    pins: tuple[str, ...]
    output: str
    init: str
    shared: bool = False
    chained: int = 0

    @property
    def inputs(self) -> int:
        """Of the largest cell."""
        return self.cells[-1][0]

    def cell(self, inputs: int) -> tuple[int, str]:
        """The smallest cell with at least so many inputs: how many it has, and its name."""
        return next(cell for cell in self.cells if cell[0] >= inputs)


def _sized(name: str, most: int) -> tuple[tuple[int, str], ...]:
    return tuple((inputs, f"{name}{inputs}") for inputs in range(1, most + 1))


def _numbered(pins: int) -> tuple[str, ...]:
    return tuple(f"I{i}" for i in range(pins))


XILINX = Primitive("xilinx", _sized("LUT", 6), _numbered(6), "O", "INIT", shared=True, chained=5)

PRIMITIVES = {
    p.name: p
    for p in (
        XILINX,
        Primitive("ecp5", ((4, "LUT4"),), ("A", "B", "C", "D"), "Z", "INIT"),
        Primitive("ice40", ((4, "SB_LUT4"),), _numbered(4), "O", "LUT_INIT"),
        Primitive("gowin", _sized("LUT", 4), _numbered(4), "F", "INIT"),
    )
}
