"""What a device is like: device data is data, in `targets/*.toml`.

The delay model is made for choosing and for placing registers, not for promising a clock: a logic level is one LUT and
the wire to it, a carry chain adds a little for every bit.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from math import inf
from pathlib import Path

from lutc.diagnostics import did_you_mean, error
from lutc.types import Fixed


@dataclass(frozen=True, eq=False)  # one object a name: it is a key of many caches
class Target:
    """A device. Delays are in nanoseconds, counts in LUTs (of `lut_inputs` inputs each)."""

    name: str
    family: str
    part: str
    description: str
    luts: int  # on the whole device
    ffs: int
    dsps: int  # blocks with a multiplier
    dsp_wide: int  # bits of a block's wider factor, its sign included
    dsp_narrow: int  # bits of the other
    dsp_unsigned: bool  # both factors may also be without sign, and fill these bits
    lut_inputs: int
    fractured: bool  # a LUT may serve as two with one input less, on shared inputs
    ternary: bool  # a carry chain adds three operands, one LUT a bit
    named_luts: bool  # LUT1 to LUT6 can be instantiated by these names, as on AMD's devices
    mux_levels: int  # dedicated multiplexers behind the LUTs (MUXF7, F8, F9: 3)
    lut: float  # through a LUT
    net: float  # from one cell to the next
    mux: float  # through a dedicated multiplexer
    carry: float  # along one bit of a carry chain
    carry_ends: float  # onto and off the chain
    dsp: float  # through the multiplier of a DSP block that uses none of its registers
    register: float  # clock to output plus setup
    clock_ns: float  # the clock period to aim at if the user names none

    def lut_ns(self) -> float:
        """One logic level with its wire."""
        return self.lut + self.net

    def adder_luts(self, width: int) -> float:
        """A carry-chain adder, one LUT a bit."""
        return float(width)

    def adder_ns(self, width: int) -> float:
        return self.lut_ns() + self.carry_ends + self.carry * width if width > 1 else self.lut_ns()

    def ternary_ns(self, width: int) -> float:
        """A carry-chain adder of three operands: one level of compression before it."""
        return self.lut_ns() + self.adder_ns(width)

    def mux_luts(self, width: int) -> float:
        """A two-way choice: three inputs a bit, so two bits share a fractured LUT."""
        return width / 2 if self.fractured else float(width)

    def table_luts(self, inputs: int, outputs: int) -> float:
        """A truth table in LUTs, before any minimisation."""
        if inputs <= self.lut_inputs - 1 and self.fractured:
            return outputs / 2
        return outputs * float(1 << max(inputs - self.lut_inputs, 0))

    def table_ns(self, inputs: int) -> float:
        extra = max(inputs - self.lut_inputs, 0)
        near = min(extra, self.mux_levels)
        # Beyond the dedicated multiplexers, each LUT level picks one of four.
        return self.lut_ns() + near * self.mux + -(-(extra - near) // 2) * self.lut_ns()

    def multiplier_luts(self, a: int, b: int) -> float:
        """An array multiplier out of ternary-free adders: one row for each bit of the shorter factor."""
        return float(a * b)

    def multiplier_ns(self, a: int, b: int) -> float:
        return max(min(a, b) - 1, 1).bit_length() * self.adder_ns(a + b)

    def factor_bits(self, a: Fixed, b: Fixed) -> tuple[int, int]:
        """How many bits of a DSP block's factors two numbers take: a sign bit more where the block asks for one."""
        bare = self.dsp_unsigned and not a.signed and not b.signed
        return a.width + (not bare and not a.signed), b.width + (not bare and not b.signed)

    def dsp_sides(self, a: int, b: int) -> tuple[int, int]:
        """The bits that a block has for two factors of `a` and `b` bits, turned so that they fit best."""
        ways = (self.dsp_wide, self.dsp_narrow), (self.dsp_narrow, self.dsp_wide)
        return min(ways, key=lambda way: _parts(a, way[0]) * _parts(b, way[1]))

    def dsp_blocks(self, a: int, b: int) -> int:
        """The DSP blocks of a product whose factors take `a` and `b` bits; 0 on a device without such blocks.

        A factor too wide for a block is cut: each part but the highest has no sign, and a zero in the sign's place.
        """
        wide, narrow = self.dsp_sides(a, b)
        return _parts(a, wide) * _parts(b, narrow) if self.dsps else 0

    def dsp_ns(self) -> float:
        """Through a DSP block, with the wire to it."""
        return self.dsp + self.net

    def dsp_luts(self) -> float:
        """What a DSP block is worth: the device's LUTs for each of its blocks."""
        return self.luts / self.dsps if self.dsps else inf


def _parts(bits: int, most: int) -> int:
    """How many parts of a factor there are if none takes more than `most` bits."""
    return max(-(-(bits - 1) // (most - 1)), 1)


def _folder() -> Path:
    return Path(str(resources.files("lutc") / "targets"))


def names() -> list[str]:
    """The targets lutc knows by name."""
    return sorted(p.stem for p in _folder().glob("*.toml"))


@lru_cache(maxsize=32)
def load(name: str) -> Target:
    """A target by name, or from a `.toml` file of the user's own. Raises LirError if there is none such."""
    path = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise error(
            f"no target {name!r}",
            help=did_you_mean(name, names()) or "lutc targets lists them; or give the path of a .toml file",
        ) from None
    except tomllib.TOMLDecodeError as e:
        raise error(str(e), where=str(path)) from None
    known = {f.name for f in fields(Target)}
    wrong = sorted(set(data) - known) + sorted(known - set(data) - {"name"})
    if wrong:
        raise error(
            f"fields missing or unknown: {', '.join(wrong)}",
            where=str(path),
            help="copy one of lutc's own targets",
        )
    return Target(**({"name": path.stem} | data))
