"""The bench of build folders, as `lutc.plugins.Bench` says: writing and running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.ir.graph import Design
from lutc.rtl.nets import Module

from .bench.run import SIMULATORS
from .simulate import bench_for, reads, simulate, write_bench
from .vectors import element_runs, stimulus

__all__ = ["reads", "simulate", "simulators", "write"]

_SEED = 2604  # any number will do, as long as a build folder is the same each time it is made
NUMBERS = 100_000_000  # in all vectors of a bench: several gigabytes


# What the bench's simulators read. `bench/run.py` starts them; it stands alone in a build folder.
simulators = {name: simulator.hdl for name, simulator in SIMULATORS.items()}


def write(
    folder: Path,
    source: Design,
    modules: Sequence[Module],
    *,
    hdl: str,
    files: Sequence[str],
    latency: int,
    valid: bool,
    count: int,
    user: Mapping[str, Any] | None,
) -> None:
    """Write `folder/sim/`: the bench, `count` random and corner vectors after the user's, and the right answers.

    `source` is the design as it was before any pass: the answers are the interpreter's on it, so the bench proves the
    passes too. `modules` is its netlist, printed to `files` (paths from `folder`) in `hdl`.
    """
    numbers = sum(v.type.size for v in (*source.params, *(o.value for o in source.outputs)))
    if count * numbers > NUMBERS:
        help = f"with so many ports and elements, {NUMBERS // numbers} vectors are the most"
        raise error(f"{count:,} vectors of {numbers:,} numbers each are too many for a bench", help=help)
    bench, names = bench_for(modules, hdl, files, latency, valid=valid, elements=element_runs(source))
    if user and set(user) == {""} and len(source.params) == 1:
        user = {source.params[0].name or "": user[""]}
    words, expected = stimulus(source, count, _SEED, user, names)
    write_bench(folder, bench, words, expected)
