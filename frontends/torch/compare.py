"""The design against the framework, on random and edge inputs, before anybody gets it.

The model itself runs, as it would without lutc (`own`): samples alone, and three together, which must not see each
other. If its floats give the design's numbers, that is all. Else they may have rounded where the design does not, and
that has to be shown, by one of two runs in float64. Either by the traced graph, which gave the model's own numbers bit
for bit in the model's floats: every quantiser in it does to those floats what is read of it, and its operators in
float64 lead to the design's numbers. Or by the model itself in double precision. What neither explains is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import fx

from lutc.diagnostics import error
from lutc.ir.graph import Design, Output, Value
from lutc.lowering.compare import DOUBLE, HELP, ROWS, SINGLE, close, floats, not_compared
from lutc.lowering.tensors import Pending, Scaled, core

from .apart import Single, test_inputs
from .call import State
from .runs import Run, left_to_host, near_tie, one_step, read
from .trace import Traced

FLOAT32 = 2.0**-20  # of a number in steps: what float32 may lose in a quantiser


def compared(traced: Traced, state: State, design: Design, given: Mapping[str, Any]) -> Design:
    """The design, perhaps with a note. Raises LirError naming the first layer that differs from the framework's."""
    rows = _defined(traced, state, test_inputs(traced, state, given))
    if rows is None:
        return not_compared(design, "every test input meets a function where it is no number")
    answer = _answers(design, state, rows)
    single = Single(traced, rows)
    try:
        own = single.answers()
    except (
        Exception
    ) as e:  # whatever it raises: a module has run before, but a file's program may state conditions
        return not_compared(
            design, f"PyTorch cannot run it: {str(e).strip().splitlines()[0] if str(e) else e}"
        )
    single.keeps_samples_apart(own)
    ends = [v for v in traced.outputs.values() if isinstance(v, fx.Node)]
    hosted = any(left_to_host(state, n) for n in traced.nodes)
    if not hosted and _equal(answer, own, traced):
        return said(design, "equal")
    run = Run(traced, state, exact=False).all(rows)
    plain = [run[n] for n in ends]
    if hosted:
        whole = Run(traced, state, exact=False, host=True).all(rows)
        faithful = all(
            np.allclose(whole[n].ravel(), o.ravel(), SINGLE, SINGLE) for n, o in zip(ends, own, strict=True)
        )
        if faithful and _equal(answer, plain, traced):
            return said(design, "equal before what is left to the host")
    else:
        faithful = all(np.array_equal(p.ravel(), o.ravel()) for p, o in zip(plain, own, strict=True))
    probed = _Probe(traced, state, rows)
    precise = Run(traced, state, exact=True, sums=probed).all(rows)
    if faithful:
        _readings_hold(traced, state, run)
        if _close(answer, [precise[n] for n in ends]):
            return _noted(traced, design, answer, plain)
    elif not hosted:
        wide = single.precise()
        if wide is not None and _close(answer, wide):
            return _noted(traced, design, answer, own)
    probed.name_the_first(precise)
    for number, (mine, theirs) in enumerate(zip(answer, plain if hosted else own, strict=True)):
        if mine.size != theirs.size:
            shape, other = list(theirs.shape[1:]), list(mine.shape[1:])
            raise error(
                f"its output {number} is {shape} in the model, {other} in the design",
                where=design.name,
                help=HELP,
            )
        right = theirs.reshape(mine.shape)
        at = tuple(map(int, np.unravel_index(np.abs(mine - right).argmax(), mine.shape)))
        if mine[at] != right[at]:
            raise error(
                f"its output {number}{list(at[1:])} is {right[at]:.10g} in the model, {mine[at]:.10g} in the design "
                f"(test input {at[0]}): more than float rounding explains",
                where=design.name,
                help=HELP,
            )
    raise error("differs from what PyTorch computes", where=design.name, help=HELP)


def _defined(traced: Traced, state: State, rows: dict[str, Any]) -> dict[str, Any] | None:
    """Test inputs for which every function is a number, others in the place of those; None if there are none."""
    if not any("is not a number for some inputs" in note for note in state.walk.notes):
        return rows
    run = Run(traced, state, exact=False).all(rows)
    fine = ~np.any([np.isnan(v).reshape(ROWS, -1).any(axis=1) for v in run.values()], axis=0)
    if not fine.any():
        return None
    some = np.flatnonzero(fine)
    at = np.where(fine, np.arange(ROWS), some[np.arange(ROWS) % len(some)])
    return {name: values[at] for name, values in rows.items()}


def said(design: Design, text: str) -> Design:
    """The design, which says what it was compared with."""
    return replace(design, compared=f"PyTorch {torch.__version__.split('+')[0]}, {ROWS} samples: {text}")


def _noted(traced: Traced, design: Design, answer: list[Any], own: list[Any]) -> Design:
    """The design, with a note if the model's floats round to other steps, not only in their last bits."""
    apart = [np.abs(mine - theirs.reshape(mine.shape)) for mine, theirs in zip(answer, own, strict=True)]
    most = [SINGLE * np.abs(theirs).max(initial=0) for theirs in own]
    moved = sum(int((a > m).sum()) for a, m in zip(apart, most, strict=True))
    what = str(traced.dtype).removeprefix("torch.")
    if not moved:
        return said(design, f"equal but for the last bits of {what}")
    count, far = sum(a.size for a in answer), max(float(a.max(initial=0)) for a in apart)
    note = (
        f"the model in {what} gives {moved} of {count} other numbers on test inputs, by up to {far:.4g}, where its "
        "own sums and scales round to another step: the design has the exact ones"
    )
    noted = replace(design, notes=(*design.notes, note))
    return said(noted, f"equal in exact arithmetic; {what} moves {moved} of {count} outputs")


def _answers(design: Design, state: State, rows: Mapping[str, Any]) -> list[Any]:
    found = design.run(**_ports(state, rows))
    return [floats(v) for v in (found.values() if isinstance(found, dict) else [found])]


def _ports(state: State, rows: Mapping[str, Any]) -> dict[str, Any]:
    ports = ((p, rows[origin]) for origin, p in state.walk.params.items() if origin in rows)
    return {p.name or "": values.reshape(ROWS, *p.to.shape) for p, values in ports}


def _equal(answer: list[Any], found: Sequence[Any], traced: Traced) -> bool:
    """Whether the design's numbers are those of floats, which hold no more digits."""
    kind = np.float64 if traced.dtype == torch.float64 else np.float32
    return all(
        a.size == f.size and np.array_equal(a.astype(kind).ravel(), f.astype(kind).ravel())
        for a, f in zip(answer, found, strict=True)
    )


def _close(answer: list[Any], found: Sequence[Any]) -> bool:
    return all(
        a.size == f.size and close(a.ravel(), f.ravel(), DOUBLE).all()
        for a, f in zip(answer, found, strict=True)
    )


def _readings_hold(traced: Traced, state: State, run: Mapping[fx.Node, Any]) -> None:
    """Raise LirError if a quantiser does not do to the model's floats what is read of it, but for float rounding."""
    layers = {n.outputs[0]: n for n in state.walk.model.layers}
    for node in [*state.quantisers, *state.meanings]:
        before = node.args[0]
        if node not in run or not isinstance(before, fx.Node) or before not in run:
            continue
        q, meaning = state.quantisers.get(node), state.meanings.get(node)
        x, theirs = run[before], run[node]
        mine = np.stack([read(q, meaning, row) for row in x])
        fine = np.abs(mine - theirs) <= FLOAT32 * np.abs(theirs)
        if q is not None and not _powers_of_two(q.scale):  # there floats divide exactly
            fine |= near_tie(q, x, FLOAT32) & one_step(q, meaning, mine, theirs)
        if not fine.all():
            at = tuple(map(int, np.argwhere(~fine)[0]))
            _differs(layers[node.name].label, theirs[at], mine[at], at[0])


def _powers_of_two(scale: Any) -> bool:
    return bool((np.frexp(np.asarray(scale, np.float64))[0] == 0.5).all())


def _differs(where: str, theirs: float, mine: float, row: int) -> None:
    raise error(
        f"computes {theirs:.10g} in the model, {mine:.10g} in the design (test input {row})",
        where=where,
        help=HELP,
    )


class _Probe:
    """What the design computes at every layer."""

    def __init__(self, traced: Traced, state: State, rows: Mapping[str, Any]) -> None:
        self.state = state
        self.tensors: dict[fx.Node, Scaled] = {}
        self._floats: dict[fx.Node, Any] = {}
        for node in traced.nodes:
            t = state.values.get(node.name)
            if node.op == "call_function" and isinstance(t, Scaled) and not isinstance(t.value, Pending):
                self.tensors[node] = t
        self.names: dict[Value, str] = {}
        for t in self.tensors.values():
            if isinstance(t.value, Value):
                self.names.setdefault(t.value, f"t{len(self.names)}")
        outputs = tuple(Output(name, value) for value, name in self.names.items())
        self.raw: Mapping[str, Any] = {}
        if outputs:
            raw = Design("probe", tuple(state.walk.params.values()), outputs).run(**_ports(state, rows))
            self.raw = raw if isinstance(raw, dict) else {"t0": raw}

    def exact(self, t: Scaled) -> Any:
        """The numbers of a tensor as fractions, [samples, ...]."""
        assert isinstance(t.value, Value)
        raw = np.asarray(self.raw[self.names[t.value]])
        value = np.empty((len(raw), *t.shape), dtype=object)
        value[...] = raw.reshape(len(raw), *core(t.shape)).reshape(value.shape)
        exact = np.frompyfunc(Fraction, 1, 1)(value)
        moved = np.asarray(exact * t.scale + t.offset, dtype=object)
        return np.asarray(np.minimum(np.maximum(moved, t.lo), t.hi), dtype=object)

    def behind(self, node: fx.Node) -> Any:
        """The numbers behind a node as floats; None if the design has none."""
        if node not in self._floats:
            t = self.tensors.get(node)
            self._floats[node] = None if t is None else floats(self.exact(t))
        return self._floats[node]

    def before(self, node: fx.Node) -> Any:
        """The exact numbers that a node reads; None if they are an input's own."""
        source = node.args[0]
        t = self.tensors.get(source) if isinstance(source, fx.Node) else None
        return None if t is None else self.exact(t)

    def name_the_first(self, found: Mapping[fx.Node, Any]) -> None:
        """Raise LirError for the first layer whose tensor in the design is not the framework's."""
        layers = {n.outputs[0]: n for n in self.state.walk.model.layers}
        for node in self.tensors:
            mine = self.behind(node)
            if node not in found or mine is None:
                continue
            label, theirs = layers[node.name].label, found[node]
            if theirs.size != mine.size:
                shape, other = list(theirs.shape[1:]), list(mine.shape[1:])
                raise error(f"is {shape} in the model, {other} in the design", where=label, help=HELP)
            theirs = theirs.reshape(mine.shape)
            bad = np.argwhere(~close(mine, theirs, DOUBLE))
            if len(bad):
                at = tuple(map(int, bad[0]))
                _differs(label, theirs[at], mine[at], at[0])
