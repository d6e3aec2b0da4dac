"""`lutc check` and `lutc fmt`: .lir files as texts."""

from __future__ import annotations

from pathlib import Path

import click

from lutc.cli.group import FILE


@click.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--run", is_flag=True, help="Also ask each design for the answers that its `run` lines expect.")
def check(files: tuple[Path, ...], run: bool) -> None:
    """Verify .lir FILES: every error at once, with its place and the next step."""
    from lutc.diagnostics import Diagnostic, LirError
    from lutc.ir.expect import failures
    from lutc.text.parse import parse_file

    found: list[Diagnostic] = []
    for file in files:
        try:
            design = parse_file(file)
            wrong = list(failures(design)) if run else []
        except LirError as e:
            wrong = list(e.diagnostics)
        found += wrong
        if not wrong:
            said = f", {len(design.runs)} run{'s' if len(design.runs) != 1 else ''}" if run else ""
            click.echo(f"{file}: ok{said}")
    if found:
        raise LirError(*found)


@click.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change.")
@click.option("--upgrade", is_flag=True, help="Bring texts of lutc 0.1 to the language of today first.")
@click.option("--types", is_flag=True, help="Also write every type that is left to be inferred.")
@click.pass_context
def fmt(ctx: click.Context, files: tuple[Path, ...], check: bool, upgrade: bool, types: bool) -> None:
    """Bring .lir FILES into canonical form, comments kept."""
    from lutc.diagnostics import Diagnostic, LirError
    from lutc.files.foreign import read_text
    from lutc.files.writing import write_text

    changed = False
    wrong: list[Diagnostic] = []
    for file in files:
        before = read_text(file)
        try:
            after = _formatted(before, file, upgrade, types)
        except LirError as e:
            wrong += e.diagnostics
            continue
        if after == before:
            continue
        changed = True
        if check:
            click.echo(f"{file}: would change")
        else:
            write_text(file, after)
            click.echo(f"{file}: formatted")
    if wrong:
        raise LirError(*wrong)
    if check and changed:
        ctx.exit(1)


def _formatted(text: str, file: Path, upgrade: bool, types: bool) -> str:
    from lutc.text.fmt import format_text
    from lutc.text.typed import with_types
    from lutc.text.upgrade import upgraded

    text = upgraded(text, str(file), file.parent) if upgrade else text
    text = with_types(text, str(file), file.parent) if types else text
    return format_text(text, str(file), file.parent)
