"""One call of an operator in a traced module: its arguments by name, and how its layer is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx, nn

from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, Options

from .trace import where_of
from .walk import Held, Missing, Result, Walk


class Call:
    """One call of an operator: `c.tensor("input")`, `c["dim"]`. What a rule does not read has to be at its default."""

    def __init__(self, walk: Walk, node: fx.Node) -> None:
        self.walk, self.node = walk, node
        self.where, self.kind = where_of(node)
        target: Any = node.target
        self.op = target._schema.name.split("::")[-1]
        given, neutral = {}, {}
        for i, a in enumerate(target._schema.arguments):
            if a.has_default_value():
                given[a.name] = neutral[a.name] = a.default_value
            if i < len(node.args):
                given[a.name] = self._value(node.args[i])
            elif a.name in node.kwargs:
                given[a.name] = self._value(node.kwargs[a.name])
        self.options = Options(
            given, {**neutral, **dict.fromkeys(("layout", "device", "memory_format"), FREE)}, "argument"
        )

    def _value(self, a: Any) -> Any:
        if isinstance(a, fx.Node):
            return self.walk.values.get(a, Missing())
        return [self._value(v) for v in a] if isinstance(a, list | tuple) else a

    def __getitem__(self, name: str) -> Any:
        if name not in self.options:
            raise Refusal(f"calls {self.node.target}, a form without {name!r}", f"give it its {name}")
        return self.options[name]

    def follow(self) -> None:
        """Count all arguments behind the first as read: what they ask for shows in the traced shape."""
        for name in list(self.options)[1:]:
            self[name]

    def result(self, name: str = "self") -> Result:
        """An operand that the network computes. Raises Refusal for others."""
        return self.fresh(self[name])

    def fresh(self, value: Any) -> Result:
        """A result as it is now. Raises Refusal for what is none."""
        if isinstance(value, Held):
            raise Refusal("takes a constant for its input", "let it read what the network computes")
        if not isinstance(value, Result):
            raise Refusal("takes something else than a tensor for its input", "give it a tensor")
        value.check()
        return value

    def held(self, name: str) -> Held | None:
        """An operand that is a tensor of the module, or None. Raises Refusal for one that the network computes."""
        found = self[name]
        if found is None or isinstance(found, Held):
            return found
        raise Refusal(f"has a {name} that depends on the input", "make it a parameter")

    def numbers(self, name: str, n: int = 0) -> tuple[int, ...]:
        """A whole number, or several of them, as `n` numbers. Raises Refusal for those that depend on the batch."""
        value = self[name]
        several = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(v, int) for v in several):
            raise Refusal(
                f"has a {name} that depends on the number of samples", "compute along the other axes"
            )
        return tuple(several) * n if len(several) == 1 and n else tuple(several)

    def axis(self, value: int, rank: int, what: str = "axis") -> int:
        """An axis, the batch counted as 0. Raises Refusal for the batch."""
        found = value % rank
        if found == 0:
            raise Refusal(f"has the batch for its {what}", "compute along the other axes")
        return found

    def axes(self, x: Result) -> list[int]:
        """Those named by `dim`, in order. Raises Refusal for the batch, which is among them where none is named."""
        dims = self["dim"] if "dim" in self.options else None
        if dims is None or dims == []:
            raise Refusal(
                "runs over all axes, the batch among them", f"name the other axes: x.{self.op}(dim=1)"
            )
        several = [dims] if isinstance(dims, int) else dims
        return sorted(self.axis(d, len(x.shape) + 1) for d in several)

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's, without the batch. Raises Refusal unless the batch is the first dimension and only there."""
        return shape_of(self.walk, self.node.meta["val"])

    def made(self, layer: nn.Module, *reads: Result) -> Result:
        """The result of a layer, under the name of the module or operator that is read."""
        return self.walk.layer(self.where, layer, reads, self.shape)


def shown(shape: Sequence[int | str]) -> str:
    """The shape of a result, batch and all, for a message."""
    return f"[{', '.join(map(str, ('batch', *shape)))}]"


def shape_of(walk: Walk, value: Tensor) -> tuple[int, ...]:
    """A traced tensor's shape without the batch. Raises Refusal unless the batch is its first dimension."""
    batch: Any = walk.traced.input.meta["val"].shape[0]
    dims: list[Any] = list(value.shape)
    if not dims or isinstance(dims[0], int) or dims[0].node.expr != batch.node.expr:
        raise Refusal(
            "gives a tensor without the batch as its first dimension", "keep the batch first, and whole"
        )
    if not all(isinstance(d, int) for d in dims[1:]):
        raise Refusal(
            "gives a tensor whose other dimensions depend on the batch", "keep the batch first, and whole"
        )
    return tuple(dims[1:])
