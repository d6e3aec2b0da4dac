"""Truth tables in the order of a ROM: entry k answers the key whose bits read k, the negative keys come last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.ir.graph import Table
from lutc.types import Fixed, Type, holding, tensor

Codes = NDArray[Any]  # integers, one-dimensional


def key_codes(fmt: Fixed) -> NDArray[np.int64]:
    """The codes of a format in the order of the ROM."""
    codes = np.arange(1 << fmt.width, dtype=np.int64)
    return np.where(codes > fmt.hi, codes - (1 << fmt.width), codes)


def rom_order(fmt: Fixed, ascending: Codes) -> Codes:
    """Entries that stand from the lowest key code to the highest, in the order of the ROM."""
    return np.roll(ascending, len(ascending) // 2) if fmt.signed else ascending


def rom_tables(name: str, key: Type, codes: Sequence[Codes], fracs: Sequence[int]) -> Table:
    """A tensor of tables, or one for a scalar `key`: every table's values get the narrowest format of their steps.

    codes, fracs: by element of `key`, row-major: a table's entries in the order of the ROM, as integers, and their
    bits after the point.
    """
    kinds = [holding(int(c.min()), int(c.max()), int(f)) for c, f in zip(codes, fracs, strict=True)]
    entries = np.concatenate([c.astype(object) for c in codes]) if codes else np.empty(0, dtype=object)
    return Table(name, key, tensor(key.shape, kinds), entries)
