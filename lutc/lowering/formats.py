"""Formats of many elements at once: from the arrays in which quantisers keep their bits, and what holds several."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from lutc.types import Fixed, Type, holding, tensor

Formats = Any  # an object array of Fixed


def formats(signed: Any, width: Any, frac: Any) -> Formats:
    """The formats with these signs (1 or 0), widths in bits and bits after the point: arrays that broadcast.

    A width below 0 counts as 0: such an element is the number 0.
    """
    arrays = np.broadcast_arrays(signed, np.maximum(width, 0), frac)
    made = np.empty(arrays[0].shape, dtype=object)
    rows = zip(*(a.ravel().tolist() for a in arrays), strict=True)
    made.ravel()[:] = [Fixed(bool(s), int(w), int(f)) for s, w, f in rows]
    return made


def typed(made: Formats, shape: Sequence[int]) -> Type:
    """The type of a tensor of this shape, to which the formats broadcast. Raises ValueError if they do not."""
    return tensor(shape, np.broadcast_to(made, tuple(shape)).ravel().tolist())


def array(kind: Type) -> Formats:
    """A type's formats, in its shape."""
    made = np.empty(kind.size, dtype=object)
    made[:] = kind.formats
    return made.reshape(kind.shape)


def hull(several: Collection[Fixed]) -> Fixed:
    """The narrowest format that holds the numbers of all."""
    live = [f for f in several if f.width]
    frac = max((f.frac for f in live), default=0)
    lo = min((f.lo << (frac - f.frac) for f in live), default=0)
    return holding(lo, max((f.hi << (frac - f.frac) for f in live), default=0), frac)
