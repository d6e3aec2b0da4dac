"""Samples stay apart: whether a layer makes of every sample of a batch what it makes of the sample alone.

A model leaves open how many samples its first dimension counts, and a circuit takes one at a time. Instead of a line
in every rule, each layer is run by the standard's reference implementation: on batches of numbered elements, and on
their samples one by one. Whatever mixes, moves, counts or repeats samples gives other numbers. What is known at
compile time but depends on the length of the batch (Shape, and all that is computed of it) is known for several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lutc.diagnostics import LirError
from lutc.lowering.operands import ACROSS, ACROSS_HELP
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import SAMPLES, Curve, Known, Missing, Scaled

from .curve import CURVES
from .model import Node, evaluator, numpy_type

# The first dimension of these counts samples by definition, and running them takes long or has no answer.
ROWWISE = CURVES | {
    "AveragePool", "BatchNormalization", "Cast", "Clip", "Conv", "ConvInteger", "ConvTranspose", "Dropout",
    "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Neg", "QLinearConv", "Relu",
    "Resize", "Upsample",
}  # fmt: skip
# Lengths have to agree here, so what is no batch of this length is none for any framework.
STRICT = frozenset({"Concat", "Reshape"})
INDICES = {
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
}
SIZE = 1 << 22  # elements: a larger tensor is not tried, for its rule looks at the axes as well

Anything = Known | Scaled | Curve | Missing | None


def varies(t: Anything) -> bool:
    """Whether a constant depends on how many samples there are."""
    return isinstance(t, Known) and bool(t.counts)


def folded(node: Node, tensors: Sequence[Known | None]) -> tuple[Known, ...]:
    """What a node makes of constants, for every length of the batch that they depend on."""
    run = evaluator(node)
    once = [np.asarray(a) for a in run([None if t is None else t.array for t in tensors])]
    if not any(varies(t) for t in tensors):
        return tuple(map(Known, once))
    others = [run([_count(t, i) for t in tensors]) for i in range(len(SAMPLES))]
    made = []
    for i, array in enumerate(once):
        counts = tuple(np.asarray(other[i]) for other in others)
        same = all(c.shape == array.shape and np.array_equal(c, array) for c in counts)
        made.append(Known(array) if same else Known(array, counts=counts))
    return tuple(made)


def _count(t: Anything, which: int) -> Any:
    if not isinstance(t, Known):
        return None
    return t.counts[which] if t.counts else t.array


def check_samples(node: Node, tensors: Sequence[Anything], results: Sequence[Anything]) -> None:
    """Raise Refusal unless the node makes of each sample of a batch what it makes of the sample alone."""
    counted = any(varies(t) for t in tensors)
    batched = any(isinstance(t, Scaled | Curve) and t.batched for t in tensors)
    if node.op in ("Shape", "Size") or (not counted and (not batched or node.op in ROWWISE)):
        return
    if node.domain != "" or node.proto is None:
        if counted:
            raise Refusal(
                "reads what depends on the length of the batch, and a circuit sees one sample at a time",
                ACROSS_HELP,
            )
        # No evaluator knows these. None makes dimensions of its own, so a new one comes of an operand of higher rank,
        # and then samples lie along another dimension than the first.
        ranks = [len(t.shape) for t in tensors if isinstance(t, Scaled | Curve) and t.batched]
        if any(len(t.shape) > min(ranks) for t in results if isinstance(t, Scaled | Curve | Known)):
            raise Refusal(*ACROSS)
        return
    if max(math.prod(t.shape) for t in (*tensors, *results) if isinstance(t, Scaled | Curve | Known)) > SIZE:
        return
    rng = np.random.default_rng(0)
    data = [_numbers(rng, t, i in INDICES.get(node.op, ())) for i, t in enumerate(tensors)]
    run = evaluator(node)

    def answer(which: int, rows: slice) -> Any:
        arrays = []
        for t, numbers in zip(tensors, data, strict=True):
            if isinstance(t, Known):
                arrays.append(_count(t, which) if which >= 0 else t.array)
            elif isinstance(t, Scaled | Curve) and t.batched:
                arrays.append(numbers[rows])
            else:
                arrays.append(numbers)
        return run(arrays)

    try:
        alone = [answer(-1, slice(i, i + 1)) for i in range(max(SAMPLES))]
    except LirError:
        return  # the evaluator cannot compute it at all: the rule has to see to the axes
    for which, count in enumerate(SAMPLES):
        try:
            whole = answer(which, slice(count))
        except LirError:
            if node.op in STRICT:
                continue  # such a batch has no meaning in the model either
            raise Refusal(*ACROSS) from None
        for k, together in enumerate(whole):
            one_by_one = [np.asarray(a[k]) for a in alone[:count]]
            if not _same(np.asarray(together), one_by_one):
                raise Refusal(*ACROSS)


def _same(together: Any, alone: list[Any]) -> bool:
    if any(a.ndim == 0 or a.shape[0] != 1 for a in alone):
        return False
    rows = np.concatenate(alone)
    if together.shape != rows.shape:
        return False
    if together.dtype.kind in "biu":
        return bool((together == rows).all())
    a, b = together.astype(np.float64), rows.astype(np.float64)
    largest = np.abs(b[np.isfinite(b)]).max(initial=1.0)  # sums of large numbers end near 0 with their errors
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-6 * largest, equal_nan=True))


def _numbers(rng: Any, t: Anything, index: bool) -> Any:
    """Numbers in the place of data: all different, a row for each sample where the first dimension counts them."""
    if t is None or isinstance(t, Known | Missing):
        return None
    shape = (max(SAMPLES), *t.shape[1:]) if t.batched else t.shape
    size = int(np.prod(shape, dtype=np.int64))
    kind = (t.integer or t.real) if isinstance(t, Scaled) else "float"
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if index:
        return rng.integers(0, 2, shape)
    lowest = -(size // 2) if not kind.startswith("u") else 0
    numbers = rng.permutation(size).reshape(shape) + lowest
    dtype = numpy_type(kind)
    return (numbers % 100 if kind in ("uint8", "int8") else numbers).astype(dtype)
