"""Operations that work element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from .formats import (
    BIT,
    Format,
    Numbers,
    Type,
    Wrong,
    dyadic,
    into,
    make_format,
    make_type,
    narrowest,
    rounded,
    trailing,
)
from .operations import OVERFLOWS, ROUNDINGS, Asked, Operation, Use, axis_of, elementwise, must

Ends = tuple[Fraction, Fraction]


def finest(formats: Sequence[Format]) -> int:
    """The finest steps of operands; one without bits does not count."""
    return max((f.frac for f in formats if f.bits), default=0)


def by_ends(
    ends: Callable[[Sequence[Ends]], Ends], value: Callable[[Sequence[Fraction]], Fraction]
) -> Operation:
    """An operation at the finest steps of its operands, whose range follows from their ends."""
    return Operation(
        (),
        *elementwise(
            lambda use, f: narrowest(finest(f), *ends([(k.low, k.high) for k in f])),
            lambda use, f, v: value(v),
        ),
    )


def with_form(operation: Operation, *form: str) -> Operation:
    return Operation(form, operation.infer, operation.compute)


def product_ends(a: Format, b: Format) -> Ends:
    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(corners), max(corners)


def product_rule(use: Use, f: Sequence[Format]) -> Format:
    a, b = f
    return narrowest(a.frac + b.frac, *product_ends(a, b)) if a.bits and b.bits else Format(False, 0, 0)


def weighted(terms: Sequence[tuple[Format, Fraction]], bias: Fraction) -> Format:
    """The format of a sum of scaled terms and a bias."""
    steps = [f.frac + trailing(w) for f, w in terms if w and f.bits] + ([trailing(bias)] if bias else [])
    low = bias + sum(min(f.low * w, f.high * w) for f, w in terms)
    high = bias + sum(max(f.low * w, f.high * w) for f, w in terms)
    return narrowest(max(steps, default=0), Fraction(low), Fraction(high))


def scale_rule(use: Use, f: Sequence[Format]) -> Format:
    return weighted([(f[0], use.attributes["by"])], Fraction(0))


def check_scale(use: Use) -> None:
    must(dyadic(use.attributes["by"]), "scale", "the factor is a sum of powers of two")


def lincomb_rule(use: Use, f: Sequence[Format]) -> Format:
    weights, bias = use.attributes["weights"], use.attributes["bias"]
    return weighted(list(zip(f, weights, strict=True)), bias)


def lincomb_value(use: Use, f: Sequence[Format], v: Sequence[Fraction]) -> Fraction:
    terms = zip(use.attributes["weights"], v, strict=True)
    return Fraction(sum(w * n for w, n in terms) + use.attributes["bias"])


def checked(op: str, check: Callable[[Use], None], infer: Callable[[Use], Type]) -> Callable[[Use], Type]:
    def both(use: Use) -> Type:
        check(use)
        return infer(use)

    return both


def check_lincomb(use: Use) -> None:
    weights, bias = use.attributes["weights"], use.attributes["bias"]
    must(len(weights) == len(use.args), "lincomb", "as many weights as terms")
    must(all(map(dyadic, [*weights, bias])), "lincomb", "weights and bias are sums of powers of two")


def check_add3(use: Use) -> None:
    weights, bias = use.attributes["weights"], use.attributes["bias"]
    must(len(weights) == len(use.args), "add3", "as many weights as terms")
    must(dyadic(bias), "add3", "the bias is a sum of powers of two")
    must(len(weights) + (bias != 0) in (2, 3), "add3", "two or three numbers")
    must(sum(w < 0 for w in weights) <= 2, "add3", "at most two are negative")
    for w in weights:
        odd = w and dyadic(w) and abs(w) * Fraction(2) ** trailing(w) == 1
        must(odd, "add3", "weights are powers of two")


def same_formats(use: Use, f: Sequence[Format]) -> Format:
    must(len(set(f)) == 1, "and", "the operands have one type")
    return f[0]


def bitwise(combine: Callable[[int, int], int]) -> Operation:
    infer, compute = elementwise(
        same_formats,
        lambda use, f, v: f[0].number(combine(f[0].pattern(v[0]), f[1].pattern(v[1]))),
    )
    return Operation(("value", "value"), infer, compute)


def concat_value(use: Use, f: Sequence[Format], v: Sequence[Fraction]) -> Fraction:
    out = 0
    for kind, number in zip(f, v, strict=True):
        out = (out << kind.bits) | kind.pattern(number)
    return Fraction(out)


def slice_rule(use: Use, f: Sequence[Format]) -> Format:
    high, low = use.attributes["high"], use.attributes["low"]
    must(0 <= low <= high < f[0].bits, "bit_slice", "the bits are not there")
    return make_format(False, high - low + 1, 0)


def check_slice(use: Use) -> None:
    must(
        0 <= use.attributes["low"] <= use.attributes["high"], "bit_slice", "high is below low, or low below 0"
    )


def slice_value(use: Use, f: Sequence[Format], v: Sequence[Fraction]) -> Fraction:
    high, low = use.attributes["high"], use.attributes["low"]
    return Fraction((f[0].pattern(v[0]) >> low) % (1 << (high - low + 1)))


def select_rule(use: Use, f: Sequence[Format]) -> Format:
    condition, yes, no = f
    must(condition == BIT, "select", "the condition is a u1")
    return narrowest(finest(f[1:]), min(yes.low, no.low), max(yes.high, no.high))


RELATIONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
}


def written_of(use: Use) -> Type:
    assert use.written is not None
    if use.written.shape != use.args[0].shape:
        raise Wrong("typing", "the type that is written has another shape than the operand")
    return use.written


def infer_quant(use: Use) -> Type:
    """What is written. A mode that decides a number must be written, too (choices, versions)."""
    result = written_of(use)
    for source, target in zip(use.args[0].formats, result.formats, strict=True):
        if not source.bits or not target.bits:
            continue
        rounding = use.attributes["round"]
        if source.frac > target.frac and rounding is None:
            raise Wrong("choices#no-default-where-a-number-is-decided", "round= must be written")
        codes = [
            rounded(n * Fraction(2) ** target.frac, rounding or "floor") for n in (source.low, source.high)
        ]
        if use.attributes["overflow"] is None and not all(
            target.low_code <= code <= target.high_code for code in codes
        ):
            raise Wrong("choices#no-default-where-a-number-is-decided", "overflow= must be written")
    return result


def compute_quant(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    rounding, overflow = use.attributes["round"] or "floor", use.attributes["overflow"] or "wrap"
    return tuple(into(n, k, rounding, overflow) for n, k in zip(numbers[0], result.formats, strict=True))


def factors(use: Use, name: str, result: Type) -> list[Fraction]:
    """`by` or `add` of a rescale, for each element."""
    given: list[Fraction] = use.attributes[name]
    if len(given) == 1:
        return given * len(result.formats)
    must(result.shape, "rescale", f"a scalar has one {name}")
    axis = axis_of(use.attributes["axis"], len(result.shape), "rescale")
    must(len(given) == result.shape[axis], "rescale", f"{name} has another length than its dimension")
    inner = 1
    for n in result.shape[axis + 1 :]:
        inner *= n
    return [given[i // inner % len(given)] for i in range(len(result.formats))]


def infer_rescale(use: Use) -> Type:
    result = written_of(use)
    if result.shape:
        axis_of(use.attributes["axis"], len(result.shape), "rescale")
    factors(use, "by", result)
    factors(use, "add", result)
    return result


def compute_rescale(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    by, add = factors(use, "by", result), factors(use, "add", result)
    modes = use.attributes["round"], use.attributes["overflow"]
    each = zip(numbers[0], by, add, result.formats, strict=True)
    return tuple(into(n * b + a, kind, *modes) for n, b, a, kind in each)


def infer_bit_cast(use: Use) -> Type:
    result = written_of(use)
    for source, target in zip(use.args[0].formats, result.formats, strict=True):
        must(source.bits == target.bits, "bit_cast", "the widths differ")
    return result


def compute_bit_cast(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
    each = zip(numbers[0], use.args[0].formats, result.formats, strict=True)
    return tuple(target.number(source.pattern(n)) for n, source, target in each)


def number_type(use: Use) -> Type:
    value = use.attributes["value"]
    must(dyadic(value), "number", f"{value} is a number of no format")
    return make_type((), [narrowest(trailing(value) if value else 0, value, value)])


RATIONAL = Asked("rational")
DSP = Asked("word", words=("true", "false"), default="false")
WEIGHTS = {"weights": Asked("rational", many=True), "bias": Asked("rational", default=Fraction(0))}
NO_MODES = {"round": Asked("word", words=ROUNDINGS), "overflow": Asked("word", words=OVERFLOWS)}
MODES = {
    "round": Asked("word", words=ROUNDINGS, default="nearest-half-even"),
    "overflow": Asked("word", words=OVERFLOWS, default="saturate"),
}

ONE, TWO = ("value",), ("value", "value")

ARITHMETIC: dict[str, Operation] = {
    "number": Operation(
        (), number_type, lambda use, v, result: (use.attributes["value"],), {"value": RATIONAL}
    ),
    "add": with_form(by_ends(lambda e: (e[0][0] + e[1][0], e[0][1] + e[1][1]), lambda v: v[0] + v[1]), *TWO),
    "sub": with_form(by_ends(lambda e: (e[0][0] - e[1][1], e[0][1] - e[1][0]), lambda v: v[0] - v[1]), *TWO),
    "neg": with_form(by_ends(lambda e: (-e[0][1], -e[0][0]), lambda v: -v[0]), *ONE),
    "abs": with_form(
        by_ends(lambda e: (max(Fraction(0), e[0][0], -e[0][1]), max(e[0][1], -e[0][0])), lambda v: abs(v[0])),
        *ONE,
    ),
    "relu": with_form(
        by_ends(
            lambda e: (max(e[0][0], Fraction(0)), max(e[0][1], Fraction(0))), lambda v: max(v[0], Fraction(0))
        ),
        *ONE,
    ),
    "min": with_form(by_ends(lambda e: (min(e[0][0], e[1][0]), min(e[0][1], e[1][1])), min), *TWO),
    "max": with_form(by_ends(lambda e: (max(e[0][0], e[1][0]), max(e[0][1], e[1][1])), max), *TWO),
    "mul": Operation(TWO, *elementwise(product_rule, lambda use, f, v: v[0] * v[1]), {"dsp": DSP}),
    "compare": Operation(
        TWO,
        *elementwise(
            lambda use, f: BIT,
            lambda use, f, v: Fraction(RELATIONS[use.attributes["rel"]](v[0], v[1])),
        ),
        {"rel": Asked("word", words=tuple(RELATIONS))},
    ),
    "select": Operation(
        ("value", "value", "value"),
        *elementwise(select_rule, lambda use, f, v: v[1] if v[0] else v[2]),
    ),
    "and": bitwise(lambda a, b: a & b),
    "or": bitwise(lambda a, b: a | b),
    "xor": bitwise(lambda a, b: a ^ b),
    "not": Operation(
        ONE,
        *elementwise(lambda use, f: f[0], lambda use, f, v: f[0].number(~f[0].pattern(v[0]))),
    ),
    "bit_concat": Operation(
        ("values",),
        *elementwise(lambda use, f: make_format(False, sum(k.bits for k in f), 0), concat_value),
    ),
    "quant": Operation(ONE, infer_quant, compute_quant, NO_MODES, typed=True),
    "rescale": Operation(
        ONE,
        infer_rescale,
        compute_rescale,
        {
            "by": Asked("rational", many=True),
            "add": Asked("rational", many=True, default=[Fraction(0)]),
            "axis": Asked("integer", default=-1),
            **MODES,
        },
        typed=True,
    ),
    "bit_cast": Operation(ONE, infer_bit_cast, compute_bit_cast, typed=True),
}
for _name, _check in (("lincomb", check_lincomb), ("add3", check_add3)):
    _infer, _compute = elementwise(lincomb_rule, lincomb_value)
    ARITHMETIC[_name] = Operation(("values",), checked(_name, _check, _infer), _compute, WEIGHTS)
_infer, _compute = elementwise(scale_rule, lambda use, f, v: v[0] * use.attributes["by"])
ARITHMETIC["scale"] = Operation(
    ONE, checked("scale", check_scale, _infer), _compute, {"by": RATIONAL, "dsp": DSP}
)
_infer, _compute = elementwise(slice_rule, slice_value)
ARITHMETIC["bit_slice"] = Operation(
    ONE,
    checked("bit_slice", check_slice, _infer),
    _compute,
    {"high": Asked("integer"), "low": Asked("integer")},
)
