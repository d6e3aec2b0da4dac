"""`lutc quantize`: from a float model and data to a QONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lutc.choices import GRANULARITIES, QUANTISING, SCALES, USUAL_TARGET
from lutc.cli.group import FILE, console

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--data",
    type=FILE,
    required=True,
    help="What the model will see (.npy or .npz): rows first, by input name.",
)
@click.option(
    "--labels", type=FILE, help="The right classes or numbers (.npy or .npz); also as labels in --data."
)
@click.option("--target", default=USUAL_TARGET, show_default=True, help="The part whose LUTs are counted.")
@click.option("--max-luts", type=int, help="LUTs of the circuit at most.")
@click.option(
    "--max-loss", type=float, help="Points that the accuracy may fall by; 0.5 if no bound is given."
)
@click.option(
    "--bits", metavar="N|N..M", help="One width for everything, or the range of widths to choose from."
)
@click.option(
    "--effort",
    type=click.Choice(QUANTISING),
    default="normal",
    show_default=True,
    help="high also trains the weights between their steps (needs PyTorch).",
)
@click.option(
    "--scales",
    type=click.Choice(SCALES),
    default="powers",
    show_default=True,
    help="Powers of two are free in hardware.",
)
@click.option(
    "--granularity",
    type=click.Choice(GRANULARITIES),
    default="channel",
    show_default=True,
    help="What has a format of its own.",
)
@click.option("--keep-softmax", is_flag=True, help="Keep a softmax at the end; else it is left to the host.")
@click.option("-o", "--output", type=FILE, help="The QONNX file.  [default: MODEL.quantised.onnx]")
def quantize(
    model: Path,
    data: Path,
    labels: Path | None,
    output: Path | None,
    **asked: Any,
) -> None:
    """Quantise the float MODEL (.onnx, .keras, .pt2) after training, for the smallest circuit within a bound."""
    from lutc.ptq import files
    from lutc.ptq.quantize import quantize as run

    place = output or Path(f"{model.stem}.quantised.onnx")
    files.may_write(place, model, data, labels)
    with console(stderr=True).status("loading") as status:
        found = run(model, data, labels, progress=status.update, **asked)
        status.update("drawing")
        made = files.write(found, place)
    _show(found, console())
    click.echo(f"wrote {made[0]}, and beside it {', '.join(p.name for p in made[1:])}")
    click.echo(f"next: lutc compile {made[0]} --target {asked['target']} --verify")


def _show(found: Any, out: Console) -> None:
    from rich.table import Table

    layers = Table()
    for heading in ("layer or tensor", "holds", "bits", "zeros"):
        layers.add_column(heading, justify="left" if heading in ("layer or tensor", "holds") else "right")
    for row in found.layers():
        layers.add_row(row["name"], row["kind"], f"{row['bits']:.1f}", f"{100 * row['zeros']:.0f} %")
    out.print(layers)
    table = Table()
    for heading in ("LUTs", "latency", found.metric, "falls by"):
        table.add_column(heading, justify="right")
    for o in found.front():
        chosen = o is found.chosen
        table.add_row(
            f"{o.luts:,}" if o.compiled else f"about {o.luts:,}",
            f"{o.latency} cycles" if o.compiled else "",
            found.shown(o.score),
            f"{100 * o.fall:.2f}",
            style="bold" if chosen else None,
        )
    out.print(table)
    out.print(
        f"the float model has {found.shown(found.float_score)} on the rows held back; chosen is the bold line",
        highlight=False,
    )
    for note in found.notes:
        out.print(f"note: {note}", markup=False, highlight=False)
