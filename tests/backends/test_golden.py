"""Golden files: `tests/golden/*.lir`, and beside each the Verilog and the VHDL that it is printed as, byte for byte.

    # control: clock_enable valid luts      what is asked for besides the data ports; `luts` are LUTs by name

The files of a design's modules follow one another, each behind a line with its name. `pytest --bless` rewrites them:
read the difference before you keep it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lutc.backends import verilog, vhdl
from lutc.emit import Control, netlist
from lutc.primitives import XILINX
from lutc.rtl import nets as nl
from lutc.text.parse import parse

FOLDER = Path(__file__).parents[1] / "golden"
FILES = sorted(FOLDER.glob("*.lir"))
PRINTERS = {".v": (verilog, "//"), ".vhd": (vhdl, "--")}


def modules_of(path: Path) -> list[nl.Module]:
    """The netlist of a file's design."""
    text = path.read_text()
    asked = (found[1] if (found := re.search(r"^# control: (.+)$", text, re.M)) else "").split()
    assert set(asked) <= {"clock_enable", "valid", "luts"}, asked
    control = Control(clock_enable="clock_enable" in asked, valid="valid" in asked)
    return netlist(parse(text, path.name), control, luts=XILINX if "luts" in asked else None)


@pytest.mark.parametrize("suffix", PRINTERS)
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_golden(path: Path, suffix: str, bless: bool) -> None:
    printer, comment = PRINTERS[suffix]
    modules = modules_of(path)
    files = printer.emit(modules, "") | (vhdl.models(modules, "") if printer is vhdl else {})
    printed = "\n".join(f"{comment} {name}\n{text}" for name, text in files.items())
    golden = path.with_suffix(suffix)
    if bless:
        golden.write_text(printed)
        return
    assert golden.read_text() == printed


def test_every_kind_of_net_is_in_some_golden_file() -> None:
    made = {type(net) for path in FILES for m in modules_of(path) for net in m.nets}
    kinds, waiting = set(), [nl.Net]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__ == nl.__name__:
            kinds.add(kind)
    abstract = {nl.Net, nl.Unary, nl.Binary, nl.Compare}
    assert {k.__name__ for k in kinds - abstract - made} == set()


def test_no_golden_file_is_left_over() -> None:
    assert {p.stem for p in FOLDER.iterdir()} == {p.stem for p in FILES}
