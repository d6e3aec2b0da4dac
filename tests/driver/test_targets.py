"""A user's own target file: every entry is checked when it is read, and all mistakes are listed at their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lutc import target as targets
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.primitives import PRIMITIVES

OWN = targets.show("xcvu13p")
LINES = [line.split(" = ")[0] for line in OWN.splitlines()]

WRONG = {
    "clock_ns": [
        "inf",
        "-inf",
        "nan",
        "0",
        "-1.5",
        "0.0",
        "1e300",
        '"3"',
        "[3.0]",
        "true",
        "2020-01-01",
        "{a = 1}",
    ],
    "luts": ["0", "-5", "1.5", '"many"', "[1]", "true", "1" + "0" * 40],
    "lut_inputs": ['"six"', "0", "1", "64", "6.0"],
    "dsp_wide": ["0", "1", "-3", "100000"],
    "carry": ["[1]", "-0.1", "inf", '""'],
    "lut": ["0", "0.0", "nan"],
    "fractured": ["1", '"yes"', "0.0"],
    "named_luts": ["1", '"amd"', '""', "[]", "6"],
    "part": ["5", '""', '"a\\nendmodule"', '"' + "x" * 5000 + '"', "[]"],
}


def own(tmp_path: Path, **entries: str | None) -> Path:
    """A target file with other entries (None: without it)."""
    lines = [line for line in OWN.splitlines() if line.split(" = ")[0] not in entries]
    path = tmp_path / "own.toml"
    path.write_text("\n".join([*lines, *(f"{k} = {v}" for k, v in entries.items() if v is not None)]) + "\n")
    return path


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in WRONG.items() for v in values])
def test_a_wrong_entry_is_refused_at_its_line(tmp_path: Path, key: str, value: str) -> None:
    path = own(tmp_path, **{key: value})
    with pytest.raises(LirError) as raised:
        targets.load(str(path))
    (found,) = raised.value.diagnostics
    assert repr(key) in found.message and found.span is not None
    assert path.read_text().splitlines()[found.span.line - 1].startswith(f"{key} = ")
    assert len(str(found)) < 700


def test_all_mistakes_are_listed(tmp_path: Path) -> None:
    path = own(tmp_path, luts="0", clock_ns="inf", carry=None, colour='"red"', dsp_narow="18")
    with pytest.raises(LirError) as raised:
        targets.load(str(path))
    text = str(raised.value)
    assert len(raised.value.diagnostics) == 5
    for part in ("'luts'", "'clock_ns'", "'carry' is missing", "no 'colour'", "did you mean dsp_narrow"):
        assert part in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"luts = \n", "no TOML"),
        (b"luts = 1\nluts = 2\n", "no TOML"),
        (b"\x00\xff\xfe", "not UTF-8"),
        (b"luts = " + b"9" * 6000, "no target"),
        (b"a = " + b"[" * 50_000, "no"),
        (b"#" * 10_000_000, "bytes"),
        (b"", "missing"),
        (b"[luts]\nx = 1\n", "'luts' is an integer"),
    ],
)
def test_what_is_no_target_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(text)
    with pytest.raises(LirError, match=said):
        targets.load(str(path))


@pytest.mark.parametrize(
    "name", ["", ".toml", "a/b.toml", "../xcvu13p", "x" * 5000, "x" * 5000 + ".toml", "a\0b.toml"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(LirError) as raised:
        targets.load(name)
    assert len(str(raised.value)) < 500


def test_luts_by_name_have_as_many_inputs_as_the_library_says(tmp_path: Path) -> None:
    with pytest.raises(LirError, match="xilinx has LUTs of 6 inputs") as raised:
        targets.load(str(own(tmp_path, lut_inputs="4", named_luts="true")))
    help = raised.value.diagnostics[0].help or ""
    assert "named_luts = false" in help and 'named_luts = "ecp5"' in help and "lut_inputs = 6" in help
    with pytest.raises(LirError, match=r"ice40 has LUTs of 4 inputs \(SB_LUT4\), and lut_inputs is 6"):
        targets.load(str(own(tmp_path, named_luts='"ice40"')))
    done = CliRunner().invoke(main, ["targets", "--show", str(own(tmp_path, named_luts='"amd"'))])
    assert done.exit_code == 2 and "'named_luts' is true (AMD's LUT1 to LUT6), false, or" in done.output


@pytest.mark.parametrize(
    ("said", "inputs", "name"),
    [
        ("true", "6", "xilinx"),
        ('"xilinx"', "6", "xilinx"),
        ("false", "6", None),
        ("false", "4", None),
        ('"ecp5"', "4", "ecp5"),
        ('"ice40"', "4", "ice40"),
        ('"gowin"', "4", "gowin"),
    ],
)
def test_whose_luts_can_be_asked_for(tmp_path: Path, said: str, inputs: str, name: str | None) -> None:
    found = targets.load(str(own(tmp_path, named_luts=said, lut_inputs=inputs)))
    assert found.primitive is (PRIMITIVES[name] if name else None)


def test_every_device_of_an_open_flow_has_luts_of_its_own() -> None:
    for target, _ in targets.listed()[0]:
        assert target.primitive and target.primitive.inputs == target.lut_inputs
        assert target.primitive.name == (target.family if target.lut_inputs == 4 else "xilinx")


def test_functions_beyond_the_multiplexers_take_luts_that_choose() -> None:
    wide = {
        name: [targets.load(name).function_luts(k) for k in range(3, 9)] for name in ("ice40hx8k", "ecp5-85k")
    }
    assert wide["ice40hx8k"] == [1, 1, 3, 7, 15, 31] and wide["ecp5-85k"] == [1, 1, 2, 4, 8, 17]
    assert [targets.load("xcvu13p").function_luts(k) for k in (6, 9, 10)] == [1, 8, 17]


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = own(tmp_path, luts="1000")
    first = targets.load(str(path))
    assert targets.load(str(path)) is first and first.luts == 1000
    own(tmp_path, luts="2000")
    assert targets.load(str(path)).luts == 2000


def test_whole_numbers_are_delays_too(tmp_path: Path) -> None:
    found = targets.load(str(own(tmp_path, clock_ns="3")))
    assert found.clock_ns == 3.0 and isinstance(found.clock_ns, float)


@pytest.mark.parametrize("entries", [{"clock_ns": "inf"}, {"luts": "0"}])
def test_nothing_is_done_before_the_target_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: dict[str, str]
) -> None:
    """The model is not there, and still the target is what is wrong; nor does a pass with a target begin."""
    monkeypatch.chdir(tmp_path)
    path = own(tmp_path, **entries)
    done = CliRunner().invoke(main, ["compile", "none.lir", "--target", str(path)])
    assert done.exit_code == 2 and "own.toml:" in done.output and "no such file" not in done.output
    Path("d.lir").write_text("lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n")
    words = ["-p", "scalarize, pipeline{stages=1}", "--target", str(path), "--dump", "dumped"]
    done = CliRunner().invoke(main, ["opt", "d.lir", *words])
    assert done.exit_code == 2 and "own.toml:" in done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.lir", "own.toml"]


@pytest.mark.parametrize(
    ("asked", "device", "part"),
    [
        ("XCVU13P", "xcvu13p", "xcvu13p-flga2577-2-e"),
        ("pynq-z2", "xc7z020", "xc7z020clg400-1"),
        ("PYNQ_Z2", "xc7z020", "xc7z020clg400-1"),
        ("zedboard", "xc7z020", "xc7z020clg484-1"),
        ("xc7z020clg484-1", "xc7z020", "xc7z020clg484-1"),
        ("zcu104", "xczu7ev", "xczu7ev-ffvc1156-2-e"),
        ("Ultra96", "xczu3eg", "xczu3eg-sbva484-1-e"),
        ("basys3", "xc7a35t", "xc7a35tcpg236-1"),
        ("arty-a7", "xc7a35t", "xc7a35ticsg324-1L"),
        ("arty-a7-100t", "xc7a100t", "xc7a100tcsg324-1"),
        ("icebreaker", "ice40up5k", "ice40up5k-sg48"),
        ("ulx3s", "ecp5-85k", "LFE5U-85F-6BG381C"),
        ("LFE5U-85F-8MG285C", "ecp5-85k", "LFE5U-85F-8MG285C"),
        ("xcvu13p-fhgb2104-2-i", "xcvu13p", "xcvu13p-fhgb2104-2-i"),
        ("XCK26-SFVC784-2LV-C", "xck26", "xck26-sfvc784-2LV-c"),
    ],
)
def test_boards_and_parts_are_names_of_their_devices(asked: str, device: str, part: str) -> None:
    found = targets.load(asked)
    assert (found.name, found.part) == (device, part)
    assert targets.load(asked) is found


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("pynq-z3", "pynq-z2"), ("xcvu13", "xcvu13p"), ("zcu105", "zcu104"), ("ice40up5", "ice40up5k")],
)
def test_a_near_miss_is_asked_about(asked: str, meant: str) -> None:
    with pytest.raises(LirError, match=rf"did you mean .*{meant}"):
        targets.load(asked)


@pytest.mark.parametrize("asked", ["de10-nano", "xczu7evx", "stratix"])
def test_what_is_no_device_of_ours_is_told_how_to_become_one(asked: str) -> None:
    done = CliRunner().invoke(main, ["compile", "none.lir", "--target", asked])
    assert done.exit_code == 2
    assert "lutc targets" in done.output or "did you mean" in done.output


@pytest.mark.parametrize("asked", [*targets.names(), "zedboard", "xcvu13p-fhgb2104-2-i"])
def test_what_is_shown_is_the_same_target(tmp_path: Path, asked: str) -> None:
    done = CliRunner().invoke(main, ["targets", "--show", asked])
    path = tmp_path / f"{targets.load(asked).name}.toml"
    path.write_text(done.output)
    assert done.exit_code == 0
    assert vars(targets.load(str(path))) == vars(targets.load(asked))


def test_no_board_is_of_two_devices() -> None:
    every = [board for path in targets._own().values() for board in targets._boards(path)]
    assert len(every) == len(set(every)) == len(targets.boards())
    for board, device in targets.boards().items():
        assert targets.load(board).name == device


@pytest.mark.parametrize("boards", ['"pynq"', "3", "{mine = 5}", '{mine = ""}'])
def test_boards_of_a_file_have_parts(tmp_path: Path, boards: str) -> None:
    with pytest.raises(LirError, match="'boards' names the part of each board"):
        targets.load(str(own(tmp_path, boards=boards)))
