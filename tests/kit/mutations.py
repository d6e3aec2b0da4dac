"""Ways to make a good `.lir` text wrong. Each takes a text as `print` writes it and returns a text that no reader may
accept, or None where it finds nothing to spoil. `tests/text/test_mutation.py` tries them all; `tools/mutate` shows
them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from lutc.ir.graph import Stage
from lutc.ir.ops import TABLE
from lutc.ir.ops.base import Spec, spec, spell

Mutation = Callable[[random.Random, str], "str | None"]

_STATEMENT = re.compile(
    r"^  %(?P<name>[\w.]+)(?P<type>: \S[^=]*?)? *= (?P<keyword>\w+)(?P<rest>[^\n!]*)", re.M
)


def _pick(rng: random.Random, pattern: str | re.Pattern[str], text: str) -> re.Match[str] | None:
    found = list(re.finditer(pattern, text, re.M) if isinstance(pattern, str) else pattern.finditer(text))
    return rng.choice(found) if found else None


def _replaced(text: str, m: re.Match[str] | None, new: str, group: str | int = 0) -> str | None:
    return None if m is None else text[: m.start(group)] + new + text[m.end(group) :]


def _statement(rng: random.Random, text: str, fits: Callable[[re.Match[str]], bool]) -> re.Match[str] | None:
    found = [m for m in _STATEMENT.finditer(text) if fits(m)]
    return rng.choice(found) if found else None


def undefined_value(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"(?<=[a-z,] )%[\w.]+(?=,| *$)", text), "%nowhere")


def undefined_symbol(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"(?<=[a-z,] )@[\w.]+(?=,| *$)", text), "@nowhere")


def undefined_output(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"(?<=out0 = )%[\w.]+", text), "%nowhere")


def wrong_type(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: m["type"] is None)
    return m and text[: m.end("name")] + ": s77f31[9]" + text[m.end("name") :]


def bad_type(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"(?<=: )[su]\d+(?=f|\[|,|\)| |$)", text), "q8f")


def forward_reference(rng: random.Random, text: str) -> str | None:
    """A value that another statement reads moves to the end of its body."""
    lines = text.split("\n")
    for i in rng.sample(range(len(lines)), len(lines)):
        m = _STATEMENT.match(lines[i])
        if m is None:
            continue
        end = next(j for j in range(i, len(lines)) if lines[j] == "}")
        used = re.compile(rf"= .*%{re.escape(m['name'])}(?![\w.])")
        if any(used.search(line) for line in lines[i + 1 : end]):
            return "\n".join([*lines[:i], *lines[i + 1 : end], lines[i], *lines[end:]])
    return None


def unrepresentable_number(rng: random.Random, text: str) -> str | None:
    m = _pick(rng, r"^(?:const|table) .*= \[[^\]]*\]", text)
    number = m and _pick(rng, r"(?<=[\[ ,\n])-?\d[\d./]*(?=[\],\s])", m[0].rpartition("= [")[2])
    if m is None or number is None:
        return None
    start = m.end() - len(m[0].rpartition("= [")[2]) + number.start()
    return text[:start] + "1/3" + text[start + len(number[0]) :]


def number_out_of_range(rng: random.Random, text: str) -> str | None:
    changed = unrepresentable_number(rng, text)
    return changed and changed.replace("1/3", f"{1 << 200}", 1) if "1/3" not in text else None


def wrong_length(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"^(?:const|table) .*= \[()", text), "0 ", 1)


def missing_comma(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: ", " in re.sub(r"\[.*?\]", "", m["rest"]))
    return m and _replaced(text, m, re.sub(r",(?= [%@a-z])", "", m[0], count=1))


def missing_bracket(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"(?<==)\[[^\]=]*(\])", text), "", 1)


def missing_brace(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"^\}$", text), "")


def duplicate_value(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: True)
    return m and text[: m.start()] + m[0] + "\n" + text[m.start() :]


def duplicate_symbol(rng: random.Random, text: str) -> str | None:
    m = _pick(rng, r"^(?:const|table) @([\w.]+)", text)
    return m and text + f"\nfunc @{m[1]}(%a: s4) -> %a {{\n}}\n"


def duplicate_port(rng: random.Random, text: str) -> str | None:
    m = _pick(rng, r"^design \w+\(\s*(%\w+: [^,()\[<\n ]+)(?=[,)\n ])", text)
    return m and _replaced(text, m, f"{m[1]}, {m[1]}", 1)


def illegal_stage(rng: random.Random, text: str) -> str | None:
    here, there = (
        (Stage.SCALAR, Stage.TENSOR) if text.startswith("lir 1 scalar") else (Stage.TENSOR, Stage.SCALAR)
    )
    head = {Stage.TENSOR: "lir 1\n", Stage.SCALAR: "lir 1 scalar\n"}
    if not any(there not in TABLE[m["keyword"]].stages for m in _STATEMENT.finditer(text)):
        return None
    return text.replace(head[here], head[there], 1)


def too_many_operands(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: "%" in m["rest"] and not any(many for _, many in _row(m).operands))
    value = m and re.search(r"%[\w.]+", m["rest"])
    return m and value and _replaced(text, m, f" {value[0]}, {m['rest'].strip()}", "rest")


def too_few_operands(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: "%" in m["rest"] and not any(many for _, many in _row(m).operands))
    return m and _replaced(text, m, re.sub(r"%[\w.]+(, )?", "", m["rest"], count=1), "rest")


def _row(m: re.Match[str]) -> Spec:
    return spec(TABLE[m["keyword"]])


def unknown_operation(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: True)
    return m and _replaced(text, m, m["keyword"] + "ish", "keyword")


def unknown_attribute(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: bool(m["rest"].strip()))
    return m and _replaced(text, m, m["rest"].rstrip() + ", colour=1 ", "rest")


def repeated_attribute(rng: random.Random, text: str) -> str | None:
    m = _pick(rng, r"^  %.*, (\w+=[\w.-]+)(?=,| *$)", text)
    return m and _replaced(text, m, f"{m[1]}, {m[1]}", 1)


def bad_attribute(rng: random.Random, text: str) -> str | None:
    return _replaced(text, _pick(rng, r"(?<==)(?:\[[^\]\n]*\]|[a-z][\w-]+)(?=[,\n])", text), "?")


def missing_attribute(rng: random.Random, text: str) -> str | None:
    def needs(m: re.Match[str]) -> bool:
        return any(a.required for a in _row(m).attributes)

    m = _statement(rng, text, needs)
    if m is None:
        return None
    name = next(spell(a.name) for a in _row(m).attributes if a.required)
    return _replaced(text, m, re.sub(rf",? {name}=(\[[^\]]*\]|[^,\s]+),?", " ", m["rest"], count=1), "rest")


def missing_type(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: m["type"] is not None and _row(m).typed)
    return _replaced(text, m, "", "type")


def circle_of_functions(rng: random.Random, text: str) -> str | None:
    circle = ["ring1", "ring2", "ring3"][: rng.randint(1, 3)]
    calls = zip(circle, [*circle[1:], circle[0]], strict=True)
    return text + "".join(f"\nfunc @{a}(%a: s4) -> %b {{\n  %b = call @{b}, %a\n}}\n" for a, b in calls)


def truncated(rng: random.Random, text: str) -> str | None:
    return text[: rng.randrange(text.rstrip().rfind("}"))]


def no_header(rng: random.Random, text: str) -> str | None:
    return text.partition("\n")[2]


def other_version(rng: random.Random, text: str) -> str | None:
    return text.replace("lir 1", "lir 7", 1)


def second_design(rng: random.Random, text: str) -> str | None:
    return text + "\ndesign another(%x: s4) -> (y = %x) {\n}\n"


def stray_character(rng: random.Random, text: str) -> str | None:
    m = _statement(rng, text, lambda m: True)
    return m and text[: m.start("keyword")] + rng.choice("?;)}{=&\\") + text[m.start("keyword") :]


MUTATIONS: tuple[Mutation, ...] = (
    *(undefined_value, undefined_symbol, undefined_output, wrong_type, bad_type, forward_reference),
    *(
        unrepresentable_number,
        number_out_of_range,
        wrong_length,
        missing_comma,
        missing_bracket,
        missing_brace,
    ),
    *(duplicate_value, duplicate_symbol, duplicate_port, illegal_stage, too_many_operands, too_few_operands),
    *(
        unknown_operation,
        unknown_attribute,
        repeated_attribute,
        bad_attribute,
        missing_attribute,
        missing_type,
    ),
    *(circle_of_functions, truncated, no_header, other_version, second_design, stray_character),
)
