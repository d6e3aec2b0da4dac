"""HGQ2's quantisers, read from a layer's config and weights.

A fixed-point quantiser keeps three numbers per element (or per group of elements): `k` (1 if signed), `i` (bits before
the point, sign apart) and `f` (bits after it), or `b = i + f` in the place of `f`. Those that are trained are real
numbers and count rounded to the nearest integer, ties to even. An element with `k + i + f <= 0` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.lowering.formats import Formats, formats
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, Options
from lutc.types import Overflow, Rounding, Type, tensor

from .archive import Weights
from .identity import owner

ROUNDINGS = {
    "TRN": Rounding.FLOOR,
    "RND": Rounding.HALF_UP,
    "RND_CONV": Rounding.HALF_EVEN,
    "TRN_ZERO": Rounding.TOWARD_ZERO,
    "RND_ZERO": Rounding.HALF_ZERO,
    "RND_MIN_INF": Rounding.HALF_DOWN,
    "RND_INF": Rounding.HALF_AWAY,
}
OVERFLOWS = {
    "WRAP": Overflow.WRAP,
    "SAT": Overflow.SATURATE,
    "SAT_SYM": Overflow.SATURATE_SYMMETRIC,
}

Int = NDArray[np.int64]
Real = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A fixed-point quantiser. `k`, `i`, `f` broadcast to what it quantises, batch axis included for data.

    `rounds_only`: a weight's quantiser in mode WRAP never wraps. `scale` and `shift` are applied after quantising
    (`affine` of HGQ2). `tracked`: its range follows the data (mode WRAP, not frozen); `traced` is False if that range
    is still the one of training. `total_bits`: `i + f` is given, so that `f` follows `i`.
    """

    k: Int
    i: Int
    f: Int
    rounding: Rounding
    overflow: Overflow
    rounds_only: bool = False
    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)
    tracked: bool = False
    traced: bool = True
    total_bits: bool = False

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which elements are not cut down to the number 0."""
        return np.asarray(self.k + self.i + self.f > 0)

    @property
    def formats(self) -> Formats:
        """The formats of what it gives, before `scale` and `shift`."""
        return formats(self.k, self.k + self.i + self.f, self.f)

    def type(self, shape: Sequence[int]) -> Type:
        """The type of a batch element of this shape after quantising (before `scale` and `shift`)."""
        return tensor(shape, np.broadcast_to(self.formats, (1, *shape)).ravel().tolist())

    def with_range(self, k: Int, i: Int) -> Quantizer:
        """The same quantiser with a range that was traced on data."""
        f = self.i + self.f - i if self.total_bits else self.f
        return replace(self, k=k, i=i, f=f, traced=True)

    def weights(self, x: Real) -> Real:
        """Quantise weights, in float32 as the framework does."""
        k, i, f = (a.astype(np.float32) for a in (self.k, self.i, self.f))
        step = np.exp2(-f)
        if self.overflow is not Overflow.WRAP:
            high = np.exp2(np.maximum(i, -f)) - step
            low = -k * (high if self.overflow is Overflow.SATURATE_SYMMETRIC else high + step)
            x = np.where(x > high, high, np.where(x < low, low, x)).astype(np.float32)
        y: Real = (round_float(x * np.exp2(f), self.rounding) * step).astype(np.float32)
        if self.rounds_only:
            return y
        if self.overflow is Overflow.WRAP:
            span = np.exp2(np.maximum(i, -f) + k)
            bias = k * span / 2
            y = (np.mod(y + bias, span) - bias).astype(np.float32)
        y = np.where(self.live, y, np.float32(0))
        result: Real = (y * np.float32(self.scale) + np.float32(self.shift)).astype(np.float32)
        return result


def round_float(x: Any, rounding: Rounding) -> Any:
    """Round floats to integers, with the sums in the floats' own precision as HGQ2 has them."""
    half = x.dtype.type(0.5)
    match rounding:
        case Rounding.FLOOR:
            return np.floor(x)
        case Rounding.HALF_UP:
            return np.floor(x + half)
        case Rounding.HALF_EVEN:
            return np.rint(x)
        case Rounding.TOWARD_ZERO:
            return np.trunc(x)
        case Rounding.HALF_ZERO:
            return -np.floor(-np.abs(x) + half) * np.sign(x)
        case Rounding.HALF_DOWN:
            return -np.floor(-x + half)
        case Rounding.HALF_AWAY:
            return np.floor(np.abs(x) + half) * np.sign(x)
    raise ValueError(rounding)


def quantizer(conf: Any, saved: Weights, what: str) -> Quantizer:
    """The quantiser of a serialised `QuantizerConfig`, its numbers from `saved` (the group of the `Quantizer`).

    Raises Refusal for one that is not fixed-point.
    """
    c = _options(conf, what)
    kind = str(c.get("q_type", "kbi")).lower()
    if kind not in ("kbi", "kif"):
        raise Refusal(f"{what} is a {kind} quantiser", "use q_type='kif' or 'kbi', which are fixed-point")
    if c.get("bw_mapper") is not None:
        raise Refusal(f"{what} has its own bit-width mapper", "use homogeneous_axis or heterogeneous_axis")
    round_mode = str(c["round_mode"]).upper().removeprefix("S_")
    overflow_mode = str(c["overflow_mode"]).upper()
    if round_mode not in ROUNDINGS or overflow_mode not in OVERFLOWS:
        raise Refusal(
            f"{what} has modes {round_mode}, {overflow_mode}",
            f"rounding may be {', '.join(ROUNDINGS)}; overflow {', '.join(OVERFLOWS)}",
        )
    scale, shift = _affine(c, what)
    k, i, last = _stored(saved, kind, overflow_mode == "WRAP", what)
    ri, rlast = (np.rint(a.astype(np.float32)).astype(np.int64) for a in (i, last))
    tracked = overflow_mode == "WRAP" and bool(c.get("trainable", True))
    weight = tracked and bool(c.get("is_weight"))
    c.check()
    return Quantizer(
        k=k.astype(np.int64),
        i=ri,
        f=rlast - ri if kind == "kbi" else rlast,
        rounding=ROUNDINGS[round_mode],
        overflow=OVERFLOWS[overflow_mode],
        rounds_only=weight and (kind == "kif" or round_mode == "RND"),
        scale=scale,
        shift=shift,
        tracked=tracked,
        traced=not tracked or bool((ri == i).all()),
        total_bits=kind == "kbi",
    )


def _stored(saved: Weights, kind: str, wrap: bool, what: str) -> tuple[Any, Any, Any]:
    """The numbers that the file holds: k, i, and b or f. Raises Refusal unless they are all there."""
    stored = saved("quantizer").own
    if len(stored) != (4 if wrap else 3):
        raise Refusal(
            f"the file holds {len(stored)} numbers for {what}, not k, i and {'b' if kind == 'kbi' else 'f'}",
            "save the model again after calling it once on data, so that every quantiser is built",
        )
    # A range that was never traced may still be infinite.
    if any(
        np.isnan(a).any() or (not wrap and np.isinf(a).any()) for a in (np.asarray(v, float) for v in stored)
    ):
        raise Refusal(f"{what} has bits that are no numbers", "train the model again")
    # Trainable variables come first: (b or f, then k, i, decay) under WRAP, where i is tracked and not trained.
    if wrap:
        return stored[1], stored[2], stored[0]
    if kind == "kbi":
        return stored[2], stored[1], stored[0]
    return stored[2], stored[0], stored[1]


# What a quantiser's variables tell (initial numbers, axes, where it stands), and what only training reads.
TOLD_OPTIONS = (
    "place", "k0", "b0", "i0", "f0", "bc", "ic", "fc", "br", "ir", "fr", "i_decay_speed", "homogeneous_axis",
    "heterogeneous_axis", "qnoise_factor", "trainable", "is_weight",
)  # fmt: skip
TOLD: Mapping[str, Any] = dict.fromkeys(TOLD_OPTIONS, FREE)
CONFIGS = ("QuantizerConfig", "HardTanhConfig", "HardSigmoidConfig")


def _options(conf: Any, what: str) -> Options:
    """The options of a serialised `QuantizerConfig`, with those that its sugared forms leave out."""
    if not isinstance(conf, dict) or not isinstance(conf.get("config"), dict):
        raise Refusal(f"{what} has no configuration", "save the model again with HGQ2 0.1.6 or newer")
    kind = str(conf["class_name"])
    whose = owner(kind, str(conf.get("module")), conf.get("registered_name"))
    if whose != "hgq" or kind not in CONFIGS:
        raise Refusal(f"{what} is of class {conf.get('registered_name') or kind}, which is not HGQ2's", None)
    options = dict(conf["config"])
    if kind == "HardTanhConfig":
        options.setdefault("overflow_mode", "SAT")
    if kind == "HardSigmoidConfig":
        options.update(overflow_mode="SAT", affine=[0.25, 0.5])
    return Options(options, TOLD, f"option of {what}")


def _affine(c: Options, what: str) -> tuple[Fraction, Fraction]:
    if c.get("scaler") is not None:
        raise Refusal(f"{what} has a scaler", "leave scaler=None, and scale the model's input instead")
    if c.get("affine") is None:
        return Fraction(1), Fraction(0)
    scale, shift = c["affine"]
    return Fraction(scale), Fraction(shift)
