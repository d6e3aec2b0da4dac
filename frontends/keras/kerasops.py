"""Operations of `keras.ops` that a functional model recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lutc.ops import Relation

from ..importer import Refusal
from .base import LayoutRule, Rule, activate, axes_of
from .dense import EinsumPlan, check_plain
from .graph import Layer, _snake
from .lowering import Lowering, Tensor
from .merge import einsum, pairwise
from .unary import FUNCTIONS, Unary, unary

Array = Any

# Movements: the array with a batch axis, the operation's own options, its further arguments.
MOVES: dict[str, Callable[..., Any]] = {
    "Reshape": lambda x, c: x.reshape(len(x), *c["newshape"][1:]),
    "Transpose": lambda x, c: x.transpose(c.get("axes")),
    "ExpandDims": lambda x, c: np.expand_dims(x, _tuple(c["axis"])),
    "Squeeze": lambda x, c: x.squeeze(axis=_tuple(c.get("axis"))),
    "Flip": lambda x, c: np.flip(x, axis=_tuple(c.get("axis"))),
    "Roll": lambda x, c: np.roll(x, c["shift"], axis=_tuple(c.get("axis"))),
    "Repeat": lambda x, c: np.repeat(x, c["repeats"], axis=c["axis"]),
    "Tile": lambda x, c: np.tile(x, c["repeats"]),
    "Swapaxes": lambda x, c: np.swapaxes(x, c["axis1"], c["axis2"]),
    "Moveaxis": lambda x, c: np.moveaxis(x, c["source"], c["destination"]),
    "BroadcastTo": lambda x, c: np.broadcast_to(x, (len(x), *c["shape"][1:])),
    "GetItem": lambda x, c, key: x[tuple(key) if isinstance(key, list) else key],
    "Take": lambda x, c, indices: np.take(x, np.asarray(indices, dtype=np.int64), axis=c["axis"]),
}


def _tuple(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


class MoveOp(LayoutRule):
    """An operation that only moves elements."""

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        try:
            return low.move(x, lambda i: self.move(i, *args, **kwargs))
        except (ValueError, IndexError) as cause:
            raise Refusal(
                f"it moves elements across the batch ({cause})", "keep the batch axis first"
            ) from None

    def move(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return MOVES[self.layer.kind](
            x, self.config | {k: v for k, v in kwargs.items() if v is not None}, *args
        )


class PadOp(LayoutRule):
    """ops.pad with zeros."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        if self.config.get("mode", "constant") != "constant":
            raise Refusal(f"its mode is {self.config['mode']!r}", "pad with zeros: mode='constant'")

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if kwargs.get("constant_values") or self.config.get("constant_values"):
            raise Refusal("it pads with a number other than 0", "pad with zeros")
        return low.move(x, self.move)

    def move(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return np.pad(x, self.config["pad_width"], constant_values=-1)


class SplitOp(Rule):
    """ops.split: several results."""

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> list[Tensor]:
        count = len(self.move(np.empty((1, *x.shape))))
        return [low.move(x, lambda i, n=n: self.move(i)[n]) for n in range(count)]  # type: ignore[misc]

    def move(self, x: Any) -> Any:
        return np.split(x, self.config["indices_or_sections"], axis=self.config.get("axis", 0))


class JoinOp(Rule):
    """ops.concatenate and ops.stack."""

    def lower(self, low: Lowering, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        axis, parts = self.config.get("axis", 0), list(inputs)
        if self.layer.kind == "Stack":
            axis = axis if axis >= 0 else axis + len(parts[0].shape) + 2
            parts = [low.move(t, lambda i: np.expand_dims(i, axis)) for t in parts]
        return low.concat(parts, axis)

    def move(self, inputs: Any) -> Any:
        join = np.stack if self.layer.kind == "Stack" else np.concatenate
        return join(inputs, axis=self.config.get("axis", 0))


def constant(value: Any, like: Tensor) -> Any:
    """A recorded number or array as float64 without its batch axis of 1."""
    array = np.asarray(value, dtype=np.float32).astype(np.float64)
    if array.ndim == len(like.shape) + 1:
        if len(array) != 1:
            raise Refusal("a constant has a batch axis of its own", "give it a first axis of length 1")
        array = array[0]
    return array


class BinaryOp(Rule):
    """An element-wise operation of two values, or of a value and a constant."""

    names: ClassVar[dict[str, str]] = {
        "Add": "add",
        "Subtract": "sub",
        "Multiply": "mul",
        "Maximum": "max",
        "Minimum": "min",
    }

    def lower(self, low: Lowering, a: Any, b: Any, *args: Any, **kwargs: Any) -> Tensor:
        kind = self.layer.kind
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if kind not in self.names:
                raise Refusal(
                    "it divides one value by another", "multiply by a table of 1/x: QUnaryFunctionLUT"
                )
            if len(a.shape) != len(b.shape):
                raise Refusal("its inputs differ in rank, so it mixes samples", "expand_dims the smaller one")
            return Tensor(pairwise(low, self.names[kind], [low.fixed(a), low.fixed(b)]))
        if isinstance(b, Tensor):
            return self._with_constant(low, b, constant(a, b), swapped=True)
        return self._with_constant(low, a, constant(b, a), swapped=False)

    def _with_constant(self, low: Lowering, x: Tensor, c: Any, swapped: bool) -> Tensor:
        match self.layer.kind:
            case "Add":
                return low.affine(x, add=c)
            case "Multiply":
                return low.affine(x, by=c)
            case "Subtract":
                return low.affine(x, by=-1.0, add=c) if swapped else low.affine(x, add=-c)
            case "Maximum" | "Minimum":
                if not x.chain and not x.final:
                    shape = np.broadcast_shapes(x.shape, c.shape)
                    value, other = low.spread(x.value, shape), low.constant(c, "limit", shape)
                    return Tensor(getattr(low.b, self.names[self.layer.kind])(value, other))
                fn = np.maximum if self.layer.kind == "Maximum" else np.minimum
                return low.apply(x, Unary(self.layer.kind.lower(), fn, (c,)))
        if swapped:
            return low.apply(x, Unary("a division", lambda v, c: c / v, (c,)))
        return low.affine(x, over=c)


class CompareOp(Rule):
    """A comparison: 1 or 0."""

    relations: ClassVar[dict[str, Relation]] = {
        "Greater": Relation.GT,
        "GreaterEqual": Relation.GE,
        "Less": Relation.LT,
        "LessEqual": Relation.LE,
        "Equal": Relation.EQ,
        "NotEqual": Relation.NE,
    }

    def lower(self, low: Lowering, a: Any, b: Any, *args: Any, **kwargs: Any) -> Tensor:
        x, y = low.pairs(*both(low, a, b))
        return Tensor(low.b.compare(x, y, rel=self.relations[self.layer.kind]))


def both(low: Lowering, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands as values; a recorded constant becomes one."""
    if not isinstance(a, Tensor):
        c = constant(a, b)
        return low.constant(c, "number", c.shape), low.fixed(b)
    if not isinstance(b, Tensor):
        c = constant(b, a)
        return low.fixed(a), low.constant(c, "number", c.shape)
    return low.fixed(a), low.fixed(b)


class WhereOp(Rule):
    """ops.where of a comparison."""

    def lower(self, low: Lowering, condition: Any, a: Any, b: Any, **kwargs: Any) -> Tensor:
        if not isinstance(condition, Tensor) or not (isinstance(a, Tensor) or isinstance(b, Tensor)):
            raise Refusal(
                "its condition or both its choices are constant", "choose before building the model"
            )
        x, y = both(low, a, b)
        shape = np.broadcast_shapes(condition.shape, x.type.shape, y.type.shape)
        parts = [low.spread(v, shape) for v in (low.fixed(condition), x, y)]
        return Tensor(low.b.select(*parts))


class ReduceOp(Rule):
    """Sum, mean, max and min over axes."""

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        axes = axes_of(self.config.get("axis"), len(x.shape))
        keep = bool(self.config.get("keepdims"))
        value, kind = low.fixed(x), self.layer.kind
        if kind in ("Max", "Min", "Amax", "Amin"):
            return Tensor(low.greatest(value, axes, keep, "max" if "ax" in kind else "min"))
        y = low.b.sum(value, axes=axes)
        if keep:
            y = low.reshape(y, [1 if i in axes else n for i, n in enumerate(x.shape)])
        count = math.prod(x.shape[a] for a in axes)
        return low.affine(Tensor(y), over=float(count)) if kind == "Mean" else Tensor(y)


class EinsumOp(Rule):
    """ops.einsum and ops.matmul of two values, or of a value and a constant."""

    def lower(self, low: Lowering, *operands: Any, **kwargs: Any) -> Tensor:
        if len(operands) != 2:
            raise Refusal(f"it has {len(operands)} operands", "contract two at a time")
        a, b = operands
        equation = self.config.get("subscripts") or self._matmul(a, b)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return einsum(low, equation, a, b)
        if not isinstance(a, Tensor):
            left, out = equation.replace(" ", "").split("->")
            p, q = left.split(",")
            equation, a, b = f"{q},{p}->{out}", b, a
        kernel = np.asarray(b, dtype=np.float64)
        y = EinsumPlan(equation, len(a.shape)).lower(low, low.fixed(a), kernel, None, False)
        check_plain(kernel, y, "constant")
        return Tensor(y)

    def _matmul(self, a: Any, b: Any) -> str:
        if not isinstance(a, Tensor):
            raise Refusal("its first operand is a constant", "transpose: matmul(x, constant)")
        if not isinstance(b, Tensor):
            if np.ndim(b) != 2:
                raise Refusal(f"its constant has {np.ndim(b)} axes", "multiply by a matrix")
            return "...x,xy->...y"
        if len(a.shape) != len(b.shape) or len(a.shape) < 2:
            raise Refusal(
                "its operands are not two stacks of matrices of one rank", "expand_dims the smaller one"
            )
        lead = "abcdefgh"[: len(a.shape) - 1]
        return f"{lead}xy,{lead}yz->{lead}xz"


class ArgmaxOp(Rule):
    """ops.argmax along the last axis."""

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        axes = axes_of(self.config.get("axis"), len(x.shape))
        if axes != (len(x.shape) - 1,):
            raise Refusal("it does not run along the last axis", "transpose first, then argmax over axis=-1")
        y = low.b.argmax(low.fixed(x))
        return Tensor(
            low.reshape(y, (*y.type.shape, 1)) if self.config.get("keepdims") or not y.type.shape else y
        )


class UnaryOp(Rule):
    """A function of one number; the plain ones stay exact arithmetic."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.name = _snake(layer.kind)
        self.options = {k: v for k, v in self.config.items() if k not in ("name", "dtype", "trainable")}
        if self.name not in ("absolute", "abs", "negative", "clip", "softmax", "log_softmax", "square"):
            unary(self.name, **self.options)

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        exact = not x.chain and not x.final
        match self.name:
            case "softmax" | "log_softmax" | "relu6" | "hard_tanh":
                return activate(low, x, self.name)
            case "relu":
                return low.apply(x, unary("relu"))
            case "negative":
                return low.affine(x, by=-1.0)
            case "absolute" | "abs":
                return Tensor(low.b.abs(x.value)) if exact else low.apply(x, Unary("abs", np.abs))
            case "square" if exact:
                return Tensor(low.b.mul(x.value, x.value))
            case "clip":
                lo, hi = (float(np.float32(self.options[k])) for k in ("x_min", "x_max"))
                if exact:
                    return Tensor(low.clip(x.value, lo, hi))
                return low.apply(x, Unary("clip", lambda v: np.clip(v, lo, hi)))
        return low.apply(x, unary(self.name, **self.options))


OPS: dict[str, type[Rule]] = {
    **dict.fromkeys(MOVES, MoveOp),
    "Pad": PadOp,
    "Split": SplitOp,
    "Concatenate": JoinOp,
    "Stack": JoinOp,
    **dict.fromkeys([*BinaryOp.names, "TrueDivide", "Divide"], BinaryOp),
    **dict.fromkeys(CompareOp.relations, CompareOp),
    "Where": WhereOp,
    **dict.fromkeys(["Sum", "Mean", "Max", "Min", "Amax", "Amin"], ReduceOp),
    "Einsum": EinsumOp,
    "Matmul": EinsumOp,
    "Argmax": ArgmaxOp,
}


def op_rule(kind: str) -> type[Rule] | None:
    """The rule of an operation's class, or None."""
    known = {"absolute", "abs", "negative", "clip", "softmax", "log_softmax", *FUNCTIONS}
    return OPS.get(kind) or (UnaryOp if _snake(kind) in known else None)
