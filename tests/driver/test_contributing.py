"""What CONTRIBUTING.md says of additions: they are made as it says, in copies, and the commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
SECTIONS = {
    title: re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.M | re.S)
    for title, text in re.findall(r"^###? (Add [^\n]*)\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.M | re.S)
}
((_, _, DESIGN),) = SECTIONS["Add to lutc from a package of your own"]  # what the commands work on


def install(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an editable install does: the folder is imported from, and the metadata beside it."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = project / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (info / "METADATA").write_text(metadata)
    groups = about["entry-points"].items()
    text = "".join(f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for g, named in groups)
    (info / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(project)


@pytest.mark.parametrize("title", ["Add a pass", "Add an emitter", "Add a target", "Add an importer"])
def test_what_the_page_says_works(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("twice.lir").write_text(DESIGN)
    lines = 0
    for language, name, text in SECTIONS[title]:
        if language == "console":
            continue
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
        lines += len(text.splitlines())
    assert 10 < lines < 60  # it stays this little
    for project in [p.parent for p in Path().glob("*/pyproject.toml")]:
        install(tmp_path / project, monkeypatch)
        for module in project.glob("*/__init__.py"):
            sys.modules.pop(module.parent.name, None)
    commands = [
        line[2:]
        for language, _, text in SECTIONS[title]
        if language == "console"
        for line in text.splitlines()
    ]
    assert commands
    for command in commands:
        done = CliRunner().invoke(main, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
        if title == "Add a pass":
            made = lutc.loads(done.stdout)
            want = lutc.loads(DESIGN)
            x = [[1, -2, 3], [7, 7, 7], [-8, -8, -8]]
            assert (made.run(x) == want.run(x)).all()
            assert (" add %x" not in done.stdout and "scale" in done.stdout) or "standard" in command
    if title == "Add an emitter":
        assert "digraph twice" in Path("pictures/rtl/twice.dot").read_text()
    if title == "Add an importer":
        design = lutc.load("three.taps", input_types="s8f4")
        assert design.run([[1.5, 0.25, -2]]).tolist() == [[3 * 1.5 - 0.25 - 4]]
        Path("wrong.taps").write_text("3\nx\n200\n")
        with pytest.raises(lutc.LirError) as raised:
            lutc.load("wrong.taps")
        assert [d.where for d in raised.value.diagnostics] == ["wrong.taps:2", "wrong.taps:3", "wrong.taps"]
    if title == "Add a target":
        assert "xc7s50csga324-1" in Path("small/report.json").read_text()


COPIED = (
    "lutc",
    "tests/kit",
    "tests/lir/ops",
    "tests/ir",
    "tests/text",
    "tests/conftest.py",
    "ir_spec/ops.md",
)


def test_an_operation_added_as_the_page_says(tmp_path: Path) -> None:
    """In a copy of what it takes: the class, its name, the file; the page is made, and the tests know the operation."""
    for name in (*COPIED, "tools/opdoc", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("backends", "frontends", "ir_spec"):  # as an install maps them
        (tmp_path / "lutc" / folder).symlink_to(ROOT / folder)
    blocks = SECTIONS["Add an operation"]
    ((module, text),) = [(tmp_path / name, text) for language, name, text in blocks if language == "python"]
    ((program, runs),) = [(tmp_path / name, text) for language, name, text in blocks if language == "lir"]
    assert len(text.splitlines()) + len(runs.splitlines()) < 60  # it stays this little
    (keyword,), (kind,) = re.findall(r'keyword: .* = "(\w+)"', text), re.findall(r"^class (\w+)", text, re.M)
    before = module.read_text()
    module.write_text(before.replace("__all__ = [", f'__all__ = ["{kind}", ') + "\n\n" + text)
    program.write_text(runs)
    (commands,) = [text for language, _, text in blocks if language == "console"]
    opdoc, tests = [shlex.split(line[2:]) for line in commands.splitlines()]
    assert opdoc == ["tools/opdoc"] and tests[:2] == ["tools/test", "--quick"]
    _run(tmp_path, *opdoc)
    assert f"## {keyword}\n" in (tmp_path / "ir_spec" / "ops.md").read_text()
    answer = _run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *tests[2:])
    counted = re.search(r"(\d+) passed", answer)
    assert counted and int(counted[1]) >= 3 and "failed" not in answer, answer
    _run(tmp_path, "-c", f"from lutc.ir.ops import {kind}, TABLE; assert TABLE['{keyword}'] is {kind}")


def _run(copy: Path, *command: str) -> str:
    """What Python says in the copy, whose lutc it is to import."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
