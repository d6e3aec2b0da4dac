"""The C model as files: the steps of a design, the entry points on codes and on real numbers, and a header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lutc.cmodel import ports, words
from lutc.cmodel.program import Maker
from lutc.cmodel.steps import Printer
from lutc.diagnostics import error
from lutc.ir.graph import Design

LANES = 64  # samples of a block: bytes of a register of the widest processors
_STACK = 1 << 19  # bytes of rows that may stand on the stack


@dataclass(frozen=True)
class Model:
    """The files' texts, and whether there is an entry point on real numbers."""

    name: str
    source: str
    header: str
    reals: bool


def model(
    design: Design, name: str, head: str, *, namespace: str | None = None, notes: Sequence[str] = ()
) -> Model:
    """The C model of a design, whose entry points are called `name_...`.

    With a `namespace`, a C++ compiler finds the names in it. `head` is a line for the top of both files.
    """
    if namespace is not None and not re.fullmatch(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)*", namespace):
        raise error(f"{namespace!r} is no C++ namespace", help="such as experiment::trigger")
    body = Maker().body(design)
    printer = Printer()
    top = printer.name(body)
    entries = ports.entries(design, body, printer, name, top, heap=printer.bytes[top] * LANES > _STACK)
    reals = ports.has_reals(design)
    linkage = ["#ifdef __cplusplus", 'extern "C" {', "#endif"]
    if namespace is not None:
        linkage = ["#ifdef __cplusplus", f"namespace {namespace} {{", "#endif"]
    closed = ["#ifdef __cplusplus", "}", "#endif"]
    guard = f"LUTC_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_H"
    header = [
        f"/* {head} */",
        *ports.described(design, name, notes),
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        *linkage,
        "",
        *ports.declared(design, name, reals),
        "",
        *closed,
        "",
        "#endif",
    ]
    library = [f"#define WIDE_MOST {printer.most_limbs}", *words.LIBRARY.splitlines()] if printer.wide else []
    uses_look = any("look8(" in line or "look16(" in line for line in printer.text)
    source = [
        f"/* {head} */",
        f'#include "{name}.h"',
        "",
        *_PREFACE.format(lanes=LANES).strip().splitlines(),
        *library,
        *(LOOK.strip().splitlines() if uses_look else []),
        "",
        *printer.tables.lines,
        *printer.text,
        "",
        *linkage,
        "",
        *entries,
        "",
        *closed,
    ]
    return Model(name, "\n".join(source) + "\n", "\n".join(header) + "\n", reals)


_PREFACE = """
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if (-1 >> 1) != -1
#error "this model needs a compiler that shifts negative numbers arithmetically, as all usual ones do"
#endif

#define LANES {lanes} /* samples that are computed at once */

/* Rows that a loop reads and writes are apart, or the same element by element. */
#if defined(__clang__)
#define LUTC_APART _Pragma("clang loop vectorize(assume_safety)")
#define LUTC_PART __attribute__((noinline))
#elif defined(__GNUC__)
#define LUTC_APART _Pragma("GCC ivdep")
#define LUTC_PART __attribute__((noinline))
#else
#define LUTC_APART
#define LUTC_PART
#endif
"""

# Look-ups in registers: VBMI has 64 bytes of a table in one, and two of them are asked at once.
LOOK = """
#if defined(__AVX512VBMI__) && defined(__AVX512BW__) && LANES == 64
#include <immintrin.h>
static inline void look8(uint8_t *y, const uint8_t *x, const uint8_t *table, int entries)
{
    const __m512i key = _mm512_loadu_si512(x), low = _mm512_loadu_si512(table);
    __m512i r;
    if (entries == 64) {
        r = _mm512_maskz_permutexvar_epi8(~(__mmask64)0, key, low);
    } else {
        r = _mm512_permutex2var_epi8(low, key, _mm512_loadu_si512(table + 64));
        if (entries > 128) {
            const __m512i more = _mm512_permutex2var_epi8(
                _mm512_loadu_si512(table + 128), key, _mm512_loadu_si512(table + 192));
            r = _mm512_mask_blend_epi8(_mm512_movepi8_mask(key), r, more);
        }
    }
    _mm512_storeu_si512(y, r);
}
static inline void look16(uint8_t *y, const uint16_t *x, const uint8_t *table, int entries)
{
    uint8_t keys[LANES], pages[LANES];
    __m512i key, page, r;
    int i, n;
    for (i = 0; i < LANES; i++) {
        keys[i] = (uint8_t)x[i];
        pages[i] = (uint8_t)((x[i] & (entries - 1)) >> 7);
    }
    key = _mm512_loadu_si512(keys);
    page = _mm512_loadu_si512(pages);
    if (entries == 64) {
        r = _mm512_maskz_permutexvar_epi8(~(__mmask64)0, key, _mm512_loadu_si512(table));
    } else {
        r = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), key, _mm512_loadu_si512(table + 64));
        for (n = 1; n < entries / 128; n++) {
            const __m512i more = _mm512_permutex2var_epi8(
                _mm512_loadu_si512(table + 128 * n), key, _mm512_loadu_si512(table + 128 * n + 64));
            r = _mm512_mask_mov_epi8(r, _mm512_cmpeq_epi8_mask(page, _mm512_set1_epi8((char)n)), more);
        }
    }
    _mm512_storeu_si512(y, r);
}
#else
static inline void look8(uint8_t *y, const uint8_t *x, const uint8_t *table, int entries)
{
    int i;
    for (i = 0; i < LANES; i++) y[i] = table[x[i] & (entries - 1)];
}
static inline void look16(uint8_t *y, const uint16_t *x, const uint8_t *table, int entries)
{
    int i;
    for (i = 0; i < LANES; i++) y[i] = table[x[i] & (entries - 1)];
}
#endif
"""
