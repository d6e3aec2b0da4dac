"""Texts of the IR with something wrong in them: each must end in a LirError, or in a design that works.

A valid text is changed in a few tokens: numbers and types of absurd size, names of others, what is left out or there
twice. `tests/text/test_text_fuzz.py` tries some in CI, `tools/fuzz-text` as many as one likes.
"""

from __future__ import annotations

import random
import re
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import lutc
from lutc.diagnostics import LirError
from lutc.ir.graph import Design
from lutc.ir.interp import execute
from lutc.ir.ops import TABLE
from lutc.passes.manager import random_codes
from lutc.text.parse import parse
from lutc.text.print import print_design

ROOT = Path(__file__).resolve().parents[2]
TOKEN = re.compile(r'"[^"\n]*"|[%@!]?[\w.]+(?:[+-]\d+)?|->|[ \t]+|\n|.', re.S)
LONGEST = 1500  # characters of a message


def _words(text: str) -> list[str]:
    return text.split()


_NUMBERS = """
0 1 -1 2 3 7 -128 255 256 0.5 -0.25 1/3 1/0 0/0 -0 +5 1e3 1e-3 1e400 1e-400 1e1000000 1e-1000000 1e99999999999
99999999999999999999 -99999999999999999999 1000000007 16777217 4294967296 0x10 1e 1. .5 1_000 inf nan -inf 1/3/5
1e4000 123456789/987654321
"""
_TYPES = """
u0 u1 s1 s4 u64 s63 s65 u4096 s4097 u1000000000 s8f4096 s8f-4096 u8f9000 s8f999999999999 u s f u-1 s0 u8f u20 u21 s40
s4[0] s4[] s4[1] s4[2,2] s4[-1] s4[100000,100000] u1[16777216] s4[99999999999999] u4[0,99999999] <>[0] <>[] <>[1]
<u1*1000000000000>[1000000000000] <u1*100000000>[100000000] <s4*0>[0] <s4,u4>[2] <s4*2,u4>[3] <s4*-1>[1] s4[2][2]
"""
_LISTS = """
[] [1] [[]] [[1]] [-1] [0,0,0] [1,2,3] [1,,2] [9999999999] [99999999999,99999999999] [1/3] [1e400] [true] [a,b]
[1000000] [0] [0,0] [1,0] [-1,-1] [65536,65536,65536]
"""
_WORDS = """
true false auto nearest floor wrap saturate gt eq x design func const table lir scalar tensor to at by axis shape perm
{ } ( ) < > [ ] , : = -> * # ! @ % "x.npy" "/etc/passwd" "../x.npy" "\\q" !"a" é 😀 @w.1 %0 %x.y
"""
NUMBERS = [*_words(_NUMBERS), "9" * 5000, "1/" + "7" * 5000, "0." + "0" * 5000 + "1", "1" + "0" * 100_000]
TYPES = [*_words(_TYPES), "u" + "9" * 5000, "s4[" + "1," * 300 + "1]", "<" + "u1," * 3000 + "u1>[3001]"]
LISTS = [*_words(_LISTS), "[" + "1 " * 20_000 + "]", "[" * 5000, "[" * 2000 + "]" * 2000]
WORDS = [
    *_words(_WORDS),
    *("\x00", "\x1b", "\u2028", "\t", "\r", "\r\n", ";" * 3000),
    *("n" * 5000, "%" + "v" * 5000, "@" + "w" * 5000, '!"' + "o" * 5000 + '"'),
]


@cache
def sources() -> tuple[str, ...]:
    """The texts to begin with."""
    files = [*sorted((ROOT / "tests" / "lir").rglob("*.lir")), *sorted((ROOT / "ir_spec").rglob("*.lir"))]
    texts = [path.read_text("utf-8") for path in files if path.parent.name not in ("errors", "invalid")]
    return tuple(t for t in texts if len(t) < 20_000)


def mutant(seed: int) -> str:
    """The text of a number, always the same."""
    rng = random.Random(seed)
    tokens = TOKEN.findall(rng.choice(sources()))
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 5, 8])):
        if tokens:
            rng.choice(_CHANGES)(rng, tokens)
    return "".join(tokens)


def _places(tokens: list[str], pattern: str) -> list[int]:
    return [i for i, t in enumerate(tokens) if re.fullmatch(pattern, t)] or [0]


def _number(rng: random.Random, tokens: list[str]) -> None:
    tokens[rng.choice(_places(tokens, r"-?[\d.]+([eE/].*)?"))] = rng.choice(NUMBERS)


def _nearby(rng: random.Random, tokens: list[str]) -> None:
    at = rng.choice(_places(tokens, r"\d{1,9}"))
    if tokens[at].isdigit():
        tokens[at] = str(max(int(tokens[at]) + rng.choice([-2, -1, 1, 2, 10]), 0))


def _type(rng: random.Random, tokens: list[str]) -> None:
    tokens[rng.choice(_places(tokens, r"[su]\d+(f\d+)?"))] = rng.choice(TYPES)


def _list(rng: random.Random, tokens: list[str]) -> None:
    tokens[rng.choice(_places(tokens, r"\["))] = rng.choice(LISTS)


def _name(rng: random.Random, tokens: list[str]) -> None:
    places = _places(tokens, r"[%@][\w.]+")
    tokens[rng.choice(places)] = tokens[rng.choice(places)]


def _keyword(rng: random.Random, tokens: list[str]) -> None:
    words = [i for i, t in enumerate(tokens) if t in TABLE] or [0]
    tokens[rng.choice(words)] = rng.choice(list(TABLE))


def _word(rng: random.Random, tokens: list[str]) -> None:
    tokens[rng.randrange(len(tokens))] = rng.choice(WORDS)


def _inserted(rng: random.Random, tokens: list[str]) -> None:
    tokens.insert(rng.randrange(len(tokens)), rng.choice([*WORDS, *NUMBERS, *TYPES]))


def _deleted(rng: random.Random, tokens: list[str]) -> None:
    at = rng.randrange(len(tokens))
    del tokens[at : at + rng.choice([1, 1, 1, 2, 5])]


def _doubled(rng: random.Random, tokens: list[str]) -> None:
    at, length = rng.randrange(len(tokens)), rng.choice([1, 1, 3, 10])
    tokens[at:at] = tokens[at : at + length] * rng.choice([1, 1, 1, 2, 100])


def _exchanged(rng: random.Random, tokens: list[str]) -> None:
    a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    tokens[a], tokens[b] = tokens[b], tokens[a]


def _line(rng: random.Random, tokens: list[str]) -> None:
    """A line left out, there twice, or in another place."""
    lines = "".join(tokens).split("\n")
    at = rng.randrange(len(lines))
    line = lines.pop(at) if rng.random() < 0.6 else lines[at]
    if rng.random() < 0.6:
        lines.insert(rng.randrange(len(lines) + 1), line)
    tokens[:] = TOKEN.findall("\n".join(lines))


def _cut(rng: random.Random, tokens: list[str]) -> None:
    del tokens[rng.randrange(len(tokens)) :]


_CHANGES: tuple[Callable[[random.Random, list[str]], None], ...] = (
    _number,
    _number,
    _nearby,
    _nearby,
    _nearby,
    _type,
    _type,
    _list,
    _name,
    _name,
    _keyword,
    _keyword,
    _word,
    _inserted,
    _deleted,
    _doubled,
    _exchanged,
    _line,
    _cut,
)  # fmt: skip


# -- trying -----------------------------------------------------------------------------------------------------------


def failure(text: str, compiled: bool = False) -> str | None:
    """None, or what went wrong: another error than LirError, a message without end, another design when printed."""
    try:
        design = parse(text, "text.lir")
    except LirError as e:
        return _said(e)
    except Exception as e:
        return f"parse: {type(e).__name__}: {str(e)[:200]}\n{traceback.format_exc()[-3000:]}"
    stage = "print"
    try:
        again = parse(print_design(design))
        if print_design(again) != print_design(design):
            return "printed, it is another design"
        stage = "run"
        if _small(design):
            codes = random_codes(design, 3)
            got, want = execute(again, codes), execute(design, codes)
            if any((got[o.name] != want[o.name]).any() for o in design.outputs):
                return "printed and read again, it answers otherwise"
            stage = "compile"
            if compiled:
                _compiled(design, codes, want)
    except LirError as e:
        return f"{stage}: {e}" if stage != "compile" else _said(e)
    except Exception as e:
        return f"{stage}: {type(e).__name__}: {str(e)[:200]}\n{traceback.format_exc()[-3000:]}"
    return None


def _compiled(design: Design, codes: Any, want: Any) -> None:
    build = lutc.compile(design, effort="fast")
    assert build.files
    got = execute(build.design, codes)
    assert all((got[o.name] == want[o.name]).all() for o in design.outputs), "the circuit answers otherwise"


def _small(design: Design) -> bool:
    return sum(v.type.bits for v in design.values) + sum(v.operations() for v in design.values) < 100_000


def _said(e: LirError) -> str | None:
    for d in e.diagnostics:
        if len(str(d)) > LONGEST:
            return f"a message of {len(str(d))} characters: {str(d)[:200]}"
    return None


class Slow(BaseException):
    """It took longer than it may."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise `Slow` if what is inside takes longer. Of the main thread alone."""

    def ring(number: int, frame: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
