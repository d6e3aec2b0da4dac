"""`lutc check` and `lutc fmt`: .lir files as texts."""

from __future__ import annotations

from pathlib import Path

import click

from lutc.cli.group import FILE


@click.command()
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


@click.command()
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
