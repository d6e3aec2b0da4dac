"""Products of two tensors in Einstein's notation: which axes do what. A letter names an axis, once in a term."""

from __future__ import annotations

from dataclasses import dataclass

from lutc.lowering.refusals import Refusal

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Contraction:
    """The axes of a product of two tensors, each in its operand's order.

    `shared` stand in both operands and the result, `summed` in both operands only, `rows` in the left operand and the
    result, `columns` in the right one and the result. `alone` are, by operand, those of no other term.
    """

    alone: tuple[str, str]
    shared: str
    summed: str
    rows: str
    columns: str

    @classmethod
    def of(cls, left: str, right: str, out: str) -> Contraction:
        """Of operands with the axes `left` and `right` to a result with the axes `out`."""

        def kept(term: str, other: str, joined: bool, stays: bool) -> str:
            return "".join(c for c in term if (c in other) is joined and (c in out) is stays)

        return cls(
            (kept(left, right, False, False), kept(right, left, False, False)),
            kept(left, right, True, True),
            kept(left, right, True, False),
            kept(left, right, False, True),
            kept(right, left, False, True),
        )


def without(term: str, gone: str) -> str:
    """A term's letters that are not among `gone`."""
    return "".join(c for c in term if c not in gone)


def terms(equation: str, rank: int, constant: bool = False) -> tuple[str, str, str]:
    """The two operands and the result of an equation such as `bij,bjk->bik`, without their first letter, the batch's.

    `...` stands for axes of the first operand, which has `rank` axes, the batch among them. A second operand that is
    a `constant` has no batch. Raises Refusal unless the batch leads all other terms.
    """
    left, out = equation.replace(" ", "").split("->")
    x, w = left.split(",")
    dots = ""
    if "..." in equation:
        dots = without(LETTERS, x + w + out)[: rank - len(x.replace("...", ""))]
    x, w, out = (term.replace("...", dots) for term in (x, w, out))
    batch, led = x[:1], (x, out) if constant else (x, w, out)
    apart = [term[1:] for term in led] + ([w] if constant else [])
    if any(term[:1] != batch for term in led) or any(batch in term for term in apart):
        raise Refusal(f"equation {equation} does not keep the batch axis first", "put it first, in and out")
    return x[1:], w if constant else w[1:], out[1:]
