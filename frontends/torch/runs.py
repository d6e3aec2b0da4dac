"""Runs of a traced graph by the framework's own operators: in the model's floats, or exact quantisers in float64."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import fx

from lutc.lowering.compare import DOUBLE, ROWS
from lutc.lowering.linear import integers
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Scaled

from .call import State, schema_name, written
from .quantisers import NEAR, Quantiser
from .trace import Traced

# Numbers among the arguments of these are taken as float64, as they are.
PRECISE = ("aten::batch_norm", "aten::_native_batch_norm")
LEFT = ("aten::softmax", "aten::_softmax", "aten::log_softmax", "aten::_log_softmax")
Arrays = dict[fx.Node, Any]


def left_to_host(state: State, node: fx.Node) -> bool:
    """Whether a softmax stands at the end, so that the design gives the scores before it."""
    return schema_name(node) in LEFT and isinstance(state.values.get(node.name), Scaled)


class Run:
    """One way to run a graph.

    In float64 (`exact`) quantisers are exact. Where float64 cannot tell a number from a tie, the design's own sum says
    on which side it lies (`sums`): that one is exact, and it is rounded here as the quantiser documents.
    `host`: what is left to the host is run as well.
    """

    def __init__(
        self, traced: Traced, state: State, exact: bool, sums: Sums | None = None, host: bool = False
    ) -> None:
        self.traced, self.state, self.exact, self.sums, self.host = traced, state, exact, sums, host
        self.constants: dict[fx.Node, Any] = {}
        with torch.no_grad():
            for node in traced.nodes:
                known = state.values.get(node.name)
                if node.op == "placeholder" and node.name in traced.constants:
                    self.constants[node] = self._constant(node)
                elif node.op == "call_function" and isinstance(known, bool | int | float):
                    self.constants[node] = known  # a length, which the walk knows for one sample
                elif node.op == "call_function" and _all_known(known):
                    self.constants[node] = self._step(node, self.constants, 0)

    def all(self, rows: Mapping[str, Any]) -> Arrays:
        """Every tensor that is computed from the inputs, for all rows, one at a time as the graph was traced."""
        found: dict[fx.Node, list[Any]] = {}
        for row in range(ROWS):
            for node, value in self._row({k: v[row] for k, v in rows.items()}, row).items():
                found.setdefault(node, []).append(value)
        return {node: np.stack(values) for node, values in found.items()}

    def _row(self, given: Mapping[str, Any], row: int) -> Arrays:
        values: dict[fx.Node, Any] = dict(self.constants)
        kinds = {i.name: i for i in self.traced.inputs}
        with torch.no_grad():
            for node in self.traced.nodes:
                if node in values:
                    continue
                if node.op == "placeholder" and node.name in given:
                    kind = self.traced.kind(kinds[node.name])
                    wide = torch.float64 if self.exact and kind.is_floating_point else kind
                    values[node] = torch.as_tensor(given[node.name]).to(wide)
                elif node.op == "placeholder":
                    values[node] = None
                elif node.op == "call_function":
                    values[node] = self._step(node, values, row)
        kept = (n for n, v in values.items() if isinstance(v, torch.Tensor) and n not in self.constants)
        ends = (v for v in self.traced.outputs.values() if v in self.constants)
        return {n: values[n].double().numpy() for n in (*kept, *ends)}

    def _constant(self, node: fx.Node) -> Any:
        known = self.state.values.get(node.name)
        if self.exact and isinstance(known, Known):
            return _precise(known)
        return self.traced.constants[node.name]

    def _step(self, node: fx.Node, values: Mapping[fx.Node, Any], row: int) -> Any:
        name, exact, state = schema_name(node), self.exact, self.state
        known = state.values.get(node.name)

        def arguments(
            number: Any = None, kind: torch.dtype | None = None
        ) -> tuple[list[Any], dict[str, Any]]:
            def value(a: Any) -> Any:
                if isinstance(a, fx.Node):
                    v = values[a]
                    floats = isinstance(v, torch.Tensor) and v.is_floating_point()
                    return v.to(kind) if kind is not None and floats else v
                if isinstance(a, list | tuple):
                    return [value(v) for v in a]
                return number(a) if number and isinstance(a, float) else a

            return [value(a) for a in node.args], {k: value(v) for k, v in node.kwargs.items()}

        if node.target is operator.getitem:
            return values[node.args[0]][node.args[1]]  # type: ignore[index]
        if not self.host and left_to_host(state, node):
            return arguments()[0][0]
        if exact and isinstance(known, Known):
            return _precise(known)
        q, meaning = state.quantisers.get(node), state.meanings.get(node)
        if exact and (q or meaning):
            x = arguments()[0][0].double().numpy()
            done = read(q, meaning, x)
            if q is not None and self.sums is not None:
                done = self._settled(node, q, meaning, x, done, row)
            return torch.as_tensor(done)
        if name == "lutc::leaf":
            leaf = state.leaves[str(node.args[1])]
            x = arguments()[0][0]
            return leaf.run(x).to(x.dtype)
        target: Any = node.target
        kind = torch.float64 if exact else None
        if exact and isinstance(known, Curve):
            kind = state.dtype
        number = partial(_written, state.numpy)
        args, kwargs = arguments(number if exact and not name.startswith(PRECISE) else None, kind)
        if exact and isinstance(kwargs.get("dtype"), torch.dtype) and kwargs["dtype"].is_floating_point:
            kwargs["dtype"] = kind
        return target(*args, **kwargs)

    def _settled(
        self, node: fx.Node, q: Quantiser, meaning: Quantiser | None, x: Any, done: Any, row: int
    ) -> Any:
        """What a quantiser makes of numbers, ties by the design's exact ones where it has another opinion."""
        assert self.sums is not None
        mine = self.sums.behind(node)
        if mine is None or mine[row].size != done.size:
            return done
        mine = mine[row].reshape(done.shape)
        doubt = (mine != done) & near_tie(q, x, NEAR) & one_step(q, meaning, mine, done)
        if not doubt.any():
            return done
        exact = self.sums.before(node)
        done = np.array(done)
        for place in np.argwhere(doubt):
            at = tuple(place)
            number = Fraction(float(x[at])) if exact is None else exact[row].reshape(x.shape)[at]
            if abs(float(number) - x[at]) > DOUBLE * np.abs(x).max():
                continue  # the design was somewhere else before
            done[at] = _exactly(q, meaning, number, at, x.shape)
        return done


class Sums(Protocol):
    """The design's numbers at quantisers, [samples, ...]: floats behind one, exact ones before; None if unknown."""

    def behind(self, node: fx.Node) -> Any: ...

    def before(self, node: fx.Node) -> Any: ...


ROUND: Mapping[str, Callable[[Fraction], int]] = {
    "ROUND": round,  # of a fraction, half to even
    "FLOOR": math.floor,
    "CEIL": math.ceil,
    "DOWN": math.trunc,
    "HALF_UP": lambda v: (1 if v > 0 else -1) * math.floor(abs(v) + Fraction(1, 2)),
    "HALF_DOWN": lambda v: (1 if v > 0 else -1) * math.ceil(abs(v) - Fraction(1, 2)),
    "UP": lambda v: (1 if v > 0 else -1) * math.ceil(abs(v)),
}


def _exactly(
    q: Quantiser, meaning: Quantiser | None, number: Fraction, at: tuple[int, ...], shape: tuple[int, ...]
) -> float:
    """What a quantiser makes of an exact number, by its definition."""

    def here(parameter: Any) -> Fraction:
        return Fraction(float(np.broadcast_to(np.asarray(parameter, np.float64), shape)[at]))

    if q.bipolar:
        code = Fraction(1 if number >= 0 else -1)
    else:
        z, zero, step = number / here(q.scale), here(q.zero), ROUND[q.rounding]
        code = Fraction(step(z + zero)) if q.shifted else step(z) + zero
        code = min(max(code, here(q.lo)), here(q.hi))
    if meaning is None:
        return float(code)
    return (
        float(code) * float(here(meaning.scale))
        if q.bipolar
        else float((code - here(meaning.zero)) * here(meaning.scale))
    )


def read(q: Quantiser | None, meaning: Quantiser | None, x: Any) -> Any:
    """What is read of a quantiser, on float64 numbers."""
    codes = q.codes(x) if q else x
    return meaning.reals(codes) if meaning else codes


def near_tie(q: Quantiser, x: Any, near: float) -> Any:
    """Where numbers lie within a share of themselves of where a quantiser goes to the next step."""
    z = np.asarray(x if q.bipolar else x / np.float64(q.scale))
    if q.bipolar:
        distance = np.abs(z)
    else:
        ties = z - 0.5 if q.rounding in ("ROUND", "HALF_UP", "HALF_DOWN") else z
        distance = np.abs(ties - np.rint(ties))
    return distance <= near * np.maximum(1, np.abs(z))


def one_step(q: Quantiser, meaning: Quantiser | None, a: Any, b: Any) -> Any:
    """Where numbers behind a quantiser are at most one step apart."""
    step = np.float64(meaning.scale) if meaning else 1.0
    return np.abs(a - b) <= step * (2 if q.bipolar else 1) * (1 + 2.0**-8)


def _all_known(found: Any) -> bool:
    return all(isinstance(f, Known) for f in (found if isinstance(found, tuple) else (found,)))


def _precise(known: Known) -> torch.Tensor:
    """A constant in float64: integer codes times their scale, where it is quantised."""
    if known.array.dtype.kind != "f":
        return torch.as_tensor(known.array)
    if known.array.ndim > 1:
        try:
            codes, scale = integers(known)
        except Refusal:
            return torch.as_tensor(known.array).double()
        scales = np.array([float(s) for s in scale.ravel().tolist()]).reshape(scale.shape)
        return torch.as_tensor(np.asarray(codes, np.float64) * scales)
    return torch.as_tensor(known.array).double()


def _written(dtype: Any, number: float) -> float:
    return float(written(number, dtype)) if np.isfinite(number) else number
