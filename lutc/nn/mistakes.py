"""Settings of a training that cannot be meant, told by the name of the argument."""

from __future__ import annotations

import math
from typing import Any

from lutc.diagnostics import Diagnostic, LirError


class SettingMistake(LirError, ValueError):
    """An argument that cannot be meant; `where` is its name."""

    def __init__(self, where: str, message: str, help: str | None = None) -> None:
        super().__init__(Diagnostic(message, where=where, help=help))


def number(
    where: str, value: Any, least: float = -math.inf, *, above: float = -math.inf, most: float = math.inf
) -> float:
    """A finite number from ``least`` to ``most``, greater than ``above``. Raises SettingMistake for another."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingMistake(where, f"{value!r} is no finite number")
    if value < least or value <= above or value > most:
        lower = f"more than {above:g}" if above >= least else f"at least {least:g}"
        bounds = [lower] if max(above, least) > -math.inf else []
        bounds += [f"at most {most:g}"] if most < math.inf else []
        raise SettingMistake(where, f"{value!r} is not {' and '.join(bounds)}")
    return value


def whole(where: str, value: Any, least: int = 1) -> int:
    """A whole number from ``least`` on. Raises SettingMistake for another."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingMistake(where, f"{value!r} is no whole number of at least {least}")
    return value
