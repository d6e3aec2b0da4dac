"""A report as people read it on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lutc.report.words import NO_LAYER, latency, layer_name, port_format


def show(report: dict[str, Any], console: Console) -> None:
    """Print the facts of one build: ports, layers, totals."""
    console.print(f"{report['top']}: ports", markup=False)
    ports = Table()
    for heading in ("port", "shape", "format", "bits", "rule"):
        ports.add_column(heading)
    for port in report["inputs"]:
        rule = f"{port['round']}, {port['overflow']}"
        ports.add_row(
            f"{port['name']} (in)", _shape(port), port_format(port), str(port["width"]), rule + _factor(port)
        )
    for port in report["outputs"]:
        ports.add_row(
            f"{port['name']} (out)",
            _shape(port),
            port_format(port),
            str(port["width"]),
            _factor(port).lstrip(", "),
        )
    console.print(ports)

    estimate = report["estimate"]
    console.print(f"{report['top']}: estimated resources on {report['target']}", markup=False)
    layers = Table()
    layers.add_column("layer")
    layers.add_column("LUT", justify="right")
    layers.add_column("FF", justify="right")
    layers.add_column("DSP", justify="right")
    for row in estimate["layers"]:
        counts = (f"{row[kind]:,}" for kind in ("luts", "ffs", "dsps"))
        layers.add_row(escape(layer_name(row)), *counts)
    layers.add_section()
    share = 100 * estimate["luts"] / estimate["device_luts"]
    blocks = f"{estimate['dsps']:,}"
    if estimate["dsps"]:
        blocks += f" ({100 * estimate['dsps'] / max(estimate['device_dsps'], 1):.2f} %)"
    layers.add_row("all", f"{estimate['luts']:,} ({share:.2f} %)", f"{estimate['ffs']:,}", blocks)
    console.print(layers)

    _show_passes(estimate["passes"], console)
    console.print(f"latency {latency(report)}, initiation interval {report['ii']}")
    console.print(
        f"longest stage {estimate['stage_ns']:.2f} ns, by delays that are {estimate['delays']}", markup=False
    )
    if "approximation" in report:
        console.print(_approximation(report["approximation"]), markup=False)
    if "assumption" in report:
        for line in _assumption(report["assumption"]):
            console.print(line, markup=False)
    console.print(f"the model in its own framework: {report['compared']}", markup=False)
    for note in report["notes"]:
        console.print(f"note: {note}", markup=False)


def _approximation(facts: dict[str, Any]) -> str:
    """In one sentence."""
    luts = f"{facts['luts']:,} LUTs, exact {facts['luts_exact']:,}"
    if not facts["proven_lsb"]:
        return f"approximation: none that saves LUTs within {facts['allowed_lsb']:g} LSB, the circuit is exact ({luts})"
    outputs = facts["outputs"]
    most = max(o["max_lsb"] for o in outputs)
    mean, share = (sum(o[k] for o in outputs) / len(outputs) for k in ("mean_lsb", "rows_differing"))
    return (
        f"approximation: every output within {facts['proven_lsb']} LSB (proven, {facts['allowed_lsb']:g} allowed); "
        f"on {facts['vectors']:,} {facts['measured_on']} at most {most}, on average {mean:.2f}, "
        f"{100 * share:.1f} % of them differ; {luts}"
    )


def _assumption(facts: dict[str, Any]) -> list[str]:
    """What was assumed, and what was found on rows held out."""
    luts = f"{facts['luts']:,} LUTs, exact {facts['luts_exact']:,}"
    if facts["exact"]:
        found = [
            f"assumption: {facts['rows']:,} rows save no LUTs, the circuit is exact on all inputs ({luts})"
        ]
    else:
        found = [f"assumption: NOT EXACT on other inputs than the {facts['rows']:,} assumed rows; {luts}"]
    if check := facts["check"]:
        among = f" ({check['assumed_too']:,} of them assumed too)" if check["assumed_too"] else ""
        right = ""
        if check["accuracy"] is not None:
            right = f", accuracy {100 * check['accuracy']:.2f} %, exact {100 * check['accuracy_exact']:.2f} %"
        found.append(
            f"of {check['rows']:,} rows to check with{among} {100 * check['rows_equal']:.2f} % equal in every bit, "
            f"{100 * check['classes_equal']:.2f} % in class{right}"
        )
    return found


_MOST_LAYERS = 8  # that find room beside each other


def _show_passes(passes: list[dict[str, Any]], console: Console) -> None:
    """The LUTs after each pass that changes them, with a column for each layer unless there are too many."""
    known = [p for p in passes if p["luts"] is not None]
    shown = [
        p for before, p in zip([None, *known], known, strict=False) if not before or _luts(before) != _luts(p)
    ]
    if len(shown) < 2:
        return
    names = list(dict.fromkeys(row["layer"] for p in shown for row in p["layers"]))
    if len(names) > _MOST_LAYERS:
        names = []
    console.print("estimated LUTs after each pass", markup=False)
    table = Table()
    table.add_column("pass")
    for name in names:
        table.add_column(escape(name or NO_LAYER), justify="right")
    table.add_column("all", justify="right")
    for p in shown:
        by_layer = _luts(p)
        cells = [f"{by_layer.get(name, 0):,}" for name in names]
        table.add_row(p["pass"], *cells, f"{p['luts']:,}")
    console.print(table)


def _luts(row: dict[str, Any]) -> dict[str | None, int]:
    return {layer["layer"]: layer["luts"] for layer in row["layers"]}


def _shape(port: dict[str, Any]) -> str:
    return escape(str(port["shape"])) if port["shape"] else "scalar"


def _factor(port: dict[str, Any]) -> str:
    scale, offset = port["scale"], port["offset"]
    if scale in ("1", ["1"]) and offset in ("0", ["0"]):
        return ""
    if isinstance(scale, list) and (len(scale) > 1 or len(offset) > 1):
        return ", scaled by element"
    factor, shift = (x[0] if isinstance(x, list) else x for x in (scale, offset))
    return f", real = {factor} * v + {shift}"
