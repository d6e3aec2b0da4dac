"""The framework's own run of a model, as it would run without lutc: what a design has to equal.

Nothing here knows how lutc reads a module. In double precision the quantisers' operators compute what they document,
with a number that float64 cannot tell from a tie taken for the tie: their kernels multiply by a scale's reciprocal in
float32, whatever they are given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .quantisers import NEAR

aten = torch.ops.aten


class Own:
    """A model, and how its arguments are nested; `example` stands in for arguments that are no tensors."""

    def __init__(self, model: nn.Module, spec: Any, example: Any) -> None:
        self._model, self._spec = model, spec
        self._flat = pytree.tree_leaves(example) if example is not None else []

    def run(self, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """Every output as float64, for the tensors among the arguments in their order."""
        return _called(self._model, self._nested(inputs))

    def precise(self, inputs: Sequence[torch.Tensor]) -> list[Any] | None:
        """The same in double precision; None if the model cannot be run so."""
        wide = [v.double() if v.is_floating_point() else v for v in inputs]
        try:
            model = copy.deepcopy(self._model).double()
            with _Exact():  # type: ignore[no-untyped-call]
                return _called(model, self._nested(wide))
        except Exception:  # the model's own code runs inside
            return None

    def _nested(self, inputs: Sequence[torch.Tensor]) -> Any:
        given = iter(inputs)
        count = self._spec.num_leaves
        flat = self._flat if len(self._flat) == count else [torch.empty(0)] * count
        return pytree.tree_unflatten(
            [next(given) if isinstance(v, torch.Tensor) else v for v in flat], self._spec
        )


def _called(model: nn.Module, arguments: Any) -> list[Any]:
    args, kwargs = arguments
    with torch.no_grad():
        done = model(*args, **kwargs)
    leaves = (_value(v) for v in pytree.tree_leaves(done, is_leaf=_is_quantised))
    return [v.detach().double().cpu().numpy() for v in leaves if isinstance(v, torch.Tensor)]


def _is_quantised(result: Any) -> bool:
    """Whether it is one of Brevitas' tensors, which are tuples of a value, its scale and what else belongs to it."""
    return isinstance(result, tuple) and type(result).__module__.startswith("brevitas.quant_tensor")


def _value(result: Any) -> Any:
    return result.value if _is_quantised(result) else result


# -- quantisers in double precision ---------------------------------------------------------------------------------


def _nearest(z: torch.Tensor) -> torch.Tensor:
    twice = torch.round(2 * z) / 2
    near = (z - twice).abs() < NEAR * z.abs().clamp(min=1)
    return torch.round(torch.where(near, twice, z))


def _affine(x: torch.Tensor, scale: Any, zero: Any, lo: int, hi: int) -> tuple[torch.Tensor, torch.Tensor]:
    codes = _nearest(x / scale) + zero
    inside = (codes >= lo) & (codes <= hi)
    return (codes.clamp(lo, hi) - zero) * scale, inside


def _channels(x: torch.Tensor, v: torch.Tensor, axis: int) -> torch.Tensor:
    return v.double().reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _per_channel(x: Any, scale: Any, zero: Any, axis: int, lo: int, hi: int) -> Any:
    return _affine(x, _channels(x, scale, axis), _channels(x, zero, axis), lo, hi)


def _single(scale: Any) -> float:
    """A scale that is written as a number: the float32 it is."""
    return float(np.float32(scale))


def _tensor_qparams(x: Any, scale: Any, zero: Any, switch: Any, lo: int, hi: int) -> Any:
    return (
        _affine(x, scale.double(), zero.double(), lo, hi) if switch.any() else (x, torch.ones_like(x).bool())
    )


EXACT: Mapping[Any, Callable[..., Any]] = {
    aten.round.default: _nearest,
    aten.fake_quantize_per_tensor_affine_cachemask.default: lambda x, s, *rest: _affine(x, _single(s), *rest),
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: _tensor_qparams,
    aten.fake_quantize_per_channel_affine_cachemask.default: _per_channel,
}


class _Exact(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        exact = EXACT.get(func)
        if exact is not None and args[0].dtype == torch.float64:
            return exact(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))
