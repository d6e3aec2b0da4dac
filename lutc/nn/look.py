"""An independent look at an exported design: the model itself runs on a few samples, and has to give the same."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.diagnostics import error
from lutc.graph import Design, Param

RANDOM = 16  # samples beside the corners
CLOSE = 2.0**-44  # of the largest number: what float64 loses in sums of more than 53 bits
HELP = "this is a mistake in lutc: please report it with the model"


def looked_at(model: nn.Module, design: Design) -> Design:
    """The design. Raises LirError if it is not the model, which is in evaluation mode, or if that mixes samples."""
    (port,) = design.params
    x = samples(port).reshape(-1, *port.type.shape)
    with torch.no_grad():
        twin = _copied(model)
        like = next(model.parameters(), torch.zeros(()))
        given = torch.as_tensor(x, device=like.device)
        theirs = twin(given).cpu().double().numpy()
        alone = [twin(given[i : i + 1]).cpu().double().numpy() for i in range(3)]
    if len(theirs) != len(x) or any(not np.array_equal(theirs[i : i + 1], a) for i, a in enumerate(alone)):
        raise error(
            "mixes the samples of a batch: one gives other answers alone than among others",
            where=design.name,
            help="compute along the other dimensions; the first one counts samples",
        )
    mine = floats(design.run(x)).reshape(theirs.shape)
    wrong = np.argwhere(~(np.abs(mine - theirs) <= CLOSE * np.abs(theirs).max(initial=0)))
    if len(wrong):
        at = tuple(map(int, wrong[0]))
        raise error(
            f"computes {theirs[at]:.10g} in the model, {mine[at]:.10g} in the design (test input {at[0]})",
            where=design.name,
            help=HELP,
        )
    return design


def samples(port: Param) -> Any:
    """Numbers for a port, [samples, elements]: zeros, the corners, random ones between its steps and beyond its ends."""
    rng = np.random.default_rng(0)
    step = np.array([float(f.step) for f in port.to.formats])
    lo, hi = (np.array([float(getattr(f, end)) for f in port.to.formats]) for end in ("lo", "hi"))
    codes = np.rint(rng.uniform(lo, hi, (3 + RANDOM, len(step))))
    codes[0], codes[1], codes[2] = 0, lo, hi
    codes[3:] += rng.integers(-2, 3, codes[3:].shape) / 4
    codes[3:6] *= 3
    return codes * step


def floats(numbers: Any) -> Any:
    """Exact numbers as float64."""
    array = np.asarray(numbers)
    return np.array([float(v) for v in array.ravel().tolist()]).reshape(array.shape)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError):  # some modules keep what they computed last, which cannot be copied
        return model
