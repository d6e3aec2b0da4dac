"""The pipelines: one pass a line, each with the reason for its place."""

from __future__ import annotations

from lutc.passes.approximate.approximate import Approximate
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.canonical.prune import Prune
from lutc.passes.canonical.simplify import Simplify
from lutc.passes.manager import Pass
from lutc.passes.pipeline import Pipeline
from lutc.passes.rescale import LowerRescale
from lutc.passes.scalarize import Scalarize
from lutc.passes.sums.adders import Adders
from lutc.passes.sums.collect import Collect
from lutc.passes.sums.dsp import Dsp
from lutc.passes.sums.multiply import Multiply
from lutc.passes.sums.share import Share
from lutc.passes.tables.absorb import Absorb
from lutc.passes.tables.dont_care import DontCare
from lutc.passes.tables.encode import Encode
from lutc.passes.tables.offsets import Offsets
from lutc.passes.tables.rounding_constant import RoundingConstant

ALL: tuple[type[Pass], ...] = (
    Simplify,
    Prune,
    Scalarize,
    Narrow,
    Collect,
    LowerRescale,
    RoundingConstant,
    Absorb,
    DontCare,
    Approximate,
    Offsets,
    Encode,
    Dsp,
    Multiply,
    Share,
    Adders,
    Pipeline,
)


def standard(
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
        Collect(),  # before narrowing puts wire operations between the additions
        Narrow(),  # ranges decide how `rescale` is done
        LowerRescale(),  # needs the ranges
        # the multipliers of `rescale` are sums too, and have ranges of their own
        *([Collect(), Narrow()] if thorough or rescales else []),
        *([RoundingConstant()] if thorough else []),  # a rounding that is free needs no table to take it in
        Absorb(),  # tables take in roundings while those are still one operation
        # tables are as long as they get; a fortieth of the time, for a few LUTs in a thousand
        *([DontCare()] if effort == "high" else []),
        # on request; sums are whole yet, and what they read is as it will be
        *([Approximate(approx_lsb)] if approx_lsb else []),
        Offsets(),  # the n-ary sums take up what tables give away
        *([Encode()] if thorough else []),  # what sums could not take in two
        *([Dsp(dsp)] if dsp != "none" else []),  # what blocks take, sums need not share
        *([Multiply()] if thorough else []),  # what products are left are sums of rows
        Share(),  # sums share partial sums, after all that changes their weights
        Adders(),  # last of all choices: until here every sum was whole
        Narrow(),  # partial sums are narrower than their formats say
        Pipeline(period, stages),
    ]
