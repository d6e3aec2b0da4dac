"""What all rules are made of: one class per layer class, read once from the file, lowered at every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lutc.lowering.moves import Index
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, Options

from .functional import Layer, leaves
from .kinds import Kind
from .quantizers import Quantizer, quantizer
from .unary import activation_name, unary
from .values import Lowering, Tensor, finite

# A quantiser on a raw input, and the positions (with a batch axis of 1) of the input's elements it is given.
Demand = tuple[Quantizer, Index]

VARIABLES = (
    "activity", "beta", "bias", "bn_gamma", "depthwise", "embeddings", "gamma", "kernel", "moving_mean",
    "moving_variance", "pointwise", "alpha",
)  # fmt: skip

# What a training step reads, and what an importer sees in the weights.
TRAINING: Mapping[str, Any] = {
    **{f"{v}_{what}": FREE for v in VARIABLES for what in ("initializer", "regularizer", "constraint")},
    **dict.fromkeys(("name", "trainable", "seed", "momentum", "synchronized"), FREE),
}


class Rule:
    """How one layer is lowered. The constructor reads it and raises Refusal if it cannot be.

    `config` notes which options the rule looked up; those it did not must have their `neutral` value, given in this
    class and its bases. `takes` are the arguments of the layer's call that `lower` understands, in Keras's order; any
    other must be None or False.
    """

    takes: ClassVar[tuple[str, ...]] = ("inputs",)
    neutral: ClassVar[Mapping[str, Any]] = {
        **TRAINING,
        "dtype": FREE,  # judged with the identity of the layer
        "autocast": FREE,  # nothing but float32 meets a layer that computes
        "batch_input_shape": FREE,  # of the input before it, in files of Keras 2
        "batch_shape": FREE,
        "quantization_config": None,
    }

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        known: dict[str, Any] = {}
        for c in reversed(type(self).__mro__):
            known |= vars(c).get("neutral", {})
        self.config = Options(layer.config, known)

    def lower(self, low: Lowering, *args: Any) -> Any:
        """The layer's result for `Tensor` arguments: a Tensor, or a list of them. May raise Refusal."""
        raise NotImplementedError(type(self).__name__)

    def check(self) -> None:
        """Raise Refusal if the layer has an option that has not been understood."""
        self.config.check()

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The arguments of a call in the order of `takes`. Raises Refusal for one that the rule does not take."""
        names = [*self.takes, *(f"number {i + 1}" for i in range(len(self.takes), len(args)))]
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        if not args and self.takes[0] not in given and "x" in given:
            given[self.takes[0]] = given.pop("x")
        needless = [n for n, v in given.items() if n not in self.takes and _nothing(v)]
        options = Options({n: v for n, v in given.items() if n not in needless}, noun="call argument")
        found = [options.get(n) for n in self.takes]
        options.check()
        while found and self.takes[len(found) - 1] not in given:
            found.pop()
        return found

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        """The type in which Keras gives the result, for tensors of these types. Raises Refusal for what is not ours."""
        for k in kinds:
            k.real()
        return Kind.FLOAT32

    def demands(self, *args: Any) -> list[Demand] | None:
        """If arguments are raw inputs (positions in place of tensors): how each is quantised; None if one is not."""
        return None

    @property
    def has_bias(self) -> bool:
        """Whether the layer adds a bias, as its options say."""
        return bool(self.config.get("use_bias", self.config.get("bias_axes", True) is not None))

    def norm(self, prefix: str = "") -> list[str]:
        """The names of a batch norm's variables in the layer's own, of which options may leave some out."""
        pairs = (("gamma", "scale"), ("beta", "center"))
        return [*(n for n, option in pairs if self.config.get(prefix + option, True)), "mean", "variance"]

    def own(self, *names: str) -> dict[str, Any]:
        """The layer's own variables under the names they have in Keras, which the file leaves out."""
        stored = self.layer.weights.own
        if len(stored) < len(names):
            raise Refusal(
                f"the file holds {len(stored)} of its weights, not {', '.join(names)}",
                "save the whole model: model.save('model.keras')",
            )
        found = dict(zip(names, stored, strict=False))
        for name, values in found.items():
            finite(values, f"its {name}")
        return found

    def sized(self, kernel: Any, **axes: int | slice) -> None:
        """Raise Refusal unless options state the kernel's lengths, each along an axis or several."""
        for option, axis in axes.items():
            stated, there = self.config.get(option), np.atleast_1d(np.array(kernel.shape)[axis]).tolist()
            lengths = list(stated) if isinstance(stated, list | tuple) else [stated] * len(there)
            if stated is not None and lengths != there:
                raise Refusal(
                    f"its {option} is {stated!r}, and its kernel has the shape {list(kernel.shape)}",
                    "save the model again",
                )


def variant(rule: type[Rule], name: str, **attributes: Any) -> type[Rule]:
    """The same rule with other attributes."""
    return type(name, (rule,), {"__doc__": rule.__doc__, **attributes})


def _nothing(value: Any) -> bool:
    """Whether an argument says no more than its absence would."""
    return all(v is None or v is False for v in leaves(value))


class MovingRule(Rule):
    """A layer that only moves elements, of one input or several."""

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        return Kind.common(kinds)


class LayoutRule(MovingRule):
    """A layer that only moves elements: one numpy function on arrays with a batch axis."""

    def move(self, x: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def lower(self, low: Lowering, x: Tensor) -> Any:
        return low.move(x, self.move)


class HgqLayer(Rule):
    """What all layers of HGQ2 have: perhaps an output quantiser."""

    neutral: ClassVar[Mapping[str, Any]] = {
        # how the cost is counted in training, and how the peers' own compilers unroll
        **dict.fromkeys(("enable_ebops", "ebops_factor", "beta0", "parallelization_factor"), FREE),
        "oq_conf": FREE,  # without enable_oq
    }

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.oq = self.quantizer("oq") if self.config.get("enable_oq", False) else None

    def quantizer(self, name: str, *group: str) -> Quantizer:
        """The quantiser `name`, whose numbers the file keeps under `group`, or under its own name."""
        saved = self.layer.weights(*(group or (name,)))
        return quantizer(self.config.get(f"{name}_conf"), saved, f"its {name}")


class HgqRule(HgqLayer):
    """A layer of HGQ2 with one input: its input quantiser, its output quantiser, its activation."""

    neutral: ClassVar[Mapping[str, Any]] = {
        "iq_conf": FREE,  # without enable_iq
        "bq_conf": FREE,  # without a bias
        # They choose a quantiser's axes, which the file has with the quantiser.
        "allow_heterogeneous_table": FREE,
        "allow_heterogeneous_input": FREE,
        "override_oq_k0_to_0": FREE,
    }

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.iq = self.quantizer("iq") if self.config.get("enable_iq", True) else None
        self.activation = activation(self.config.get("activation"))

    def demands(self, *args: Any) -> list[Demand] | None:
        x = args[0]
        return [(self.iq, self.before_iq(x))] if self.iq is not None and isinstance(x, np.ndarray) else None

    def before_iq(self, x: Any) -> Any:
        """How the input's elements stand when the input quantiser meets them."""
        return x

    def take(self, low: Lowering, x: Tensor) -> Tensor:
        """The input after the input quantiser."""
        return low.quantize(x, self.iq)

    def give(self, low: Lowering, y: Tensor) -> Tensor:
        """The result after activation and output quantiser."""
        return low.quantize(activate(low, y, self.activation), self.oq)


def activation(conf: Any) -> str:
    """A serialised activation's name, known to lutc or a function of a whole axis. Raises Refusal."""
    name = activation_name(conf)
    if name not in ("softmax", "log_softmax"):
        unary(name)
    return name


def activate(low: Lowering, x: Tensor, name: str) -> Tensor:
    """Apply a named activation."""
    if name == "linear":
        return x
    if name in ("softmax", "log_softmax"):
        low.fixed(Tensor(x.value, (), x.final))
        return Tensor(x.value, x.chain, name)
    if x.exact and name in ("relu6", "hard_tanh"):
        lo, hi = (0.0, 6.0) if name == "relu6" else (-1.0, 1.0)
        return Tensor(low.clip(low.fixed(x), lo, hi))
    return low.apply(x, unary(name))


def check_last(axis: Any, rank: int, way_out: str) -> None:
    """Raise Refusal unless a Keras axis is the last of a tensor of `rank` axes."""
    if axes_of(axis, rank) != (rank - 1,):
        raise Refusal("it does not run along the last axis", way_out)


def axes_of(axes: Any, rank: int) -> tuple[int, ...]:
    """Keras axes (batch included, perhaps negative) as axes of a tensor of `rank` without its batch axis."""
    if axes is None:
        raise Refusal("it works across the batch", "name the axes, without the batch axis 0")
    items = axes if isinstance(axes, list | tuple) else [axes]
    result = tuple(sorted((int(a) if a >= 0 else int(a) + rank + 1) - 1 for a in items))
    if any(a < 0 for a in result):
        raise Refusal("it works across the batch", "leave the batch axis 0 out")
    if any(a >= rank for a in result):
        raise Refusal(f"it names axis {result[-1] + 1} of a tensor with {rank + 1}", "save the model again")
    return result
