"""One call of an operator in a traced graph: its arguments by name, and how the lowering kit is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import fx

from lutc.lowering import curve
from lutc.lowering import exact as ex
from lutc.lowering.dtypes import within
from lutc.lowering.layout import picked
from lutc.lowering.linear import view
from lutc.lowering.model import Layer
from lutc.lowering.operands import BROKEN, check_elements, keep_samples_apart
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Anything, Curve, Known, Scaled, concrete, core
from lutc.lowering.unread import Options
from lutc.lowering.walk import Walk

from .leaves import Leaf
from .quantisers import Quantiser

LARGE = 1 << 22  # elements, or what numbers among the arguments might make of them
SHORT = 10_000  # the largest denominator of a number that somebody wrote
TENSORS = (Known, Scaled, Curve)
# What these do to one sample tells what they do to several: no argument of theirs is a shape that was traced with one.
ALONE = (
    "flip roll slice select narrow index_select split split_with_sizes chunk unbind repeat_interleave diagonal rot90 "
    "unfold"
)
APART = frozenset(f"aten::{name}" for name in ALONE.split())


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
    layer: Layer
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
        raise Refusal("lacks an operand", BROKEN)

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
        return [t for t in flat(self.given.peek(name) for name in self.given) if isinstance(t, TENSORS)]

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

    def _compute(self, inputs: Sequence[Any]) -> Callable[[list[Any]], Any]:
        """The operator as a function of arrays in the place of some of its tensors."""

        def compute(arrays: list[Any]) -> Any:
            done = self.run({id(t): a for t, a in zip(inputs, arrays, strict=True) if t is not None})
            return np.asarray(done.detach().numpy())

        return compute

    # -- lowering ---------------------------------------------------------------------------------------------------

    def exactly(self, lower: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """What a function of the kit makes of tensors (or lists of them) and options.

        Raises Refusal for functions that nobody quantised, and for results that are no numbers of their type.
        """
        tensors = flat(inputs)
        curve.refuse_curves(tensors)
        made = lower(self.walk, *inputs, **options)
        if isinstance(made, Scaled):
            within(made, tensors)
        return made

    def pointwise(self, op: str, lower: Callable[..., Any], *inputs: Any) -> Any:
        """The same of an operator that works element by element, and is part of a table where one is begun.

        `op` is what messages and tables call it.
        """
        if any(isinstance(t, Curve) for t in flat(inputs)):
            return self.table(op, *flat(inputs))
        return self.exactly(lower, *inputs)

    def table(self, op: str, *inputs: Any) -> Curve:
        """An operator that no exact rule has: a function of few bits, for a quantiser behind to make a table of."""
        return curve.pointwise(self.walk, op, inputs, self._compute(inputs))

    def truth(self, lower: Callable[..., Any], *inputs: Any) -> Any:
        """A comparison: exact, or a table where a function is compared."""
        if any(isinstance(t, Curve) for t in inputs):
            name = schema_name(self.fx).split("::")[-1]
            return curve.truths(self.walk, name, inputs, self._compute(inputs))
        return self.exactly(lower, *inputs)

    def quantised(self, x: Any, data: Callable[[Scaled], Scaled], constant: Callable[[Any], Known]) -> Any:
        """A quantiser: what it makes of data, and of the array that PyTorch's own makes of a constant."""
        if isinstance(x, Scaled):
            return data(x)
        compute = self._compute([x])
        if isinstance(x, Curve):
            return curve.quantised(self.walk, x, lambda known: constant(compute([known.array])))
        return constant(compute([x.array]))

    def moved(self, t: Anything, *like: Anything) -> Any:
        """A tensor with its elements where the operator moves them: it is run on their positions.

        Of the tensors `like` it reads no more than the shapes. A piece of several may have no elements.
        """
        size = int(np.prod(t.shape, dtype=np.int64))
        positions = np.arange(size, dtype=np.float64).reshape(t.shape)
        found = self.run({**shapes(like), id(t): positions})
        if isinstance(t, Scaled | Curve) and t.batched and schema_name(self.fx) in APART:
            self._apart(t, positions, found)
        if isinstance(found, torch.Tensor):
            return self._placed(t, found.numpy().astype(np.int64))
        return tuple(
            self._placed(t, p.numpy().astype(np.int64))
            if p.numel()
            else Known(np.zeros(tuple(p.shape), self.state.numpy))
            for p in found
        )

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
        return view(t, lambda a: a.ravel()[at])

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


def flat(values: Iterable[Any]) -> list[Any]:
    """Values, and those of the lists among them."""
    return [v for value in values for v in (value if isinstance(value, list) else [value])]


def shapes(tensors: Iterable[Anything]) -> dict[int, Any]:
    """Arrays for `Call.run` in the place of tensors of which only the shapes count."""
    return {id(t): torch.zeros(t.shape) for t in tensors}


def schema_name(node: fx.Node) -> str:
    """The operator's name, such as `aten::conv2d`."""
    schema = getattr(node.target, "_schema", None)
    return schema.name if schema is not None else getattr(node.target, "__name__", str(node.target))


def _bounded(target: Any, given: Mapping[str, Any]) -> None:
    """Raise LirError if an operator would make more elements than any circuit can hold, of few or of many."""
    values = flat(given.values())
    asked = math.prod(max(abs(v), 1) for v in values if isinstance(v, int))
    if asked * max(1, sum(v.numel() for v in values if isinstance(v, torch.Tensor))) <= LARGE:
        return

    def shape_of(value: Any) -> Any:  # tensors without memory
        if isinstance(value, list):
            return [shape_of(v) for v in value]
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    placed = {
        k: torch.device("meta") if isinstance(v, torch.device) else shape_of(v) for k, v in given.items()
    }
    if (
        "device" in placed
        and placed["device"] is None
        and not any(isinstance(v, torch.Tensor) for v in values)
    ):
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


def listed(value: Any, rank: int) -> tuple[int, ...]:
    """A parameter of a window, for every spatial dimension."""
    found = tuple(int(v) for v in value) if isinstance(value, list | tuple) else (int(value),)
    return found * rank if len(found) == 1 else found
