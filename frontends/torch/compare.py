"""The design against the framework, on random and edge inputs, before anybody gets it.

First the traced graph runs as it is, in the model's own floats. If those give the design's numbers, that is all. Else
they may have rounded where the design does not: then the graph runs again in float64, with the scales the float32
they are and numbers that float64 cannot tell from a tie taken for the tie, and has to agree to float64's precision.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import fx

from lutc.diagnostics import error
from lutc.graph import Design, Output, Param, Value

from ..importer import Refusal
from ..onnx.curve import Curve
from ..onnx.linear import integers
from ..onnx.tensors import Known, Pending, Scaled, core
from .call import State, written
from .lower import schema_name
from .trace import Traced

ROWS = 24
ROUNDING = 2.0**-16  # of the largest number: what float32 may lose in a sum
CLOSE = 2.0**-36  # of the largest number: what float64 may lose in a sum
# Numbers among the arguments of these are taken as float64, as they are.
PRECISE = ("aten::batch_norm", "aten::_native_batch_norm")
LEFT = ("aten::softmax", "aten::_softmax", "aten::log_softmax", "aten::_log_softmax")


def compared(traced: Traced, state: State, design: Design, given: Mapping[str, Any]) -> Design:
    """The design, perhaps with a note. Raises LirError naming the first layer that differs from the framework's."""
    inputs = _inputs(traced, state, given)
    rows = {i.name: inputs[i.name] for i in traced.inputs if i.name in inputs}
    answer = _answers(design, state, rows)
    own = _run(traced, state, rows, exact=False)
    wrong = _different(traced, answer, own, exactly=True)
    if not wrong:
        return design
    precise = _run(traced, state, rows, exact=True)
    if not _different(traced, answer, precise, exactly=False):
        return _noted(traced, design, answer, own)
    _name_the_first(traced, state, rows, precise)
    at = _different(traced, answer, precise, exactly=False)[0]
    raise error(f"its output {at} differs from the model's", where=design.name, help=HELP)


def _noted(traced: Traced, design: Design, answer: list[Any], own: Mapping[fx.Node, Any]) -> Design:
    """The design, with a note if the model's floats round to other steps, not only in their last bits."""
    moved = sum(
        int(
            (np.abs(_floats(mine) - own[node].reshape(mine.shape)) > ROUNDING * np.abs(own[node]).max()).sum()
        )
        for mine, node in zip(answer, _outputs(traced), strict=True)
    )
    if not moved:
        return design
    what = str(traced.dtype).removeprefix("torch.")
    note = (
        f"the model in {what} gives {moved} of {sum(a.size for a in answer)} other numbers on test inputs, where its "
        "own sums and scales round to another step: the design has the exact ones"
    )
    return replace(design, notes=(*design.notes, note))


HELP = "this is a mistake in lutc: please report it with the model"


# -- inputs ---------------------------------------------------------------------------------------------------------


def _inputs(traced: Traced, state: State, given: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of real numbers for each input: its range's ends, zero, beyond, and random ones between its steps."""
    rng = np.random.default_rng(0)
    found = {}
    for item in traced.inputs:
        shape = tuple(n or 1 for n in item.dims or ())
        param = state.walk.params.get(item.name)
        if param is None:
            found[item.name] = np.zeros((ROWS, *shape))
            continue
        fixed = bool(given) or item.dtype not in ("float", "double")
        found[item.name] = _rows(param, rng, fixed).reshape(ROWS, *shape)
    return found


def _rows(param: Param, rng: Any, fixed: bool) -> Any:
    """Real numbers for a port. One whose format the user gave, or with integers, takes only those it holds."""
    formats = param.to.formats
    step = np.array([float(param.scale * f.step) for f in formats])
    lo, hi = (np.array([float(getattr(f, end)) for f in formats]) for end in ("lo", "hi"))
    codes = np.rint(rng.uniform(lo, hi, (ROWS, len(formats))))
    codes[0], codes[1] = np.clip(0, lo, hi), lo
    codes[2] = hi
    if not fixed:
        scale = abs(param.scale)
        dyadic = not (scale.numerator & (scale.numerator - 1)) and not (
            scale.denominator & (scale.denominator - 1)
        )
        between = rng.integers(-2, 3, codes.shape) / 4 if dyadic else rng.uniform(-0.45, 0.45, codes.shape)
        codes[3:] += between[3:]
        codes[3:6] *= 3
    reals = (codes * step + float(param.offset)).astype(np.float32)
    if fixed:  # a float32 may be coarser than the port, and must not round up beyond its end
        reals = np.where(
            reals > hi * step + float(param.offset), np.nextafter(reals, np.float32(-np.inf)), reals
        )
    return reals.astype(np.float64)


# -- both sides -----------------------------------------------------------------------------------------------------


def _answers(design: Design, state: State, rows: Mapping[str, Any]) -> list[Any]:
    named = {
        p.name or "": rows[origin].reshape(ROWS, *p.to.shape)
        for origin, p in state.walk.params.items()
        if origin in rows
    }
    found = design.run(**named)
    return [np.asarray(v) for v in (found.values() if isinstance(found, dict) else [found])]


def _run(traced: Traced, state: State, rows: Mapping[str, Any], exact: bool) -> dict[fx.Node, Any]:
    """Every tensor of the graph for all rows, by the framework, one row at a time as it was traced."""
    found: dict[fx.Node, list[Any]] = {}
    for row in range(ROWS):
        for node, value in _row(traced, state, {k: v[row] for k, v in rows.items()}, exact).items():
            found.setdefault(node, []).append(value)
    return {node: np.stack(values) for node, values in found.items()}


def _row(traced: Traced, state: State, row: Mapping[str, Any], exact: bool) -> dict[fx.Node, Any]:
    values: dict[fx.Node, Any] = {}
    kinds = {i.name: i.dtype for i in traced.inputs}
    wide = torch.float64 if exact else traced.dtype
    with torch.no_grad():
        for node in traced.nodes:
            if node.op == "placeholder" and node.name in row:
                kind = wide if kinds[node.name] in ("float", "double") else getattr(torch, kinds[node.name])
                values[node] = torch.as_tensor(row[node.name]).to(kind)
            elif node.op == "placeholder":
                values[node] = _constant(traced, state, node, exact)
            elif node.op == "call_function":
                values[node] = _step(state, node, values, exact)
    return {n: v.double().numpy() for n, v in values.items() if isinstance(v, torch.Tensor)}


def _constant(traced: Traced, state: State, node: fx.Node, exact: bool) -> Any:
    if node.name not in traced.constants:
        return None
    known = state.values.get(node.name)
    if exact and isinstance(known, Known):
        return _precise(known)
    return traced.constants[node.name]


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


def _step(state: State, node: fx.Node, values: Mapping[fx.Node, Any], exact: bool) -> Any:
    name = schema_name(node)

    def arguments(number: Any = None, kind: torch.dtype | None = None) -> tuple[list[Any], dict[str, Any]]:
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
    if name in LEFT and not isinstance(state.values[node.name], Curve):
        return arguments()[0][0]  # left to the host
    known = state.values.get(node.name)
    if exact and isinstance(known, Known):
        return _precise(known)
    q, meaning = state.quantisers.get(node), state.meanings.get(node)
    if exact and (q or meaning):
        x = arguments()[0][0].double().numpy()
        codes = q.codes(x) if q else x
        return torch.as_tensor(meaning.reals(codes) if meaning else codes)
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


def _written(dtype: Any, number: float) -> float:
    return float(written(number, dtype)) if np.isfinite(number) else number


# -- comparing ------------------------------------------------------------------------------------------------------


def _outputs(traced: Traced) -> list[fx.Node]:
    return [v for v in traced.outputs.values() if isinstance(v, fx.Node)]


def _different(traced: Traced, answers: list[Any], found: Mapping[fx.Node, Any], exactly: bool) -> list[str]:
    """Where outputs differ, each as its number and the index in it."""
    wrong = []
    for number, (mine, node) in enumerate(zip(answers, _outputs(traced), strict=True)):
        theirs = found[node].reshape(mine.shape)
        wrong += [
            f"{number}{list(map(int, at))}" for at in np.argwhere(~_same(mine, theirs, exactly, traced.dtype))
        ]
    return wrong


def _same(mine: Any, theirs: Any, exactly: bool, dtype: torch.dtype) -> Any:
    reals = _floats(mine)
    if exactly:
        return (reals.astype(np.float32) == theirs) if dtype == torch.float32 else (reals == theirs)
    return np.abs(reals - theirs) <= CLOSE * max(1e-300, float(np.abs(theirs).max(initial=0)))


def _floats(numbers: Any) -> Any:
    return np.array([float(v) for v in numbers.ravel().tolist()]).reshape(numbers.shape)


def _name_the_first(
    traced: Traced, state: State, rows: Mapping[str, Any], found: Mapping[fx.Node, Any]
) -> None:
    """Raise LirError for the first layer whose tensor in the design is not the framework's."""
    seen: list[tuple[fx.Node, Scaled]] = []
    for node in traced.nodes:
        t = state.values.get(node.name)
        if (
            node.op == "call_function"
            and isinstance(t, Scaled)
            and not isinstance(t.value, Pending)
            and node in found
        ):
            seen.append((node, t))
    values: dict[Value, str] = {}
    for _, t in seen:
        if isinstance(t.value, Value):
            values.setdefault(t.value, f"t{len(values)}")
    params = tuple(state.walk.params.values())
    probe = Design("probe", params, tuple(Output(name, value) for value, name in values.items()))
    given = {p.name or "": rows[o].reshape(ROWS, *p.to.shape) for o, p in state.walk.params.items()}
    raw = probe.run(**given)
    raw = raw if isinstance(raw, dict) else {"t0": raw}
    layers = {n.outputs[0]: n for n in state.walk.model.nodes}
    for node, t in seen:
        assert isinstance(t.value, Value)
        mine = _reals(raw[values[t.value]], t)
        theirs = found[node].reshape(mine.shape)
        bad = np.argwhere(~_same(mine, theirs, False, traced.dtype))
        if len(bad):
            at = tuple(bad[0])
            raise error(
                f"computes {theirs[at]:.10g} in the model, {float(mine[at]):.10g} in the design (test input {at[0]})",
                where=layers[node.name].label,
                help=HELP,
            )


def _reals(raw: Any, t: Scaled) -> Any:
    """The numbers of a tensor, from those of its value."""
    value = np.empty((len(raw), *t.shape), dtype=object)
    value[...] = np.asarray(raw).reshape(len(raw), *core(t.shape)).reshape(value.shape)
    exact = np.frompyfunc(Fraction, 1, 1)(value)
    moved = np.asarray(exact * t.scale + t.offset, dtype=object)
    done: Any = np.minimum(np.maximum(moved, t.lo), t.hi)
    return done
