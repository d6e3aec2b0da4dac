"""The pipelines: one pass a line, each with the reason for its place."""

from __future__ import annotations

from lutc.passes.adders import Adders
from lutc.passes.approximate import Approximate
from lutc.passes.cmvm import Cmvm
from lutc.passes.dsp import Dsp
from lutc.passes.encode import Encode
from lutc.passes.halves import Halves
from lutc.passes.lower import Lower
from lutc.passes.manager import Pass
from lutc.passes.multiply import Multiply
from lutc.passes.narrow import Narrow
from lutc.passes.offsets import Offsets
from lutc.passes.pipeline import Pipeline
from lutc.passes.prune import Prune
from lutc.passes.scalarize import Scalarize
from lutc.passes.simplify import Simplify
from lutc.passes.sums import Sums
from lutc.passes.tables import Absorb
from lutc.passes.unreached import Unreached

ALL: tuple[type[Pass], ...] = (
    Simplify,
    Prune,
    Scalarize,
    Narrow,
    Sums,
    Lower,
    Halves,
    Absorb,
    Unreached,
    Approximate,
    Offsets,
    Encode,
    Dsp,
    Multiply,
    Cmvm,
    Adders,
    Pipeline,
)


def standard(
    target: str,
    period: float = 0.0,
    stages: int = -1,
    effort: str = "normal",
    dsp: str = "none",
    approx_lsb: float = 0.0,
    rescales: bool = True,
) -> list[Pass]:
    """From a tensor-stage design to one that is ready for the netlist.

    A design may be known to have no `rescale` in it: what is done again for its multipliers is then left out if it is
    to go fast.
    """
    thorough = effort != "fast"
    return [
        Simplify(),  # small tensors first: everything after has less to do
        Prune(),  # while a weight matrix is still one thing
        Scalarize(),  # from here on each number has its own width
        Sums(),  # before narrowing puts wire operations between the additions
        Narrow(),  # ranges decide how `rescale` is done
        Lower(target),  # needs the ranges
        # the multipliers of `lower` are sums too, and have ranges of their own
        *([Sums(), Narrow()] if thorough or rescales else []),
        *([Halves()] if thorough else []),  # a rounding that is free needs no table to take it in
        Absorb(target, thorough),  # tables take in roundings while those are still one operation
        # tables are as long as they get; a fortieth of the time, for a few LUTs in a thousand
        *([Unreached(target)] if effort == "high" else []),
        # on request; sums are whole yet, and what they read is as it will be
        *([Approximate(approx_lsb, target, thorough)] if approx_lsb else []),
        Offsets(target, thorough),  # the n-ary sums take up what tables give away
        *([Encode(target)] if thorough else []),  # what sums could not take in two
        *([Dsp(target, dsp)] if dsp != "none" else []),  # what blocks take, sums need not share
        *([Multiply()] if thorough else []),  # what products are left are sums of rows
        Cmvm(target, effort),  # sums share partial sums, after all that changes their weights
        Adders(target, thorough),  # last of all choices: until here every sum was whole
        Narrow(),  # partial sums are narrower than their formats say
        Pipeline(period, stages, target),
    ]
