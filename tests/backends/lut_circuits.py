"""A module of LUTs that are asked for by name."""

from __future__ import annotations

import random

from lutc.primitives import XILINX, Primitive
from lutc.rtl import nets as nl
from lutc.rtl.builder import ModuleBuilder


def luts(of: Primitive = XILINX) -> nl.Module:
    """LUTs by name: of every size, with inputs that repeat, are constant or do not matter, and copies of one."""
    b = ModuleBuilder("luts", luts=of)
    x = b.input("x", 8)
    bits = [b.bit(x, i) for i in range(8)]
    rng = random.Random(3)
    for inputs in range(1, of.inputs + 1):
        b.output(
            f"some_{inputs}",
            b.lut(bits[:inputs], [1, *(rng.getrandbits(1) for _ in range(2, 1 << inputs)), 0]),
        )
    twice = [bits[4], b.const(1, 1), bits[4], bits[7]]
    b.output("twice", b.lut(twice, [rng.getrandbits(1) for _ in range(16)]))
    assert b.lut(bits[:3], [0, 1, 0, 1, 0, 1, 0, 1]) is bits[0]
    assert b.lut(bits[:2], [1, 1, 1, 1]) is b.const(1, 1)
    assert len(b.lut(bits[:3], [0, 0, 1, 1, 1, 1, 0, 0]).operands[0].operands) == 2
    b.output("on", b.add(b.label(b.lut(bits[2:5], [0, 1, 1, 0, 1, 0, 0, 1]), "parity"), bits[0]))
    return b.build()
