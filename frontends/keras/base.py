"""What all rules are made of: one class per layer class, read once from the file, lowered at every call."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..importer import Refusal
from .graph import Layer
from .lowering import Lowering, Tensor
from .quantizers import Quantizer, quantizer
from .shapes import Index
from .unary import activation_name, unary

# A quantiser on a raw input, and the positions (with a batch axis of 1) of the input's elements it is given.
Demand = tuple[Quantizer, Index]


class Rule:
    """How one layer is lowered. The constructor reads it and raises Refusal if it cannot be."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.config = layer.config

    def lower(self, low: Lowering, *args: Any, **kwargs: Any) -> Any:
        """The layer's result for `Tensor` arguments: a Tensor, or a list of them. May raise Refusal."""
        raise NotImplementedError(type(self).__name__)

    def demands(self, *args: Any, **kwargs: Any) -> list[Demand] | None:
        """If arguments are raw inputs (positions in place of tensors): how each is quantised; None if one is not."""
        return None

    def own(self, *names: str) -> dict[str, Any]:
        """The layer's own variables under the names they have in Keras, which the file leaves out."""
        stored = self.layer.weights.own
        if len(stored) < len(names):
            raise Refusal(
                f"the file holds {len(stored)} of its weights, not {', '.join(names)}",
                "save the whole model: model.save('model.keras')",
            )
        return dict(zip(names, stored, strict=False))


class LayoutRule(Rule):
    """A layer that only moves elements: one numpy function on arrays with a batch axis."""

    def move(self, x: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def lower(self, low: Lowering, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        return low.move(x, self.move)


class HgqRule(Rule):
    """A layer of HGQ2 with one input: its input quantiser, its output quantiser, its activation."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.iq = self.quantizer("iq") if self.config.get("enable_iq", True) else None
        self.oq = self.quantizer("oq") if self.config.get("enable_oq", False) else None
        self.activation = activation(self.config.get("activation"))

    def quantizer(self, name: str) -> Quantizer:
        return quantizer(self.config.get(f"{name}_conf"), self.layer.weights(name), f"its {name}")

    def demands(self, *args: Any, **kwargs: Any) -> list[Demand] | None:
        x = args[0]
        return [(self.iq, self.before_iq(x))] if self.iq is not None and isinstance(x, np.ndarray) else None

    def before_iq(self, x: Any) -> Any:
        """How the input's elements stand when the input quantiser meets them."""
        return x

    def take(self, low: Lowering, x: Tensor) -> Tensor:
        """The input after the input quantiser."""
        x = x if self.iq is None else low.quantize(x, self.iq)
        return x

    def give(self, low: Lowering, y: Tensor) -> Tensor:
        """The result after activation and output quantiser."""
        y = activate(low, y, self.activation)
        return y if self.oq is None else low.quantize(y, self.oq)


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
        return Tensor(x.value, x.chain, x.final or name)
    if not x.chain and not x.final and name in ("relu6", "hard_tanh"):
        lo, hi = (0.0, 6.0) if name == "relu6" else (-1.0, 1.0)
        return Tensor(low.clip(low.fixed(x), lo, hi))
    return low.apply(x, unary(name))


def axes_of(axes: Any, rank: int) -> tuple[int, ...]:
    """Keras axes (batch included, perhaps negative) as axes of a tensor of `rank` without its batch axis."""
    if axes is None:
        raise Refusal("it works across the batch", "name the axes, without the batch axis 0")
    items = axes if isinstance(axes, list | tuple) else [axes]
    result = tuple(sorted((a if a >= 0 else a + rank + 1) - 1 for a in items))
    if any(a < 0 for a in result):
        raise Refusal("it works across the batch", "leave the batch axis 0 out")
    return result
