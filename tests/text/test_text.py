"""The text: what is printed is read back the same, `fmt` keeps it, sizes do no harm, and messages point right."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lark import Token
from lark.exceptions import UnexpectedInput
from random_designs import random_design

from lutc.build import Builder
from lutc.diagnostics import LirError, Source
from lutc.ir.graph import Design, Stage, body, functions
from lutc.ir.ops import ALL, Op
from lutc.ir.same import same
from lutc.ir.verify import verify
from lutc.limits import MAX_DEPTH
from lutc.text import syntax
from lutc.text.fmt import format_text
from lutc.text.literals import inline_codes, list_of, number_of
from lutc.text.parse import parse, parse_file, parse_type
from lutc.text.print import print_design
from lutc.text.reader import without_bodies
from lutc.types import Fixed, tensor, uniform

SEEDS = range(150)
STAGES = [s.value for s in Stage]
LIR = Path(__file__).parents[1] / "lir"
TAGGER = (LIR / "text/tagger.lir").read_text()


@cache
def designs(stage: str) -> list[Design]:
    return [random_design(random.Random(seed), stage) for seed in SEEDS]


# -- round trips ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_printed_is_read_back(stage: str) -> None:
    for design in designs(stage):
        verify(design)
        text = print_design(design)
        again = parse(text)
        assert same(design, again) is None, text
        assert print_design(again) == text
        assert format_text(text) == text


@pytest.mark.parametrize("stage", STAGES)
def test_random_designs_use_every_operation(stage: str) -> None:
    met = {type(v) for d in designs(stage) for f in functions(d) for v in body(f)}
    met |= {type(v) for d in designs(stage) for v in body(d)}
    assert met >= {op for op in ALL if Stage(stage) in op.stages}


def test_random_designs_vary() -> None:
    found = designs("tensor")
    formats = {f for d in found for v in body(d) for _, f in v.type.runs}
    assert {0, 1, 70} <= {f.width for f in formats}
    assert any(f.frac < 0 for f in formats) and {f.signed for f in formats} == {True, False}
    assert any(len(v.type.runs) > 1 for d in found for v in body(d))
    assert any(functions(d) for d in found) and any(len(d.outputs) > 2 for d in found)
    assert print_design(random_design(random.Random(5))) == print_design(random_design(random.Random(5)))


def test_layout_does_not_matter() -> None:
    for design in designs("tensor")[:40]:
        text = print_design(design)
        loose = re.sub(r" = (?=\w)", "=", text.replace("\n  ", "\n\n \t ")).replace("\n", "  #~\n")
        loose = loose.replace("[\n", "[ # (\n")
        assert same(design, parse(loose.replace("#~", ""))) is None
        once = format_text(loose)
        assert format_text(once) == once
        assert once.count("#~") == loose.count("#~")


def _flat(part: Any) -> Any:
    """A part of a text's form with the places of all its tokens."""
    if isinstance(part, Token):
        return (part.type, str(part), part.start_pos, part.line, part.column, part.end_line, part.end_column)
    if isinstance(part, list | tuple):
        return [_flat(p) for p in part]
    return [_flat(getattr(part, n)) for n in part.__slots__] if hasattr(part, "__slots__") else part


def test_the_shortcut_through_bodies_agrees_with_the_grammar() -> None:
    """On texts as they are, and on such with random damage, most of which neither may take."""
    rng = random.Random(4)
    texts = [print_design(d) for stage in STAGES for d in designs(stage)[:20]]
    texts += [path.read_text() for path in sorted(LIR.rglob("*.lir"))]
    accepted = 0
    for i in range(len(texts) + 700):
        text = texts[i] if i < len(texts) else _damaged(rng, rng.choice(texts))
        short = without_bodies(text)
        try:
            long = syntax.parser().parse(text, start="file")
        except UnexpectedInput:
            long = None
        assert _flat(short) == _flat(long), text
        accepted += short is not None
    assert len(texts) < accepted < len(texts) + 600


def _damaged(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    if rng.random() < 0.5:
        return text[:at] + text[at + rng.randint(1, 3) :] + "\n"
    return text[:at] + rng.choice('%@,=:[]{}()#"!\n ax1.-/<>*\\\t') + text[at:] + "\n"


def test_same_tells_differences() -> None:
    design = parse(TAGGER)
    for old, new in [
        ("design tagger", "design other"),
        ("score", "result"),
        ("= %s)", "= %s scale=1/3)"),
        ("s6f3[4]", "s6f3[4] round=floor"),
        ("relu %h", "neg %h"),
        ("round=nearest-half-up", "round=floor"),
        ("1.25  -0.5", "1.25  -0.75"),
        ("1.75   1.75\n", "1.75   1.5\n"),
        ('!"dense_1"', '!"dense"'),
        ("@act", "@table"),
    ]:
        assert old in TAGGER
        assert same(design, parse(TAGGER.replace(old, new))), f"{old} -> {new}"


# -- types and numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["[1,, 2]", "[[1, 2]", "[1 2]]", "[, 1]", "[1 2,]"])
def test_fmt_repairs_no_list(text: str) -> None:
    """What is wrong is refused, not tacitly put right."""
    for whole in (
        f"lir 1\nconst @c: s4[2] = {text}\n",
        f"lir 1\ndesign d(%x: s4 scale={text}) -> (y = %x) {{\n}}\n",
    ):
        with pytest.raises(LirError):
            format_text(whole)


def test_types_are_read_as_written() -> None:
    rng = random.Random(3)
    for _ in range(300):
        shape = tuple(rng.randint(1, 4) for _ in range(rng.randint(0, 3)))
        size = int(np.prod(shape))
        formats = [
            Fixed(rng.random() < 0.5, rng.randint(0, 70), rng.randint(-9, 9)) for _ in range(min(size, 3))
        ]
        kind = tensor(shape, [rng.choice(formats) for _ in range(size)])
        assert parse_type(str(kind)) == kind
    assert parse_type("<s4*2, s4>[3]") == uniform((3,), Fixed(True, 4))
    assert parse_type("s0f3") == parse_type("u0")
    assert parse_type("s4[0, 3]").size == 0


@pytest.mark.parametrize(
    "text", ["", "8", "s", "s8f", "s8f4[", "s8[]", "s8[-1]", "<>", "<s8>", "<s8>[2]", "s8f4f2"]
)
def test_bad_types_are_refused(text: str) -> None:
    with pytest.raises(LirError, match=r"no type|formats"):
        parse_type(text)


@pytest.mark.parametrize(
    "text", ["s5000", "u4097", "s4f99999", "s4[100000, 100000]", "<s4*99999999999999>[2]"]
)
def test_excessive_types_are_refused(text: str) -> None:
    with pytest.raises(LirError, match=r"large|bits|most"):
        parse_type(text)


def test_numbers_are_exact() -> None:
    cases = {"1.5": "3/2", "-1e-3": "-1/1000", "+7/21": "1/3", ".5": "1/2", "3.": "3", "2E2": "200"}
    for text, value in cases.items():
        assert number_of(text) == Fraction(value)
    for text in ("1,5", "1/2/3", "0x10", "1e", "--1", "1/0", "1e999999999", "9" * 5000, "nan", "inf", "١"):
        with pytest.raises(ValueError):
            number_of(text)


def test_numbers_are_not_rounded_through_floats() -> None:
    text = "lir 1\n\nconst @c: u60f59 = [1.00000000000000000173472347597680709441192448139190673828125]\n"
    text += "design d(%x: u1) -> (y = %c) {\n  %c = const @c\n}\n"
    assert parse(text).outputs[0].value.symbol.codes.tolist() == (1 << 59) + 1  # type: ignore[attr-defined]
    with pytest.raises(LirError, match="the nearest are"):
        parse(text.replace("828125]", "828126]"))


# -- constants -----------------------------------------------------------------------------------------------


def test_the_quick_reader_of_numbers_agrees_with_the_grammar() -> None:
    """Constants are split without the grammar, for speed; lists of all forms must be taken, or refused, alike."""
    rng = random.Random(1)
    pieces = ["1", "-2", "3/1", "4e0", ",", " ", "\n", "# c ]\n", "[", "]", "x", "", ", "]
    accepted = 0
    for _ in range(4000):
        text = (
            "[" + "".join(rng.choice(pieces) + rng.choice([" ", ""]) for _ in range(rng.randint(0, 6))) + "]"
        )
        token = Token("LIST", text, 0, 1, 1)
        expected = _by_grammar(text)
        count = len(expected or ())
        try:
            found = inline_codes(Source("t", text), token, [(count, Fixed(True, 64))], (count,), "list")
        except LirError:
            found = None
        if found is not None or (expected is not None and re.search(r"\d[\s,]*\d*\[|\]\d", text) is None):
            assert found == expected, text
            accepted += 1
    assert accepted > 400


def _by_grammar(text: str) -> list[int] | None:
    """The codes of a flat list of integers, by the grammar alone."""
    try:
        numbers = [number_of("x" if isinstance(item, list) else str(item)) for item in list_of(text)]
    except ValueError:
        return None
    return [n.numerator for n in numbers] if all(n.denominator == 1 for n in numbers) else None


def test_constants_from_files(tmp_path: Path) -> None:
    b = Builder("d")
    x = b.input("x", "s4f2[80]")
    rng = np.random.default_rng(1)
    w = b.constant("w", "s6f3[80, 60]", rng.integers(-32, 32, (80, 60)) / 8)
    t = b.table("t", "u13", "s9f-2", rng.integers(-256, 256, 1 << 13) * 4)
    b.output("y", b.dense(x, w))
    b.output("z", b.lut(b.input("k", "u13"), t))
    design = b.design()
    text = print_design(design, folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.npy", "w.npy"]
    assert len(text) < 1000
    (tmp_path / "d.lir").write_text(text)
    assert same(design, parse_file(tmp_path / "d.lir")) is None
    assert same(design, parse(print_design(design))) is None
    with pytest.raises(LirError, match="no folder"):
        parse(text)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, 0.3]), r"element 1 of w.npy: 0.3 is no number of s4; the nearest are 0 and 1"),
        (np.array([1.0, np.nan]), "not finite"),
        (np.array([1.0, np.inf]), "not finite"),
        (np.array([1.0]), r"w.npy has the shape \[1\], but constant @w needs the shape \[2\]"),
        (np.array(["a", "b"]), "holds no array of integers or floats"),
        (np.array([1 + 1j, 2]), "holds no array of integers or floats"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "w.npy", array)
    text = 'lir 1\n\nconst @w: s4[2] = file "w.npy"\n\ndesign d(%x: s4) -> (y = %x) {\n}\n'
    with pytest.raises(LirError, match=message) as caught:
        parse(text, folder=tmp_path)
    assert [d.span and d.span.line for d in caught.value.diagnostics] == [3]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "d.lir").write_bytes(b"lir 1\n\xff\xfe")
    for name, message in [("d.lir", "not UTF-8"), ("none.lir", "No such file"), (".", "directory")]:
        with pytest.raises(LirError, match=message):
            parse_file(tmp_path / name)


# -- size ----------------------------------------------------------------------------------------------------


def test_long_chains_need_no_recursion() -> None:
    n = 5_000
    lines = [f"  %v{i + 1} = reg %v{i}" for i in range(n)]
    text = "\n".join(["lir 1 scalar", "", f"design d(%v0: s4) -> (y = %v{n}) {{", *lines, "}", ""])
    design = parse(text)
    verify(design)
    again = parse(print_design(design))
    assert same(design, again) is None


def test_deep_calls() -> None:
    n = MAX_DEPTH
    funcs = ["func @f0(%a: s4) -> %a {\n}\n"]
    funcs += [f"func @f{i}(%a: s4) -> %b {{\n  %b = call @f{i - 1}, %a\n}}\n" for i in range(1, n)]
    text = (
        "lir 1\n"
        + "".join(reversed(funcs))
        + f"design d(%x: s4) -> (y = %y) {{\n  %y = call @f{n - 1}, %x\n}}\n"
    )
    assert len(functions(parse(text))) == n


# -- messages ------------------------------------------------------------------------------------------------


def test_a_message_in_full() -> None:
    with pytest.raises(LirError) as caught:
        parse(TAGGER.replace("%h           =", "%h: s9f5[3] ="), "tagger.lir")
    assert str(caught.value) == (
        "tagger.lir:19:3: error: 'dense' gives <s10f5*2, s9f5>[3] here, but %h is declared s9f5[3]\n"
        ' 19 |   %h: s9f5[3] = dense %x, @w1                                 !"dense_1"\n'
        "    |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "    = help: to change the format, add: %t = dense ..., then %h: s9f5[3] = quant %t"
    )


def test_columns_are_those_of_the_mistake() -> None:
    for old, new, wrong in [
        ("dense %x, @w1", "dense %xx, @w1", "%xx"),
        ("dense %x, @w1", "dense %x,  @w2", "@w2"),
        ("round=nearest-half-up", "round=next", "next"),
        ("round=floor", "rond=floor", "rond"),
        ("relu %h", "rleu %h", "rleu"),
        ("1.25  -0.5    0", "1.25  -0.3    0", "-0.3"),
        ("1.75   1.75\n]", "1.75   1.7\n]", "1.7"),
        ("s6f3[4]", "s6f[4]", "s6f[4]"),
        ("score = %s", "score = %t1", "%t1"),
        ("s4f2[4, 3]", "s4f2[4, 3", "[4, 3"),
    ]:
        assert old in TAGGER
        with pytest.raises(LirError) as caught:
            parse(TAGGER.replace(old, new, 1), "t")
        span = caught.value.diagnostics[0].span
        assert span is not None
        assert span.source.line(span.line)[span.column - 1 :].startswith(wrong), (old, new, str(caught.value))


def test_windows_and_old_line_ends() -> None:
    design = parse(TAGGER)
    assert same(design, parse(TAGGER.replace("\n", "\r\n"))) is None
    assert same(design, parse("\n\n  # c\n" + TAGGER.rstrip("\n"))) is None
    with pytest.raises(LirError) as caught:
        parse(TAGGER.replace("relu %h", "relu %hh").replace("\n", "\r\n"))
    assert "\r" not in str(caught.value)


def test_a_syntax_error_does_not_hide_the_others() -> None:
    text = TAGGER.replace("dense %x, @w1", "dense %x @w1").replace("lut %q, @act", "lut %q, @acted")
    text = text.replace("sum %a", "sum (%a)").replace("round=floor", "round=flor")
    with pytest.raises(LirError) as caught:
        parse(text)
    assert [d.span and d.span.line for d in caught.value.diagnostics] == [19, 22, 23, 24]


def test_the_grammar_names_no_operation() -> None:
    words = set(re.findall(r"[a-z_]+", re.sub(r"//.*", "", syntax.grammar())))
    assert {op.keyword for op in ALL} & words == {"const"}  # the constant's definition, not the operation
    assert issubclass(ALL[0], Op)
