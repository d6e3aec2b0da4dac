"""Affine quantisers, whatever module or operator they come from.

PyTorch's own round before they add the zero point: `clip(round(x / scale) + zero, lo, hi)`, which is what
`torch.fake_quantize_per_tensor_affine` documents. Those of Brevitas add it first, as QONNX's Quant does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.affine import ROUNDINGS, affine, round_floats, shifted
from lutc.lowering.quantise import bipolar
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled
from lutc.lowering.walk import Walk

# How near a number computed in float64 must lie to a tie to be taken for one.
NEAR = 2.0**-36


@dataclass(frozen=True, eq=False)
class Quantiser:
    """A quantiser's parameters as arrays that broadcast to the tensor: `scale` floats, the others whole numbers.

    `shifted`: the zero point is added before the rounding. `bipolar`: +1 where a number is not negative, else -1.
    """

    scale: Any
    zero: Any
    lo: Any
    hi: Any
    rounding: str = "ROUND"
    shifted: bool = False
    bipolar: bool = False

    def checked(self) -> Quantiser:
        """Itself. Raises Refusal for parameters no quantiser can have."""
        if not np.isfinite(self.scale).all() or not (self.scale > 0).all():
            raise Refusal(
                "has a scale that is not above 0",
                "the quantiser was never trained or calibrated; do that and export again",
            )
        if not (np.rint(self.zero) == self.zero).all():
            raise Refusal("has a zero point that is no integer", "use a whole zero point")
        if self.rounding not in ROUNDINGS:
            raise Refusal(f"rounds by {self.rounding!r}", "one of: " + ", ".join(ROUNDINGS))
        return self

    def codes(self, x: Any) -> Any:
        """What it makes of float64 numbers. Those within float64's error of a tie count as the tie they are."""
        if self.bipolar:
            return np.where(x >= 0, 1.0, -1.0)
        z = np.asarray(x / np.float64(self.scale))
        twice = np.rint(2 * z) / 2
        z = np.where(np.abs(z - twice) < NEAR * np.maximum(1, np.abs(z)), twice, z)
        mode = ROUNDINGS[self.rounding]
        done = round_floats(z + self.zero, mode) if self.shifted else round_floats(z, mode) + self.zero
        return np.clip(done, self.lo, self.hi)

    def reals(self, codes: Any) -> Any:
        """What codes mean, in float64."""
        return (
            codes * np.float64(self.scale) if self.bipolar else (codes - self.zero) * np.float64(self.scale)
        )


def along(array: Any, axis: int | None, rank: int) -> Any:
    """A parameter for each channel, in a shape that broadcasts to a tensor's; one for all as a number."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape(tuple(-1 if i == axis else 1 for i in range(rank)))


def quantised(walk: Walk, t: Scaled, q: Quantiser) -> Scaled:
    """The integers a quantiser makes of a tensor of the design."""
    s, z, lo, hi = (ex.exact(np.asarray(v)) for v in (q.scale, q.zero, q.lo, q.hi))
    if q.bipolar:
        return bipolar(walk, t)
    if q.shifted:
        return shifted(walk, t, s, z, lo, hi, ROUNDINGS[q.rounding])
    return affine(walk, t, s, z, lo, hi)


def meant(t: Scaled, q: Quantiser) -> Scaled:
    """The numbers that a quantiser's integers stand for."""
    s, z = ex.exact(np.asarray(q.scale)), ex.exact(np.asarray(q.zero))
    moved = t if q.bipolar else t.plus(ex.times(z, ex.number(-1)))
    return replace(moved.times(s), integer=None)


def on_grid(array: Any, q: Quantiser) -> Known:
    """Constants that a quantiser made, with their codes. Raises Refusal if they are not on its own grid."""
    zero = 0 if q.bipolar else np.asarray(q.zero, np.float64)
    codes = np.rint(np.asarray(array, np.float64) / np.float64(q.scale)).astype(np.int64)
    low, high = np.asarray(q.lo) - zero, np.asarray(q.hi) - zero
    if not q.bipolar and not ((codes >= low) & (codes <= high)).all():
        raise Refusal("gives constants that are not on its own grid", "train it, freeze it, and export again")
    return Known(array, codes, ex.exact(np.asarray(q.scale)))
