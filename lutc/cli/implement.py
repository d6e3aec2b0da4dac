"""`lutc implement`: a build folder through open place and route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lutc.cli.group import FILE, console

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("build", type=FILE, default=Path("build"))
@click.option("--seeds", type=int, default=3, show_default=True, help="How many times; the median counts.")
@click.option("--target", help="The target again, if it is a .toml file of your own.")
@click.option("--clock-ns", type=float, help="The period to aim at; else the build's own.")
@click.option(
    "--vectors",
    type=int,
    help="Vectors to simulate on the routed netlist.  [default: 20, where cells have models]",
)
@click.option(
    "--close",
    is_flag=True,
    help="If the clock is missed, compile BUILD again by the delays that were measured, and implement that.",
)
@click.option(
    "--tries", type=int, default=3, show_default=True, help="How many times, with --close, at most."
)
@click.option("--bitstream", type=FILE, help="Write the device's bitstream: BUILD alone, its ports on pins.")
@click.option(
    "--constraints", type=FILE, help="Which pins: a .lpf, .pcf or .cst file. Else the router chooses."
)
@click.option("--missed-ok", is_flag=True, help="A clock that is not reached is no error.")
@click.option("--keep", type=FILE, help="A new folder for the tools' files and logs.")
@click.option("-o", "--output", type=FILE, help="Write the result as JSON, too.")
def implement(
    build: Path,
    seeds: int,
    target: str | None,
    clock_ns: float | None,
    vectors: int | None,
    close: bool,
    tries: int,
    bitstream: Path | None,
    constraints: Path | None,
    missed_ok: bool,
    keep: Path | None,
    output: Path | None,
) -> None:
    """Synthesise, place and route the folder BUILD with open tools: what it takes and its clock on the device.

    For targets of the families ecp5, ice40 and gowin; the tools come with lutc[pnr]. The circuit is placed between
    registers, away from the pins. Exit 2 if the clock is not reached.

    With --close, a BUILD that misses its clock is replaced by one with more registers, of the same settings and the
    same function: its report says by which factor the delays were longer than the model's. If none meets the clock,
    the best stays in BUILD, and the message says what is in the way.
    """
    from lutc.diagnostics import error
    from lutc.files.writing import may_be_written, write_text
    from lutc.pnr.implement import implement as run

    if output:
        may_be_written(output)
    with console(stderr=True).status("starting") as status:
        found = run(
            build,
            seeds=seeds,
            target=target,
            clock_ns=clock_ns,
            vectors=vectors,
            close=close,
            tries=tries,
            bitstream=bitstream,
            constraints=constraints,
            keep=keep,
            progress=status.update,
        )
    _show(found, console())
    if output:
        write_text(output, json.dumps(found.facts(), indent=2) + "\n")
    if not found.met and not missed_ok:
        raise error(
            found.missed(),
            where=str(build),
            help=f"{'' if close else 'have it compiled again: --close, or '}accept it: --missed-ok",
        )


def _show(found: Any, out: Console) -> None:
    from rich.table import Table

    table = Table(title=f"{found.target}: placed and routed", title_justify="left")
    for heading in ("", "LUT4", "carry bits", "FF", "DSP", "BRAM", "clock"):
        table.add_column(heading, justify="right" if heading else "left")
    c, e = found.counts, found.estimate
    table.add_row(
        "reached",
        *(f"{c[k]:,}" for k in ("luts", "carries", "ffs", "dsps", "brams")),
        f"{found.reached_ns:.2f} ns",
    )
    table.add_row(
        "estimated", f"{e['luts']:,}", "", f"{e['ffs']:,}", f"{e['dsps']:,}", "", f"{e['stage_ns']:.2f} ns"
    )  # fmt: skip
    out.print(table)
    path = Table(
        title=f"the slowest path, from {found.usual.starts} to {found.usual.ends}", title_justify="left"
    )
    for heading in ("layer", "cells", "logic", "wires"):
        path.add_column(heading, justify="left" if heading == "layer" else "right")
    for step in found.usual.path:
        path.add_row(step.layer, str(step.cells), f"{step.logic_ns:.2f} ns", f"{step.routing_ns:.2f} ns")
    out.print(path)
    periods = ", ".join(f"{t.period_ns:.2f}" for t in found.timings)
    out.print(
        f"{found.asked_ns:.2f} ns asked for, {found.reached_ns:.2f} ns reached (median of {periods}); latency "
        f"{found.latency} cycles",
        highlight=False,
    )
    if len(found.tries) > 1:
        out.print(_tries(found))
    if bits := found.bitstream:
        reached = f", {bits.period_ns:.2f} ns" if bits.period_ns else ""
        out.print(f"wrote {bits.file}: {bits.pins} pins, seed {bits.seed}{reached}", highlight=False)
    if found.vectors:
        out.print(f"{found.vectors} vectors on the routed netlist, no bit wrong", highlight=False)


def _tries(found: Any) -> Any:
    from rich.table import Table

    table = Table(title="compiled again by the delays of place and route", title_justify="left")
    for heading in ("delays, times the target's", "stages", "clock", "met"):
        table.add_column(heading, justify="right")
    for one in found.tries:
        met = "yes" if one.met else "no"
        table.add_row(f"{one.delay_factor:.2f}", str(one.stages), f"{one.reached_ns:.2f} ns", met)
    return table
