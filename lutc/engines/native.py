"""A design's C model, loaded: batches of codes or of real numbers, by one thread or several."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lutc.cmodel import ports
from lutc.cmodel.source import LANES, Model
from lutc.engines.compiler import library
from lutc.ir.graph import Design
from lutc.types import Ints, Type

_SHARE = 64 * LANES  # samples that a thread is worth
_BYTES = 1 << 22  # of samples that are given to a thread at once


class Native:
    """What a compiled model answers. `reals` says whether it takes real numbers.

    Raises NoCompiler where there is no compiler, or it does not take the model.
    """

    def __init__(self, design: Design, model: Model) -> None:
        self.name, self.params, self.outputs = design.name, design.params, design.outputs
        loaded = ctypes.CDLL(str(library(model)))
        self.reals = model.reals
        self._codes = getattr(loaded, f"{model.name}_codes")
        self._reals = getattr(loaded, f"{model.name}_reals") if model.reals else None
        self._keep = loaded

    def codes(self, codes: Mapping[str, Ints], threads: int = 1) -> dict[str, Ints]:
        """The same as `lutc.ir.interp.execute`."""
        inputs = [np.asarray(codes[p.name or ""]) for p in self.params]
        count = max((len(x) for x in inputs), default=1)
        given = [
            _words(np.broadcast_to(x, (count, *p.type.shape)), p.type)
            for x, p in zip(inputs, self.params, strict=True)
        ]
        answers = [
            np.empty((count, o.value.type.size * ports.words_of(o.value.type)), dtype=np.int64)
            for o in self.outputs
        ]
        self._run(self._codes, count, given, answers, threads)
        return {o.name: _codes(a, o.value.type) for o, a in zip(self.outputs, answers, strict=True)}

    def numbers(self, inputs: list[Any], threads: int = 1) -> list[Any] | None:
        """Answers as float64 to arrays of float64 `(batch, *shape)`; None where only the reference can tell."""
        assert self._reals is not None
        count = max((len(x) for x in inputs), default=1)
        given = [np.ascontiguousarray(x, dtype=np.float64) for x in inputs]
        answers = [np.empty((count, *o.value.type.shape), dtype=np.float64) for o in self.outputs]
        return answers if self._run(self._reals, count, given, answers, threads) == 0 else None

    def _run(self, entry: Any, count: int, given: list[Any], answers: list[Any], threads: int) -> int:
        """Shares of the samples at a time, so that threads have equally much to do. Raises MemoryError."""
        arrays = [*given, *answers]
        each = max(sum(a[0].nbytes if count else 0 for a in arrays), 1)
        share = max(min(-(-count // max(threads, 1)), _BYTES // each), _SHARE)
        share = -(-share // LANES) * LANES
        starts = range(0, count, share)

        def one(first: int) -> int:
            some = min(share, count - first)
            return int(
                entry(ctypes.c_size_t(some), *(ctypes.c_void_p(a[first:].ctypes.data) for a in arrays))
            )

        with_threads = threads > 1 and len(starts) > 1
        found = _together(one, starts, threads) if with_threads else [one(first) for first in starts]
        if min(found, default=0) < 0:
            raise MemoryError(f"no memory for the rows of {self.name}")
        return max(found, default=0)


def _together(one: Callable[[int], int], starts: range, threads: int) -> list[int]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, starts))


def threads_here() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _words(codes: Any, kind: Type) -> Any:
    """Codes as the C model takes them, `(batch, elements * words)`."""
    words = ports.words_of(kind)
    flat = codes.reshape(len(codes), kind.size)
    if words == 1:
        return np.ascontiguousarray(flat, dtype=np.int64)
    found = np.empty((len(codes), kind.size, words), dtype=np.uint64)
    exact = flat.astype(object)
    for k in range(words):
        found[:, :, k] = ((exact >> (64 * k)) & ((1 << 64) - 1)).astype(np.uint64)
    return found.reshape(len(codes), -1)


def _codes(words: Any, kind: Type) -> Ints:
    """Codes from what the C model gives."""
    count = ports.words_of(kind)
    if count == 1:
        found = words.reshape(len(words), *kind.shape)
        return found if kind.max_width <= 62 else found.astype(object)
    parts = words.reshape(len(words), kind.size, count).astype(object)
    total = parts[:, :, -1]  # the sign is its
    for k in range(count - 2, -1, -1):
        total = (total << 64) | (parts[:, :, k] & ((1 << 64) - 1))
    return total.reshape(len(words), *kind.shape)
