"""Texts of lutc 0.1 as texts of today: each change in its place, the same meaning, and once is enough."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from command import invoked
from random_designs import random_design

from lutc.diagnostics import LirError
from lutc.ir.same import same
from lutc.text.parse import parse
from lutc.text.print import print_design
from lutc.text.upgrade import upgraded

OLD = """\
# run: x=[1, -2] => y=[1, -2], z=5
lir 1
# note: trained "here"
# run: x=[0, 0] => y=[0, 0], z=4

design d(%x: s8f4[2] round=nearest) -> (y = %y, z = %z) {
  # floor and wrap
  %y: s5[2]  = quant %x  # without a word
  %w: s9f5[2] = quant %x, overflow=saturate
  %a = sum %w
  %b: u1 = quant %a, round=nearest  !"layer"
  %z = cat 1, %b, 0
}
# run: x=1 => z=4
# a comment
"""

NEW = """\
lir 1
run x=[1, -2] => y=[1, -2], z=5
note "trained \\"here\\""
run x=[0, 0] => y=[0, 0], z=4

design d(%x: s8f4[2] round=nearest) -> (y = %y, z = %z) {
  # floor and wrap
  %y: s5[2]  = quant %x, round=floor  # without a word
  %w: s9f5[2] = quant %x, overflow=saturate
  %a = sum %w
  %b: u1 = quant %a, round=nearest, overflow=wrap  !"layer"
  %z = cat 1, %b, 0
}
run x=1 => z=4
# a comment
"""


def test_each_change_in_its_place() -> None:
    assert upgraded(OLD) == NEW
    assert upgraded(NEW) == NEW
    assert parse(NEW).notes == ('trained "here"',)


def test_a_text_of_today_stays_what_it_is() -> None:
    for seed in range(60):
        text = print_design(random_design(random.Random(seed), ["tensor", "scalar"][seed % 2]))
        assert upgraded(text) == text


def test_what_was_left_out_is_what_it_was() -> None:
    """Texts from which the modes are taken that 0.1 did not write."""
    taken = 0
    for seed in range(200):
        design = random_design(random.Random(seed), ["tensor", "scalar"][seed % 2])
        text = print_design(design)
        old = re.sub(r"(quant [^\n]*?), round=floor\b", r"\1", text)
        old = re.sub(r"(quant [^\n]*?), overflow=wrap\b", r"\1", old).replace(" bit_concat ", " cat ")
        taken += old != text
        assert same(parse(upgraded(old)), design) is None, old
    assert taken > 60


def test_what_neither_reads_is_refused() -> None:
    with pytest.raises(LirError, match="there is no value %q"):
        upgraded("lir 1\ndesign d(%x: s4) -> (y = %q) {\n}\n")


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "old.lir"
    file.write_text(OLD)
    assert "lutc fmt --upgrade writes it" in invoked("check", str(file), code=2).output
    invoked("fmt", "--upgrade", str(file))
    assert "bit_concat 1, %b, 0" in file.read_text() and "nearest-half-up" in file.read_text()
    assert same(parse(file.read_text()), parse(NEW)) is None
    assert "old.lir: ok" in invoked("check", str(file)).output
