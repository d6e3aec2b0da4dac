"""What every picture of a report says in the same words, on a terminal and in a notebook."""

from __future__ import annotations

from typing import Any

NO_LAYER = "(no layer)"


def layer_name(row: dict[str, Any]) -> str:
    """A row's layer by name."""
    return row["layer"] or NO_LAYER


def port_format(port: dict[str, Any]) -> str:
    """A port's format, or how many there are in it."""
    return port["format"] if isinstance(port["format"], str) else f"{len(set(port['format']))} formats"


def latency(report: dict[str, Any]) -> str:
    """The cycles from an input to its answer, and the clock aimed at, if there is one."""
    clock = f" at {report['clock_ns']:.2f} ns" if report["clock_ns"] else ""
    return count(report["latency_cycles"], "cycle") + clock


def count(number: int, thing: str) -> str:
    """So many things."""
    return f"{number:,} {thing}{'s' * (number != 1)}"
