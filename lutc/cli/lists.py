"""`lutc passes`, `lutc ops`, `lutc targets` and `lutc doctor`: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lutc.cli.options import setting_options

if TYPE_CHECKING:
    from lutc.diagnostics import Diagnostic


@click.command()
@click.option(
    "--pipeline", is_flag=True, help="List the standard pipeline instead, with the reason for each place."
)
@setting_options("effort", "clock_ns", "stages", "dsp", "approx_lsb")
def passes(pipeline: bool, **asked: Any) -> None:
    """List the passes and their options; with --pipeline the standard pipeline, as the other options make it."""
    from lutc import driver
    from lutc.diagnostics import error
    from lutc.passes.manager import about, usage
    from lutc.passes.registry import listed
    from lutc.settings import Settings

    settings = Settings(**asked)
    if not pipeline and settings != Settings():
        raise error("effort, clock, stages, dsp and approx-lsb are of the pipeline", help="add --pipeline")
    if pipeline:
        for step in driver.explained(settings):
            click.echo(f"{step.step!s:26} {step.why}")
        return
    found, wrong = listed()
    for kind, origin in found:
        said = usage(kind)
        click.echo(f"{said}  (of the package {origin})" if origin else said)
        click.echo(f"    {about(kind)}")
    told(wrong)


@click.command()
@click.argument("name", required=False)
def ops(name: str | None) -> None:
    """List the operations, or show one."""
    from lutc.diagnostics import did_you_mean, error
    from lutc.ir.ops import TABLE
    from lutc.ir.ops.about import describe

    if name is None:
        for op in TABLE.values():
            click.echo(f"{op.keyword:10} {(op.__doc__ or '').splitlines()[0]}")
    elif name in TABLE:
        click.echo(describe(TABLE[name]))
    else:
        raise error(f"no operation {name!r}", help=did_you_mean(name, list(TABLE)) or "lutc ops lists them")


@click.command()
@click.option("--show", metavar="NAME", help="Print the file of one, to start one of your own from.")
def targets(show: str | None) -> None:
    """List the devices lutc knows, and boards with them; or print one as a file."""
    from lutc import target as known
    from lutc.target import listed

    if show is not None:
        click.echo(known.show(show), nl=False)
        return
    boards: dict[str, list[str]] = {}
    for board, device in known.boards().items():
        boards.setdefault(device, []).append(board)
    found, wrong = listed()
    for target, origin in found:
        blocks = f"{target.dsps:>6,} DSP {target.dsp_wide}x{target.dsp_narrow}"
        about = ": ".join([target.description, *filter(None, [", ".join(boards.get(target.name, []))])])
        about = f"{about}  (of the package {origin})" if origin else about
        click.echo(f"{target.name:14} {target.luts:>9,} LUT{target.lut_inputs}  {blocks}  {about}")
    told(wrong)


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say what is installed, what is missing, and how to get it."""
    from lutc.report.doctor import examine

    healthy = True
    for line, fine in examine():
        healthy &= fine
        click.echo(line)
    ctx.exit(0 if healthy else 1)


def told(wrong: Sequence[Diagnostic]) -> None:
    """Say what is wrong with things of other packages; those that can be used are listed all the same."""
    for diagnostic in wrong:
        click.echo(str(diagnostic), err=True)
