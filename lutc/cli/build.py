"""`lutc compile` and `lutc simulate`: build folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lutc.cli.group import FILE, console
from lutc.cli.loading import load_model, model_options


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--target", default="xcvu13p", show_default=True, help="A name from `lutc targets`, or a .toml file."
)
@click.option("-o", "--output", type=FILE, default=Path("build"), show_default=True, help="The build folder.")
@click.option("--hdl", type=click.Choice(["verilog", "vhdl"]), default="verilog", show_default=True)
@click.option("--clock-ns", type=float, help="Clock period to meet, in nanoseconds.")
@click.option("--clock-mhz", type=float, help="The same as a frequency.")
@click.option("--stages", type=int, help="Ranks of registers instead of a clock; 0 makes it combinational.")
@click.option("--clock-enable", is_flag=True, help="Add the input `ce`; registers hold while it is 0.")
@click.option(
    "--valid", is_flag=True, help="Add `valid_in` and `valid_out`, which follows it by the latency."
)
@click.option("--top", help="Name of the top module.")
@click.option(
    "--verify", is_flag=True, help="Simulate the result and compare every bit; exit 1 if one is wrong."
)
@click.option("--vectors", type=int, default=1000, show_default=True, help="Test vectors in the bench.")
@click.option("--test-data", type=FILE, help="Your own test vectors (.npy or .npz), before the random ones.")
@click.option(
    "--effort",
    type=click.Choice(["fast", "normal", "high"]),
    default="normal",
    show_default=True,
    help="How long to look for a smaller circuit. `fast` also leaves tables to synthesis, writes the last of the "
    "stages only, and reports no LUTs by pass.",
)
@click.option(
    "--dsp",
    type=click.Choice(["none", "auto", "all"]),
    default="none",
    show_default=True,
    help="Which products go to DSP blocks; `auto`: those that cost more LUTs than a block is worth on the target.",
)
@click.option(
    "--approx-lsb",
    type=float,
    default=0.0,
    show_default=True,
    metavar="N",
    help="Let every output be off by up to N units of its least significant bit, proven, for a smaller circuit.",
)
@click.option("--check", is_flag=True, help="Compare random vectors before and after every pass.")
@model_options
@click.pass_context
def compile(
    ctx: click.Context,
    model: Path,
    target: str,
    output: Path,
    hdl: str,
    clock_ns: float | None,
    clock_mhz: float | None,
    stages: int | None,
    clock_enable: bool,
    valid: bool,
    top: str | None,
    verify: bool,
    vectors: int,
    test_data: Path | None,
    effort: str,
    dsp: str,
    approx_lsb: float,
    check: bool,
    input_types: tuple[str, ...],
    calibrate: Path | None,
    compare: bool,
) -> None:
    """Compile MODEL (.lir, .onnx, .keras ...) to a build folder with HDL, a test bench and a report."""
    from lutc import driver, settings
    from lutc.diagnostics import error
    from lutc.files.foreign import read_arrays
    from lutc.report.terminal import show

    if clock_mhz is not None:
        if clock_ns is not None:
            raise error("give the clock once, as --clock-ns or --clock-mhz")
        clock_ns = settings.period(clock_mhz, "MHz")
    settings.vectors(vectors, test_data is not None)
    driver.checked(
        target, clock_ns=clock_ns, stages=stages, top=top, effort=effort, dsp=dsp, approx_lsb=approx_lsb
    )
    rows = _by_name(read_arrays(test_data)) if test_data else None
    driver.may_write(output)
    with console(stderr=True).status("loading") as status:
        design = load_model(model, input_types, calibrate, compare)
        build = driver.compile(
            design,
            target,
            clock_ns=clock_ns,
            stages=stages,
            hdl=hdl,
            clock_enable=clock_enable,
            valid=valid,
            top=top,
            effort=effort,
            dsp=dsp,
            approx_lsb=approx_lsb,
            check=1000 if check else 0,
            progress=status.update,
        )
        status.update("writing")
        with driver.alone(output):  # so that what is verified is what was written
            folder = build.write(output, vectors=vectors, user_vectors=rows)
            status.stop()
            show(build.report, console())
            click.echo(f"wrote {folder}/")
            if verify:
                _simulate(ctx, folder)
                click.echo(f"the design that the circuit was compared with: {build.report['compared']}")


def _by_name(arrays: Any) -> dict[str, Any]:
    return arrays if isinstance(arrays, dict) else {"": arrays}


@click.command()
@click.argument("build", type=FILE, default=Path("build"))
@click.pass_context
def simulate(ctx: click.Context, build: Path) -> None:
    """Run the test bench of the folder BUILD again."""
    _simulate(ctx, build)


def _simulate(ctx: click.Context, folder: Path) -> None:
    from lutc import driver

    with console(stderr=True).status("simulating"):
        result = driver.simulate(folder)
    if not result.passed:
        click.echo(f"FAILED: {result.message}", err=True)
        ctx.exit(1)
    click.echo(
        f"verified: {result.vectors} vectors, {result.cycles} cycles in {result.simulator}, no bit wrong"
    )
