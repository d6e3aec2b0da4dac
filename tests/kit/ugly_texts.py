"""Texts as nobody should leave them, and whether `fmt` makes of them what they were.

A printed design is given comments that say what they belong to (`# of %x` behind a thing, `# above %x` over it), and
then loses its layout: blanks, line ends behind commas and inside brackets, blank lines, numbers spelled otherwise.
`trouble` formats it and looks whether the meaning, every comment, and what each stands by are the same.
"""

from __future__ import annotations

import random
import re
from fractions import Fraction

from random_designs import random_design

from lutc.ir.same import same
from lutc.text.fmt import format_text
from lutc.text.parse import parse
from lutc.text.print import print_design

_THING = re.compile(r"\s*(?:(?:const|table|func|design)\s+)?([%@]?[\w.]+)\s*[:=(]")


def ugly(seed: int) -> str:
    """The text of a number, always the same."""
    rng = random.Random(seed)
    design = random_design(rng, rng.choice(["tensor", "scalar"]), size=rng.randint(3, 12))
    return _loosened(rng, _commented(rng, print_design(design)))


def _commented(rng: random.Random, text: str) -> str:
    """Comments at things that begin a line, each saying at which."""
    lines: list[str] = []
    inside = head = False  # a list or a statement goes on; the ports of a head in several lines
    for line in text.split("\n"):
        thing = None if inside else _THING.match(line)
        head = (head or line.endswith("(")) and not line.endswith("{")
        inside = line.endswith("[") or (inside and line.startswith("  ") and not line.endswith("]"))
        inside = inside or (not head and line.endswith(","))
        if thing and rng.random() < 0.3:
            lines.append(f"{rng.choice(['', '  ', '    '])}# above {thing[1]}")
        behind = thing and not line.endswith(("[", "(")) and not inside and rng.random() < 0.3
        lines.append(f"{line} # of {thing[1]}" if behind and thing else line)
    return "\n".join(lines)


def _loosened(rng: random.Random, text: str) -> str:
    out = []
    for line in text.split("\n"):
        code, mark, comment = line.partition("#") if '"' not in line else (line, "", "")
        code = re.sub(r" +", lambda m: rng.choice([" ", "  ", "\t", m[0]]), code)
        code = re.sub(
            r"(?<=[\w\]]),(?= +\S)", lambda _: rng.choice([",", " ,", ",\n", ",  # in\n", ", "]), code
        )
        code = re.sub(r"(?<==)\d+(?=[,\s]|$)", lambda m: _spelled(rng, m[0]), code)
        out.append(code + mark + comment)
        out += [""] * rng.choice([0, 0, 0, 1, 3])
    return "\n".join(out)


def _spelled(rng: random.Random, number: str) -> str:
    value = Fraction(number)
    return rng.choice([number, f"{number}.0", f"{value * 2}/2", f"+{number}"])


def trouble(text: str) -> str | None:
    """What `fmt` does wrong to a text, in words."""
    after = format_text(text)
    if (lost := same(parse(text), parse(after))) is not None:
        return f"the meaning: {lost}"
    if format_text(after) != after:
        return "formatting twice is not the same as once"
    if _comments(text) != _comments(after):
        return "a comment is lost, or in another order"
    lines = after.split("\n")
    for i, line in enumerate(lines):
        if (found := re.search(r"# (above|of) (\S+)$", line)) is not None:
            alone = line.lstrip().startswith("#")
            there = _below(lines, i) if found[1] == "above" else _start(lines, i)
            if alone != (found[1] == "above") or not _names(there, found[2]):
                return f"a comment moved: {line!r} stands by {there!r}"
    return None


def _below(lines: list[str], at: int) -> str:
    """The first line below that is code."""
    return next((t for t in lines[at + 1 :] if t and not t.lstrip().startswith("#")), "")


def _start(lines: list[str], at: int) -> str:
    """The first line of what ends in this one: of a statement, a list or a head that was broken."""
    if lines[at].startswith(")"):  # a head
        return next(t for t in lines[at::-1] if t.startswith(("func", "design")))
    while at and _THING.match(lines[at]) is None:
        at -= 1
    return lines[at]


def _names(line: str, thing: str) -> bool:
    """Whether a line begins with a thing, or is a head in one line that has it among its ports."""
    found = _THING.match(line)
    return (found is not None and found[1] == thing) or bool(
        re.search(rf"[(, ]{re.escape(thing)}\s*[:=]", line)
    )


def _comments(text: str) -> list[str]:
    return [m[0].rstrip() for m in re.finditer(r"#.*", re.sub(r'"[^"\n]*"', "", text))]
