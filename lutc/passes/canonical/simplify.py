"""A design in canonical form, and nothing else done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lutc.ir.graph import Design
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import keep_all, rebuild


@dataclass(frozen=True)
class Simplify(Pass):
    """Fold constants, drop what has no effect, merge equal values and equal tables, forget what nobody reads."""

    name: ClassVar[str] = "simplify"

    def __call__(self, design: Design, context: Context) -> Design:
        return rebuild(design, keep_all)
