"""Programs that test programs: every file under `tests/lir/` carries what is expected of it in its comments.

    run x=[1, -0.5] => y=[1, 0]        these inputs give these outputs (real numbers, one sample)
    %y = relu %q  # error: no value %q  # help: ...   every error, its line and its next step; then there are no others
    # print:                            the file's canonical text follows, as comments

A file may have many `run` lines. `pytest --bless` rewrites the answers; read the difference before you keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import with_end, with_runs

from lutc.diagnostics import LirError
from lutc.ir.same import same
from lutc.text.fmt import format_text
from lutc.text.parse import parse
from lutc.text.print import Known, print_design

FOLDER = Path(__file__).parents[1] / "lir"
ELSEWHERE = ("crashers", "passes")  # tests/fuzz/test_fuzz.py, tests/passes/test_programs.py
FILES = sorted(p for p in FOLDER.rglob("*.lir") if p.relative_to(FOLDER).parts[0] not in ELSEWHERE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER).with_suffix("")))
def test_file(path: Path, bless: bool) -> None:
    text = path.read_text()
    expected = _expected_errors(text)
    try:
        design = parse(text, path.name, path.parent)
    except LirError as e:
        found = [(d.span.line if d.span else 0, d.message, d.help) for d in e.diagnostics]
        if bless:
            path.write_text(_with_errors(text, found))
            return
        assert found == expected
        return
    assert not expected, "the file was accepted"
    assert any(mark in text for mark in ("\nrun ", "# print:")), "the file expects nothing"
    new = with_runs(text, design)
    new = with_end(new, "print", print_design(design))
    if bless:
        path.write_text(new)
        return
    assert new == text
    assert same(design, parse(print_design(design))) is None
    _formats(text)


def _formats(text: str) -> None:
    once = format_text(text)
    assert format_text(once) == once
    assert sorted(_comments(once)) == sorted(_comments(text))


def _comments(text: str) -> Iterator[str]:
    return (m[0].rstrip() for m in re.finditer(r"#.*", re.sub(r'"[^"\n]*"', "", text)))


# -- errors -----------------------------------------------------------------------------------------------------------


def _expected_errors(text: str) -> list[tuple[int, str, str | None]]:
    found = []
    for line, content in enumerate(text.split("\n"), 1):
        for place in re.finditer(r"# error: (.*?)(?:  # help: (.*?))?(?=  # error: |$)", content):
            found.append((line, place[1].rstrip(), place[2].rstrip() if place[2] else None))
    return found


def _with_errors(text: str, found: list[tuple[int, str, str | None]]) -> str:
    lines = [re.sub(r"\s*# error: .*", "", line) for line in text.split("\n")]
    for line, message, help in found:
        lines[line - 1] += f"  # error: {message}" + (f"  # help: {help}" if help else "")
    return "\n".join(lines)


def test_collector_sees_a_wrong_answer(tmp_path: Path) -> None:
    """The expectations are compared, not only rewritten."""
    text = "lir 1\n\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\nrun x=3 => y=3\n"
    assert with_runs(text, parse(text)) == text.replace("y=3", "y=-3")
    assert _expected_errors("a  # error: b c  # help: d\ne  # error: f  # error: g") == [
        (1, "b c", "d"),
        (2, "f", None),
        (2, "g", None),
    ]


def test_designs_that_share_tables_print_alike() -> None:
    """What a table looks like may be kept from one text to the next, for one name of it."""
    text = "lir 1\n\ntable @t: u1 -> s4 = [1, -2]\n\ndesign d(%x: u1) -> (y = %y) {\n  %y = lut %x, @t\n}\n"
    first = parse(text)
    known: Known = {}
    assert print_design(first, known=known) == print_design(first) == print_design(first, known=known)
    assert len(known) == 1
