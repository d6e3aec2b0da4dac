"""Rules of `lutc.nn.convert`. Movements of elements, and what changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lutc.lowering.refusals import Refusal
from lutc.nn.graph import Concat, Move

from .call import Call
from .run import Rule
from .walk import Held, Result


def _view(c: Call, x: Result, kind: str, numbers: Sequence[int], shape: Sequence[int]) -> Result:
    """A movement whose result torch makes a view of the operand."""
    made = c.walk.layer(c.where, Move(kind, *numbers), [x], shape)
    return replace(made, storage=x.storage, seen=x.seen)


def reshaped(c: Call, x: Result, shape: tuple[int, ...]) -> Result:
    return x if shape == x.shape else _view(c, x, "reshape", shape, shape)


def reshape(c: Call) -> Result:
    c.follow()
    shape = c.shape
    return reshaped(c, c.result(), shape)


FIRST = "keep the batch first, as in x.permute(0, 2, 1, 3).unbind(1) for x.permute(2, 0, 1, 3).unbind(0)"


def _permuted(c: Call, dims: Sequence[int]) -> Result:
    x = c.result()
    order = [d % (len(x.shape) + 1) for d in dims]
    if order[0] != 0:
        raise Refusal("moves the batch from the first dimension", FIRST)
    return _view(c, x, "permute", order, tuple(x.shape[d - 1] for d in order[1:]))


def permute(c: Call) -> Result:
    return _permuted(c, c.numbers("dims"))


def transpose(c: Call) -> Result:
    x, first, second = c.result(), c["dim0"], c["dim1"]
    order = list(range(len(x.shape) + 1))
    order[first], order[second] = order[second], order[first]
    return _permuted(c, order)


def _turned(c: Call) -> Result:
    n = len(c.result().shape) + 1
    if n < 3:
        raise Refusal("moves the batch from the first dimension", FIRST)
    return _permuted(c, [*range(n - 2), n - 1, n - 2])


def cut(c: Call, x: Result, axis: int, start: int, stop: int, step: int = 1) -> Result:
    if (start, stop, step) == (0, x.shape[axis - 1], 1):
        return x
    shape = list(x.shape)
    shape[axis - 1] = len(range(start, stop, step))
    return _view(c, x, "slice", (axis, start, stop, step), shape)


def slice_(c: Call) -> Result:
    x, dim, start, stop, step = c.result(), c["dim"], c["start"] or 0, c["end"], c["step"]
    n = 1 << 62
    if (
        dim % (len(x.shape) + 1) == 0
        and start == 0
        and step == 1
        and (stop is None or (isinstance(stop, int) and stop >= n))
    ):
        return x
    axis = c.axis(dim, len(x.shape) + 1)
    if not all(isinstance(v, int | None) for v in (start, stop)):
        raise Refusal("cuts at a place that depends on the number of samples", "cut at numbers")
    return cut(c, x, axis, *slice(start, stop, step).indices(x.shape[axis - 1]))


def select(c: Call) -> Result:
    x = c.result()
    axis = c.axis(c["dim"], len(x.shape) + 1)
    (index,) = c.numbers("index")
    shape = [n for i, n in enumerate(x.shape, 1) if i != axis]
    return _view(c, x, "select", (axis, index % x.shape[axis - 1]), shape)


def split(c: Call) -> list[Result]:
    """Parts of an axis, as long as the trace found them."""
    c.follow()
    x = c.result()
    axis = c.axis(c.options.peek("dim", 0), len(x.shape) + 1)
    parts, start = [], 0
    for value in c.node.meta["val"]:
        length = int(value.shape[axis])
        parts.append(cut(c, x, axis, start, start + length))
        start += length
    return parts


def unbind(c: Call) -> list[Result]:
    x = c.result()
    axis = c.axis(c["dim"], len(x.shape) + 1)
    shape = [n for i, n in enumerate(x.shape, 1) if i != axis]
    return [_view(c, x, "select", (axis, i), shape) for i in range(x.shape[axis - 1])]


def concat(c: Call) -> Result:
    parts = c["tensors"]
    if any(isinstance(p, Held) for p in parts):
        raise Refusal(
            "joins what the network computes with a constant",
            "pad it with zeros (F.pad), and add a parameter of the whole shape",
        )
    found = [c.fresh(p) for p in parts]
    axis = c.axis(c["dim"], len(found[0].shape) + 1)
    return found[0] if len(found) == 1 else c.made(Concat(axis), *found)


def stack(c: Call) -> Result:
    parts = [c.fresh(p) for p in c["tensors"]]
    axis = c.axis(c["dim"], len(parts[0].shape) + 2)
    tall = [*parts[0].shape[: axis - 1], 1, *parts[0].shape[axis - 1 :]]
    return c.made(Concat(axis), *(reshaped(c, p, tuple(tall)) for p in parts))


def flip(c: Call) -> Result:
    x = c.result()
    axes = [c.axis(d, len(x.shape) + 1) for d in c.numbers("dims")]
    return c.made(Move("flip", *axes), x)


def roll(c: Call) -> Result:
    x, shifts = c.result(), c.numbers("shifts")
    axes = [c.axis(d, len(x.shape) + 1) for d in c.numbers("dims")]
    if len(axes) != len(shifts) or not axes:
        raise Refusal("rolls the batch along", "give it the axes to roll")
    for shift, axis in zip(shifts, axes, strict=True):
        x = c.made(Move("roll", shift, axis), x)
    return x


def spread(c: Call) -> Result:
    c.follow()
    x, shape = c.result(), c.shape
    if len(shape) != len(x.shape):
        raise Refusal("adds an axis before those that are there", "use unsqueeze first")
    return x if shape == x.shape else _view(c, x, "spread", shape, shape)


def repeat(c: Call) -> Result:
    x, counts = c.result(), c["repeats"]
    if len(counts) != len(x.shape) + 1 or counts[0] != 1 or not all(isinstance(n, int) for n in counts):
        raise Refusal("repeats the batch, or adds axes", "repeat along the other axes")
    return c.made(Move("repeat", *counts[1:]), x)


def pad(c: Call) -> Result:
    x, ends, mode, value = c.result(), c.numbers("pad"), c["mode"], c["value"]
    if mode != "constant" or value:
        raise Refusal(f"pads by {mode!r}, or with other numbers than 0", "pad with zeros")
    if min(ends) < 0 or len(ends) > 2 * len(x.shape):
        raise Refusal("cuts off elements, or pads the batch", "slice, and pad the other axes")
    return c.made(Move("pad", *ends), x)


def upsample(c: Call) -> Result:
    c.follow()
    x, shape = c.result("input"), c.shape
    factors = [m / n for m, n in zip(shape[1:], x.shape[1:], strict=True)]
    if any(f != int(f) for f in factors):
        raise Refusal("is resized by a factor that is no whole number", "use a whole scale_factor")
    return c.made(Move("upsample", *(int(f) for f in factors)), x)


def pixel_shuffle(c: Call) -> Result:
    x, (factor,) = c.result(), c.numbers("upscale_factor")
    return c.made(Move("pixel_shuffle", factor), x)


# -- what changes nothing ---------------------------------------------------------------------------------------------


def same_type(c: Call, dtype: Any) -> None:
    if dtype is not None and dtype != c.walk.traced.input.meta["val"].dtype:
        raise Refusal(f"computes in {str(dtype).removeprefix('torch.')}", "keep the model's own float type")


def same(c: Call) -> Result:
    c.follow()
    same_type(c, c.options.peek("dtype"))
    x = c.result()
    return Result(x.name, x.shape) if c.options.peek("copy") else x


def contiguous(c: Call) -> Result:
    x, form = c.result(), c["memory_format"]
    given: Any = c.node.args[0]
    there = given.meta["val"].is_contiguous(memory_format=form or torch.contiguous_format)
    return x if there else Result(x.name, x.shape)


def cloned(c: Call) -> Result:
    x = c.result()
    return Result(x.name, x.shape)


def dropout(c: Call) -> Result:
    operand = "self" if "self" in c.options else "input"  # in place it has another name
    x, share = c.result(operand), c["p"]
    if c["train"]:
        raise Refusal("drops elements in evaluation too", "give it training=self.training")
    kinds = {2: nn.Dropout1d, 3: nn.Dropout2d} if c.op.startswith("feature") else {}
    kept = c.made(kinds.get(len(x.shape), nn.Dropout)(share), x)
    return replace(kept, storage=x.storage, seen=x.seen)


RULES: dict[str, Rule] = {
    "alias": same,
    "cat": concat,
    "chunk": split,
    "clone": cloned,
    "concat": concat,
    "contiguous": contiguous,
    "detach": same,
    "dropout": dropout,
    "expand": spread,
    "feature_dropout": dropout,
    "flatten": reshape,
    "flip": flip,
    "mT": _turned,
    "pad": pad,
    "permute": permute,
    "pixel_shuffle": pixel_shuffle,
    "repeat": repeat,
    "reshape": reshape,
    "roll": roll,
    "select": select,
    "slice": slice_,
    "split": split,
    "split_with_sizes": split,
    "squeeze": reshape,
    "stack": stack,
    "to": same,
    "transpose": transpose,
    "unbind": unbind,
    "unflatten": reshape,
    "unsqueeze": reshape,
    "upsample_nearest1d": upsample,
    "upsample_nearest2d": upsample,
    "view": reshape,
}
