"""Packages that add to lutc, in a test: `make` installs one, `run` runs the command beside a small design."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from command import Run, invoked

DESIGN = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n"
PASS = """
    from dataclasses import dataclass, replace
    from typing import ClassVar
    from lutc.passes.manager import Pass

    @dataclass(frozen=True)
    class Remark(Pass):
        '''Add a note.'''
        name: ClassVar[str] = "remark"
        words: str = "seen"

        def __call__(self, design, context):
            return replace(design, notes=(*design.notes, f"{self.words} for {context.target.name}"))
"""
EMITTER = """
    from lutc.backends.arrangement import identifiers

    class Listing:
        name = "listing"
        suffix = ".txt"
        named_luts = False
        simulators = ()
        identifiers = staticmethod(identifiers)

        def emit(self, modules, head):
            return {f"{m.name}.txt": f"{head} {len(m.nets)} nets" for m in modules}

    LISTING = Listing()
"""
IMPORTER = """
    import lutc

    class Numbers:
        name = "numbers"
        suffixes = (".num",)

        def matches(self, source):
            return source == 42

        def load(self, source, options):
            options.only("input_types", kind="a number")
            b = lutc.Builder("number")
            b.output("y", b.neg(b.input("x", options.input_types.get("x", "s4"))))
            return b.design()

    NUMBERS = Numbers()
"""

Make = Callable[..., None]


@pytest.fixture(name="make")
def _make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Installs a package: its code, and its entries as `group:name = value` without the `lutc.`."""

    def make(name: str, code: str, *entries: str, **files: str) -> None:
        site = tmp_path / f"site-{name}"
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(dedent(code))
        for file, text in files.items():
            (site / name / f"{file}.toml").write_text(text)
        info = site / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"[lutc.{group}]\n{line}\n" for group, _, line in (e.partition(":") for e in entries)]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(site)
        sys.modules.pop(name, None)  # another test may have one of this name

    return make


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("d.lir").write_text(DESIGN)
    return invoked
