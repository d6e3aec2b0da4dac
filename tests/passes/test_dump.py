"""A folder of dumped designs: what an earlier dump wrote goes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lutc.cli import main

TEXT = "lir 1\n\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n"


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(TEXT)


def dump(passes: str = "scalarize", code: int = 0) -> str:
    done = CliRunner().invoke(main, ["opt", "d.lir", "-p", passes, "--dump", "own"])
    assert done.exit_code == code, done.output
    return done.output


def names() -> list[str]:
    return sorted(p.name for p in Path("own").iterdir() if not p.name.startswith("."))


def test_a_second_dump_replaces_the_first() -> None:
    dump("scalarize, narrow, rescale")
    dump("narrow")
    assert names() == ["00-input.lir", "01-narrow.lir"]


def test_what_is_not_a_dumps_own_stays() -> None:
    Path("own/deep").mkdir(parents=True)
    Path("own/notes.txt").write_text("mine")
    dump()
    dump("narrow")
    assert names() == ["00-input.lir", "01-narrow.lir", "deep", "notes.txt"]


@pytest.mark.parametrize("name", ["00-input.lir", "01-narrow.lir", "17-mine.lir"])
def test_a_users_file_of_such_a_name_is_refused(name: str) -> None:
    Path("own").mkdir()
    Path("own", name).write_text("mine")
    assert f"holds {name}, which no dump wrote" in dump("narrow", code=2)
    assert names() == [name] and Path("own", name).read_text() == "mine"


def test_an_edited_file_is_refused() -> None:
    dump()
    Path("own/00-input.lir").write_text(TEXT + "# mine\n")
    assert "00-input.lir" in dump("narrow", code=2)
    assert Path("own/00-input.lir").read_text().endswith("# mine\n")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"00-input.lir": 3}', "[" * 5000])
def test_a_broken_list_lists_nothing(text: str) -> None:
    dump()
    Path("own/.lutc-dump.json").write_text(text)
    assert "holds 00-input.lir" in dump("narrow", code=2)


def test_a_link_is_no_file_of_a_dump() -> None:
    dump()
    Path("own/00-input.lir").rename("away.lir")
    Path("own/00-input.lir").symlink_to(Path("away.lir").resolve())
    assert "holds 00-input.lir" in dump("narrow", code=2)
    assert Path("away.lir").read_text() == TEXT


def test_a_file_in_place_of_the_folder() -> None:
    Path("own").write_text("mine")
    assert "own: error" in dump(code=2) and Path("own").read_text() == "mine"
