"""`lutc run` and `lutc opt`: what a design answers, and what passes make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lutc.choices import ENGINES
from lutc.cli.group import FILE, FILE_OR_TERMINAL
from lutc.cli.loading import Told, load_model, model_options
from lutc.cli.options import setting_options


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--input",
    "inputs",
    type=FILE,
    help="Real numbers, or text that spells them: .npy, or .npz with one array per port.",
)
@click.option("--output", type=FILE, help="Where the answers go: .npy, or .npz for several ports.")
@click.option(
    "--row",
    "rows",
    multiple=True,
    metavar="PORTS",
    help='A sample, such as "x=[1, 0.5], y=3"; answers are printed.',
)
@click.option(
    "--codes", is_flag=True, help="Write integers instead, and what they mean: type, scale, offset."
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    help="What computes: the reference interpreter, the C model (compiled here), or what is quicker.",
)
@model_options
def run(
    model: Path,
    inputs: Path | None,
    output: Path | None,
    rows: tuple[str, ...],
    codes: bool,
    engine: str,
    told: Told,
) -> None:
    """Run MODEL exactly, in the reference interpreter or as its C model, which gives the same.

    Answers are float64 numbers; if one of them is none, an error says so. With --codes they are integers (int64, or
    text for more than 64 bits), each worth code * 2^-frac * scale + offset. The formats stand in a .npz file as
    JSON, in the array NAME.format; for a .npy file they are printed. Samples given by --row are answered in the
    terminal, as a `run` statement of a .lir file says it.
    """
    import json

    from lutc.cli import answers, batches
    from lutc.diagnostics import error

    if rows:
        if inputs or output or codes:
            raise error("--row prints its answers", help="leave --input, --output and --codes out, or --row")
        answers.print_rows(load_model(model, told), rows)
        return
    if inputs is None or output is None:
        raise error(
            "run needs --input and --output, or --row", help='such as: lutc run MODEL --row "x=[1, 0.5]"'
        )
    if output.exists() and inputs.exists() and output.samefile(inputs):
        raise error(
            "--output is the file of --input", where=str(output), help="give another file for the answers"
        )
    design = load_model(model, told)
    answers.check_place(design, output)
    about = batches.run(design, inputs, output, codes=codes, engine=engine)
    if about is None:
        return
    if output.suffix == ".npy":
        click.echo(json.dumps(about))


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "-p",
    "--passes",
    "text",
    required=True,
    multiple=True,
    metavar="PASSES",
    help='Such as "scalarize, pipeline{stages=2}", or "standard, narrow"; given again, more of them.',
)
@setting_options(
    "target",
    "effort",
    "objective",
    "clock_ns",
    "stages",
    "dsp",
    "approx_lsb",
    "assume_inputs",
    "assume_margin",
    "check",
)
@click.option("--dump", type=FILE, help="Write the design after every pass into this folder.")
@click.option(
    "--types", is_flag=True, help="Write every value's type, and at the scalar stage its clock cycle."
)
@click.option(
    "-o",
    "--output",
    type=FILE_OR_TERMINAL,
    help="Write the result here instead of to the terminal, which is -.",
)
@model_options
def opt(
    model: Path,
    text: tuple[str, ...],
    dump: Path | None,
    types: bool,
    output: Path | None,
    told: Told,
    **asked: Any,
) -> None:
    """Run PASSES on MODEL and print the design that comes out.

    Clock, stages, DSP blocks, approximation and what is assumed are for `standard`, which does as a compilation does.
    """
    from lutc import driver
    from lutc.assumed import Assumed
    from lutc.files.writing import write_text
    from lutc.passes.context import Context
    from lutc.passes.manager import run as run_passes
    from lutc.passes.registry import parse
    from lutc.settings import Settings
    from lutc.text.print import print_design

    settings = Settings(**asked, passes=tuple(step for part in text for step in parse(part)))
    design = load_model(model, told)
    steps = driver.planned(settings, design)
    if settings.usual:
        after = driver.staged(design, steps, settings, dump=dump).stages[-1][1]
    else:
        rows = settings.assume_inputs
        assumed = Assumed.of(design, rows, settings.assume_margin) if rows else None
        context = Context.asked(settings, assumed)
        after = run_passes(design, steps, context, dump=dump, check=settings.check)
    result = print_design(after, types=types)
    if output and output != Path("-"):
        write_text(output, result)
    else:
        click.echo(result, nl=False)
