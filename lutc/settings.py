"""What a user may ask of a compilation: numbers and words checked before any work is begun.

Each function gives back what it was given, in its proper type, or raises LirError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

from lutc.build import as_type
from lutc.diagnostics import did_you_mean, error, shortened
from lutc.numbers import masked
from lutc.types import Fixed, Type

PERIODS = (
    0.001,
    1e6,
)  # nanoseconds: a register alone takes more than the one, and nobody waits for the other
STAGES = 1000  # ranks of registers; each holds some of every value on its way
VECTORS = 10_000_000  # of a bench, or compared around every pass: the words of each are kept
NAME = 200  # letters of a top module


def period(value: Any, unit: str = "ns") -> float:
    """A clock period in nanoseconds; or a frequency in MHz, which is made one."""
    what = "a clock period is a number of nanoseconds" if unit == "ns" else "a clock is a number of MHz"
    lo, hi = PERIODS if unit == "ns" else (1000 / PERIODS[1], 1000 / PERIODS[0])
    if not _is(value, Real) or not lo <= value <= hi:
        raise error(f"{what} above 0, from {lo:,} to {hi:,.0f}, not {_shown(value)}")
    return float(value) if unit == "ns" else 1000 / float(value)


def count(value: Any, what: str, most: int, least: int = 0) -> int:
    """A number of things."""
    if not _is(value, Integral) or not least <= value <= most:
        raise error(f"{what} is a whole number from {least} to {most:,}, not {_shown(value)}")
    return int(value)


def vectors(value: Any, own: bool) -> int:
    """The random and corner vectors of a bench; none are needed where there are some of the user's `own`."""
    if not own and _is(value, Integral) and value == 0:
        raise error("a bench needs at least one vector", help="give --vectors a number above 0")
    return count(value, "a number of vectors", VECTORS, 0 if own else 1)


def stages(value: Any) -> int:
    """The ranks of registers to cut a design into; 0 for none."""
    return count(value, "a number of stages", STAGES)


def lsb(value: Any) -> float:
    """By how many units of its least significant bit an output may be off."""
    if not _is(value, Real) or not (isfinite(value) and value >= 0):
        raise error(
            f"outputs cannot be off by {_shown(value)} units of their least significant bit",
            help="give a number from 0 on: --approx-lsb 1 allows one unit, 0 keeps the circuit exact",
        )
    return float(value)


def choice(value: Any, what: str, words: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in words:
        close = did_you_mean(str(value)[:100], list(words))
        raise error(f"no {what} {_shown(value)}", help=close or "one of: " + ", ".join(words))
    return value


def flag(value: Any, what: str) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise error(f"{what} is True or False, not {_shown(value)}")
    return value


def name(value: Any, what: str) -> str:
    """The name of a design: an identifier."""
    if not isinstance(value, str) or len(value) > NAME or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        help = f"a name is made of at most {NAME} letters, digits and _, and begins with no digit"
        raise error(f"{_shown(value)} is no name for {what}", help=help)
    return value


def input_types(value: Any) -> dict[str, Any]:
    """Formats of inputs by their names: from a mapping, or one for all."""
    kinds = {"": value} if isinstance(value, str | Fixed | Type) else value or {}
    if not isinstance(kinds, Mapping) or not all(isinstance(name, str) for name in kinds):
        help = 'write "s8f4", or {"x": "s8f4"}'
        raise error(f"input_types is a format, or one for each name, not {_shown(value)}", help=help)
    for key, kind in kinds.items():
        if not isinstance(kind, str | Fixed | Type):
            raise error(f"the format of {key or 'the inputs'!r} is a text such as 's8f4', not {_shown(kind)}")
        as_type(kind)
    return dict(kinds)


def samples(value: Any) -> Any:
    """Data to calibrate with: an array of finite numbers, or several in a list or by name; none may be empty."""
    if value is None:
        return None
    named = isinstance(value, Mapping)
    parts = value.items() if named else enumerate(value if isinstance(value, list | tuple) else [value])
    for name, part in parts:
        what = f"the calibration data of {name!r}" if named else "the calibration data"
        held = part.detach().cpu() if hasattr(part, "detach") else part  # a tensor of PyTorch's
        if masked(held):
            raise error(f"{what} have masked elements", help="fill them, or leave those samples out")
        try:
            if np.iscomplexobj(held):
                raise TypeError
            with np.errstate(over="ignore"):
                numbers = np.asarray(held).astype(np.float32)  # as the frameworks take them
        except (ValueError, TypeError, OverflowError):
            raise error(f"{what} are no array of real numbers") from None
        if not np.isfinite(numbers).all():
            raise error(f"{what} have numbers that are not finite in float32")
        if not numbers.size:
            raise error(f"{what} hold no numbers")
    return value


def _is(value: Any, kind: type) -> bool:
    """Whether it is a number of a kind, numpy's among them; true and false are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return shortened(repr(value))
