"""Programs that test programs: every file under `tests/lir/` carries what is expected of it in its comments.

    # run: x=[1, -0.5] => y=[1, 0]      these inputs give these outputs (real numbers, one sample)
    %y = relu %q  # error: no value %q  # help: ...   every error, its line and its next step; then there are no others
    # print:                            the file's canonical text follows, as comments

A file may have many `run` lines. `pytest --bless` rewrites the answers; read the difference before you keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutc.diagnostics import LirError
from lutc.ir.graph import Design
from lutc.ir.ops.base import number
from lutc.ir.same import same
from lutc.text.fmt import format_text
from lutc.text.literals import list_of, number_of
from lutc.text.parse import parse
from lutc.text.print import Known, print_design

FOLDER = Path(__file__).parents[1] / "lir"
FILES = sorted(
    p for p in FOLDER.rglob("*.lir") if p.parent.name != "crashers"
)  # those: tests/fuzz/test_fuzz.py


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--bless"))


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
    if path.parent.name != "crashers":  # which are compiled and simulated elsewhere
        assert any(mark in text for mark in ("# run:", "# print:")), "the file expects nothing"
    new = with_runs(text, design)
    new = _with_print(new, design)
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


# -- runs -------------------------------------------------------------------------------------------------------------


def with_runs(text: str, design: Design) -> str:
    return re.sub(r"^# run: (.*?)=>.*$", lambda m: f"# run: {m[1]}=> {_run(design, m[1])}", text, flags=re.M)


def _run(design: Design, given: str) -> str:
    inputs = {name: np.array([value], dtype=object) for name, value in _assignments(given)}
    answers = design.run(**inputs)
    if not isinstance(answers, dict):
        answers = {design.outputs[0].name: answers}
    return ", ".join(f"{name}={_shown(np.asarray(y)[0])}" for name, y in answers.items())


def _assignments(text: str) -> Iterator[tuple[str, Any]]:
    for place in re.finditer(r"(\w+)=(\[(?:[^=]*)\]|[^\s,\[]+)", text):
        value = place[2]
        yield place[1], _numbers(list_of(value)) if value.startswith("[") else number_of(value)


def _numbers(items: list[Any]) -> list[Any]:
    return [_numbers(i) if isinstance(i, list) else number_of(str(i)) for i in items]


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    return number(Fraction(value.item() if isinstance(value, np.ndarray | np.generic) else value))


# -- print ------------------------------------------------------------------------------------------------------------


def _with_print(text: str, design: Design) -> str:
    head, mark, _ = text.partition("\n# print:\n")
    if not mark:
        return text
    return (
        head + mark + "".join(f"# {line}".rstrip() + "\n" for line in print_design(design).split("\n")[:-1])
    )


def test_collector_sees_a_wrong_answer(tmp_path: Path) -> None:
    """The expectations are compared, not only rewritten."""
    text = "lir 1\n\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n# run: x=3 => y=3\n"
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
