"""From a design to its text. `parse` reads it back as the same design, and `fmt` leaves it as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lutc.files.writing import write_array
from lutc.ir.facts import Fact
from lutc.ir.graph import Const, Design, Func, Output, Param, Run, Stage, Table, Value, body, functions
from lutc.ir.latency import arrivals, latencies
from lutc.ir.ops import Op
from lutc.ir.ops.base import attributes_of, encode, number, spec, spell
from lutc.numbers import real
from lutc.text import columns
from lutc.text.columns import Row
from lutc.text.inline import literals
from lutc.types import Fixed, Overflow, Rounding

INLINE = 4096  # numbers; with a folder given, longer constants and tables are written beside the text


# What constants and tables look like, by the object and its name.
Known = dict[tuple[Const | Table, str], str]


def print_design(
    design: Design, folder: Path | None = None, known: Known | None = None, *, types: bool = False
) -> str:
    """The text of a design. With `types` every value's type is written, and at the scalar stage its clock cycle.

    Values without a name, or with one that is taken, get one. With a `folder`, constants and tables of more than
    `INLINE` numbers are written there as `.npy` files of real numbers where float64 holds them exactly. Whoever prints
    many designs that share tables, such as the stages of one compilation, gives each the same `known`.
    """
    return "\n".join(_lines(design, folder, {} if known is None else known, types)) + "\n"


def _lines(design: Design, folder: Path | None, known: Known, types: bool) -> Iterator[str]:
    yield "lir 1" if design.stage is Stage.TENSOR else f"lir 1 {design.stage.value}"
    if design.notes:
        yield ""
    for note in design.notes:
        yield f"note {_quoted(note)}"
    bodies: dict[Func | Design, list[Value]] = {f: body(f) for f in functions(design)}
    bodies[design] = body(design)
    symbols = _symbol_names(bodies)
    for symbol, name in symbols.items():
        if not isinstance(symbol, Func):
            yield ""
            if (symbol, name) not in known:
                known[symbol, name] = "\n".join(_data(symbol, name, folder))
            yield known[symbol, name]
    for owner, values in bodies.items():
        yield ""
        cycles = arrivals(values, latencies(owner)) if types and design.stage is Stage.SCALAR else {}
        yield from _block(owner, values, symbols, types, cycles)
    if design.runs:
        yield ""
    for run in design.runs:
        yield from columns.broken(_run(run))


def _run(run: Run) -> str:
    given, answers = (", ".join(f"{n}={encode(x)}" for n, x in ports) for ports in (run.inputs, run.outputs))
    return f"run {given} => {answers}" if given else f"run => {answers}"


# -- names ----------------------------------------------------------------------------------------------------------


_ILLEGAL = re.compile(r"[^A-Za-z0-9_.]")


class _Names:
    """Legal names, each given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self.count = 0

    def kept(self, name: str) -> str:
        """The name itself where it is legal and free, else one that resembles it."""
        stem = _ILLEGAL.sub("_", name)
        found, n = stem, 1
        while found in self.taken:
            found, n = f"{stem}_{n}", n + 1
        self.taken.add(found)
        return found

    def fresh(self) -> str:
        """v1, v2 and so on."""
        self.count += 1
        while f"v{self.count}" in self.taken:
            self.count += 1
        self.taken.add(f"v{self.count}")
        return f"v{self.count}"


def _symbol_names(bodies: dict[Func | Design, list[Value]]) -> dict[Const | Table | Func, str]:
    names, found = _Names(), dict[Const | Table | Func, str]()
    for owner, values in bodies.items():
        for value in values:
            for field, _ in spec(type(value)).symbols:
                symbol = getattr(value, field)
                if symbol is not None and symbol not in found:
                    found[symbol] = names.kept(symbol.name)
        if isinstance(owner, Func) and owner not in found:
            found[owner] = names.kept(owner.name)
    return found


def _value_names(values: Sequence[Value]) -> dict[Value, str]:
    """A name for each value: its own, if it has one that no earlier value has."""
    names = _Names()
    found: dict[Value, str] = {}
    later = []
    for value in values:  # parameters come first, so theirs are kept
        if value.name and value.name not in names.taken:
            found[value] = names.kept(value.name)
        else:
            later.append(value)
    for value in later:
        found[value] = names.kept(value.name) if value.name else names.fresh()
    return found


# -- blocks ---------------------------------------------------------------------------------------------------------


def _block(
    owner: Func | Design,
    values: Sequence[Value],
    symbols: dict[Const | Table | Func, str],
    types: bool,
    cycles: Mapping[Value, int | None],
) -> Iterator[str]:
    shown = literals(owner, values, symbols)
    values = [v for v in values if v not in shown]
    names = _value_names(values)
    inputs = [_input(p, names[p]) for p in owner.params]
    if isinstance(owner, Func):
        yield from columns.head(f"func @{symbols[owner]}", inputs, f"-> %{names[owner.result]}", None)
    else:
        outputs = [_output(o, names[o.value]) for o in owner.outputs]
        yield from columns.head(f"design {owner.name}", inputs, "->", outputs)
    words = shown | {v: f"%{name}" for v, name in names.items()}
    rows = [(v, _row(v, words, symbols)) for v in values if isinstance(v, Op)]
    if types:
        rows = [(v, _typed(row, v, words[v], cycles.get(v))) for v, row in rows]
    yield from columns.body([row for _, row in rows])
    yield "}"


_INPUT = {
    "round": Rounding.HALF_EVEN,
    "overflow": Overflow.SATURATE,
    "scale": Fraction(1),
    "offset": Fraction(0),
}


def _input(param: Param, name: str) -> str:
    changed = [f"{key}={encode(v)}" for key, usual in _INPUT.items() if (v := getattr(param, key)) != usual]
    return " ".join([f"%{name}: {param.type}", *changed])


def _output(output: Output, name: str) -> str:
    parts = [f"{output.name} = %{name}"]
    for key, usual in (("scale", Fraction(1)), ("offset", Fraction(0))):
        given: tuple[Fraction, ...] = getattr(output, key)
        if given != (usual,):
            parts.append(f"{key}={encode(given[0] if len(given) == 1 else given)}")
    return " ".join(parts)


def _typed(row: Row, value: Value, word: str, cycle: int | None) -> Row:
    """A row that says the type, and when the value is there if that is not always."""
    return row._replace(left=f"{word}: {value.type}", comment="" if cycle is None else f"# cycle {cycle}")


_TEXTS: Fact[tuple[str, str, str]] = Fact("texts", from_below=False)


def _row(op: Op, words: dict[Value, str], symbols: dict[Const | Table | Func, str]) -> Row:
    typed, attributes, origin = _TEXTS.of(op) or _TEXTS.keep(op, _texts(op))
    row = spec(type(op))
    parts = [words[v] for v in op.operands]
    if row.symbols:
        # A function is named before its arguments, a constant or a table after the value it works on.
        used = [s for field, _ in row.symbols if (s := getattr(op, field)) is not None]
        called = [f"@{symbols[s]}" for s in used if isinstance(s, Func)]
        parts = [*called, *parts, *(f"@{symbols[s]}" for s in used if not isinstance(s, Func))]
    if attributes:
        parts.append(attributes)
    return Row(f"{words[op]}{typed}", f"{op.keyword} {', '.join(parts)}" if parts else op.keyword, origin)


def _texts(op: Op) -> tuple[str, str, str]:
    """What of an operation's text no name stands in: the stages of one compilation have most operations in common."""
    typed = f": {op.type}" if spec(type(op)).typed else ""
    attributes = ", ".join(f"{spell(a.name)}={encode(value)}" for a, value in attributes_of(op))
    return typed, attributes, f"!{_quoted(op.origin)}" if op.origin is not None else ""


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return json.dumps(text)


# -- data -----------------------------------------------------------------------------------------------------------


def _data(symbol: Const | Table, name: str, folder: Path | None) -> Iterator[str]:
    if isinstance(symbol, Table):
        opening = f"table @{name}: {symbol.key} -> {symbol.value}"
        runs = [(len(part), f) for part, f in zip(symbol.parts(), symbol.value.formats, strict=True)]
        rows = columns.rows(symbol.key, table=True)
    else:
        opening = f"const @{name}: {symbol.type}"
        runs = list(symbol.type.runs)
        rows = columns.rows(symbol.type, table=False)
    codes = symbol.codes.ravel().tolist()
    if (
        folder is not None
        and len(codes) > INLINE
        and all(f.width <= 53 and abs(f.frac) <= 900 for _, f in runs)
    ):
        write_array(folder / f"{name}.npy", _reals(codes, runs, symbol))
        yield f'{opening} = file "{name}.npy"'
        return
    single = isinstance(symbol, Const) and not symbol.type.shape
    yield from columns.numbers(opening, list(_words(codes, runs)), rows, scalar=single)


def _words(codes: Sequence[int], runs: Sequence[tuple[int, Fixed]]) -> Iterator[str]:
    """The numbers that codes stand for."""
    at = 0
    for count, fmt in runs:
        run = codes[at : at + count]
        words = {code: _word(code, fmt.frac) for code in set(run)}
        yield from map(words.__getitem__, run)
        at += count


@lru_cache(maxsize=1 << 16)
def _word(code: int, frac: int) -> str:
    """`code * 2**-frac`, kept: the stages of one compilation print the same tables over and over."""
    return number(code * Fraction(2) ** -frac)


def _reals(codes: Sequence[int], runs: Sequence[tuple[int, Fixed]], symbol: Const | Table) -> Any:
    if isinstance(symbol, Const):
        return real(symbol.codes, symbol.type)
    fracs = np.repeat([f.frac for _, f in runs], [n for n, _ in runs])
    return np.ldexp(np.asarray(codes, dtype=np.float64), -fracs)
