"""What a network costs when its sums are built: by the chains that `order` finds for each of them."""

from __future__ import annotations

from lutc.cmvm.network import Network, Problem, Span, digits, ordered, spans
from lutc.cmvm.order import Operand, chains
from lutc.numbers import trailing_zeros


def luts(problem: Problem, network: Network, most: int) -> int:
    """The LUTs of all carry chains, of `most` (2 or 3) operands each.

    `price` says nearly the same in a fraction of the time, but for signs: what is subtracted lets no bits pass by.
    """
    known = spans(problem, network, most)
    constants = {-1 - j: c for j, c in enumerate(problem.constants)}
    taken: dict[int, int] = {}  # the constant of what a sum reads
    bits = 0
    for number, terms in ordered(network):
        read = sum(w * taken.get(v, 0) for v, w in terms)
        taken[number] = constants.get(number, read)
        constant = taken[number] - read
        operands = [_moved(known[v], shift, sign) for v, shift, sign in digits(terms)]
        if constant:
            operands.append(Operand(constant, constant, trailing_zeros(constant)))
        if len(operands) > 1:
            bits += chains(tuple(operands), most, thorough=False)[0]
    return bits


def _moved(span: Span, shift: int, sign: int) -> Operand:
    return Operand(span.lo << shift, span.hi << shift, span.low + shift, sign, span.depth)
