"""Models on the command line: the options of every command that loads one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from lutc.cli.group import FILE


@dataclass(frozen=True)
class Told:
    """What the options of `model_options` say of a model."""

    input_types: tuple[str, ...]
    leaf_type: str | None
    calibrate: Path | None
    compare: bool
    frontend: str | None


def model_options(command: Any) -> Any:
    """The options of every command that loads a model, which it is given as one argument, `told`."""
    options = (
        click.option(
            "--input-type",
            "input_types",
            multiple=True,
            metavar="[NAME=]TYPE",
            help="Format of an input that has none, such as s8f4; once for all inputs, or by name.",
        ),
        click.option(
            "--leaf-type",
            metavar="TYPE",
            help="Format that leaves of decision trees are rounded to, such as s8f6.",
        ),
        click.option("--calibrate", type=FILE, help="Samples (.npy or .npz) to trace value ranges on."),
        click.option(
            "--compare/--no-compare",
            default=True,
            help="Compare with the model as its own framework runs it, where that is installed (the default).",
        ),
        click.option(
            "--frontend", metavar="NAME", help="The importer to read the model with, if several could."
        ),
    )

    @wraps(command)
    def told(*args: Any, **given: Any) -> Any:
        said = Told(**{f.name: given.pop(f.name) for f in fields(Told)})
        return command(*args, told=said, **given)

    for option in reversed(options):  # the last decorator is the first option
        told = option(told)
    return told


def load_model(model: Path, told: Told) -> Any:
    """The design of a model, by the options of `model_options`."""
    from lutc import driver
    from lutc.diagnostics import error
    from lutc.files.foreign import read_arrays

    types: dict[str, str] = {}
    for item in told.input_types:
        name, _, kind = item.rpartition("=")
        if name in types:
            raise error(f"the format of {name or 'all inputs'!r} is given twice", where="--input-type")
        types[name] = kind
    return driver.load(
        model,
        input_types=types,
        calibrate=read_arrays(told.calibrate) if told.calibrate else None,
        compare=told.compare,
        leaf_type=told.leaf_type,
        frontend=told.frontend,
    )
