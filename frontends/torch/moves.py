"""Operators that move elements, and those that do nothing to them at inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from lutc.lowering import layout, logic
from lutc.lowering.operands import axis_of, keep_samples_apart
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Anything, Curve, Known, Missing, Scaled

from .call import Call, schema_name, shapes

Handler = Callable[[Call], Any]


def moved(c: Call) -> Any:
    if c.given.get("dtype") is not None:
        raise Refusal("takes the bits of its input for numbers of another type", "convert it: x.to(dtype)")
    return c.moved(c.tensor("self", "input", "tensor"), *_like(c))


def _like(c: Call) -> list[Anything]:
    """The tensor whose shape another is brought to."""
    other = c.maybe("other")
    return [] if other is None else [other]


def permute(c: Call) -> Any:
    """permute, transpose and t: a transposition that the design keeps as one."""
    x = c.tensor("self")
    if not isinstance(x, Scaled):
        return c.moved(x)
    rank = len(x.shape)
    perm = list(range(rank))
    if c.given.get("dims") is not None:
        perm = [axis_of(d, rank) for d in c.get("dims")]
    else:
        a, b = (axis_of(c.get(n, d), rank) for n, d in (("dim0", 0), ("dim1", min(1, rank - 1))))
        perm[a], perm[b] = b, a
    if perm and perm[0] != 0 and x.batched:
        raise Refusal(
            "moves the dimension that counts samples away from the front, where a circuit needs it all the way, even "
            "if a later layer moves it back (as torch's own attention does, with batch_first=True as well)",
            "keep the batch first: of attention, write projections, products and softmax with x.transpose(1, 2)",
        )
    return c.walk.transpose(x, tuple(perm))


def expand(c: Call) -> Any:
    x = c.tensor("self", "input")
    if not isinstance(x, Scaled):
        return c.moved(x, *_like(c))
    return c.walk.broadcast(x, tuple(c.run(shapes([x, *_like(c)])).shape))


def concat(c: Call) -> Any:
    return _concat(c, _some(c.given["tensors"]), c.get("dim", 0))


def _some(parts: list[Any]) -> list[Any]:
    """The tensors that have elements; one, if none has any."""
    return [p for p in parts if 0 not in p.shape] or parts[:1]


def _concat(c: Call, parts: list[Any], dim: Any) -> Any:
    return c.exactly(layout.concat, parts, axis=axis_of(dim, len(parts[0].shape)))


def stack(c: Call) -> Any:
    axis = axis_of(c.get("dim", 0), len(c.given["tensors"][0].shape) + 1)

    def wider(t: Any) -> Any:
        shape = (*t.shape[:axis], 1, *t.shape[axis:])
        if isinstance(t, Scaled):
            return c.walk.reshape(t, shape)
        return t if isinstance(t, Curve) else Known(t.array.reshape(shape))

    for t in c.given["tensors"]:
        if isinstance(t, Scaled) and axis == 0:
            keep_samples_apart(t, (0,))
    return _concat(c, [wider(t) for t in c.given["tensors"]], axis)


def same(c: Call) -> Any:
    """A copy, a cast between floats, a dropout at inference: the number stays what it is."""
    x = c.tensor("self", "input", "a")
    kind = c.given.get("dtype")
    if c.given.get("other") is not None:
        kind = c.fx.meta["val"].dtype
    if isinstance(kind, torch.dtype) and not isinstance(x, Known):
        if (
            isinstance(x, Scaled)
            and x.integer is not None
            and not kind.is_floating_point
            and kind != torch.bool
        ):
            return x  # whether its numbers fit is asked of every integer result
        if kind not in (torch.float32, torch.float64):
            raise Refusal(
                f"casts data to {str(kind).removeprefix('torch.')}, which rounds or wraps in a way no quantiser states",
                "quantise it instead",
            )
        return replace(x, integer=None) if isinstance(x, Scaled) else x
    return c.moved(x) if isinstance(x, Known) and kind is None else x


def dropout(c: Call) -> Any:
    if c.get("train", False):
        raise Refusal("drops elements at random", "export model.eval()")
    done = c.tensor("input")
    return (done, Missing()) if "native" in schema_name(c.fx) else done


def where(c: Call) -> Any:
    return c.exactly(logic.where, c.tensor("condition"), c.tensor("self"), c.tensor("other"))


MOVED = (
    "view reshape _unsafe_view flatten unflatten squeeze unsqueeze slice select narrow index_select split "
    "split_with_sizes chunk unbind flip roll repeat tile upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "pixel_shuffle pixel_unshuffle channel_shuffle movedim repeat_interleave diagonal view_copy unfold "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d mT adjoint swapaxes swapdims "
    "moveaxis rot90 gather take_along_dim index view_as reshape_as"
)
SAME = "clone contiguous detach alias lift_fresh_copy lift_fresh _to_copy to detach_ type_as"
RULES: dict[str, Handler] = {
    **{f"aten::{name}": moved for name in MOVED.split()},
    **{f"aten::{name}": same for name in SAME.split()},
    "aten::permute": permute,
    "aten::transpose": permute,
    "aten::t": permute,
    "aten::numpy_T": permute,
    "aten::expand": expand,
    "aten::expand_as": expand,
    "aten::cat": concat,
    "aten::stack": stack,
    "aten::where": where,
    **{
        f"aten::{name}": dropout
        for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")
    },
}
MOVES = frozenset(name for name, rule in RULES.items() if rule in (moved, permute, expand))
