"""What a design says of itself once something was assumed of its inputs."""

from __future__ import annotations

from dataclasses import replace

from lutc.ir.graph import Design
from lutc.passes.context import Context


def noting(design: Design, context: Context) -> Design:
    """The design with a note, once. What was expected of the exact one may not be answered any more."""
    assert context.assumed is not None
    said = context.assumed.said
    notes = design.notes if said in design.notes else (*design.notes, said)
    return replace(design, notes=notes, runs=())
