"""`lutc passes`, `lutc ops`, `lutc targets` and `lutc doctor`: what there is."""

from __future__ import annotations

import click


@click.command()
def passes() -> None:
    """List the passes and their options."""
    from dataclasses import fields

    from lutc.passes.pipelines import ALL

    for kind in ALL:
        options = ", ".join(f"{f.name}={f.default}" for f in fields(kind))
        click.echo(f"{kind.name}{{{options}}}" if options else kind.name)
        click.echo(f"    {(kind.__doc__ or '').splitlines()[0]}")


@click.command()
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


@click.command()
def targets() -> None:
    """List the devices lutc knows."""
    from lutc.target import load, names

    for name in names():
        target = load(name)
        blocks = f"{target.dsps:>6,} DSP {target.dsp_wide}x{target.dsp_narrow}"
        click.echo(f"{name:14} {target.luts:>9,} LUT{target.lut_inputs}  {blocks}  {target.description}")


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
