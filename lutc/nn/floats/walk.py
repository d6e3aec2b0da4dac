"""The layers that `lutc.nn.convert` makes, what each reads, and where each tensor of the module is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal, Refusals
from lutc.nn.function import QFunction
from lutc.nn.graph import INPUT, Graph, Kept, QMean
from lutc.nn.layers import Options as Given
from lutc.nn.pooling import QAvgPool1d, QAvgPool2d
from lutc.nn.quantizer import Quantizer

from .trace import Traced


@dataclass(eq=False)
class Storage:
    """What tensors share that view one another; `changed` counts the writes into it."""

    changed: int = 0


@dataclass(frozen=True, eq=False)
class Result:
    """What a layer of the graph gives: the layer's name, and the shape without the batch."""

    name: str
    shape: tuple[int, ...]
    storage: Storage = field(default_factory=Storage)
    seen: int = 0  # writes that it has taken in

    def check(self) -> None:
        """Raise Refusal if it is no longer what the module has there."""
        if self.storage.changed != self.seen:
            raise Refusal(
                "reads a tensor that was changed in place through another view of it",
                "write the operation that changes it without inplace=True, or without the underscore",
            )


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor of the module: a parameter or buffer (with the `key` of its state), perhaps reshaped or transposed.

    `computed` is one that is made of parameters anew at every call.
    """

    value: Tensor
    key: str | None
    trained: bool
    transposed: bool = False
    computed: bool = False


class Missing:
    """The result of what was refused, where nothing may stand for it."""


STAND_IN = "?"  # names what stands for the result of what was refused, so that what reads it is looked at too


AFFINE = "affine"  # what layers of constants share with one another


@dataclass(frozen=True)
class Widths:
    """How quantisers are made: bits of activations and weights, options of both kinds, and of tables' keys."""

    data_bits: int
    weight_bits: int
    data: Given
    weights: Given

    def quantizer(self, shape: tuple[int, ...]) -> Quantizer:
        """One of activations: a format for each element of a row, for each channel of an image, or for all."""
        formats = {1: shape, 3: (*shape[:1], 1, 1)}.get(len(shape), ())
        return Quantizer(formats, **self.data)

    def key(self) -> Given:
        """Options of the quantiser in front of a table."""
        most = min(16, max(10, self.data_bits))
        return {**self.data, "max_bits": min(most, self.data.get("max_bits", most))}


class Walk:
    """Layers by name, what each reads, and which of their tensors hold which of the module's."""

    def __init__(self, traced: Traced, widths: Widths, wrong: Refusals) -> None:
        self.traced, self.widths, self.wrong = traced, widths, wrong
        bare = Graph({"layer": nn.Identity()}, {"layer": (INPUT,)})
        self.names = Names([INPUT, *(n.lower() for n in dir(bare) if n != "layer")])
        self.layers: dict[str, nn.Module] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self.held: dict[str, tuple[str, ...]] = {}  # keys of the module's state: the parts here
        self.values: dict[fx.Node, Any] = {}
        self._made: dict[Any, nn.Module] = {}
        self._owners: dict[str, Any] = {}
        self._quantised: dict[str, Result] = {}
        self._alive: list[Tensor] = []

    def layer(self, wish: str, layer: nn.Module, reads: Sequence[Result], shape: Sequence[int]) -> Result:
        """A layer's result, under a name like `wish`. Raises Refusal for a result without elements."""
        if 0 in shape:
            raise Refusal("gives a tensor without elements", "leave it away")
        word = f"{wish}_layer" if wish.endswith("quantizer") and not isinstance(layer, Quantizer) else wish
        name = self.names.take(word.replace(".", "_"), "layer")
        self.layers[name], self.reads[name] = layer, tuple(r.name for r in reads)
        return Result(name, tuple(shape))

    def weighted(
        self,
        wish: str,
        sharing: Any,
        make: Callable[[], nn.Module],
        tensors: Mapping[str, Held | None],
        reads: Sequence[Result],
        shape: Sequence[int],
    ) -> Result:
        """A layer that holds tensors of the module, by its own names for them: the same layer for the same tensors."""
        what = (sharing, tuple((n, h.key or id(h.value)) for n, h in tensors.items() if h is not None))
        made, first = self.once(what, make)
        result = self.layer(wish, made, reads, shape)
        for name, h in tensors.items():
            if h is None:
                continue
            own: Tensor = getattr(made, name)
            if not h.trained and not torch.isfinite(h.value).all():
                raise Refusal(
                    "computes with constants that are not finite",
                    "leave a mask of minus infinities away: softmax sees all positions",
                )
            if h.transposed:
                raise Refusal("reads a turned parameter", "keep it the way round in which it is read")
            if h.computed:
                raise Refusal(
                    f"has a {name} that is computed from parameters at every call",
                    "compute it once, and make it a parameter",
                )
            if h.key is not None and not h.trained and sharing == AFFINE:
                # It stays as it is in all of its places; of another type it is kept beside them.
                if h.value.dtype == own.dtype:
                    self.held.setdefault(h.key, (f"{result.name}.{name}",))
            elif h.key is not None:
                self.own(h.key, what, (f"{result.name}.{name}",))
            elif isinstance(own, nn.Parameter):
                raise Refusal(f"has a {name} that is no part of the module's state", "make it a parameter")
            if first:
                self._alive.append(h.value)  # it is known by its address
                with torch.no_grad():
                    own.copy_(h.value.reshape(own.shape))
        return result

    def once(self, what: Any, make: Callable[[], nn.Module]) -> tuple[nn.Module, bool]:
        """The layer made for this, and whether it was made now."""
        first = what not in self._made
        if first:
            self._made[what] = make().to(self.traced.input.meta["val"].dtype)
        return self._made[what], first

    def own(self, key: str, what: Any, parts: tuple[str, ...]) -> None:
        """Note where an entry of the module's state is. Raises Refusal if it has another place."""
        if self._owners.setdefault(key, what) != what:
            raise Refusal(
                f"shares {key} with another layer that uses it otherwise",
                "give each its own: the converted layers would drift apart in training",
            )
        self.held.setdefault(key, parts)

    def quantised(self, r: Result) -> Result:
        """A result through a quantiser, unless it comes from one."""
        source = self.layers.get(r.name)
        if isinstance(source, Quantizer | QMean | QFunction | QAvgPool1d | QAvgPool2d):
            return r
        if r.name not in self._quantised:
            made = self.widths.quantizer(r.shape)
            self._quantised[r.name] = self.layer(f"{r.name}_quantizer", made, [r], r.shape)
        return self._quantised[r.name]

    def keep(self, key: str, value: Tensor) -> None:
        """A tensor of the module's state that no layer has."""
        name = self.names.take(key.replace(".", "_"), "kept")
        kept = Kept(value.shape, str(value.dtype).removeprefix("torch."))
        kept.value.copy_(value.detach())
        self.layers[name] = kept
        self.held[key] = (f"{name}.value",)
