"""Terms as C: expressions of machine integers where 64 bits are enough, else statements on limbs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lutc.cmodel import terms
from lutc.cmodel.rows import pool as pool_named
from lutc.cmodel.terms import Term

Read = Callable[[int], str]  # of an operand's number, how C calls its code

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "lt": "<", "eq": "=="}


def number(value: int, bits: int) -> str:
    """A literal of C that has the type in which arithmetic of so many bits is done."""
    if bits <= 32:
        return "(-2147483647 - 1)" if value == -(1 << 31) else str(value) if value >= 0 else f"({value})"
    if value == -(1 << 63):
        return "INT64_MIN"
    return f"INT64_C({value})" if value >= 0 else f"(-INT64_C({-value}))"


def expression(made: Term, read: Read, bits: int, table: str = "") -> tuple[list[str], str]:
    """Statements that come first, and the expression; `bits` is at most 64."""
    kind = "int" if bits <= 32 else "int64_t"
    order = list(terms.walked(made))
    uses: dict[int, int] = {}
    for t in order:
        for a in t.args:
            uses[id(a)] = uses.get(id(a), 0) + 1
    text: dict[int, str] = {}
    before: list[str] = []
    for t in order:
        own = [text[id(a)] for a in t.args]
        match t.kind:
            case "ref":
                said = read(t.k) if bits <= 32 else f"(int64_t){read(t.k)}"
            case "lit":
                said = number(t.k, bits)
            case "shr":
                said = f"({own[0]} >> {t.k})" if t.k < bits_of(kind) else f"({own[0]} < 0 ? -1 : 0)"
            case "div":
                by = number(t.k, bits)
                said = f"({own[0]} / {by} - ({own[0]} % {by} < 0))"
            case "sel":
                said = f"({own[0]} ? {own[1]} : {own[2]})"
            case "look":
                said = f"{table}[{own[0]}]"
            case _:
                said = f"({own[0]} {_SIGNS[t.kind]} {own[1]})"
        if uses.get(id(t), 0) > 1 and t.kind not in ("ref", "lit"):
            name = f"t{len(before)}"
            before.append(f"const {kind} {name} = {said};")
            said = name
        text[id(t)] = said
    said = text[id(made)]
    return before, said[1:-1] if said[:1] == "(" and _closes(said) else said


def bits_of(kind: str) -> int:
    return 32 if kind == "int" else 64


def _closes(said: str) -> bool:
    """Whether the first bracket ends with the text."""
    depth = 0
    for n, letter in enumerate(said):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return n == len(said) - 1
    return False


def limb_count(made: Term, result: int) -> int:
    """How many limbs are enough for a term, all below it, the double of a remainder, and a row of the result's pool."""
    return max((terms.needed(made) + 2 + 31) // 32, pool_named(result).words)


def limbs(made: Term, read: Read, pools: Sequence[int], result: int, into: str, table: str = "") -> list[str]:
    """Statements that compute a term in 32-bit limbs and put it where `into` names, a row of the pool `result`.

    `read(k)` names operand k: a code, or of a wide one the address of its lowest limb.
    """
    count = limb_count(made, result)
    text: dict[int, str] = {}
    lines: list[str] = []
    for t in terms.walked(made):
        name = f"t{len(text)}"
        own = [text[id(a)] for a in t.args]
        text[id(t)] = name
        lines.append(f"uint32_t {name}[{count}];")
        match t.kind:
            case "ref":
                words = pool_named(pools[t.k]).words
                if words:
                    lines.append(f"wide_load({name}, {count}, {read(t.k)}, {words});")
                else:
                    lines.append(f"wide_set({name}, {count}, {read(t.k)});")
            case "lit":
                parts = ", ".join(f"UINT32_C({(t.k >> 32 * i) & 0xFFFFFFFF:#x})" for i in range(count))
                lines[-1] = f"const uint32_t {name}[{count}] = {{{parts}}};"
            case "shr":
                lines.append(f"wide_shr({name}, {own[0]}, {count}, {t.k});")
            case "div":
                by = ", ".join(f"UINT32_C({(t.k >> 32 * i) & 0xFFFFFFFF:#x})" for i in range(count))
                lines.append(f"const uint32_t {name}_by[{count}] = {{{by}}};")
                lines.append(f"wide_div({name}, {own[0]}, {name}_by, {count});")
            case "sel":
                lines.append(
                    f"wide_copy({name}, wide_is_zero({own[0]}, {count}) ? {own[2]} : {own[1]}, {count});"
                )
            case "look":
                words = pool_named(result).words
                if words:
                    lines.append(f"wide_load({name}, {count}, {table} + {words} * {own[0]}[0], {words});")
                else:
                    lines.append(f"wide_set({name}, {count}, {table}[{own[0]}[0]]);")
            case "lt" | "eq":
                test = "< 0" if t.kind == "lt" else "== 0"
                lines.append(f"wide_set({name}, {count}, wide_compare({own[0]}, {own[1]}, {count}) {test});")
            case _:
                lines.append(f"wide_{t.kind}({name}, {own[0]}, {own[1]}, {count});")
    words = pool_named(result).words
    if words:
        lines.append(f"wide_store({into}, {words}, {text[id(made)]});")
    else:
        kind = pool_named(result).ctype
        lines.append(f"{into} = ({kind})wide_word({text[id(made)]}, {count});")
    return lines


# Limbs are kept sample after sample: a wide row is LANES codes of `words` limbs each, the lowest first.
LIBRARY = """
/* Two's complement integers of n limbs, the lowest first. */
static inline void wide_set(uint32_t *r, int n, int64_t a)
{
    uint64_t u = (uint64_t)a;
    int i;
    r[0] = (uint32_t)u;
    if (n > 1) r[1] = (uint32_t)(u >> 32);
    for (i = 2; i < n; i++) r[i] = a < 0 ? UINT32_MAX : 0;
}
static inline void wide_load(uint32_t *r, int n, const uint32_t *a, int m)
{
    int i;
    for (i = 0; i < n; i++) r[i] = i < m ? a[i] : a[m - 1] >> 31 ? UINT32_MAX : 0;
}
static inline void wide_store(uint32_t *r, int n, const uint32_t *a)
{
    int i;
    for (i = 0; i < n; i++) r[i] = a[i];
}
static inline void wide_copy(uint32_t *r, const uint32_t *a, int n)
{
    int i;
    for (i = 0; i < n; i++) r[i] = a[i];
}
static inline int64_t wide_word(const uint32_t *a, int n)
{
    const uint64_t low = a[0] & UINT32_C(0x7fffffff);
    const uint64_t top = n > 1 ? a[1] & UINT32_C(0x7fffffff) : 0;
    const int64_t value = (int64_t)(low | ((uint64_t)(a[0] >> 31) << 31) | (top << 32));
    return a[n > 1 ? 1 : 0] >> 31 ? (n > 1 ? value - INT64_MAX - 1 : value - INT64_C(4294967296)) : value;
}
static inline int wide_is_zero(const uint32_t *a, int n)
{
    uint32_t any = 0;
    int i;
    for (i = 0; i < n; i++) any |= a[i];
    return any == 0;
}
static inline void wide_add(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    uint64_t carry = 0;
    int i;
    for (i = 0; i < n; i++) {
        carry += (uint64_t)a[i] + b[i];
        r[i] = (uint32_t)carry;
        carry >>= 32;
    }
}
static inline void wide_sub(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    uint64_t carry = 1;
    int i;
    for (i = 0; i < n; i++) {
        carry += (uint64_t)a[i] + (uint32_t)~b[i];
        r[i] = (uint32_t)carry;
        carry >>= 32;
    }
}
static inline void wide_mul(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    int i, j;
    for (i = 0; i < n; i++) r[i] = 0;
    for (i = 0; i < n; i++) {
        uint64_t carry = 0;
        for (j = 0; i + j < n; j++) {
            carry += (uint64_t)a[i] * b[j] + r[i + j];
            r[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
    }
}
static inline void wide_and(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    int i;
    for (i = 0; i < n; i++) r[i] = a[i] & b[i];
}
static inline void wide_or(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    int i;
    for (i = 0; i < n; i++) r[i] = a[i] | b[i];
}
static inline void wide_xor(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    int i;
    for (i = 0; i < n; i++) r[i] = a[i] ^ b[i];
}
static inline uint32_t wide_limb(const uint32_t *a, int n, int i)
{
    return i < n ? a[i] : a[n - 1] >> 31 ? UINT32_MAX : 0;
}
static inline void wide_shr(uint32_t *r, const uint32_t *a, int n, int by)
{
    const int limbs = by / 32, bits = by % 32;
    int i;
    for (i = 0; i < n; i++) {
        const uint64_t both = ((uint64_t)wide_limb(a, n, i + limbs + 1) << 32) | wide_limb(a, n, i + limbs);
        r[i] = (uint32_t)(both >> bits);
    }
}
static inline int wide_compare(const uint32_t *a, const uint32_t *b, int n)
{
    const uint32_t sign = UINT32_C(0x80000000);
    int i;
    if (a[n - 1] != b[n - 1]) return (a[n - 1] ^ sign) < (b[n - 1] ^ sign) ? -1 : 1;
    for (i = n - 2; i >= 0; i--)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
}
/* Towards minus infinity, by a positive number; bit after bit. */
static inline void wide_div(uint32_t *r, const uint32_t *a, const uint32_t *b, int n)
{
    uint32_t rest[WIDE_MOST], less[WIDE_MOST];
    const uint32_t flip = a[n - 1] >> 31 ? UINT32_MAX : 0; /* of a negative number, that of its complement */
    int i;
    for (i = 0; i < n; i++) rest[i] = r[i] = 0;
    for (i = 32 * n - 1; i >= 0; i--) {
        wide_add(rest, rest, rest, n);
        rest[0] |= ((a[i / 32] ^ flip) >> (i % 32)) & 1;
        wide_sub(less, rest, b, n);
        if (!(less[n - 1] >> 31)) {
            wide_copy(rest, less, n);
            r[i / 32] |= UINT32_C(1) << (i % 32);
        }
    }
    for (i = 0; i < n; i++) r[i] ^= flip;
}
"""
