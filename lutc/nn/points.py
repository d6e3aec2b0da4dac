"""The points of a batch: where each edge of a LUT layer is evaluated, and which samples read it there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from . import kernels
from .kernel_records import Codes, Groups, Numbering, Points
from .quantizer import Array

FAR = 1 << 30  # codes are kept within +-FAR; float32 data cannot resolve more
WORTH_THREADS = 1 << 21  # nanoseconds, roughly, below which starting threads costs more than it saves


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size)


def threads() -> int:
    """How many threads the kernels share the work of a large batch among: torch's number."""
    return torch.get_num_threads()


def spread(work: int, count: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Run ``kernel(a, z, *arguments)`` over 0..count, in `threads` threads if ``work`` is worth it."""
    parts = min(threads(), count)
    if parts < 2 or work < WORTH_THREADS:
        kernel(0, count, *arguments)
        return
    cuts = [count * k // parts for k in range(parts + 1)]
    jobs = [_pool(parts).submit(kernel, a, z, *arguments) for a, z in itertools.pairwise(cuts[1:])]
    kernel(0, cuts[1], *arguments)
    for job in jobs:
        job.result()


@dataclass
class Grid:
    """A batch's points; see `lutc.nn.kernels` for the words."""

    layout: Layout
    x: Array  # [n_in, B]
    codes: Codes
    low: Array  # [G] extreme codes of the batch
    high: Array  # [G]
    groups: Groups
    points: Points

    @property
    def samples(self) -> int:
        return int(self.x.shape[1])

    @property
    def work(self) -> int:
        return self.samples * self.points.place.size


@dataclass
class Layout:
    """Which edges share a group: it changes only when a bit width does, so a layer keeps the last one."""

    keys: tuple[Array, ...]  # by edge, see `_keys`
    owner: Array  # [G] input of a group
    scale: Array  # [G] 2**fraction, float64
    limits: Array  # [2, G] smallest and largest code, float64
    edges_of: Array
    first_group: Array
    edge: Array
    place: Array
    group: Array

    def __post_init__(self) -> None:
        self._cast: dict[Any, tuple[Array, ...]] = {}
        self._starts: dict[int, Array] = {}

    def cast(self, dtype: Any) -> tuple[Array, ...]:
        """``scale`` and the two ``limits`` in another float type."""
        if dtype not in self._cast:
            self._cast[dtype] = (self.scale.astype(dtype), *self.limits.astype(dtype))
        return self._cast[dtype]

    def starts(self, room: int) -> Array:
        """Where each group's points start if every group has ``room``."""
        if room not in self._starts:
            self._starts = {room: np.arange(self.owner.size) * room}
        return self._starts[room]


def make_layout(keys: tuple[Array, ...], n_in: int, n_out: int) -> Layout:
    edges = np.arange(n_in * n_out)
    owner = edges // n_out
    order = np.lexsort((*keys, owner))
    new = np.zeros(edges.size, bool)
    new[0] = True
    for key in (*keys, owner):
        k = key[order]
        new[1:] |= k[1:] != k[:-1]
    heads = order[new]
    place = np.empty(edges.size, np.uint32)
    place[order] = edges
    limits = (
        np.stack([k[heads] for k in keys[1:3]])
        if len(keys) > 1
        else np.outer([-FAR, FAR], np.ones(heads.size))
    )
    return Layout(
        keys,
        owner[heads],
        np.exp2(keys[0][heads]),
        np.clip(limits, -FAR, FAR),
        np.append(np.flatnonzero(new), edges.size),
        np.searchsorted(owner[heads], np.arange(n_in + 1)),
        order,
        place,
        (np.cumsum(new) - 1).astype(np.uint32),
    )


def make_grid(
    x: Array, keys: tuple[Array, ...], rounding: int, n_out: int, last: Layout | None = None
) -> Grid:
    """The points of the batch ``x`` [n_in, B].

    ``keys`` are by edge: what `_keys` says.
    Raises ValueError if ``x`` holds a number that is not finite.
    """
    n_in, samples = x.shape
    if not np.isfinite(x).all():
        where = int(np.nonzero(~np.isfinite(x).all(axis=1))[0][0])
        raise ValueError(f"input {where} of a LUT layer is not finite; is the learning rate too high?")
    if last is not None and len(last.keys) == len(keys) and all(map(np.array_equal, keys, last.keys)):
        layout = last
    else:
        layout = make_layout(keys, n_in, n_out)
    count = layout.owner.size
    scale, lo, hi = layout.cast(x.dtype)
    codes = Codes(layout.owner, scale, lo, hi, rounding)
    cap = max(2 * samples, 4 * kernels.LANES)
    room = max(samples, 4 * kernels.LANES) + kernels.LANES
    found = Numbering(
        np.empty((count, samples), np.uint16 if room < 1 << 16 else np.uint32),
        np.empty(room * count, x.dtype),
        np.empty(room * count, x.dtype),
        np.empty(count, np.int64),
        np.empty(count, np.int32),
        np.empty(count, np.int32),
    )
    spread(2 * found.point_of.size, count, kernels.points, x, codes, cap, room, found)
    at = np.empty(layout.edge.size + 1, np.int64)
    kernels.offsets(found.size, layout.group, at)
    numbered = found.point_of, found.x_at, found.weight
    points = Points(layout.place, layout.group, layout.starts(room), at, *numbered)
    groups = Groups(layout.first_group, layout.edges_of, layout.edge)
    return Grid(layout, x, codes, found.low, found.high, groups, points)
