"""The pipelines: one pass a line, each with the reason for its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from lutc.passes.approximate.approximate import Approximate
from lutc.passes.assume.ranges import AssumeRanges
from lutc.passes.assume.tables import AssumeKeys, AssumeTables
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.canonical.prune import Prune
from lutc.passes.canonical.simplify import Simplify
from lutc.passes.manager import Pass
from lutc.passes.pipeline import Pipeline
from lutc.passes.rescale.rescale import LowerRescale
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
    AssumeRanges,
    AssumeTables,
    AssumeKeys,
    Offsets,
    Encode,
    Dsp,
    Multiply,
    Share,
    Adders,
    Pipeline,
)


@dataclass(frozen=True)
class Step:
    """A pass, and why it has its place."""

    step: Pass
    why: str


def steps(
    period: float | None = None,
    stages: int | None = None,
    effort: str = "normal",
    dsp: str = "none",
    approx_lsb: float = 0.0,
    rescales: bool = True,
    cut: bool = True,
    assume: bool = False,
) -> list[Step]:
    """From a tensor-stage design to one that is ready for the netlist.

    A design may be known to have no `rescale` in it: what is done again for its multipliers is then left out if it is
    to go fast. One that has registers of its own is not `cut`. `assume` is for
    a context that says which inputs are assumed.
    """
    thorough = effort != "fast"
    again = "the multipliers of `rescale` are sums too, and have ranges of their own"
    found: list[tuple[bool, Pass, str]] = [
        (True, Simplify(), "small tensors first: everything after has less to do"),
        (True, Prune(), "while a weight matrix is still one thing"),
        (True, Scalarize(), "from here on each number has its own width"),
        (True, Collect(), "before narrowing puts wire operations between the additions"),
        (assume, AssumeRanges(), "on request; what the rows leave unused, no pass after it has to build"),
        (True, Narrow(), "ranges decide how `rescale` is done"),
        (True, LowerRescale(dsp), "needs the ranges"),
        (thorough or rescales, Collect(), again),
        (thorough or rescales, Narrow(), again),
        (thorough, RoundingConstant(), "a rounding that is free needs no table to take it in"),
        (True, Absorb(), "tables take in roundings while those are still one operation"),
        (effort == "high", DontCare(), "tables are as long as they get; slow, for a few LUTs in a thousand"),
        (
            approx_lsb > 0,
            Approximate(approx_lsb),
            "on request; sums are whole yet, and what they read is final",
        ),
        (assume, AssumeTables(), "on request; smooth tables are what sums take in two"),
        (True, Offsets(), "the n-ary sums take up what tables give away"),
        (assume, AssumeKeys(), "on request; tables are as short as sums leave them"),
        (thorough, Encode(), "what sums could not take in two"),
        (dsp != "none", Dsp(dsp), "what blocks take, sums need not share"),
        (thorough, Multiply(), "what products are left are sums of partial products"),
        (True, Share(), "sums share partial sums, after all that changes their weights"),
        (True, Adders(), "last of all choices: until here every sum was whole"),
        (True, Narrow(), "partial sums are narrower than their formats say"),
        (cut, Pipeline(period, stages), "nothing after it changes a delay"),
    ]
    return [Step(step, why) for wanted, step, why in found if wanted]


Given = ParamSpec("Given")


def _alone(explained: Callable[Given, list[Step]]) -> Callable[Given, list[Pass]]:
    """The same pipeline without the reasons."""

    @wraps(explained)
    def passes(*args: Given.args, **options: Given.kwargs) -> list[Pass]:
        return [s.step for s in explained(*args, **options)]

    return passes


standard = _alone(steps)
