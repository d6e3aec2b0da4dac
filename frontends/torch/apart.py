"""The model's own answers to single samples, and whether three of them keep out of each other's way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lutc.diagnostics import error
from lutc.lowering.compare import ROWS, SINGLE, samples

from .call import State
from .trace import Traced

TOGETHER = [2, 7, 11]
CLOSE = 2.0**-30  # of the largest number: what float64 may lose in a model that rounds on the way
HELP = "compute along the other dimensions: the first one counts samples, and a circuit sees one at a time"


class Single:
    """The model on the test inputs, one sample at a time."""

    def __init__(self, traced: Traced, rows: Mapping[str, Any]) -> None:
        assert traced.own is not None
        self._traced, self._own, self._rows = traced, traced.own, rows
        self._pairs = False  # a program may have been exported for two samples at least

    def inputs(self, rows: Sequence[int]) -> list[torch.Tensor]:
        """Samples one after the other along the first dimension."""
        found = []
        for item in self._traced.inputs:
            if item.name in self._rows:
                parts = [torch.as_tensor(self._rows[item.name][i]).to(self._traced.kind(item)) for i in rows]
                found.append(torch.cat(parts) if parts[0].ndim else parts[0])
        return found

    def answers(self, rows: Sequence[int] = range(ROWS)) -> list[Any]:
        """Every output for all samples, or those of some rows, [samples, ...]."""
        try:
            self._own.run(self.inputs([0]))
        except Exception:  # whatever the model raises
            self._pairs = True
        return _stacked([self._alone(self._own.run(self._of(row))) for row in rows])

    def precise(self, rows: Sequence[int] = range(ROWS)) -> list[Any] | None:
        """The same in double precision; None if the model cannot be run so."""
        found = []
        for row in rows:
            done = self._own.precise(self._of(row))
            if done is None:
                return None
            found.append(self._alone(done))
        return _stacked(found)

    def _of(self, row: int) -> list[torch.Tensor]:
        return self.inputs([row, row] if self._pairs else [row])

    def _alone(self, outputs: list[Any]) -> list[Any]:
        return [v[:1] for v in outputs] if self._pairs else outputs

    def answers_apart(self) -> None:
        """Run no more than what shows whether samples keep apart; raise LirError if they do not."""
        try:
            alone = self.answers(TOGETHER)
        except Exception:  # whatever the model raises: nothing is known of it then
            return
        self.keeps_samples_apart(alone, TOGETHER)

    def keeps_samples_apart(self, alone: list[Any], of: Sequence[int] = range(ROWS)) -> None:
        """Raise LirError if the answer to a sample, of those that ran alone, depends on those it stands among."""
        places = [list(of).index(row) for row in TOGETHER]
        given = [i for i in self._traced.inputs if i.name in self._rows]
        if not given or any(not i.dims or i.dims[0] is not None for i in given):
            return  # its batch is of one length
        three = self.inputs(TOGETHER)
        try:
            together = self._own.run(three)
        except Exception:  # it takes one sample alone, so there is no other
            return
        for number, (found, single) in enumerate(zip(together, alone, strict=True)):
            want = single[places]
            if found.shape == single.shape[1:] and (found == single).all():
                continue  # no function of the inputs
            if single.shape[1:2] != (1,) or found.shape != (len(TOGETHER), *single.shape[2:]):
                self._refuse(
                    f"output {number} is {list(single.shape[1:])} for one and {list(found.shape)} for three"
                )
            want = want.reshape(found.shape)
            if not _apart(found, want, SINGLE) or self._precisely_apart(three, number):
                continue
            at = tuple(map(int, np.argwhere(found != want)[0]))
            self._refuse(
                f"output {number}{list(at[1:])} of one is {want[at]:.6g} alone, and {found[at]:.6g} among three"
            )

    def _precisely_apart(self, three: list[torch.Tensor], number: int) -> bool:
        """Whether in double precision the samples are apart, so that only float rounding differs."""
        together, alone = self._own.precise(three), self.precise(TOGETHER)
        if together is None or alone is None:
            return False
        found = together[number]
        return not _apart(found, alone[number].reshape(found.shape), CLOSE)

    def _refuse(self, seen: str) -> None:
        raise error(f"mixes the samples of a batch: {seen}", where=self._traced.name, help=HELP)


def _apart(a: Any, b: Any, share: float) -> bool:
    return bool(np.abs(a - b).max(initial=0) > share * np.abs(a).max(initial=0))


def _stacked(several: list[list[Any]]) -> list[Any]:
    return [np.stack([one[i] for one in several]) for i in range(len(several[0]))]


def test_inputs(traced: Traced, state: State, given: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of real numbers for each input, `(ROWS, *shape)`, with the shape that it was traced with."""
    found = {}
    for item in traced.inputs:
        if item.dtype == "nothing":
            continue
        shape = tuple(n or 1 for n in item.dims or ())
        param = state.walk.params.get(item.name)
        fixed = bool(given) or item.dtype not in ("float", "double")
        rows = np.zeros((ROWS, *shape)) if param is None else samples(param, fixed)
        found[item.name] = rows.reshape(ROWS, *shape)
    return found
