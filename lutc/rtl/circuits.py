"""Circuit pieces that the operations' `rtl` share.

A scalar's net has its format's width and signedness; a number without bits is the one-bit constant 0. A bundle's net
is unsigned and holds its elements' bits side by side, row-major, the first element lowest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lutc.rtl.nets import Append, As, Lut, Resize, Slice
from lutc.types import Fixed, Overflow, Rounding, Type, holding

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target


# Inputs that a LUT pair of a chain of three operands can read in place of one of them.
_BESIDE_TWO = 2
# Bits that LUTs increment in three levels of them, at half a LUT for each bit and for each carry between levels.
LARGEST_INCREMENT = 13


def net_format(fmt: Fixed) -> tuple[int, bool]:
    """The width and signedness of a scalar's net."""
    return max(fmt.width, 1), fmt.signed


def zero(build: ModuleBuilder) -> Net:
    """The net of a number without bits."""
    return build.const(0, 1)


def aligned(build: ModuleBuilder, net: Net, source: Fixed, target: Fixed) -> Net:
    """A number of format `source`, moved to the steps of `target` (not coarser) and wrapped into its width."""
    if not source.width or not target.width:
        return build.const(0, *net_format(target))
    return build.fit(build.shift_left(net, target.frac - source.frac), *net_format(target))


def common(a: Fixed, b: Fixed) -> Fixed:
    """The narrowest format that holds every number of both."""
    frac = max([f.frac for f in (a, b) if f.width], default=0)
    ends = [(f.lo << max(frac - f.frac, 0), f.hi << max(frac - f.frac, 0)) for f in (a, b)]
    return holding(min(e[0] for e in ends), max(e[1] for e in ends), frac)


def add(build: ModuleBuilder, a: Net, b: Net, fa: Fixed, fb: Fixed, to: Fixed) -> Net:
    """`a + b` in format `to`. Bits below the coarser operand's lowest one pass by the adder."""
    if fa.width and fb.width and fa.frac < fb.frac:
        a, b, fa, fb = b, a, fb, fa
    low = min(fa.frac - fb.frac, to.width - 1) if fa.width and fb.width else 0
    if low <= 0 or fa.frac != to.frac:
        return _chain(build, build.add, aligned(build, a, fa, to), aligned(build, b, fb, to))
    return _beside(build, build.add, a, b, fa, fb, to, low)


def sub(build: ModuleBuilder, a: Net, b: Net, fa: Fixed, fb: Fixed, to: Fixed) -> Net:
    """`a - b` in format `to`; the low bits of `a` pass by where `b` has none."""
    low = min(fa.frac - fb.frac, to.width - 1) if fa.width and fb.width else 0
    if low <= 0 or fa.frac != to.frac:
        return _chain(build, build.sub, aligned(build, a, fa, to), aligned(build, b, fb, to))
    return _beside(build, build.sub, a, b, fa, fb, to, low)


def _beside(
    build: ModuleBuilder,
    operation: Callable[[Net, Net], Net],
    a: Net,
    b: Net,
    fa: Fixed,
    fb: Fixed,
    to: Fixed,
    low: int,
) -> Net:
    """An operation on the bits from `low` up; the lowest bits of `a` are the result's."""
    rest = Fixed(to.signed, to.width - low, to.frac - low)
    top = build.resize(a, max(a.width, low + 1))
    high = build.as_(build.slice(top, top.width - 1, low), fa.signed)
    x = build.fit(high, *net_format(rest))
    y = aligned(build, b, fb, rest)
    return build.as_(build.append(_chain(build, operation, x, y), build.slice(top, low - 1, 0)), to.signed)


def _chain(build: ModuleBuilder, operation: Callable[[Net, Net], Net], a: Net, b: Net) -> Net:
    """A carry chain of two operands, whose own LUTs read a bit of the first, and some inputs of the second."""
    most = build.luts.chained if build.luts else 0
    if operation == build.add and _named(a, most) > _named(b, most):
        a, b = b, a
    return operation(a, _in_the_open(build, b, most))


def _named(net: Net, inputs: int) -> int:
    """How many bits of a net are LUTs by name of no more inputs than these."""
    if isinstance(net, Lut):
        return int(net.key.width <= inputs)
    return (
        sum(_named(n, inputs) for n in net.operands) if isinstance(net, Append | As | Resize | Slice) else 0
    )


def _in_the_open(build: ModuleBuilder, net: Net, inputs: int) -> Net:
    """The same bits, those that `_named` counts as logic: synthesis may then merge them into the LUTs that read them.

    Who else reads a LUT by name has it still.
    """
    match net:
        case Lut(key=key, contents=contents) if key.width <= inputs:
            return build.rom(key, contents, 1) if key.width > 2 else _gate(build, key, contents)
        case Append(parts=parts):
            return build.append(*(_in_the_open(build, p, inputs) for p in parts))
        case As(a=a):
            return build.as_(_in_the_open(build, a, inputs), net.signed)
        case Resize(a=a):
            return build.resize(_in_the_open(build, a, inputs), net.width)
        case Slice(a=a, high=high, low=low):
            return build.slice(_in_the_open(build, a, inputs), high, low)
    return net


def _gate(build: ModuleBuilder, key: Net, contents: Sequence[int]) -> Net:
    """A function of one or two bits that depends on all of them."""
    a = build.bit(key, 0)
    if len(contents) == 2:
        return build.not_(a)
    b = build.bit(key, 1)
    if sum(contents) == 2:
        found, inverted = build.xor(a, b), bool(contents[0])
    else:
        inverted = sum(contents) == 3
        odd = contents.index(int(not inverted))
        found = build.and_(a if odd & 1 else build.not_(a), b if odd & 2 else build.not_(b))
    return build.not_(found) if inverted else found


# An operand of a sum: its net, its format (after any shift), and its sign.
Addend = tuple["Net", Fixed, int]


def add3(build: ModuleBuilder, addends: Sequence[Addend], to: Fixed) -> Net:
    """The sum of two or three numbers, at most two of them negative, in format `to`, by one carry chain.

    Three go through a compressor in front of it.

    Written as logic and one addition on purpose. `a + b + c` leaves the grouping of a long sum to the synthesiser,
    which tears the threes apart; this form takes one six-input LUT a bit where a carry chain can be fed so.
    """
    live = sorted((a for a in addends if a[1].width), key=lambda a: -a[1].frac)
    if len(live) < 2:  # operands without bits are 0
        moved = [(aligned(build, net, fmt, to), sign) for net, fmt, sign in live]
        return next((x if sign > 0 else build.neg(x) for x, sign in moved), zero(build))
    first, second = live[0], live[1]
    if len(live) == 2 and first[2] + second[2] >= 0:
        plus, other = live if first[2] > 0 else live[::-1]
        return (add if other[2] > 0 else sub)(build, plus[0], other[0], plus[1], other[1], to)
    low = min(first[1].frac - second[1].frac, to.width - 1)
    if low <= 0 or first[2] < 0 or first[1].frac != to.frac:
        return _compressed(build, live, to)
    # Below the second operand's lowest bit there is only the first: those bits are the sum's.
    net, fmt, sign = first
    top = build.resize(net, max(net.width, low + 1))
    high = build.as_(build.slice(top, top.width - 1, low), fmt.signed)
    rest = Fixed(to.signed, to.width - low, to.frac - low)
    kept = Fixed(fmt.signed, high.width, fmt.frac - low)
    total = _compressed(build, [(high, kept, sign), *live[1:]], rest)
    return build.as_(build.append(total, build.slice(top, low - 1, 0)), to.signed)


def _compressed(build: ModuleBuilder, addends: Sequence[Addend], to: Fixed) -> Net:
    width, signed = net_format(to)
    beside = min(build.luts.chained, _BESIDE_TWO) if build.luts else 0
    bits = []
    for net, fmt, sign in addends:
        x = _in_the_open(build, build.as_(aligned(build, net, fmt, to), False), beside)
        bits.append(x if sign > 0 else build.not_(x))
    a, b, c = bits if len(bits) == 3 else (*bits, build.const(0, width))
    parity = build.xor(build.xor(a, b), c)
    majority = build.or_(build.and_(a, b), build.and_(c, build.or_(a, b)))
    # The lowest place of the shifted carries is free: it takes the 1 that completes a two's complement. A second one
    # comes in as the carry out of a place below the lowest.
    negative = [sign for *_, sign in addends].count(-1)
    one = build.const(int(negative > 0), 1)
    carries = build.append(build.slice(majority, width - 2, 0), one) if width > 1 else one
    if negative < 2:
        return build.as_(build.add(carries, parity), signed)
    total = build.add(build.append(carries, one), build.append(parity, one))
    return build.as_(build.slice(total, width, 1), signed)


def rounded(build: ModuleBuilder, net: Net, shift: int, rounding: Rounding) -> Net:
    """`net / 2**shift`, rounded to an integer; the result is wide enough for every case."""
    if shift <= 0:
        return build.shift_left(net, -shift)
    net = build.resize(net, max(net.width, shift + 1))
    floor = build.as_(build.slice(net, net.width - 1, shift), net.signed)
    up = _rounds_up(build, net, shift, rounding)
    if up is None:
        return floor
    wide = floor.width + 1
    if build.luts and build.luts.shared and floor.width <= LARGEST_INCREMENT:
        return _incremented(build, build.resize(floor, wide), up, build.luts.inputs)
    return build.add(build.resize(floor, wide), build.fit(up, wide, net.signed))


def _incremented(build: ModuleBuilder, net: Net, up: Net, inputs: int) -> Net:
    """`net + up` in LUTs: a bit flips where all below it, and `up`, are 1."""
    found: list[Net] = []
    for run in _runs([build.bit(net, i) for i in range(net.width)], inputs):
        for i in range(1, len(run) + 1):
            ones = (1 << i) - 1
            found.append(build.lut([up, *run[:i]], [w >> i ^ (w & ones == ones) for w in range(2 << i)]))
        up = build.lut([up, *run], [0] * ((2 << len(run)) - 1) + [1])
    return build.as_(build.append(*reversed(found)), net.signed)


def _runs(bits: list[Net], inputs: int) -> list[list[Net]]:
    """Runs whose functions, the carry into the next run among them, share LUTs of so many inputs two by two.

    They have one input less together. The last one has no carry to make, and may be as long as a LUT is wide.
    """
    runs: list[list[Net]] = []
    while bits:
        length = inputs - 1 if len(bits) < inputs else inputs - 2
        runs.append(bits[:length])
        bits = bits[length:]
    return runs


def _rounds_up(build: ModuleBuilder, net: Net, shift: int, rounding: Rounding) -> Net | None:
    """Whether to go to the upper neighbour: from the first bit lost, the others, the sign and the last bit kept."""
    first = build.bit(net, shift - 1)
    others = _any(build, build.slice(net, shift - 2, 0)) if shift > 1 else build.const(0, 1)
    negative = build.msb(net) if net.signed else build.const(0, 1)
    more = build.and_(first, others)
    match rounding:
        case Rounding.FLOOR:
            return None
        case Rounding.CEIL:
            return build.or_(first, others)
        case Rounding.TOWARD_ZERO:
            return build.and_(build.or_(first, others), negative) if net.signed else None
        case Rounding.AWAY:
            return build.and_(build.or_(first, others), build.not_(negative))
        case Rounding.HALF_UP:
            return first
        case Rounding.HALF_DOWN:
            return more
        case Rounding.HALF_EVEN:
            return build.and_(first, build.or_(others, build.bit(net, shift)))
        case Rounding.HALF_AWAY:
            return build.mux(negative, more, first)
        case Rounding.HALF_ZERO:
            return build.mux(negative, first, more)


def _any(build: ModuleBuilder, bits: Net) -> Net:
    """1 where a bit is 1."""
    if bits.width == 1:
        return bits
    return build.not_(build.eq(bits, build.const(0, bits.width)))


def increment_luts(width: int, target: Target) -> float:
    """What adding one bit to a number costs: in LUTs that share their inputs two by two, or a carry chain."""
    levels = _increment_levels(width, target)
    return (width + levels) / 2 if levels else target.adder_luts(width)


def increment_ns(width: int, target: Target) -> float:
    """How long that takes."""
    levels = _increment_levels(width, target)
    return target.lut_ns() * levels if levels else target.adder_ns(width)


def _increment_levels(width: int, target: Target) -> int:
    """The levels of LUTs that add one bit to a number; 0 where a carry chain does."""
    luts = target.primitive
    if luts is None or not luts.shared or width > LARGEST_INCREMENT:
        return 0
    return max(-(-(width - 1) // (luts.inputs - 2)), 1)


def contained(build: ModuleBuilder, net: Net, to: Fixed, mode: Overflow, lo: int, hi: int) -> Net:
    """An integer in `[lo, hi]` brought into the range of `to`. Tests are built only for ends that can be passed."""
    width, signed = net_format(to)
    if not to.width:
        return zero(build)
    fitted = build.fit(net, width, signed)
    if mode is Overflow.WRAP:
        return fitted
    floor = max(to.lo, -to.hi) if mode is Overflow.SATURATE_SYMMETRIC else to.lo
    passed = [(_above(build, net, to), to.hi)] if hi > to.hi else []
    passed += [(_below(build, net, to, floor), floor)] if lo < floor else []
    if build.luts and passed:
        return _stopped(build, fitted, passed)
    for past, end in passed:
        fitted = build.mux(past, build.const(end, width, signed), fitted)
    return fitted


def _stopped(build: ModuleBuilder, net: Net, passed: Sequence[tuple[Net, int]]) -> Net:
    """The number of the end that is passed, or `net`: a LUT a bit."""
    flags = [past for past, _ in passed]
    found = []
    for i in range(net.width):
        contents = []
        for word in range(2 << len(flags)):
            ends = [end >> i & 1 for n, (_, end) in enumerate(passed) if word >> n & 1]
            contents.append(ends[0] if ends else word >> len(flags))
        found.append(build.lut([*flags, build.bit(net, i)], contents))
    return build.as_(build.append(*reversed(found)), net.signed)


def _above(build: ModuleBuilder, net: Net, to: Fixed) -> Net:
    """Whether an integer exceeds the largest code: it is positive and has a bit above the format's."""
    kept = to.width - to.signed
    top = net.width - net.signed
    if top <= kept:
        return build.const(0, 1)
    over = _any(build, build.slice(net, top - 1, kept))
    return build.and_(build.not_(build.msb(net)), over) if net.signed else over


def _below(build: ModuleBuilder, net: Net, to: Fixed, floor: int) -> Net:
    """Whether an integer is less than the smallest code allowed."""
    if not net.signed:
        return build.const(0, 1)
    if floor == 0:
        return build.msb(net)
    if floor == to.lo and net.width > to.width:
        high = build.slice(net, net.width - 2, to.width - 1)
        ones = build.const((1 << high.width) - 1, high.width)
        return build.and_(build.msb(net), build.not_(build.eq(high, ones)))
    wide = max(net.width, to.width)
    return build.lt(build.resize(net, wide), build.const(floor, wide, True))


def bundle(build: ModuleBuilder, nets: Sequence[Net], kind: Type) -> Net:
    """Scalars side by side."""
    live = [n for n, f in zip(nets, kind.formats, strict=True) if f.width]
    return build.append(*reversed(live)) if live else zero(build)


def unbundle(build: ModuleBuilder, net: Net, kind: Type, at: int) -> Net:
    """One element of a bundle."""
    fmt = kind.formats[at]
    if not fmt.width:
        return zero(build)
    if not kind.shape:
        return net
    low = offset(kind, at)
    return build.as_(build.slice(net, low + fmt.width - 1, low), fmt.signed)


def offset(kind: Type, at: int) -> int:
    """Where an element's lowest bit stands in its bundle."""
    position, left = 0, at
    for count, fmt in kind.runs:
        if left < count:
            return position + left * fmt.width
        position += count * fmt.width
        left -= count
    raise IndexError(at)


def words(codes: Sequence[int], kind: Type) -> int:
    """Constant elements as the number their bundle's bits read."""
    word = 0
    for code, fmt in zip(reversed(codes), reversed(kind.formats), strict=True):
        word = word << fmt.width | (code & ((1 << fmt.width) - 1))
    return word
