"""One output bit of more inputs than a LUT has, as LUTs by name: the fewest that a search over sets of inputs finds.

Some inputs, the free ones, are set aside. The others matter only by which column of the function's table they choose:
with mu different columns, `t = ceil(log2(mu))` functions of them say which, and one of those and the free inputs does
the rest (Ashenhurst, "The decomposition of switching functions", 1957). Two free inputs and t = 4 are a multiplexer of
four. The free inputs should be the late ones: they pass one LUT.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from lutc.rtl.inputs import live_inputs
from lutc.rtl.nets import Const

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net

WIDEST = 10  # inputs
_FREE = 3  # inputs set aside at most


def in_luts(build: ModuleBuilder, inputs: Sequence[Net], contents: Sequence[int]) -> Net:
    """`contents[i]`, where the bits of up to `WIDEST` inputs, the first lowest, read i, in LUTs."""
    assert build.luts
    most = build.luts.inputs
    if len(inputs) <= most:
        return build.lut(inputs, contents)
    order = sorted(range(len(inputs)), key=lambda i: build.ready(inputs[i]))
    late = tuple(order[-_FREE:])
    free, codes, outer = _split(bytes(contents), late, most)
    rest = [net for i, net in enumerate(inputs) if i not in free]
    bits = [in_luts(build, *live_inputs(rest, code)) for code in codes]
    return build.lut([*bits, *(inputs[i] for i in free)], list(outer))


@lru_cache(maxsize=1 << 14)
def _split(
    contents: bytes, late: tuple[int, ...], most: int
) -> tuple[tuple[int, ...], tuple[bytes, ...], bytes]:
    """The free inputs, the functions of the others, and that of those functions and the free inputs."""
    table = np.frombuffer(contents, dtype=np.uint8)
    count = len(contents).bit_length() - 1
    best: tuple[float, int] | None = None
    for size in range(1, _FREE + 1):
        for free in combinations(range(count), size):
            columns, places = columns_of(table, count, free)
            width = (len(columns) - 1).bit_length()
            if size + width > most:
                continue
            rank = width * _about(count - size, most) + (size + width) / 64, -len({*free} & {*late})
            if best is None or rank < best:
                best, chosen = rank, (free, width, columns, places)
    free, width, columns, places = chosen
    codes = tuple((places >> bit & 1).astype(np.uint8).tobytes() for bit in range(width))
    # A code that never comes answers as the last one does.
    answers = columns[np.minimum(np.arange(1 << width), len(columns) - 1)]  # [code, free]
    return free, codes, answers.T.astype(np.uint8).tobytes()


def columns_of(table: np.ndarray, count: int, free: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The columns that differ, as [column, free inputs], and which of them the other inputs choose."""
    axes = [count - 1 - i for i in range(count)]  # of each input, in the table with an axis for every one
    bound = [i for i in range(count) if i not in free]
    turned = table.reshape((2,) * count).transpose([axes[i] for i in (*reversed(bound), *reversed(free))])
    rows = turned.reshape(1 << len(bound), 1 << len(free))
    words = rows @ (1 << np.arange(1 << len(free)))
    _, first, places = np.unique(words, return_index=True, return_inverse=True)
    return rows[first], places.reshape(-1)


def _about(inputs: int, most: int) -> float:
    """LUTs of a function of so many inputs, of which nothing is known."""
    return 1.0 if inputs <= most else 2.5 * 2 ** (inputs - most - 1)


def simple(inputs: Sequence[Net]) -> bool:
    """Whether no input is a constant, or another one's copy."""
    return len({*inputs}) == len(inputs) and not any(isinstance(net, Const) for net in inputs)
