"""One call of an operator in a traced graph: its arguments by name, and the ONNX importer's rules to lower it with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import fx

from lutc.lowering import exact as ex
from lutc.lowering.dtypes import SATURATE, within
from lutc.lowering.operands import keep_samples_apart
from lutc.lowering.options import Options
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Missing, Scaled, Tensor, concrete, core
from lutc.lowering.walk import Walk

from ..onnx.bounds import check_elements
from ..onnx.curve import extended, joins
from ..onnx.layout import picked
from ..onnx.model import Node
from ..onnx.rule import Rule
from ..onnx.table import STANDARD_RULES
from .leaves import Leaf
from .quantisers import Quantiser

Anything = Tensor | Curve
LARGE = 1 << 22  # elements, or what numbers among the arguments might make of them
SHORT = 10_000  # the largest denominator of a number that somebody wrote
TENSORS = (Known, Scaled, Curve)
# What these do to one sample tells what they do to several: no argument of theirs is a shape that was traced with one.
APART = frozenset(
    f"aten::{name}"
    for name in [
        "flip",
        "roll",
        "slice",
        "select",
        "narrow",
        "index_select",
        "split",
        "split_with_sizes",
        "chunk",
        "unbind",
        "repeat_interleave",
        "diagonal",
        "rot90",
        "unfold",
    ]
)


@dataclass(eq=False)
class State:
    """What all calls of one model share: the walk, and what the comparison afterwards wants to know."""

    walk: Walk
    leaves: Mapping[str, Leaf]
    dtype: torch.dtype
    quantisers: dict[fx.Node, Quantiser] = field(default_factory=dict)
    meanings: dict[fx.Node, Quantiser] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """What every node of the graph is so far: a tensor of the walk, a number, several of them, or `Missing`."""
        values: dict[str, Any] = self.walk.tensors
        return values

    @property
    def numpy(self) -> Any:
        return np.float64 if self.dtype == torch.float64 else np.float32


@dataclass(frozen=True, eq=False)
class Call:
    """An operator with its arguments: tensors are `Known`, `Scaled` or `Curve`, other arguments are as they are.

    Looking an argument up counts as understanding it; what no rule looks up is refused, unless it is at its default.
    """

    state: State
    fx: fx.Node
    node: Node
    given: Options

    @property
    def walk(self) -> Walk:
        return self.state.walk

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that is no tensor; the default where it is None or not there."""
        value = self.given.get(name)
        if isinstance(value, TENSORS):
            return number_of(value)
        return default if value is None else value

    def tensor(self, *names: str) -> Any:
        """A tensor argument under one of its names, a number as a constant. Raises Refusal if there is none."""
        for name in names:
            value = self.given.get(name)
            if isinstance(value, TENSORS):
                return value
            if isinstance(value, bool | int | float):
                return self.constant(value)
        raise Refusal("lacks an operand", "the model is broken: export it again")

    def maybe(self, name: str) -> Any:
        """A tensor argument, or None."""
        return self.tensor(name) if self.given.get(name) is not None else None

    def constant(self, value: Any) -> Known:
        """A number in the model's float type, and what it means exactly."""
        array = np.asarray(value, dtype=self.state.numpy)
        if not np.isfinite(array):
            return Known(array)
        meant = written(value, self.state.numpy)
        if meant.denominator > SHORT or abs(meant.numerator) >= 1 << 31:
            return Known(array)
        return Known(array, np.asarray(meant.numerator), ex.number(Fraction(1, meant.denominator)))

    def tensors(self) -> list[Anything]:
        """Every tensor among the arguments."""
        given = (self.given.peek(name) for name in self.given)
        return [t for v in given for t in (v if isinstance(v, list) else [v]) if isinstance(t, TENSORS)]

    # -- what the framework computes --------------------------------------------------------------------------------

    def run(self, arrays: Mapping[int, Any], instead: Mapping[str, Any] | None = None) -> Any:
        """The operator on arrays that stand for its tensors, by their identity; `instead` of some other arguments."""

        def other(value: Any) -> Any:
            if isinstance(value, TENSORS):
                if id(value) in arrays:
                    return torch.as_tensor(arrays[id(value)])
                if isinstance(value, Known):
                    return torch.as_tensor(value.array)
                raise Refusal(
                    f"reads what {getattr(value, 'op', 'a layer')} computes together with another tensor",
                    "quantise it first",
                )
            return [other(v) for v in value] if isinstance(value, list) else value

        target: Any = self.fx.target
        try:
            with torch.no_grad():
                if self.leaf is not None:
                    return self.leaf.run(other(self.given["x"]))
                given = {k: other((instead or {}).get(k, v)) for k, v in self.given.items()}
                _bounded(target, given)
                return target(**given)
        except (RuntimeError, IndexError, ValueError, TypeError) as e:
            text = (str(e) or type(e).__name__).splitlines()[0]
            raise Refusal(f"cannot be computed at compile time: {text}", "export the model again") from None

    @property
    def leaf(self) -> Leaf | None:
        key = self.given.get("key")
        return self.state.leaves.get(key) if isinstance(key, str) else None

    def _compute(self, inputs: Sequence[Any]) -> Callable[[list[Any]], list[Any]]:
        def compute(arrays: list[Any]) -> list[Any]:
            done = self.run({id(t): a for t, a in zip(inputs, arrays, strict=True) if t is not None})
            return [
                np.asarray(d.detach().numpy()) for d in (done if isinstance(done, tuple | list) else (done,))
            ]

        return compute

    # -- lowering ---------------------------------------------------------------------------------------------------

    def lower(self, op: str, inputs: Sequence[Any], /, **attributes: Any) -> Any:
        """The operator by the rule of an ONNX operator that computes the same."""
        return self.by(STANDARD_RULES[op], op, inputs, **attributes)

    def by(self, rule: Rule | None, op: str, inputs: Sequence[Any], /, **attributes: Any) -> Any:
        node = replace(
            self.node, op=op, attributes=attributes, compute=self._compute(inputs), elementwise=rule is None
        )
        if any(isinstance(t, Missing) for t in inputs):
            return Missing()
        if joins(list(inputs), node):
            return extended(self.walk, node, list(inputs), rule)
        assert rule is not None
        made = rule.lower(self.walk, node, list(inputs))
        if isinstance(made, Scaled) and not op.startswith(SATURATE):
            within(made, inputs)
        return made

    def moved(self, t: Anything) -> Any:
        """A tensor with its elements where the operator moves them: it is run on their positions."""
        size = int(np.prod(t.shape, dtype=np.int64))
        positions = np.arange(size, dtype=np.float64).reshape(t.shape)
        found = self.run({id(t): positions})
        if isinstance(t, Scaled | Curve) and t.batched and schema_name(self.fx) in APART:
            self._apart(t, positions, found)
        parts = [found] if isinstance(found, torch.Tensor) else list(found)
        done = tuple(self._placed(t, p.numpy().astype(np.int64)) for p in parts)
        return done[0] if isinstance(found, torch.Tensor) else done

    def _apart(self, t: Anything, positions: Any, found: Any) -> None:
        """Raise Refusal if two samples do not come out as they went in, each as it does alone."""
        two = self.run({id(t): np.concatenate([positions, positions + positions.size])})
        one, both = ([f] if isinstance(f, torch.Tensor) else list(f) for f in (found, two))
        for a, b in zip(one, both, strict=False):
            if len(one) != len(both) or a.ndim < 1 or not torch.equal(torch.cat([a, a + positions.size]), b):
                raise Refusal(
                    "works across the batch: two samples do not come out as each does alone",
                    "move elements along the other dimensions: the first one counts samples",
                )

    def _placed(self, t: Anything, at: Any) -> Anything:
        if isinstance(t, Curve):
            return self._curve_placed(t, at)
        if isinstance(t, Scaled):
            keep_samples_apart(t, (0,) if not at.ndim or at.shape[0] != 1 else ())
            return picked(self.walk, t, lambda _: at)
        if t.codes is None:
            return Known(t.array.ravel()[at])
        scale = ex.compress(ex.spread(t.scale, t.shape).ravel()[at].reshape(at.shape))
        return Known(t.array.ravel()[at], t.codes.ravel()[at], scale)

    def _curve_placed(self, t: Curve, at: Any) -> Curve:
        """A function that is the same for all elements moves with the value it is a function of."""
        if t.array.size != len(t.array):
            raise Refusal(
                f"moves what {t.op} computes, which differs from element to element",
                f"quantise behind {t.op}, so that it becomes a table",
            )
        key = self._placed(Scaled(t.shape, t.key, batched=t.batched), at)
        assert isinstance(key, Scaled)
        array = t.array.reshape(-1, *(1,) * len(core(key.shape)))
        return Curve(key.shape, concrete(key), array, t.op, t.batched)


def schema_name(node: fx.Node) -> str:
    """The operator's name, such as `aten::conv2d`."""
    schema = getattr(node.target, "_schema", None)
    return schema.name if schema is not None else getattr(node.target, "__name__", str(node.target))


def _bounded(target: Any, given: Mapping[str, Any]) -> None:
    """Raise LirError if an operator would make more elements than any circuit can hold, of few or of many."""
    flat = [v for value in given.values() for v in (value if isinstance(value, list) else [value])]
    asked = math.prod(max(abs(v), 1) for v in flat if isinstance(v, int))
    if asked * max(1, sum(v.numel() for v in flat if isinstance(v, torch.Tensor))) <= LARGE:
        return

    def shape_of(value: Any) -> Any:  # tensors without memory
        if isinstance(value, list):
            return [shape_of(v) for v in value]
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    placed = {
        k: torch.device("meta") if isinstance(v, torch.device) else shape_of(v) for k, v in given.items()
    }
    if "device" in placed and placed["device"] is None and not any(isinstance(v, torch.Tensor) for v in flat):
        placed["device"] = torch.device("meta")
    try:
        made = target(**placed)
    except Exception:  # some operators have no shapes without numbers; they make none out of numbers either
        return
    for tensor in made if isinstance(made, tuple | list) else (made,):
        if isinstance(tensor, torch.Tensor):
            check_elements(tensor.numel())


def written(value: float, dtype: Any) -> Fraction:
    """The number that a scalar of the model stands for.

    Somebody wrote 0.1 or 1 / 3, and a product with it that ought to be a tie is one in floats as well, for they
    round to it. Such a number is the fraction with a small denominator that was meant; any other is the float it is.
    """
    short = Fraction(value).limit_denominator(SHORT)
    return short if float(short) == value else Fraction(float(dtype(value)))


def number_of(t: Anything) -> Any:
    """The one number a constant holds. Raises Refusal for anything else."""
    if isinstance(t, Known) and t.array.size == 1:
        return t.array.ravel()[0].item()
    raise Refusal("needs a constant where it has data", "export the model with fixed parameters")


def listed(value: Any, rank: int) -> list[int]:
    """A parameter of a window, for every spatial dimension."""
    found = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return found * rank if len(found) == 1 else found
