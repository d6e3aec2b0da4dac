"""Options that are made of the fields of `lutc.settings.Settings`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

import click

from lutc.cli.group import FILE
from lutc.settings import Settings

_KINDS = {"float": float, "int": int, "str": str, "Any": FILE}


def setting_options(*names: str) -> Callable[[Any], Any]:
    """Give a command an option for each of these settings; for every one, if none is named."""

    def decorate(command: Any) -> Any:
        for f in reversed(fields(Settings)):  # the last decorator is the first option
            if f.metadata["command"] and (not names or f.name in names):
                command = _option(f)(command)
        return command

    return decorate


def _option(f: Field[Any]) -> Callable[[Any], Any]:
    about, kind = f.metadata, str(f.type).removesuffix(" | None")
    spelled, described = "--" + f.name.replace("_", "-"), {"help": about["help"], "default": f.default}
    if kind == "bool":
        return click.option(spelled, f.name, is_flag=True, **described)
    if about["switch"] is not None:
        return click.option(spelled, f.name, is_flag=True, flag_value=about["switch"], type=int, **described)
    words = click.Choice(about["words"]) if about["words"] else _KINDS[kind]
    shown = f.default is not None
    return click.option(
        spelled, f.name, type=words, metavar=about["metavar"], show_default=shown, **described
    )
