"""Edges of the text that somebody fell over: numbers, blanks, strings, several files, old orders of operands."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import invoked

from lutc.diagnostics import LirError
from lutc.ir.same import same
from lutc.text.fmt import format_text
from lutc.text.parse import parse
from lutc.text.print import print_design
from lutc.text.upgrade import upgraded

BODY = " {\n  %y = neg %x\n}\n"


@pytest.mark.parametrize("number", ["1e-3998", "3e3998", "0.123e-3900", "1/3", "1/" + "7" * 3999])
def test_numbers_that_are_read_can_be_written(number: str) -> None:
    design = parse(f"lir 1\ndesign d(%x: s4 scale={number}) -> (y = %y){BODY}run x=0 => y=0\n")
    assert same(parse(print_design(design)), design) is None
    assert same(parse(format_text(print_design(design))), design) is None


@pytest.mark.parametrize("number", ["1e-4000", "1e4000", "0.123e-3998", "9" * 4001, "1/" + "7" * 4000])
def test_numbers_of_too_many_digits(number: str) -> None:
    with pytest.raises(LirError, match="too many digits"):
        parse(f"lir 1\ndesign d(%x: s4 scale={number}) -> (y = %y){BODY}")


@pytest.mark.parametrize("blank", ["\f", "\t", "\r", " "])
def test_blanks_in_lists_with_counts(blank: str) -> None:
    text = f"lir 1\nconst @w: s4[2, 2] = [[{blank}1,{blank}-1], [0*2]]\ndesign d(%x: s4) -> (y = @w)"
    text = text.replace("@w)", "%w) {\n  %w = const @w\n}\n")
    once = format_text(text)
    assert "= [[1, -1], [0*2]]\n" in once and format_text(once) == once


@pytest.mark.parametrize("blank", ["\u00a0", "\u000b", "\u0085", "\u2028", "\u3000", "\u001c"])
def test_other_blanks_are_none(blank: str) -> None:
    for data in (f"[1{blank} 2]", f"[[1{blank}], [2]]"):
        with pytest.raises(LirError):
            parse(f"lir 1\nconst @w: s4[2, 1] = {data}\ndesign d(%x: s4) -> (y = %y){BODY}")


@pytest.mark.parametrize("text", ['note "\\ud800"\n', ""])
def test_half_a_character_is_refused(text: str) -> None:
    origin = "" if text else ' !"\\udfff"'
    with pytest.raises(LirError, match="an escape that is none"):
        parse(f"lir 1\n{text}design d(%x: s4) -> (y = %y) {{\n  %y = neg %x{origin}\n}}\n")


def test_upgrade_puts_operands_in_order() -> None:
    old = """lir 1
table @t: u2 -> u2 = [3, 2, 1, 0]
func @f(%a: u2, %b: u3) -> %r {
  # run: no statement
  %r = add %a, %b
}
design d(%x: u2, %z: u3) -> (y = %y) {
  %l = lut @t, %x  # a table
  %y = call %l, @f, %z
}
# run: x=1, z=4 => y=6
"""
    new = upgraded(old)
    assert "%l = lut %x, @t  # a table" in new and "%y = call @f, %l, %z" in new
    assert "  # run: no statement\n" in new and "\nrun x=1" in new
    assert upgraded(new) == new


def test_a_comment_about_runs_in_a_body_stays_one() -> None:
    text = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n# run: x=1 => y=2\n  %y = neg %x\n}\n"
    assert upgraded(text) == text


def test_fmt_goes_on_behind_a_bad_file(tmp_path: Path) -> None:
    good = f"lir 1\ndesign d(%x:s4) -> (y=%y){BODY}"
    for name, text in (("a.lir", "lir 1\nnothing\n"), ("b.lir", good), ("c.lir", "lir 3\n")):
        (tmp_path / name).write_text(text)
    said = invoked("fmt", *(str(tmp_path / n) for n in ("a.lir", "b.lir", "c.lir")), code=2).output
    assert "a.lir:2:1" in said.replace("\n", "") and "b.lir: formatted" in said and "c.lir:1:5" in said
    assert (tmp_path / "b.lir").read_text() == format_text(good)
