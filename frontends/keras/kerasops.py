"""Operations of `keras.ops` that a functional model recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lutc.ir.ops import Relation
from lutc.lowering.refusals import Refusal

from . import dense
from .base import LayoutRule, MovingRule, Rule, activate, axes_of, check_last
from .functional import Layer, Ref, _snake, leaves
from .kinds import Kind
from .merge import einsum, pairwise
from .unary import FUNCTIONS, Unary, parameters, unary
from .values import Lowering, Tensor
from .weighted import check_plain

Array = Any

# Movements: the array with a batch axis, the operation's own options, its further arguments.
MOVES: dict[str, Callable[..., Any]] = {
    "Reshape": lambda x, c: x.reshape([-1 if n is None else n for n in c["newshape"]]),
    "Transpose": lambda x, c: x.transpose(c.get("axes")),
    "ExpandDims": lambda x, c: np.expand_dims(x, _tuple(c["axis"])),
    "Squeeze": lambda x, c: x.squeeze(axis=_tuple(c.get("axis"))),
    "Flip": lambda x, c: np.flip(x, axis=_tuple(c.get("axis"))),
    "Roll": lambda x, c: np.roll(x, _tuple(c["shift"]), axis=_tuple(c.get("axis"))),
    "Repeat": lambda x, c: np.repeat(x, c["repeats"], axis=c["axis"]),
    "Tile": lambda x, c: np.tile(x, c["repeats"]),
    "Swapaxes": lambda x, c: np.swapaxes(x, c["axis1"], c["axis2"]),
    "Moveaxis": lambda x, c: np.moveaxis(x, _tuple(c["source"]), _tuple(c["destination"])),
    "BroadcastTo": lambda x, c: np.broadcast_to(x, [len(x) if n in (None, -1) else n for n in c["shape"]]),
    "GetItem": lambda x, c, key: x[tuple(key) if isinstance(key, list) else key],
    "Take": lambda x, c, indices: np.take(x, _indices(indices), axis=c["axis"]),
}
TAKES: dict[str, tuple[str, ...]] = {"GetItem": ("x", "key"), "Take": ("x", "indices")}


def _tuple(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


def _indices(raw: Any) -> Any:
    indices = np.asarray(raw)
    if indices.dtype.kind not in "iu":
        raise Refusal("it takes elements by an index that is no constant", "use constant indices")
    return indices.astype(np.int64)


class MoveOp(LayoutRule):
    """An operation that only moves elements."""

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        self.takes = TAKES.get(self.layer.kind, ("x",))  # type: ignore[misc]
        found = super().bound(args, kwargs)
        if any(isinstance(leaf, Ref) for leaf in leaves(found[1:])):
            raise Refusal("it takes elements by an index that is computed", "use constant indices")
        return found

    def lower(self, low: Lowering, x: Tensor, *args: Any) -> Any:
        return low.move(x, lambda i: self.move(i, *args))

    def move(self, x: Any, *args: Any) -> Any:
        return MOVES[self.layer.kind](x, self.config, *args)


class PadOp(LayoutRule):
    """ops.pad with zeros."""

    takes = ("x", "constant_values")

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        if self.config.get("mode", "constant") != "constant":
            raise Refusal(f"its mode is {self.config['mode']!r}", "pad with zeros: mode='constant'")

    def lower(self, low: Lowering, x: Tensor, constant_values: Any = None) -> Tensor:
        return low.move(x, lambda i: self.move(i, constant_values))

    def move(self, x: Any, constant_values: Any = None) -> Any:
        if constant_values is not None and np.any(np.asarray(constant_values) != 0):
            raise Refusal("it pads with a number other than 0", "pad with zeros")
        return np.pad(x, self.config["pad_width"], constant_values=-1)


class SplitOp(LayoutRule):
    """ops.split: several results."""

    takes = ("x",)

    def count(self, x: Any) -> int:
        """How many arrays an array is split into."""
        return len(self.move(np.asarray(x)))

    def lower(self, low: Lowering, x: Tensor) -> list[Tensor]:
        count = self.count(np.empty((1, *x.shape)))
        return [low.move(x, lambda i, n=n: self.move(i)[n]) for n in range(count)]  # type: ignore[misc]

    def move(self, x: Any) -> Any:
        parts = self.config["indices_or_sections"]
        axis = self.config.get("axis", 0)
        if axis in (0, -x.ndim):
            raise Refusal("it splits the batch", "split along another axis")
        return np.split(x, parts if isinstance(parts, int) else list(parts), axis=axis)


class JoinOp(MovingRule):
    """ops.concatenate and ops.stack."""

    takes = ("xs",)

    def lower(self, low: Lowering, inputs: Any) -> Tensor:
        axis, parts = self.config.get("axis", 0), list(inputs)
        if not all(isinstance(p, Tensor) for p in parts):
            raise Refusal("it joins a constant to its inputs", "join values only, or pad")
        if self.layer.kind == "Stack":
            axis = axis if axis >= 0 else axis + len(parts[0].shape) + 2
            if axis == 0:
                raise Refusal("it joins batches", "join along another axis")
            parts = [low.move(t, lambda i: np.expand_dims(i, axis)) for t in parts]
        return low.concat(parts, axis)

    def move(self, inputs: Any) -> Any:
        join = np.stack if self.layer.kind == "Stack" else np.concatenate
        return join(inputs, axis=self.config.get("axis", 0))


def constant(value: Any, like: Tensor) -> Any:
    """A recorded number or array as float64 without its batch axis of 1."""
    array = np.asarray(value, dtype=np.float32).astype(np.float64)
    if array.ndim > len(like.shape) + 1:
        raise Refusal(
            "a constant has more axes than the value it meets, so it mixes samples", "reshape the value first"
        )
    if array.ndim == len(like.shape) + 1:
        if len(array) != 1:
            raise Refusal("a constant has a batch axis of its own", "give it a first axis of length 1")
        array = array[0]
    return array


def ranks(*tensors: Tensor) -> None:
    """Raise Refusal for values of several ranks: numpy would pair the batch of one with another axis."""
    if len({len(t.shape) for t in tensors}) > 1:
        raise Refusal("its inputs differ in rank, so it mixes samples", "expand_dims the smaller one")


def arithmetic(kinds: Sequence[Kind], constants: Sequence[Any]) -> Kind:
    """The type of what is computed of tensors and constants, where it is one that lutc computes in."""
    real = any(isinstance(c, float) or np.asarray(c).dtype.kind == "f" for c in constants)
    common = Kind.FLOAT32 if real else Kind.common(kinds)
    if common not in (Kind.FLOAT32, Kind.INT32):
        common.real()
    return common


class BinaryOp(Rule):
    """An element-wise operation of two values, or of a value and a constant."""

    names: ClassVar[dict[str, str]] = {
        "Add": "add",
        "Subtract": "sub",
        "Multiply": "mul",
        "Maximum": "max",
        "Minimum": "min",
    }

    takes = ("x1", "x2")

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        found = arithmetic(kinds, [a for a in args if not isinstance(a, Kind)])
        return found if self.layer.kind in self.names else Kind.FLOAT32

    def lower(self, low: Lowering, a: Any, b: Any) -> Tensor:
        kind = self.layer.kind
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if kind not in self.names:
                raise Refusal(
                    "it divides one value by another", "multiply by a table of 1/x: QUnaryFunctionLUT"
                )
            ranks(a, b)
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
                if x.exact:
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

    takes = ("x1", "x2")

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        if len(kinds) < len(args) or len(set(kinds)) > 1:
            arithmetic(kinds, [a for a in args if not isinstance(a, Kind)])
        return Kind.BOOL

    def lower(self, low: Lowering, a: Any, b: Any) -> Tensor:
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
    ranks(a, b)
    return low.fixed(a), low.fixed(b)


class WhereOp(Rule):
    """ops.where of a comparison."""

    takes = ("condition", "x1", "x2")

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        condition, *branches = args
        if condition is not Kind.BOOL:
            raise Refusal("its condition is no comparison", "compare first: ops.where(x > 0, a, b)")
        tensors = [b for b in branches if isinstance(b, Kind)]
        return arithmetic(tensors, [b for b in branches if not isinstance(b, Kind)])

    def lower(self, low: Lowering, condition: Any, a: Any, b: Any) -> Tensor:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            c, d = constant(a, condition), constant(b, condition)
            x, y = low.constant(c, "number", c.shape), low.constant(d, "number", d.shape)
        else:
            x, y = both(low, a, b)
        ranks(condition, *(t for t in (a, b) if isinstance(t, Tensor)))
        shape = np.broadcast_shapes(condition.shape, x.type.shape, y.type.shape)
        parts = [low.spread(v, shape) for v in (low.fixed(condition), x, y)]
        return Tensor(low.b.select(*parts))


class ReduceOp(Rule):
    """Sum, mean, max and min over axes."""

    takes = ("x",)
    neutral: ClassVar[Mapping[str, Any]] = {"initial": None}

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        (kind,) = kinds
        if self.layer.kind == "Sum" and kind is Kind.BOOL:
            return Kind.INT32
        if kind is not Kind.INT32:
            kind.real()
        return Kind.FLOAT32 if self.layer.kind == "Mean" else kind

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
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

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        names = ("x1", "x2") if self.layer.kind == "Matmul" else ("first", "second")
        self.takes = names  # type: ignore[misc]
        found = super().bound(args, kwargs)
        if len(found) != 2:
            raise Refusal(f"it has {len(found)} operand", "contract two at a time")
        return found

    def lower(self, low: Lowering, a: Any, b: Any) -> Tensor:
        given = self.config.get("subscripts")
        equation = explicit(given) if given else self._matmul(a, b)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return einsum(low, equation, a, b)
        if not isinstance(a, Tensor):
            left, out = equation.replace(" ", "").split("->")
            p, q = left.split(",")
            equation, a, b = f"{q},{p}->{out}", b, a
        kernel = np.asarray(b, dtype=np.float32).astype(np.float64)
        y = dense.einsum(low, equation, low.fixed(a), kernel, None, False)
        check_plain(kernel, y, "constant")
        return Tensor(y)

    def _matmul(self, a: Any, b: Any) -> str:
        if not isinstance(a, Tensor):
            raise Refusal("its first operand is a constant", "transpose: matmul(x, constant)")
        if not isinstance(b, Tensor):
            if np.ndim(b) != 2:
                raise Refusal(f"its constant has {np.ndim(b)} axes", "multiply by a matrix")
            if not a.shape:
                raise Refusal("it sums over the batch", "expand_dims its first operand")
            return "...x,xy->...y"
        if len(a.shape) != len(b.shape) or len(a.shape) < 2:
            raise Refusal(
                "its operands are not two stacks of matrices of one rank", "expand_dims the smaller one"
            )
        lead = "abcdefgh"[: len(a.shape) - 1]
        return f"{lead}xy,{lead}yz->{lead}xz"


def explicit(equation: str) -> str:
    """An einsum equation with its result written out: without an arrow, the letters that occur once, in order."""
    equation = equation.replace(" ", "")
    if "->" in equation:
        return equation
    letters = equation.replace("...", "").replace(",", "")
    out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return f"{equation}->{'...' if '...' in equation else ''}{out}"


class ArgmaxOp(Rule):
    """ops.argmax along the last axis."""

    takes = ("x",)

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        super().kind(kinds, args)
        return Kind.INT32

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        check_last(self.config.get("axis"), len(x.shape), "transpose first, then argmax over axis=-1")
        y = low.b.argmax(low.fixed(x))
        return Tensor(
            low.reshape(y, (*y.type.shape, 1)) if self.config.get("keepdims") or not y.type.shape else y
        )


class UnaryOp(Rule):
    """A function of one number; the plain ones stay exact arithmetic."""

    takes = ("x",)
    neutral: ClassVar[Mapping[str, Any]] = {"decimals": 0}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.name = _snake(layer.kind)
        known = parameters(self.name)
        self.options = {k: self.config[k] for k in known if k in self.config}
        if self.name not in ("absolute", "abs", "negative", "clip", "softmax", "log_softmax", "square"):
            unary(self.name, **self.options)

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        if self.name in ("absolute", "abs", "negative", "relu", "square") and kinds[0] is Kind.INT32:
            return Kind.INT32
        return super().kind(kinds, args)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        match self.name:
            case "softmax" | "log_softmax":
                check_last(self.config.get("axis", -1), len(x.shape), "transpose first: axis=-1")
                return activate(low, x, self.name)
            case "relu6" | "hard_tanh":
                return activate(low, x, self.name)
            case "relu":
                return low.apply(x, unary("relu"))
            case "negative":
                return low.affine(x, by=-1.0)
            case "absolute" | "abs":
                return Tensor(low.b.abs(x.value)) if x.exact else low.apply(x, Unary("abs", np.abs))
            case "square" if x.exact:
                return Tensor(low.b.mul(x.value, x.value))
            case "clip":
                return self._clip(low, x)
        return low.apply(x, unary(self.name, **self.options))

    def _clip(self, low: Lowering, x: Tensor) -> Tensor:
        ends = [self.config.get(k) for k in ("x_min", "x_max")]
        if any(np.ndim(e) for e in ends if e is not None):
            raise Refusal("its bounds are arrays", "use ops.minimum and ops.maximum")
        lo, hi = (None if e is None else float(np.float32(e)) for e in ends)
        if x.exact:
            return Tensor(low.clip(x.value, lo, hi))
        return low.apply(x, Unary("clip", lambda v: np.clip(v, lo, hi)))


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
