"""A module bit by bit: which functions of which bits it is made of, as synthesis sees it before it chooses LUTs.

A literal is a number: twice a bit's, and 1 more where it is inverted; 0 and 1 are the constants. Inversions and wiring
are no functions of their own. What a function answers is not kept, only which bits it reads: that is what decides on
LUTs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lutc.rtl.nets import (
    Add,
    And,
    Append,
    As,
    Const,
    Eq,
    Gt,
    Input,
    InstanceOutput,
    Lt,
    Lut,
    Module,
    Mul,
    Mux,
    Net,
    Not,
    Or,
    Reg,
    Resize,
    Rom,
    Slice,
    Sub,
    Xor,
)
from lutc.truth import dependence, patterns, spread

if TYPE_CHECKING:
    from lutc.target import Target

_GROUP = 6  # literals of which a comparison makes one bit of a carry chain
_SHORT = 2  # bits of an addition, or of a comparison's chain, that are made without carry cells

Literals = tuple[int, ...]


@dataclass
class Bits:
    """What a module is made of. Bits are named by their numbers, and `origin` is the layer of each.

    `logic`: functions that synthesis may merge, by the bit they make, with the bits they read. `named`: LUTs by name.
    `carries`: the bits of carry chains whose propagate input is alive, with what their LUT reads. `chains`: all bits of
    each chain, the lowest first; the last one of a comparison's is its answer. `bits`: the literals of each net.
    `kept`: bits that must be there as signals, since something else than a function reads them. `other`: LUTs of what
    is not seen through, by layer.
    """

    logic: dict[int, Literals] = field(default_factory=dict)
    named: dict[int, Literals] = field(default_factory=dict)
    carries: dict[int, Literals] = field(default_factory=dict)
    chains: list[list[int]] = field(default_factory=list)
    bits: dict[Net, list[int]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    origin: dict[int, str] = field(default_factory=dict)
    other: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


def bits_of(module: Module, target: Target) -> Bits:
    """The bits of a module. Instances, products and tables wider than a LUT are not seen through."""
    walk = _Walk(module, target)
    for net in module.nets:
        walk.visit(net)
    found = walk.found
    for net in [*(o.net for o in module.outputs), *(n for i in module.instances for n in i.inputs)]:
        found.kept.update(x >> 1 for x in walk.bits[net])
    return found


class _Walk:
    def __init__(self, module: Module, target: Target) -> None:
        self.module, self.target = module, target
        self.found = Bits()
        self.bits = self.found.bits
        self.read = _highest_read(module)
        self.layer = ""
        self._next = 1
        self._known: dict[tuple[object, ...], int] = {}

    def new(self) -> int:
        """A literal of a new bit."""
        number = self._next
        self._next += 1
        self.found.origin[number] = self.layer
        return 2 * number

    def function(self, inputs: Iterable[int]) -> int:
        """A function of bits that depends on all of them."""
        made = self.new()
        self.found.logic[made >> 1] = tuple(dict.fromkeys(x >> 1 for x in inputs))
        return made

    def shared(self, kind: str, *inputs: int) -> int:
        """The one function of this kind of these literals."""
        key = (kind, *inputs)
        if key not in self._known:
            self._known[key] = self.function(inputs)
        return self._known[key]

    def and_(self, a: int, b: int) -> int:
        if a == b or b == 1 or a == 0:
            return a
        if b == 0 or a == 1 or a == b ^ 1:
            return 0 if a == b ^ 1 else b
        return self.shared("and", *sorted((a, b)))

    def or_(self, a: int, b: int) -> int:
        return self.and_(a ^ 1, b ^ 1) ^ 1

    def xor(self, a: int, b: int) -> int:
        turned = (a ^ b) & 1
        a, b = sorted((a & ~1, b & ~1))
        if a == b or a == 0:
            return (b if a == 0 and a != b else 0) ^ turned
        return self.shared("xor", a, b) ^ turned

    def mux(self, select: int, then: int, other: int) -> int:
        if select <= 1 or then == other:
            return then if select == 1 or then == other else other
        if then <= 1 or other <= 1 or then == other ^ 1:
            if then == other ^ 1 and then > 1:
                return self.xor(select, other)
            if then <= 1:
                return self.or_(select, other) if then else self.and_(select ^ 1, other)
            return self.or_(select ^ 1, then) if other else self.and_(select, then)
        return self.shared("mux", select, then, other)

    def visit(self, net: Net) -> None:
        """Give a net its bits."""
        self.layer = self.module.origins.get(net, "")
        self.bits[net] = self._bits(net)

    def _bits(self, net: Net) -> list[int]:
        x = [self.bits[o] for o in net.operands] if not isinstance(net, InstanceOutput) else []
        match net:
            case Const(value=value):
                return [value >> i & 1 for i in range(net.width)]
            case Input() | InstanceOutput():
                return [self.new() for _ in range(net.width)]
            case As():
                return x[0]
            case Resize():
                return x[0] + [x[0][-1] if net.signed else 0] * (net.width - len(x[0]))
            case Append():
                return [bit for part in reversed(x) for bit in part]
            case Slice(high=high, low=low):
                return x[0][low : high + 1]
            case Not():
                return [a ^ 1 for a in x[0]]
            case And() | Or() | Xor():
                gate = {And: self.and_, Or: self.or_, Xor: self.xor}[type(net)]
                return [gate(a, b) for a, b in zip(*x, strict=True)]
            case Mux():
                return [self.mux(x[0][0], a, b) for a, b in zip(x[1], x[2], strict=True)]
            case Eq():
                return [self._all([self.xor(a, b) ^ 1 for a, b in zip(*x, strict=True)])]
            case Lt() | Gt():
                a, b = x if isinstance(net, Gt) else x[::-1]
                return [self._greater(a, b, net.a.signed)]
            case Add() | Sub():
                return self._chain(x[0], [b ^ isinstance(net, Sub) for b in x[1]], net)
            case Lut():
                return [self._named(x[0])]
            case Rom():
                return self._table(net, x[0])
            case Mul():
                return self._product(net, *x)
            case Reg():
                self.found.kept.update(a >> 1 for a in x[0])
        return [self.new() for _ in range(net.width)]

    def _all(self, bits: Sequence[int]) -> int:
        """1 where all are, six at a time."""
        if 0 in bits:
            return 0
        live = list(dict.fromkeys(b for b in bits if b != 1))
        while len(live) > 1:
            live = [*live[6:], self.function(live[:6])] if len(live) > 2 else [self.and_(*live)]
        return live[0] if live else 1

    def _greater(self, a: list[int], b: list[int], signed: bool) -> int:
        key = ("greater", signed, *a, *b)
        if key not in self._known:
            self._known[key] = self._compared(a, b, signed)
        return self._known[key]

    def _compared(self, a: list[int], b: list[int], signed: bool) -> int:
        """`a > b`: from the highest bits down, so many literals as a LUT has make one bit of a carry chain."""
        if signed:
            a, b = [*a[:-1], b[-1]], [*b[:-1], a[-1]]
        groups: list[list[int]] = []
        room = 0
        for pair in zip(reversed(a), reversed(b), strict=True):
            live = [x for x in pair if x > 1]
            if room < len(live) or not groups:
                groups.append([])
                room = _GROUP
            groups[-1] += live
            room -= len(live)
        groups = [g for g in groups if g]
        if len(groups) <= _SHORT:
            over = 0
            for group in reversed(groups):
                more = self.function(group)
                over = more if over == 0 else self.function([more, self.function(group), over])
            return over
        chain: list[int] = []
        for group in reversed(groups):
            self.found.kept.add(self.function(group) >> 1)
            chain.append(self.new() >> 1)
            self.found.carries[chain[-1]] = tuple(dict.fromkeys(x >> 1 for x in group))
        answer = self.new()
        self.found.chains.append([*chain, answer >> 1])
        return answer

    def _chain(self, a: list[int], b: list[int], net: Net) -> list[int]:
        """A carry chain. Its data inputs are signals, and its own LUTs take in what makes the other operand."""
        carry: int | None = int(isinstance(net, Sub))
        top = self.read.get(net, net.width)
        found: list[int] = []
        chain: list[int] = []
        if min(top, net.width) <= _SHORT:
            return self._short(a, b, carry or 0)
        for i in range(top):
            if carry is not None and (a[i] == carry or b[i] == carry):
                found.append(b[i] if a[i] == carry else a[i])  # nothing is carried from here
                continue
            if carry is not None and a[i] <= 1 and b[i] <= 1:
                found.append(carry)
                carry = a[i]
                continue
            carry = None
            if a[i] > 1 or b[i] > 1:
                live = [x >> 1 for x in (a[i], b[i]) if x > 1]
                made = self.new()
                self.found.carries[made >> 1] = tuple(live)
                self.found.kept.update(live[: a[i] > 1])
            else:
                made = self.new()
            found.append(made)
            chain.append(made >> 1)
        self.found.chains.append(chain)
        return found + [0] * (net.width - top)

    def _short(self, a: list[int], b: list[int], carry: int) -> list[int]:
        found = []
        for x, y in zip(a, b, strict=True):
            half = self.xor(x, y)
            found.append(self.xor(half, carry))
            carry = self.or_(self.and_(x, y), self.and_(half, carry))
        return found

    def _named(self, key: list[int]) -> int:
        made = self.new()
        self.found.named[made >> 1] = tuple(dict.fromkeys(x >> 1 for x in key if x > 1))
        self.found.kept.update(x >> 1 for x in key)
        return made

    def _table(self, net: Rom, key: list[int]) -> list[int]:
        """Every output bit as one function of the bits it depends on; equal ones, and opposite ones, are one."""
        names = list(dict.fromkeys(x >> 1 for x in key if x > 1))
        places = [x & 1 if x <= 1 else names.index(x >> 1) for x in key]
        words = np.arange(1 << len(names))
        keys = np.zeros_like(words)
        for i, (x, place) in enumerate(zip(key, places, strict=True)):
            keys |= (np.full_like(words, x) if x <= 1 else words >> place & 1 ^ x & 1) << i
        codes = patterns(np.array(net.contents)[keys], net.width)
        found = []
        for bit, live in enumerate(dependence(codes, net.width)):
            inputs = np.flatnonzero(live)
            answers = codes[spread(tuple(inputs.tolist()))] >> bit & 1
            turned = int(answers[0])
            if not len(inputs):
                found.append(turned)
            elif len(inputs) == 1:
                found.append(2 * names[inputs[0]] + turned)
            else:
                bits = tuple(names[i] for i in inputs)
                found.append(self._looked_up(bits, (answers ^ turned).astype(np.uint8).tobytes()) ^ turned)
        return found

    def _looked_up(self, bits: Literals, answers: bytes) -> int:
        key = ("table", bits, answers)
        if key not in self._known:
            if len(bits) <= self.target.lut_inputs:
                self._known[key] = self.function(2 * x for x in bits)
            else:
                self.found.kept.update(bits)
                self.found.other[self.layer] += self.target.function_luts(len(bits))
                self._known[key] = self.new()
        return self._known[key]

    def _product(self, net: Mul, a: list[int], b: list[int]) -> list[int]:
        """An array of additions: one row for each bit of the shorter factor; none in a DSP block."""
        if not net.dsp:
            sides = (len({x >> 1 for x in factor if x > 1}) for factor in (a, b))
            self.found.other[self.layer] += self.target.multiplier_luts(*sides)
        self.found.kept.update(x >> 1 for x in (*a, *b))
        return [self.new() for _ in range(net.width)]


def _highest_read(module: Module) -> dict[Net, int]:
    """Of the nets of which only slices are read: one above the highest bit read."""
    read: dict[Net, int] = {}
    whole: set[Net] = {o.net for o in module.outputs} | {n for i in module.instances for n in i.inputs}
    for net in module.nets:
        for operand in () if isinstance(net, InstanceOutput) else net.operands:
            if isinstance(net, Slice):
                read[operand] = max(read.get(operand, 0), net.high + 1)
            elif isinstance(operand, Add | Sub):
                whole.add(operand)
    return {net: top for net, top in read.items() if net not in whole}
