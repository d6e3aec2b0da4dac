"""Pictures as SVG, by matplotlib: the same numbers are the same file."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

from lutc.diagnostics import error

BLUE, ORANGE, GREY = "#1668a8", "#d1691b", "#999999"


def drawable() -> bool:
    """Whether there is something to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def needed() -> None:
    """Raise LirError if there is nothing to draw with."""
    if not drawable():
        raise error("the pictures need matplotlib", help="pip install 'lutc[quantize]'")


def figure(width: float, height: float) -> Any:
    """An empty figure, in inches."""
    needed()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(drawn: Any) -> str:
    """A figure's SVG text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "lutc", "svg.fonttype": "none"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
