"""The grammars for editors colour what `lir.lark` knows: each class of token by its own scope, wherever it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lark import Lark, Token
from textmate import Grammar

from lutc.ir.ops import TABLE
from lutc.text.syntax import grammar

ROOT = Path(__file__).resolve().parents[2]
VSCODE = ROOT / "tools" / "editors" / "vscode-lir"
VIM = ROOT / "tools" / "editors" / "vim"
GRAMMAR = Grammar.read(VSCODE / "syntaxes" / "lir.tmLanguage.json")

KEYWORD = "keyword.control.lir"
VALUE = "variable.other.value.lir"
SYMBOL = "variable.other.constant.symbol.lir"
NUMBER = "constant.numeric.lir"
WORD = "constant.language.word.lir"
BRACKET = "punctuation.section.brackets.lir"
COUNT = "keyword.operator.count.lir"
NAMES = {
    "entity.name.function.operation.lir",
    "entity.name.function.design.lir",
    "variable.parameter.attribute.lir",
}

# The scopes in which a token of each class may stand. OPERANDS, REPEATED, a TYPE and a LIST are taken apart first.
SCOPES: dict[str, set[str]] = {
    **{word: {KEYWORD} for word in ("LIR", "NOTE", "CONST", "TABLE", "FUNC", "DESIGN", "RUN", "FILE")},
    "VALUE": {VALUE},
    "SYMBOL": {SYMBOL},
    "NAME": NAMES,
    "WORD": {WORD, "storage.modifier.stage.lir"},
    "NUMBER": {NUMBER},
    "COUNT": {NUMBER},
    "STRING": {"string.quoted.double.lir"},
    "ORIGIN": {"string.quoted.double.origin.lir"},
    "FORMAT": {"storage.type.format.lir"},
    "EQUAL": {"keyword.operator.assignment.lir"},
    "COLON": {"punctuation.separator.type.lir"},
    "COMMA": {"punctuation.separator.lir"},
    "STAR": {COUNT},
    "LBRACE": {"punctuation.section.body.lir"},
    "RBRACE": {"punctuation.section.body.lir"},
    **{sign: {BRACKET} for sign in ("LPAR", "RPAR", "LSQB", "RSQB", "LESSTHAN", "MORETHAN")},
    "arrow": {"keyword.operator.arrow.lir"},
}
ESCAPE = "constant.character.escape.lir"
TAKEN_APART = {"OPERANDS", "REPEATED", "TYPE", "LIST"}
BLANK = {"_NL"}

PROGRAM = """\
# Whatever there is.
lir 1 tensor  # and a comment
note "an \\"escape\\""
const @w: s4f2[2, 3] = [
   1.25  -0.5   0  # a row
   3/4   1e0*2
]
const @m: <s4f2*2, u3f-1>[3] = [[1, 2, 3]]
const @one: s2 = -1
const @far: s2[4] = file "far.npy"
table @half: s1 -> s3f1 = [0, -0.5]
func @dot(%a: s3[2], %b: s3[2]) -> %s {
  %p = mul %a, %b, dsp=true
  %s = sum %p, axes=[0]
}
design text(%t: u2,
  %x: s3[2] round=nearest-half-up overflow=wrap,  # a port
  %y: <s3,
       u2>[2] scale=1/2 offset=-1
) -> (d = %q scale=[1, 2], h = %h) {
  %d       = call @dot, %x, %y                 !"attention"
  %q: s5f1 = quant %d, round=nearest-half-even, overflow=saturate
  %mixed: <s4*2,
           s9f5>[3] = concat %x, %y
  %c       = lincomb %t, 1,  # on
      %z, weights=[1*3]
  %reg     = max %c, 0
}
run x=[1, -2], y=3 => d=0.5,
  h=[0.5, -1]
"""
TEXTS = {
    "program": PROGRAM,
    **{
        path.stem: path.read_text()
        for folder in (ROOT / "ir_spec" / "examples", ROOT / "tests" / "lir" / "ops")
        for path in sorted(folder.glob("*.lir"))
    },
}


@cache
def parser() -> Any:
    """The language's own parser, with every token kept."""
    return Lark(grammar(), parser="lalr", start=["file", "type", "list"], keep_all_tokens=True)


def tokens(text: str, start: str = "file", offset: int = 0) -> Iterator[tuple[str, int, str]]:
    """Class, place and text of each token, down to those that have no parts."""
    found: Iterator[Token] = parser().parse(text, start=start).scan_values(lambda t: isinstance(t, Token))
    for token in found:
        at = offset + (token.start_pos or 0)
        match token.type:
            case "TYPE":
                yield from tokens(str(token), "type", at)
            case "LIST":
                yield from tokens(str(token), "list", at)
            case "OPERANDS":
                for part in re.finditer(r"#[^\n]*|([^\s,#]+)|(,)", token):
                    if part[1] or part[2]:
                        sign = {"%": "VALUE", "@": "SYMBOL", ",": "COMMA"}.get(part[0][0], "NUMBER")
                        yield sign, at + part.start(), part[0]
            case "REPEATED":
                word, _, count = token.partition("*")
                yield ("WORD" if word[0].isalpha() else "NUMBER"), at, word
                yield "STAR", at + len(word), "*"
                yield "COUNT", at + len(word) + 1, count
            case kind:
                arrow = str(token) in ("->", "=>")
                yield "arrow" if arrow else kind, at, str(token)


@pytest.mark.parametrize("name", TEXTS)
def test_every_token_has_its_scope(name: str) -> None:
    text = TEXTS[name]
    scopes = GRAMMAR.scopes(text)
    wrong = []
    covered = [False] * len(text)
    for kind, at, word in tokens(text if text.endswith("\n") else text + "\n"):
        if kind in BLANK:
            continue
        found = set(scopes[at : at + len(word)]) - ({ESCAPE} if kind in ("STRING", "ORIGIN") else set())
        covered[at : at + len(word)] = [True] * len(word)
        if len(found) != 1 or not found <= SCOPES[kind]:
            wrong.append(f"{kind} {word!r} is {sorted(found)}")
    assert not wrong
    # What is no token is blank or a comment.
    rest = {scopes[n] for n, c in enumerate(text) if not covered[n] and not c.isspace()}
    assert rest <= {"comment.line.number-sign.lir"}


def test_operations_and_modes_are_seen_by_their_place() -> None:
    """No list of them that could go stale, and none of them is taken for anything else."""
    written = (VSCODE / "syntaxes" / "lir.tmLanguage.json").read_text() + (
        VIM / "syntax" / "lir.vim"
    ).read_text()
    for keyword in ("lincomb", "quant", "reduce_max", "nearest", "saturate"):
        assert keyword not in written
    for keyword in TABLE:
        line = f"  %y: s4[2] = {keyword} %x, at=1"
        scopes = GRAMMAR.scopes(f"design d(%x: s4) -> (y = %y) {{\n{line}\n}}\n")
        at = len("design d(%x: s4) -> (y = %y) {\n") + line.index(f"= {keyword}") + 2
        assert set(scopes[at : at + len(keyword)]) == {"entity.name.function.operation.lir"}, keyword


def test_every_class_of_token_has_a_scope_and_a_place_in_the_program() -> None:
    terminals = {t.name for t in parser().terminals}
    arrows = {t.name for t in parser().terminals if t.pattern.value in ("->", "=>", "\\->")}
    ignored = {t for t in terminals if t.startswith("__IGNORE")}
    assert terminals - arrows - ignored == (SCOPES.keys() - {"arrow"}) | TAKEN_APART | BLANK
    assert {kind for kind, _, _ in tokens(PROGRAM)} - BLANK == SCOPES.keys()


def test_a_text_that_is_being_written_is_coloured_on() -> None:
    """A head without its brace, or a statement without its `=`, does not take the rest of the file with it."""
    body = "func @f(%a: s4) -> %b {\n  %b = neg %a\n}\n"
    text = f"lir 1\ndesign d(%x: s4\nconst @w: s4\ntable @t: s2 -> s2 = [0\n]\n{body}"
    scopes = GRAMMAR.scopes(text)
    for word in ("const", "table", "func"):
        assert scopes[text.index(word)] == KEYWORD
    assert scopes[text.index("neg")] == "entity.name.function.operation.lir"
    assert scopes[text.index("@t")] == SYMBOL


def test_the_extension_says_where_its_parts_are() -> None:
    package = json.loads((VSCODE / "package.json").read_text())
    (language,) = package["contributes"]["languages"]
    (colours,) = package["contributes"]["grammars"]
    assert language["extensions"] == [".lir"]
    assert json.loads((VSCODE / language["configuration"]).read_text())["comments"] == {"lineComment": "#"}
    assert (VSCODE / colours["path"]).exists()
    for rule in GRAMMAR.every():
        names = [
            rule.get("name"),
            *(c["name"] for k in rule if k.endswith("aptures") for c in rule[k].values()),
        ]
        assert all(name.endswith(".lir") for name in names if name)


def test_the_words_of_the_language_are_in_the_syntax_for_vim() -> None:
    written = (VIM / "syntax" / "lir.vim").read_text()
    words = {str(t.pattern.value) for t in parser().terminals if str(t.pattern.value).isalpha()}
    assert len(words) == 8
    assert {w for w in words if not re.search(rf"\b{w}\b", written)} == set()
