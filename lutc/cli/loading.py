"""Models on the command line: the options of every command that loads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lutc.cli.group import FILE


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
    command = click.option(
        "--frontend", metavar="NAME", help="The importer to read the model with, if several could."
    )(command)
    return click.option("--calibrate", type=FILE, help="Samples (.npy or .npz) to trace value ranges on.")(
        command
    )


def load_model(
    model: Path,
    input_types: tuple[str, ...],
    calibrate: Path | None,
    compare: bool,
    frontend: str | None,
) -> Any:
    """The design of a model, by the options of `model_options`."""
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
    return driver.load(model, input_types=types, calibrate=samples, compare=compare, frontend=frontend)
