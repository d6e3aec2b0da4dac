"""The entry points of a C model: samples into rows and back, as codes and as real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lutc.cmodel import rows as at
from lutc.cmodel import words
from lutc.cmodel.program import Body
from lutc.cmodel.rows import pool
from lutc.cmodel.steps import Printer
from lutc.cmodel.terms import signed_bits
from lutc.ir.graph import Design, Output, Param
from lutc.types import Fixed, Overflow, Rounding, Type

_WIDEST_REAL = 50  # bits of a port whose rule can be computed in doubles, as in `lutc.ir.interp`
_FARTHEST = 900  # places of the point, likewise


def has_reals(design: Design) -> bool:
    """Whether every port's real numbers are doubles that can be converted exactly in doubles."""
    known = all(p.scale == 1 and p.offset == 0 and _real(p.type) for p in design.params)
    return known and all(plain(o) and _real(o.value.type) for o in design.outputs)


def plain(output: Output) -> bool:
    """Whether a port's numbers are outside what they are inside."""
    return set(output.scale) == {Fraction(1)} and set(output.offset) == {Fraction(0)}


def _real(kind: Type) -> bool:
    return kind.max_width <= _WIDEST_REAL and all(abs(f.frac) <= _FARTHEST for _, f in kind.runs)


def words_of(kind: Type) -> int:
    """How many 64-bit words each code of a port takes."""
    return max((-(-signed_bits(f.lo, f.hi) // 64) for _, f in kind.runs), default=1)


def port_names(design: Design) -> tuple[list[str], list[str]]:
    """What C calls the arrays of the inputs and of the outputs."""
    return ([f"in{i}" for i in range(len(design.params))], [f"out{i}" for i in range(len(design.outputs))])


def described(design: Design, name: str, notes: Sequence[str]) -> list[str]:
    """What the header says of the ports."""
    inputs, outputs = port_names(design)
    lines = [
        "/*",
        f" * {_plain(design.name)}: n samples at a time; arrays hold one sample after the other.",
        " *",
    ]
    for c, p in zip(inputs, design.params, strict=True):
        lines.append(f" * {c}: {_plain(p.name or '')}, {_kind(p.type)}; {p.round.value}, {p.overflow.value}")
    for c, o in zip(outputs, design.outputs, strict=True):
        scale = "" if plain(o) else "; scaled outside of this model"
        lines.append(f" * {c}: {_plain(o.name)}, {_kind(o.value.type)}{scale}")
    lines += [
        " *",
        " * s8f4 is a signed format of 8 bits, 4 of them behind the point: a code c stands for c / 16.",
        f" * {name}_codes takes and gives codes; those of more than 63 bits are two's complement in several words,",
        " * the lowest first. Codes outside of their format lose their high bits.",
    ]
    if has_reals(design):
        lines += [
            f" * {name}_reals rounds doubles into the formats by the ports' rules. It gives 1, and its answers mean",
            " * nothing, if a number is not finite, or so large that what wraps around is no double; 0 else.",
        ]
    lines += [
        " * Both may run in several threads at once. They give -1 if there is no memory.",
        *_said(notes),
        " */",
    ]
    return lines


def _said(notes: Sequence[str]) -> list[str]:
    return [f" * {_plain(note)}" for note in notes]


def _plain(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().replace("*/", "* /").split())


def _kind(kind: Type) -> str:
    said = str(kind)
    return said if len(said) < 80 else f"{said[:76]}..."


def _arguments(design: Design, real: bool) -> str:
    inputs, outputs = port_names(design)
    parts = ["size_t n"]
    for c, kind in zip(inputs, [p.type for p in design.params], strict=True):
        parts.append(f"const {_ctype(kind, real)} *{c}")
    for c, kind in zip(outputs, [o.value.type for o in design.outputs], strict=True):
        parts.append(f"{_ctype(kind, real)} *{c}")
    return ", ".join(parts)


def _ctype(kind: Type, real: bool) -> str:
    return "double" if real else "int64_t" if words_of(kind) == 1 else "uint64_t"


def declared(design: Design, name: str, reals: bool) -> list[str]:
    """The entry points' prototypes."""
    lines = [f"int {name}_codes({_arguments(design, False)});"]
    return [*lines, f"int {name}_reals({_arguments(design, True)});"] if reals else lines


def entries(design: Design, body: Body, printer: Printer, name: str, top: str, *, heap: bool) -> list[str]:
    """The entry points."""
    kinds = [False, True] if has_reals(design) else [False]
    lines: list[str] = []
    for real in kinds:
        loads = [
            _load(p, c, real, found, printer, body)
            for p, c, found in zip(design.params, port_names(design)[0], body.params, strict=True)
        ]
        stores = [
            _store(o, c, real, found, printer, body)
            for o, c, found in zip(design.outputs, port_names(design)[1], body.results, strict=True)
        ]
        inner = [line for part in [*loads, [f"{top}(w);"], *stores] for line in part]
        text = "\n".join(inner)
        uses_i, uses_bad = " i" in text or "(i" in text, "bad" in text
        unread = [c for c in [*port_names(design)[0], *port_names(design)[1]] if c not in text]
        lines += [
            f"int {name}_{'reals' if real else 'codes'}({_arguments(design, real)})",
            "{",
            *(
                [f"    {top}_work *w = ({top}_work *)calloc(1, sizeof *w);", "    size_t first;"]
                if heap
                else [f"    {top}_work own, *w = &own;", "    size_t first;"]
            ),
            *(["    int bad = 0;"] if uses_bad else []),
            *(["    if (w == NULL) return -1;"] if heap else ["    memset(w, 0, sizeof *w);"]),
            *(f"    (void){c};" for c in unread),
            "    for (first = 0; first < n; first += LANES) {",
            *(
                ["        const int count = n - first < LANES ? (int)(n - first) : LANES;", "        int i;"]
                if uses_i
                else []
            ),
            *(f"        {line}" for line in inner),
            "    }",
            *(["    free(w);"] if heap else []),
            "    return bad;" if uses_bad else "    return 0;",
            "}",
            "",
        ]
    return lines


def _load(param: Param, c: str, real: bool, found: at.Refs, printer: Printer, body: Body) -> list[str]:
    size, lines = param.type.size, []
    if real:
        return _turned(param, c, found, printer, body) if size else []
    for n, count in _runs(param.type, found, printer, body):
        ref, fmt = int(found[n]), param.type.formats[n]
        if count > 1:
            code = f"(uint64_t){c}[((first + (size_t)i) * {size} + {n} + (size_t)e) * {words_of(param.type)}]"
            row, ctype = _along(printer.row(body, ref)), pool(ref >> 40).ctype
            lines.append(f"{{ int e; for (e = 0; e < {count}; e++) for (i = 0; i < count; i++)")
            lines.append(f"    {row}[i] = ({ctype})({_wrapped(code, fmt)}); }}")
            continue
        if ref >> 40 == at.LITERAL:
            continue
        row, kind = printer.row(body, ref), pool(ref >> 40)
        if words_of(param.type) == 1:
            code = f"(uint64_t){c}[(first + (size_t)i) * {size} + {n}]"
            lines.append(f"for (i = 0; i < count; i++) {row}[i] = ({kind.ctype})({_wrapped(code, fmt)});")
        else:
            many = words_of(param.type)
            base = f"{c} + ((first + (size_t)i) * {size} + {n}) * {many}"
            lines += _wide_load(base, fmt, row, kind.words, kind.ctype)
    return lines


def _runs(kind: Type, found: at.Refs, printer: Printer, body: Body) -> list[tuple[int, int]]:
    """Long runs of elements of one format whose rows stand one after the other: (first, count) for all elements."""
    runs: list[tuple[int, int]] = []
    before: tuple[object, int, int] | None = None
    for n, (ref, fmt) in enumerate(zip(found.tolist(), kind.formats, strict=True)):
        here = None
        if ref >> 40 != at.LITERAL and at.narrow(ref >> 40):
            here = (fmt, *printer.place(body, ref))
        if here and before and (*here[:2], here[2] - 1) == before:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((n, 1))
        before = here
    return [r for first, count in runs for r in ([(first, count)] if count >= _RUN else _ones(first, count))]


def _ones(first: int, count: int) -> list[tuple[int, int]]:
    return [(n, 1) for n in range(first, first + count)]


def _along(row: str) -> str:
    """The row that is `e` places behind another."""
    return row.replace("]", " + e]")


_RUN = 32  # elements that a loop goes along


def _wrapped(code: str, fmt: Fixed) -> str:
    """An unsigned 64-bit word as the code that its lowest bits are."""
    mask, sign = (1 << fmt.width) - 1, 1 << (fmt.width - 1) if fmt.signed else 0
    if not fmt.signed:
        return f"{code} & UINT64_C({mask})"
    if fmt.width == 64:
        return f"(int64_t)({code})"
    return f"(int64_t)(({code} & UINT64_C({mask})) ^ UINT64_C({sign})) - INT64_C({sign})"


def _wide_load(base: str, fmt: Fixed, row: str, words: int, ctype: str) -> list[str]:
    """Bits above the format are those of its sign, or 0."""
    if not words:
        code = f"({base})[0]"
        return [f"for (i = 0; i < count; i++) {row}[i] = ({ctype})({_wrapped(code, fmt)});"]
    lines = [
        "for (i = 0; i < count; i++) {",
        f"    const uint64_t *x = {base};",
        f"    uint32_t *y = {row} + {words} * i;",
    ]
    top, used = divmod(fmt.width, 32)
    for k in range(words):
        if k < top:
            lines.append(f"    y[{k}] = (uint32_t)(x[{k // 2}] >> {32 * (k % 2)});")
        elif k == top and used:
            mask, sign = (1 << used) - 1, 1 << (used - 1)
            part = f"((uint32_t)(x[{k // 2}] >> {32 * (k % 2)}) & {mask:#x}u)"
            lines.append(
                f"    y[{k}] = ({part} ^ {sign:#x}u) - {sign:#x}u;" if fmt.signed else f"    y[{k}] = {part};"
            )
        else:
            lines.append(
                f"    y[{k}] = y[{k - 1}] >> 31 ? UINT32_MAX : 0;" if fmt.signed else f"    y[{k}] = 0;"
            )
    return [*lines, "}"]


def _turned(param: Param, c: str, found: at.Refs, printer: Printer, body: Body) -> list[str]:
    """Doubles as codes, by the port's rule: sample after sample, as they lie in memory, then turned into rows.

    Both halves are loops that compilers make vectors of; a loop along a row would gather its numbers from afar.
    """
    formats, size = param.type.formats, param.type.size
    padded = 1 << (size - 1).bit_length() if size <= _TURNED else size
    ctype = next(t for t, bits in (("int16_t", 16), ("int32_t", 32), ("int64_t", 64)) if _fits(formats, bits))
    tables = printer.tables

    def table(numbers: Sequence[float]) -> str:
        if len(set(numbers)) == 1:
            return _double(numbers[0])
        return f"{tables.doubles([_double(n) for n in numbers])}[e]"

    mode = {
        Rounding.FLOOR: "floor(s)",
        Rounding.CEIL: "ceil(s)",
        Rounding.TOWARD_ZERO: "trunc(s)",
        Rounding.AWAY: "s < 0 ? floor(s) : ceil(s)",
        Rounding.HALF_EVEN: "rint(s)",
        Rounding.HALF_UP: "floor((floor(s + s) + 1.0) * 0.5)",  # s + 0.5 would be rounded itself
        Rounding.HALF_DOWN: "ceil((ceil(s + s) - 1.0) * 0.5)",
        Rounding.HALF_AWAY: "t + (s - t >= 0.5 ? 1.0 : 0.0) - (s - t <= -0.5 ? 1.0 : 0.0)",
        Rounding.HALF_ZERO: "t + (s - t > 0.5 ? 1.0 : 0.0) - (s - t < -0.5 ? 1.0 : 0.0)",
    }[param.round]
    steps = [2.0**f.frac for f in formats]
    scaled = "x" if set(steps) == {1.0} else f"x * {table(steps)}"
    inner = [
        f"const double x = {c}[(first + (size_t)i) * {size} + (size_t)e];",
        f"const double s = {scaled};",
    ]
    if mode.startswith("t "):
        inner.append("const double t = trunc(s);")
    inner.append(f"const double r = {mode};")
    inner.append("z[e] += x - x; /* no number, once one is not finite */")
    tiny = param.round in (Rounding.FLOOR, Rounding.CEIL, Rounding.AWAY)
    if tiny and any(f.frac < 0 for f in formats):  # what is so small may be 0 after a division
        inner.append("z[e] += fabs(x) < 1e-270 && x != 0.0 ? NAN : 0.0;")
    wraps = param.overflow is Overflow.WRAP
    small = all(f.width <= 31 for f in formats)
    word, limit = ("int32_t", 2147483647.0) if small else ("int64_t", 4503599627370496.0)
    if wraps:
        inner.append("m[e] = fabs(s) > m[e] ? fabs(s) : m[e];")
        mask = tables.name(word, _column([(1 << f.width) - 1 for f in formats]))
        sign = tables.name(word, _column([1 << (f.width - 1) if f.signed else 0 for f in formats]))
        inner.append(f"const double h = r < {_double(limit)} ? r : {_double(limit)};")
        inner.append(f"const {word} whole = ({word})(h > {_double(-limit)} ? h : {_double(-limit)});")
        inner.append(f"u[i * {padded} + e] = ({ctype})(((whole & {mask}[e]) ^ {sign}[e]) - {sign}[e]);")
    else:
        symmetric = param.overflow is Overflow.SATURATE_SYMMETRIC
        least = table([float(max(f.lo, -f.hi) if symmetric else f.lo) for f in formats])
        most = table([float(f.hi) for f in formats])
        inner.append(f"const double h = r < {most} ? r : {most};")
        inner.append(f"u[i * {padded} + e] = ({ctype})({word})(h > {least} ? h : {least});")
    lines = [
        f"{{   static const double none[{size}] = {{0}};",
        f"    double z[{size}]{f', m[{size}]' if wraps else ''};",
        f"    {ctype} u[LANES * {padded}];",
        "    int e;",
        "    memcpy(z, none, sizeof z);",
        *(["    memcpy(m, none, sizeof m);"] if wraps else []),
        "    if (count < LANES) memset(u, 0, sizeof u);",
        f"    for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < {size}; e++) {{",
        *(f"        {line}" for line in inner),
        "    }",
        f"    for (e = 0; e < {size}; e++) bad |= z[e] != 0.0{f' || m[e] >= {_double(limit)}' if wraps else ''};",
    ]
    runs = _runs(param.type, found, printer, body)
    for n, count in runs:
        if count > 1:
            row, kind = _along(printer.row(body, int(found[n]))), pool(int(found[n]) >> 40).ctype
            lines.append(f"    for (e = 0; e < {count}; e++) for (i = 0; i < LANES; i++)")
            lines.append(f"        {row}[i] = ({kind})u[i * {padded} + {n} + e];")
    single = [n for n, count in runs if count == 1]
    live = [(n, int(found[n])) for n in single if int(found[n]) >> 40 != at.LITERAL]
    for start in range(0, size, _TURNED):
        some = [(n, r) for n, r in live if start <= n < start + _TURNED]
        if some:
            lines.append("    for (i = 0; i < LANES; i++) {")
            for n, r in some:
                kind = pool(r >> 40).ctype
                lines.append(f"        {printer.row(body, r)}[i] = ({kind})u[i * {padded} + {n}];")
            lines.append("    }")
    return [*lines, "}"]


_TURNED = 16  # numbers of a sample that are turned at once


def _fits(formats: Sequence[Fixed], bits: int) -> bool:
    return all(signed_bits(f.lo, f.hi) <= bits for f in formats)


def _column(numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def _double(number: float) -> str:
    """As C reads it back."""
    return repr(number) if abs(number) < 1e15 and number == int(number) else number.hex()


def _power(frac: int) -> str:
    return _double(2.0**frac)


def _store(output: Output, c: str, real: bool, found: at.Refs, printer: Printer, body: Body) -> list[str]:
    kind = output.value.type
    size, many, lines = kind.size, words_of(kind), []
    if real and size:
        return _real_store(output, c, found, printer, body)
    for n, count in _runs(kind, found, printer, body):
        ref = int(found[n])
        if count > 1 and many == 1:
            row = _along(printer.row(body, ref))
            lines.append(f"{{ int e; for (e = 0; e < {count}; e++) for (i = 0; i < count; i++)")
            lines.append(f"    {c}[(first + (size_t)i) * {size} + {n} + (size_t)e] = {row}[i]; }}")
            continue
        lines += [
            line for k in range(count) for line in _stored(c, n + k, kind, int(found[n + k]), printer, body)
        ]
    return lines


def _stored(c: str, n: int, kind: Type, ref: int, printer: Printer, body: Body) -> list[str]:
    """An element's codes from its row."""
    size, many, lines = kind.size, words_of(kind), []
    if True:
        place = f"{c}[(first + (size_t)i) * {size} + {n}]"
        number = body.literals.numbers[ref] if ref >> 40 == at.LITERAL else None
        row = None if number is not None else printer.row(body, ref)
        if many == 1:
            said = _literal(number) if number is not None else f"{row}[i]"
            lines.append(f"for (i = 0; i < count; i++) {place} = {said};")
        else:
            lines += _wide_store(
                f"{c} + ((first + (size_t)i) * {size} + {n}) * {many}", many, number, row, ref >> 40
            )
    return lines


def _real_store(output: Output, c: str, found: at.Refs, printer: Printer, body: Body) -> list[str]:
    """Rows turned to samples as integers with the same steps, where there are such, then made doubles in one go."""
    kind = output.value.type
    fine = max((f.frac for _, f in kind.runs if f.width), default=0)
    bits = max(signed_bits(f.lo, f.hi) + (fine - f.frac) * bool(f.width) for _, f in kind.runs)
    word = next((t for t, b in (("int16_t", 16), ("int32_t", 32)) if bits <= b), "double")
    lines = [
        f"{{   {word} u[LANES * {kind.size}];",
        "    const size_t all = (size_t)count * " + f"{kind.size};",
        "    size_t e;",
    ]
    for start in range(0, kind.size, _TURNED):
        count = min(_TURNED, kind.size - start)
        # Compilers take minutes for a few numbers of a long row: these are turned apart, and copied into it.
        short = count == kind.size
        place = "u" if short else "t"
        if not short:
            lines.append(f"    {{   {word} t[LANES * {count}];")
        lines.append("    for (i = 0; i < LANES; i++) {")
        for n in range(start, start + count):
            ref, fmt = int(found[n]), kind.formats[n]
            number = body.literals.numbers[ref] if ref >> 40 == at.LITERAL else None
            more = fine - fmt.frac if fmt.width else 0
            if number is not None:
                said = f"{float(number << more)!r}" if word == "double" else words.number(number << more, 32)
            elif word == "double":
                said = f"{printer.row(body, ref)}[i] * {_double(2.0**more)}"
            else:
                said = (
                    f"({word})({printer.row(body, ref)}[i] * {1 << more})"
                    if more
                    else f"({word}){printer.row(body, ref)}[i]"
                )
            lines.append(f"        {place}[i * {count} + {n - start}] = {said};")
        lines.append("    }")
        if not short:
            row = f"u + i * {kind.size} + {start}, t + i * {count}, {count} * sizeof *t"
            lines.append(f"    for (i = 0; i < LANES; i++) memcpy({row}); }}")
    lines.append(f"    for (e = 0; e < all; e++) {c}[first * {kind.size} + e] = u[e] * {_power(-fine)};")
    return [*lines, "}"]


def _literal(number: int) -> str:
    return "INT64_MIN" if number == -(1 << 63) else f"INT64_C({number})"


def _wide_store(base: str, many: int, number: int | None, row: str | None, pool_number: int) -> list[str]:
    lines = ["for (i = 0; i < count; i++) {", f"    uint64_t *y = {base};"]
    if number is not None:
        lines += [f"    y[{k}] = UINT64_C({(number >> 64 * k) & ((1 << 64) - 1)});" for k in range(many)]
        return [*lines, "}"]
    limbs = pool(pool_number).words
    if not limbs:
        lines.append(f"    const uint64_t word = (uint64_t)(int64_t){row}[i];")
        lines.append("    const uint64_t top = word >> 63 ? UINT64_MAX : 0;")
        lines.append("    y[0] = word;")
        lines += [f"    y[{k}] = top;" for k in range(1, many)]
        return [*lines, "}"]
    lines += [
        f"    const uint32_t *x = {row} + {limbs} * i;",
        f"    const uint32_t top = x[{limbs - 1}] >> 31 ? UINT32_MAX : 0;",
    ]
    for k in range(many):
        low, high = (f"x[{j}]" if j < limbs else "top" for j in (2 * k, 2 * k + 1))
        lines.append(f"    y[{k}] = (uint64_t){low} | (uint64_t){high} << 32;")
    return [*lines, "}"]
