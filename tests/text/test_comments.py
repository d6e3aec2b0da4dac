"""`fmt` and the parser with comments and line ends in every place where the grammar has them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.same import same
from lutc.text import fmt
from lutc.text.comments import comments_of
from lutc.text.fmt import format_text
from lutc.text.parse import parse
from lutc.text.print import print_design

# `~` is where a line may end and a comment stand; `^` where a line ends, and more lines may follow.
TEXTS = [
    """\
^lir 1^
^
const @w: s4f2[~4~,~2~] = [~1.25~,~-0.5~ 0 0.75~
-2~1~0.25~,~0.25~]^
table @t: u2 -> s4f1 = [~0, 0.5~,~1~1.5~]^
table @pair: <~u1~,~u2~>[~2~] -> <~s3~*~2~>[~2~] = [~0 1~,~0~1~2~3~]^
const @one: s2 = [~1~]^
func @f(~%a: s4[~2~],~%b: s4[~2~]~) -> %r {^
  %r: s5[~2~] = add %a, %b^
}^
^
note "tops"^
design top(~%x: s6f3[~4~] round=nearest-half-up overflow=wrap,~%z: u2 scale=1/3~) -> (~score = %s,~t = %v scale=2~) {^
  %h          = dense %x, @w  !"dense # 1"^
  %s: s6f2[~2~] = quant %h, round=nearest-half-up, overflow=saturate^
  %v          = lut %z, @t     !"answer"^
}^
run x=[~1~,~2 0*2~], z=2 =>~t=2,~score=[~1*2~]^
""",
    """\
lir 1 scalar^
design mine(~%x: s4,~%y: s3~) -> (~z = %r,~r = %r scale=[~1/3~] offset=[~0.5~]~) {^
  %a: s7 = lincomb %x,~%y,~weights=[~3~,~5~]^
  %b: s4 = quant %a,~overflow=wrap,~round=floor  !"layer"^
  %r = reg %b^
}^
run x=1,~y=2 =>~z=-3,~r=-0.5^
run x=0,~y=0 =>~z=0^
""",
    "lir 1^\nnote \"n # \"^\nnote \"m\"^\ndesign d(~) -> (~y = %c~) {^\n  %c: u2 = number value=3^\n}^\nrun => y=3^\n",
    "lir 1^\ndesign d(~%x: s4~) -> (~y = %x~) {^\n}^\n",
]  # fmt: skip

WORDS = [
    "#",
    "# plain",
    "#close",
    "# ] ) } > \" ' [ ( { <",
    '# "quoted" and "half',
    "# note: no note",
    "# %y = add %x, %x",
    "# ~ \\ ## #",
    "# a,",
    "# design d(",
    "# 1.5, 2",
    "# a\u2028b\x0cc\x85d",
]


def commented(text: str, chance: random.Random, share: float) -> str:
    """The text with comments in some of its places, each with a number of its own."""
    count = 0

    def comment() -> str:
        nonlocal count
        count += 1
        return f"{chance.choice(WORDS)} {count}"

    def put(place: re.Match[str]) -> str:
        if chance.random() >= share:
            return " " if place[0] == "~" else ""
        lines = [chance.choice(["", " ", "  "]) + comment() for _ in range(chance.choice([1, 1, 2]))]
        if place[0] == "~":
            lines[0] = lines[0] if chance.random() < 0.7 else ""  # an end of line alone
            return "\n".join([*lines, chance.choice(["", "  "])])
        start = text[: place.start()].rsplit("\n", 1)[-1].strip("^") == ""
        blank = chance.choice(["", "\n"])
        return "\n".join([*lines, ""]) + blank if start else "  " + "\n".join(lines)

    return re.sub(r"[~^]", put, text)


def plain(text: str) -> str:
    return text.replace("~", " ").replace("^", "")


def checked(text: str) -> str:
    after = format_text(text)
    assert [c.text for c in comments_of(after)] == [c.text for c in comments_of(text)]
    assert same(parse(text), parse(after)) is None
    assert format_text(after) == after
    return after


@pytest.mark.parametrize("share", [0.03, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_comments_in_every_place_are_kept_in_order(number: int, share: float) -> None:
    text = TEXTS[number]
    design = parse(plain(text))
    chance = random.Random(f"{number} {share}")
    for _ in range(60):
        one = commented(text, chance, share)
        found = parse(one)
        assert same(design, found) is None, one
        checked(one)


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_one_comment_in_each_place(number: int) -> None:
    text = TEXTS[number]
    places = [m.start() for m in re.finditer(r"[~^]", text)]
    for at in places:
        one = plain(text[:at]) + " # c ] ) } > , [ ( <\n" + plain(text[at + 1 :])
        checked(one)


PORTS = """\
lir 1

design d(%a: s4,  # of a
  # above b
  %b: s4, %c: s4,  # of c
  %e: s4  # of e
  # last of the inputs
) -> (  # outputs
  v = %a,  # of v
  w = %b, z = %c  # of z
) {  # open
}  # closed
"""


def test_a_comment_stays_with_its_port() -> None:
    assert format_text(PORTS).splitlines()[2:] == [
        "design d(",
        "  %a: s4,  # of a",
        "  # above b",
        "  %b: s4,",
        "  %c: s4,  # of c",
        "  %e: s4  # of e",
        "  # last of the inputs",
        ") -> (  # outputs",
        "  v = %a,  # of v",
        "  w = %b,",
        "  z = %c  # of z",
        ") {  # open",
        "}  # closed",
    ]
    text = "lir 1\n\nfunc @f(%a: s4) -> %a {\n}\n\ndesign d(%x: s4) -> (v = %x, # out\n  w = %x) {\n}\n"
    assert "  v = %x,  # out\n  w = %x\n" in checked(text)
    text = text.replace("(%a: s4)", "(%a: s4  # in\n)")
    assert "func @f(\n  %a: s4  # in\n) -> %a {\n" in checked(text)


def test_a_comment_is_no_note() -> None:
    text = """lir 1
# note: a comment
note "real # \\"note\\""
design d(%x: s4) -> (y = %x) {
}
# run: x=1 => y=2
run x=1 => y=1
"""
    design = parse(text)
    assert design.notes == ('real # "note"',) and len(design.runs) == 1
    assert same(design, parse(checked(text))) is None


@pytest.mark.parametrize(
    "spelled",
    [
        "s4[2,\n 3]",
        "s4[ # two [of] them\n2 # and\n, 3]",
        "<s4 # > ]\n * 6>[2,3]",
        "<\ns4*3,\n# x\ns4*3>[2\n,\n3\n]",
    ],
)
def test_types_may_be_broken_over_lines(spelled: str) -> None:
    text = f"lir 1\ndesign d(%x: {spelled}) -> (y = %y) {{\n  %y: s5[2 # c\n, 3] = neg %x\n}}\n"
    design = parse(text)
    assert str(design.params[0].type) == "s4[2, 3]"
    assert parse(checked(text)).params[0].type == design.params[0].type


def test_what_is_not_closed_is_told() -> None:
    with pytest.raises(LirError, match=r"<text>:2:"):
        parse("lir 1\ndesign d(%x: s4[2 # ]) -> (y = %x) {\n}\n")


# -- never another text -----------------------------------------------------------------------------------------------


SMALL = "lir 1\ndesign d(%x: s4,  %z: s4) -> (y = %y) {\n  %y = sub %x, %z  # c\n  %u = neg %y\n}\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sub %x, %z", "sub %z, %x", "differ in operand 0"),
        ("s4", "s5", "differ"),
        ("# c", "", "comments"),
        ("# c", "# d", "comments"),
        ("  %u = neg %y", "", "a statement is not what it was"),
        ("%x, %z", "%x, %w", "there is no value %w"),
        ("(y =", "(w =", "the output y"),
        ("{", "", "error"),
    ],
)
def test_a_text_that_says_something_else_is_never_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, said: str
) -> None:
    """Faults put into the formatter: each is noticed, and the file stays."""
    lines = fmt._Formatter.file

    def wrong(self: object, file: object) -> list[str]:
        right = "\n".join(lines(self, file))  # type: ignore[arg-type]
        assert old in right
        return right.replace(old, new).split("\n")

    path = tmp_path / "d.lir"
    path.write_text(SMALL)
    monkeypatch.setattr(fmt._Formatter, "file", wrong)
    result = CliRunner().invoke(main, ["fmt", str(path)])
    assert result.exit_code == 2 and said in result.stderr and "bug in lutc" in result.stderr
    assert path.read_text() == SMALL


def test_brackets_that_do_not_follow_the_shape_are_not_mended(tmp_path: Path) -> None:
    """The form writes matrices by rows: what was an error would become another constant."""
    text = "lir 1\nconst @w: s4[2, 2] = [[1, 2, 3], [4]]\n"
    path = tmp_path / "d.lir"
    path.write_text(text + "design d(%x: s4[2]) -> (y = %y) {\n  %y = dense %x, @w\n}\n")
    result = CliRunner().invoke(main, ["fmt", str(path)])
    assert result.exit_code == 2 and "do not follow its shape" in result.stderr
    assert path.read_text().startswith(text)


def test_data_files_are_found(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "w.npy", np.eye(2))
    path = tmp_path / "d.lir"
    body = "design d(%x: s4[2]) -> (y = %y) {\n  %y =  dense %x, @w # c\n}\n"
    path.write_text(f'lir 1\nconst @w: s4[2, 2] = file "w.npy"  # data\n{body}')
    assert CliRunner().invoke(main, ["fmt", str(path)]).exit_code == 0
    assert print_design(parse(path.read_text(), folder=tmp_path)) and "# data" in path.read_text()
