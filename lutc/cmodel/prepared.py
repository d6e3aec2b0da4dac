"""The form of a design that its C model is made from: scalars where that is not too long, tensors as loops else."""

from __future__ import annotations

from collections.abc import Sequence

from lutc.cmodel.source import Model, model
from lutc.ir.graph import Design, Stage, owners
from lutc.ir.ops import Map
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.canonical.prune import Prune
from lutc.passes.canonical.simplify import Simplify
from lutc.passes.context import Context
from lutc.passes.manager import Pass, run
from lutc.passes.rescale.rescale import LowerRescale
from lutc.passes.scalarize import Scalarize
from lutc.passes.sums.collect import Collect
from lutc.passes.tables.absorb import Absorb

STRAIGHT = 2000  # operations on scalars up to which a design is written as a straight line

# What makes a program shorter; what is for LUTs alone is left out.
_LINE: tuple[Pass, ...] = (
    Simplify(),
    Prune(),
    Scalarize(),
    Collect(),
    Narrow(),
    LowerRescale("none"),
    Absorb(),
    Narrow(),
)


def prepared(design: Design) -> Design:
    """The same function in the form that C computes quickest.

    A design at the scalar stage stays as it is; one at the tensor stage becomes a straight line of scalars if it has
    few operations, and is as it is else.
    """
    if design.stage is Stage.SCALAR or operations(design) > STRAIGHT:
        return design
    return run(design, _LINE, Context(effort="fast"), each=False)


def operations(design: Design) -> int:
    """Operations on scalars, each function counted as often as it is used."""
    if any(isinstance(v, Map) and v.length > 1 for owner in owners(design) for v in owner.values):
        return STRAIGHT + 1  # what is the same many times is a loop
    return sum(v.operations() for v in design.values)


def c_model(
    design: Design, name: str, head: str, *, namespace: str | None = None, notes: Sequence[str] = ()
) -> Model:
    """The C model of a design in its quickest form; see `lutc.cmodel.source.model`."""
    return model(prepared(design), name, head, namespace=namespace, notes=notes)
