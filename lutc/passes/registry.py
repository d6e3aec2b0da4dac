"""The passes that one may name: lutc's own and those of other packages, found by entry points.

A package adds a pass with an entry in the group `lutc.passes` whose name is the pass's own: a frozen dataclass made of
`lutc.passes.manager.Pass`. Only the passes that are asked for are loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from lutc.choices import PASS_NAME, STANDARD
from lutc.diagnostics import Diagnostic, error, noted
from lutc.extensions import PASSES, Extension, chosen, claimed, extensions
from lutc.ir.graph import Design
from lutc.passes.context import Context
from lutc.passes.manager import Pass, read_passes, usage
from lutc.passes.pipelines import ALL


@dataclass(frozen=True)
class Standard(Pass):
    """All passes of the standard pipeline, as `lutc passes --pipeline` lists them."""

    name: ClassVar[str] = STANDARD

    def __call__(self, design: Design, context: Context) -> Design:
        raise error(
            "the pass standard stands for others", help="lutc.passes.registry.expanded puts them there"
        )


_KINDS: tuple[type[Pass], ...] = (*ALL, Standard)
OWN = {kind.name: kind for kind in _KINDS}


def parse(text: str) -> list[Pass]:
    """Read `"standard, mine{lsb=2}, narrow"`; see `expanded` for what `standard` stands for.

    Raises LirError naming all that it does not know, and for a pass of another package that cannot be used.
    """
    return read_passes(text, pass_named)


def expanded(steps: Sequence[Pass], usual: Sequence[Pass]) -> list[Pass]:
    """Passes with the `usual` ones in the place of `standard`."""
    return [s for step in steps for s in (usual if step.name == STANDARD else [step])]


def pass_named(name: str) -> type[Pass]:
    """A pass by its name. Raises LirError if there is none such, or one that cannot be used."""
    extension = chosen(PASSES, name, OWN)
    return _loaded(extension) if extension else OWN[name]


def listed() -> tuple[list[tuple[type[Pass], str]], list[Diagnostic]]:
    """All passes, each with the package it comes from ("" for lutc's own), and what is wrong with others."""
    found: list[tuple[type[Pass], str]] = [(kind, "") for kind in OWN.values()]
    wrong: list[Diagnostic] = []
    known = extensions(PASSES)
    for extension in known:
        same = [e for e in known if e.name == extension.name]
        if extension.name in OWN or len(same) > 1:
            wrong.append(claimed(same, extension.name in OWN))
            continue
        with noted(wrong):
            found.append((_loaded(extension), extension.origin))
    return found, list(dict.fromkeys(wrong))


def _loaded(extension: Extension) -> type[Pass]:
    kind: type[Pass] = extension.load(partial(_no_pass, extension.name))
    return kind


def _no_pass(name: str, found: Any) -> str | None:
    if not (isinstance(found, type) and issubclass(found, Pass)):
        return "is no class made of lutc.passes.manager.Pass"
    if not re.fullmatch(PASS_NAME, name):
        return "has a name that -p cannot call: one is made of letters, digits, - and _"
    if "__dataclass_params__" not in vars(found):
        return "is no dataclass: write @dataclass(frozen=True) above it"
    if getattr(found, "name", None) != name:
        return f"calls itself {getattr(found, 'name', None)!r}"
    if found.__call__ is Pass.__call__:
        return "does nothing: it has no __call__(self, design, context)"
    usage(found)  # `lutc passes` shows it; what its defaults raise is said here
    return None
