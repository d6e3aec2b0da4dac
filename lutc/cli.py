"""The command line. No logic lives here: arguments in, calls, text out.

Exit codes: 0 done; 1 a verification found a wrong bit, or `fmt --check` a file to format; 2 the user's input is wrong;
3 a bug in lutc; 130 interrupted, 141 nobody reads what is printed (a closed pipe), 143 terminated. Heavy imports wait
inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lutc import streams
from lutc._version import __version__

if TYPE_CHECKING:
    from rich.console import Console


class File(click.Path):
    """A path. The empty one would be taken for the folder that one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("the path is empty; the folder that you are in is .", param, ctx)
        return super().convert(value, param, ctx)


FILE = File(path_type=Path)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


class Group(click.Group):
    """Turns what goes wrong into messages and exit codes."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)  # prints --help and --version
        except BrokenPipeError:
            raise streams.unheard() from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke(ctx)
        except BrokenPipeError:
            raise streams.unheard() from None

    def _invoke(self, ctx: click.Context) -> Any:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminated)  # so that what was begun is cleared away
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise  # click knows what to do with them
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)
        except Exception as e:
            from lutc.diagnostics import LirError, shortened

            if isinstance(e, LirError):
                for d in e.diagnostics:
                    click.echo(str(d), err=True)
                if len(e.diagnostics) > 1:
                    click.echo(f"{len(e.diagnostics)} errors", err=True)
                ctx.exit(2)
            if isinstance(e, OSError):
                place = f"{shortened(os.fsdecode(e.filename), 300)}: " if e.filename is not None else ""
                click.echo(f"{place}error: {e.strerror or str(e) or type(e).__name__}", err=True)
                ctx.exit(2)
            if isinstance(e, MemoryError):
                click.echo("error: there is not enough memory for this", err=True)
                click.echo(" = help: make the model smaller, or compile it on a larger machine", err=True)
                ctx.exit(2)
            if os.environ.get("LUTC_TRACEBACK"):
                raise
            click.echo(f"internal error: {type(e).__name__}: {shortened(str(e), 1000)}", err=True)
            click.echo(" = help: this is a bug in lutc; LUTC_TRACEBACK=1 shows where", err=True)
            ctx.exit(3)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lutc")
def main() -> None:
    """Compile trained, quantised neural networks to fixed-latency FPGA circuits."""
    gc.set_threshold(
        1_000_000
    )  # passes make many objects and few circles of them: not looking saves 5 to 10 %


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would end with 1, our code for a wrong bit

    # Without a terminal, lines must not be folded at 80 columns: they end in logs and pipes.
    return Terminal(stderr=stderr, width=None if sys.stdout.isatty() else 120, highlight=False)


def model_options(command: Any) -> Any:
    """The options of every command that loads a model."""
    command = click.option(
        "--input-type",
        "input_types",
        multiple=True,
        metavar="[NAME=]TYPE",
        help="Format of an input that has none, such as s8f4; once for all inputs, or by name.",
    )(command)
    command = click.option(
        "--compare/--no-compare",
        default=True,
        help="Compare with the model as its own framework runs it, where that is installed (the default).",
    )(command)
    return click.option("--calibrate", type=FILE, help="Samples (.npy or .npz) to trace value ranges on.")(
        command
    )


def load_model(model: Path, input_types: tuple[str, ...], calibrate: Path | None, compare: bool) -> Any:
    from lutc import driver
    from lutc.diagnostics import error
    from lutc.files.foreign import read_arrays

    types: dict[str, str] = {}
    for item in input_types:
        name, _, kind = item.rpartition("=")
        if name in types:
            raise error(f"the format of {name or 'all inputs'!r} is given twice", where="--input-type")
        types[name] = kind
    samples = read_arrays(calibrate) if calibrate else None
    return driver.load(model, input_types=types, calibrate=samples, compare=compare)


@main.command()
@click.argument("model", type=FILE)
@click.option(
    "--target", default="xcvu13p", show_default=True, help="A name from `lutc targets`, or a .toml file."
)
@click.option("-o", "--output", type=FILE, default=Path("build"), show_default=True, help="The build folder.")
@click.option(
    "--hdl",
    type=click.Choice(["verilog", "vhdl"]),
    default="verilog",
    show_default=True,
    help="The language of the circuit.",
)
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


@main.command()
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


@main.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
def check(files: tuple[Path, ...]) -> None:
    """Verify .lir FILES: every error at once, with its place and the next step."""
    from lutc.diagnostics import Diagnostic, LirError
    from lutc.text.parse import parse_file

    found: list[Diagnostic] = []
    for file in files:
        try:
            parse_file(file)
        except LirError as e:
            found += e.diagnostics
        else:
            click.echo(f"{file}: ok")
    if found:
        raise LirError(*found)


@main.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change.")
@click.pass_context
def fmt(ctx: click.Context, files: tuple[Path, ...], check: bool) -> None:
    """Bring .lir FILES into canonical form, comments kept."""
    from lutc.files.foreign import read_text
    from lutc.files.writing import write_text
    from lutc.text.fmt import format_text

    changed = False
    for file in files:
        before = read_text(file)
        after = format_text(before, str(file), file.parent)
        if after == before:
            continue
        changed = True
        if check:
            click.echo(f"{file}: would change")
        else:
            write_text(file, after)
            click.echo(f"{file}: formatted")
    if check and changed:
        ctx.exit(1)


@main.command()
@click.argument("model", type=FILE)
@click.option(
    "--input",
    "inputs",
    type=FILE,
    required=True,
    help="Real numbers, or text that spells them: .npy, or .npz with one array per port.",
)
@click.option(
    "--output", type=FILE, required=True, help="Where the answers go: .npy, or .npz for several ports."
)
@click.option(
    "--codes", is_flag=True, help="Write integers instead, and what they mean: type, scale, offset."
)
@model_options
def run(
    model: Path,
    inputs: Path,
    output: Path,
    codes: bool,
    input_types: tuple[str, ...],
    calibrate: Path | None,
    compare: bool,
) -> None:
    """Run MODEL in the reference interpreter, exactly.

    Answers are float64 numbers; if one of them is none, an error says so. With --codes they are integers (int64, or
    text for more than 64 bits), each worth code * 2^-frac * scale + offset. The formats stand in a .npz file as
    JSON, in the array NAME.format; for a .npy file they are printed.
    """
    import json

    from lutc import answers
    from lutc.files.foreign import read_arrays
    from lutc.ir.interp import answer

    design = load_model(model, input_types, calibrate, compare)
    answers.check_place(design, output)
    given = read_arrays(inputs)
    found = answer(design, **given) if isinstance(given, dict) else answer(design, given)
    if not codes:
        answers.save_reals(design, found, output)
        return
    about = answers.save_codes(design, found, output)
    if output.suffix == ".npy":
        click.echo(json.dumps(about))


@main.command()
@click.argument("model", type=FILE)
@click.option(
    "-p", "--passes", "text", required=True, metavar="PASSES", help='Such as "scalarize, pipeline{stages=2}".'
)
@click.option("--dump", type=FILE, help="Write the design after every pass into this folder.")
@click.option("--check", is_flag=True, help="Compare random vectors before and after every pass.")
@click.option("-o", "--output", type=FILE, help="Write the result here instead of to the terminal.")
@model_options
def opt(
    model: Path,
    text: str,
    dump: Path | None,
    check: bool,
    output: Path | None,
    input_types: tuple[str, ...],
    calibrate: Path | None,
    compare: bool,
) -> None:
    """Run PASSES on MODEL and print the design that comes out."""
    from lutc.files.writing import write_text
    from lutc.passes.manager import parse_passes
    from lutc.passes.manager import run as run_passes
    from lutc.passes.pipelines import ALL
    from lutc.text.print import print_design

    steps = parse_passes(text, ALL)
    design = load_model(model, input_types, calibrate, compare)
    result = print_design(run_passes(design, steps, dump=dump, check=1000 if check else 0))
    if output:
        write_text(output, result)
    else:
        click.echo(result, nl=False)


@main.command()
def passes() -> None:
    """List the passes and their options."""
    from dataclasses import fields

    from lutc.passes.pipelines import ALL

    for kind in ALL:
        options = ", ".join(f"{f.name}={f.default}" for f in fields(kind))
        click.echo(f"{kind.name}{{{options}}}" if options else kind.name)
        click.echo(f"    {(kind.__doc__ or '').splitlines()[0]}")


@main.command()
@click.argument("name", required=False)
def ops(name: str | None) -> None:
    """List the operations, or show one."""
    from lutc.diagnostics import did_you_mean, error
    from lutc.ir.ops import TABLE
    from lutc.ir.ops.base import describe

    if name is None:
        for op in TABLE.values():
            click.echo(f"{op.keyword:10} {(op.__doc__ or '').splitlines()[0]}")
    elif name in TABLE:
        click.echo(describe(TABLE[name]))
    else:
        raise error(f"no operation {name!r}", help=did_you_mean(name, list(TABLE)))


@main.command()
def targets() -> None:
    """List the devices lutc knows."""
    from lutc.target import load, names

    for name in names():
        target = load(name)
        blocks = f"{target.dsps:>6,} DSP {target.dsp_wide}x{target.dsp_narrow}"
        click.echo(f"{name:14} {target.luts:>9,} LUT{target.lut_inputs}  {blocks}  {target.description}")


@main.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say what is installed, what is missing, and how to get it."""
    from lutc.report.doctor import examine

    healthy = True
    for line, fine in examine():
        healthy &= fine
        click.echo(line)
    ctx.exit(0 if healthy else 1)


def command() -> None:
    """The command `lutc`: `main`, and an end at once. Taking large graphs apart would be a tenth of the time."""
    streams.opened()
    try:
        main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BrokenPipeError:  # not even a mistake in the options can be told
        code = streams.unheard().exit_code
    logging.shutdown()
    os._exit(streams.flushed(code))
