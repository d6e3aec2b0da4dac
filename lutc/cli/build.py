"""`lutc compile` and `lutc simulate`: build folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lutc.choices import SIMULATORS
from lutc.cli.group import FILE, console
from lutc.cli.loading import Told, load_model, model_options
from lutc.cli.options import setting_options


@click.command()
@click.argument("model", type=FILE)
@click.option("-o", "--output", type=FILE, default=Path("build"), show_default=True, help="The build folder.")
@setting_options()
@click.option("--clock-mhz", type=float, help="The clock as a frequency.")
@click.option(
    "--verify", is_flag=True, help="Simulate the result and compare every bit; exit 1 if one is wrong."
)
@click.option("--vectors", type=int, default=1000, show_default=True, help="Test vectors in the bench.")
@click.option("--test-data", type=FILE, help="Your own test vectors (.npy or .npz), before the random ones.")
@model_options
@click.pass_context
def compile(
    ctx: click.Context,
    /,
    model: Path,
    output: Path,
    clock_mhz: float | None,
    verify: bool,
    vectors: int,
    test_data: Path | None,
    told: Told,
    **asked: Any,
) -> None:
    """Compile MODEL (.lir, .onnx, .keras ...) to a build folder with HDL, a test bench and a report."""
    from lutc import built, driver, settings
    from lutc.diagnostics import error
    from lutc.files.foreign import read_arrays
    from lutc.lowering.unquantised import loading_for
    from lutc.report.terminal import show

    if clock_mhz is not None:
        if asked["clock_ns"] is not None:
            raise error("give the clock once, as --clock-ns or --clock-mhz")
        asked["clock_ns"] = settings.period(clock_mhz, "MHz")
    settings.vectors(vectors, test_data is not None)
    chosen = settings.Settings(**asked)
    if verify and not chosen.backend.simulators:
        raise error(f"no simulator reads {chosen.hdl}", help="leave out --verify")
    rows = _by_name(read_arrays(test_data)) if test_data else None
    built.may_write(output)
    with console(stderr=True).status("loading") as status:
        with loading_for(chosen.target):
            design = load_model(model, told)
        build = driver.compile(design, chosen, progress=status.update)
        status.update("writing")
        with built.alone(output):  # so that what is verified is what was written
            folder = build.write(output, vectors=vectors, user_vectors=rows)
            status.stop()
            show(json.loads((folder / "report.json").read_text()), console())
            click.echo(f"wrote {folder}/")
            if verify:
                _simulate(ctx, folder)
                if build.assumption:
                    click.echo(
                        "these are assumed rows, answered as model.lir answers them (all "
                        f"{build.assumption.assumed.rows:,} were compared), and others, answered as assumed.lir does"
                    )
                click.echo(f"the design that the circuit was compared with: {build.report['compared']}")


def _by_name(arrays: Any) -> dict[str, Any]:
    return arrays if isinstance(arrays, dict) else {"": arrays}


@click.command()
@click.argument("build", type=FILE, default=Path("build"))
@click.option(
    "--simulator",
    type=click.Choice(SIMULATORS),
    default="auto",
    show_default=True,
    help="What simulates; auto is what fits, and for thousands of vectors Verilator if it is installed.",
)
@click.pass_context
def simulate(ctx: click.Context, build: Path, simulator: str) -> None:
    """Run the test bench of the folder BUILD again."""
    _simulate(ctx, build, simulator)


def _simulate(ctx: click.Context, folder: Path, simulator: str = "auto") -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lutc import built

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    screen = console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("simulating", total=None, rate="")

        def told(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} cycles/s" if speed else "")

        result = built.simulate(folder, simulator=simulator, progress=told)
    if not result.passed:
        click.echo(f"FAILED: {result.message}", err=True)
        ctx.exit(1)
    click.echo(
        f"verified: {result.vectors} vectors, {result.cycles} cycles in {result.simulator}, no bit wrong"
    )
