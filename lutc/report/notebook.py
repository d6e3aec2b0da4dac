"""Designs and builds as notebooks show them: small tables, of a bounded number of rows whatever the size.

No colours and no scripts: the text has the notebook's own colour, dark or light, and lines are made of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from lutc.analysis.layers import layers
from lutc.diagnostics import shortened
from lutc.ir.graph import Design, Stage, Value
from lutc.ir.ops import ConstOp, Number
from lutc.ir.ops.base import Op
from lutc.report.words import NO_LAYER, count, latency, layer_name, port_format

ROWS = 30  # of a table; what is left out is counted
FEW = 4  # names in a cell

Row = Sequence[object]

_CELL = "text-align:left;padding:1px 10px 1px 0;border-bottom:1px solid currentColor"


def design_html(design: Design) -> str:
    """A design: its ports, and what each layer is made of, reads and gives."""
    ports = [(p.name, "in", p.type) for p in design.params]
    ports += [(o.name, "out", o.value.type) for o in design.outputs]
    title = f"{_name(design.name)}: {count(len(design.values) - len(design.params), 'operation')}"
    rows = [
        (layer.name, _few(f"{n} {word}" if n > 1 else word for word, n in layer.kinds.most_common()),
         _few(layer.reads), layer.last.type, f"{layer.last.type.bits:,}")
        for layer in _layers(design)
    ]  # fmt: skip
    heads = ("layer", "operations", "reads", "gives", "bits")
    return _page(title, _ports(ports), _table(heads, rows), *_notes(design.notes))


def build_html(report: dict[str, Any]) -> str:
    """A build, by its report: its ports, and what each layer costs."""
    estimate = report["estimate"]
    title = (
        f"{_name(report['top'])} for {_name(report['part'])}: {latency(report)}, "
        f"{estimate['luts']:,} LUT, {estimate['ffs']:,} FF, {estimate['dsps']:,} DSP"
    )
    ports = [
        (p["name"], way, _kind(p)) for way, key in (("in", "inputs"), ("out", "outputs")) for p in report[key]
    ]
    rows = [
        (layer_name(row), *(f"{row[key]:,}" for key in ("luts", "ffs", "dsps"))) for row in estimate["layers"]
    ]
    return _page(title, _ports(ports), _table(("layer", "LUT", "FF", "DSP"), rows), *_notes(report["notes"]))


@dataclass
class _Layer:
    """Values of one origin, or a value without one."""

    name: str
    last: Value
    kinds: Counter[str] = field(default_factory=Counter)
    reads: dict[str, None] = field(default_factory=dict)


def _layers(design: Design) -> list[_Layer]:
    """The layers in order. At the tensor stage a value of none is a row by itself."""
    home, found = layers(design), dict[str, _Layer]()
    rows: dict[Value, str] = {}
    for value in design.values:
        if not isinstance(value, Op):
            rows[value] = value.name or ""
            continue
        if not home[value] and isinstance(value, ConstOp | Number):
            continue
        own = f"%{value.name or len(found)}" if design.stage is Stage.TENSOR else NO_LAYER
        name = rows[value] = home[value] or own
        layer = found.setdefault(name, _Layer(name, value))
        layer.last = value
        layer.kinds[value.keyword] += 1
        layer.reads |= {rows[v]: None for v in value.operands if v in rows and rows[v] != name}
    return list(found.values())


def _kind(port: dict[str, Any]) -> str:
    return f"{port_format(port)}{port['shape'] if port['shape'] else ''}"


def _ports(ports: Iterable[Row]) -> str:
    return _table(("port", "", "type"), list(ports))


def _table(heads: Sequence[str], rows: Sequence[Row]) -> str:
    shown = [_row("th", heads), *(_row("td", row) for row in rows[:ROWS])]
    if len(rows) > ROWS:
        shown.append(_row("td", [f"and {len(rows) - ROWS:,} more", *[""] * (len(heads) - 1)]))
    return f'<table style="border-collapse:collapse;margin:4px 0">{"".join(shown)}</table>'


def _row(tag: str, cells: Row) -> str:
    shown = (f'<{tag} style="{_CELL}">{_name(cell)}</{tag}>' for cell in cells)
    return f"<tr>{''.join(shown)}</tr>"


def _notes(notes: Sequence[str]) -> list[str]:
    more = [f"and {len(notes) - FEW:,} more notes"] * (len(notes) > FEW)
    return [f"<div>{escape(shortened(text, 300))}</div>" for text in (*notes[:FEW], *more)]


def _page(title: str, *parts: str) -> str:
    return f"<div><div><b>{title}</b></div>{''.join(parts)}</div>"


def _name(text: object) -> str:
    """What a user wrote, as text of a page."""
    return escape(shortened(str(text), 120))


def _few(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join([*found[:FEW], *(["..."] * (len(found) > FEW))])
