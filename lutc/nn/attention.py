"""Quantised softmax and self-attention, computed as hardware does it: products, and tables of exp and reciprocal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .function import QFunction
from .layers import Options, QLinear
from .quantizer import Layer, Quantizer


class QProduct(Layer):
    """``einsum(equation, Q(x), Q(y))`` of two activations, as in ``"bid,bjd->bij"``: the batch leads every term.

    ``left`` and ``right`` are options of the two quantisers (`Quantizer`), of one format by default. Raises
    ValueError for an equation of another form.
    """

    def __init__(self, equation: str, *, left: Options | None = None, right: Options | None = None) -> None:
        super().__init__()
        terms = equation.replace(" ", "").replace("->", ",").split(",")
        fits = len(terms) == 3 and all(t.isascii() and t.isalpha() and len(set(t)) == len(t) for t in terms)
        if not fits or len({t[0] for t in terms}) > 1 or not set(terms[2]) <= set(terms[0] + terms[1]):
            raise ValueError(f"{equation!r} is no equation such as 'bid,bjd->bij'")
        self.terms: tuple[str, ...] = tuple(terms)
        self.equation = f"{terms[0]},{terms[1]}->{terms[2]}"
        self.left_quantizer, self.right_quantizer = Quantizer(**(left or {})), Quantizer(**(right or {}))
        self.sizes: tuple[tuple[int, ...], ...] | None = None  # of the last operands, without the batch

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.sizes = tuple(x.shape[1:]), tuple(y.shape[1:])
        operands = (x, y) if self.training else (x.double(), y.double())
        pair = (q(v) for q, v in zip((self.left_quantizer, self.right_quantizer), operands, strict=True))
        return torch.einsum(self.equation, *pair).to(x.dtype)

    def resources(self) -> Tensor:
        """EBOPs: for every product, its operands' widths multiplied; 0 before the first operands are seen.

        To that comes the rounding of both operands.
        """
        pair = [q.bits().width for q in (self.left_quantizer, self.right_quantizer)]
        if self.sizes is None:
            return (pair[0].sum() + pair[1].sum()) * 0
        wide = (w.expand(size) for w, size in zip(pair, self.sizes, strict=True))
        products = torch.einsum(f"{self.terms[0][1:]},{self.terms[1][1:]}->", *wide)
        return products + self.left_quantizer.resources() + self.right_quantizer.resources()

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of either operand."""
        return self.left_quantizer.formats().width, self.right_quantizer.formats().width

    def extra_repr(self) -> str:
        return self.equation


class QSoftmax(Layer):
    """Softmax over one axis: ``e * R(sum e)``, with ``e = E(max q - q)`` and ``q = Q(x)``.

    E and R are tables (`QFunction`) of ``exp(-scale d)`` and of the reciprocal; each quantises what it is given and
    what it answers. Difference, sum and product are exact, and nothing quantises the result: what reads it does. If
    not ``stable``, no maximum is taken and ``e = E(q)`` is a table of ``exp(scale q)``: smaller and sooner ready, for
    inputs whose range is known.

    - `dim`: the axis, the batch being axis 0; short, because the sum's table grows with it.
    - `scale`: factor of the inputs, free in hardware.
    - `data`: options of the quantiser Q of the inputs (`Quantizer`), of one format by default.
    - `keys`, `exp`: options of the two quantisers of E: of the differences (unsigned and saturating by default, so
      that far ones count as 0 where ``exp`` has no bit for them) and of its values (unsigned, below 2).
    - `total`, `inverse`: options of the two quantisers of R: of the sum (unsigned and saturating; its integer bits are
      trained) and of its values.

    Raises ValueError for ``dim=0`` or bad options.
    """

    def __init__(
        self,
        dim: int = -1,
        *,
        scale: float = 1.0,
        stable: bool = True,
        data: Options | None = None,
        keys: Options | None = None,
        exp: Options | None = None,
        total: Options | None = None,
        inverse: Options | None = None,
    ) -> None:
        super().__init__()
        if dim == 0:
            raise ValueError("axis 0 is the batch")
        self.dim, self.stable = dim, stable
        unsigned = {"signed": False, "overflow": "saturate"}
        more = 0 if stable else 2  # bits for what the maximum would have kept within 1 and the axis's length
        first = {**unsigned, "integer": 3, "fraction": 4, "signed": not stable}
        self.input_quantizer = Quantizer(**(data or {}))
        self.exp = QFunction(
            "exp",
            scale=-scale if stable else scale,
            data=first | (keys or {}),
            table={**unsigned, "integer": 1 + more, "fraction": 7} | (exp or {}),
        )
        self.inverse = QFunction(
            "reciprocal",
            data={**unsigned, "integer": 3 + more, "fraction": 5} | (total or {}),
            table={**unsigned, "integer": 1 + more, "fraction": 7} | (inverse or {}),
        )
        self.positions = 1  # elements in a sample

    def forward(self, x: Tensor) -> Tensor:
        self.positions = math.prod(x.shape[1:])
        q = self.input_quantizer(x if self.training else x.double())
        e = self.exp(q.amax(self.dim, keepdim=True) - q if self.stable else q)
        y: Tensor = e * self.inverse(e.sum(self.dim, keepdim=True))
        return y.to(x.dtype)

    def resources(self) -> Tensor:
        """EBOPs of the products with the reciprocal, the sum, the differences to the maximum, and the input's rounding.

        A maximum takes a comparison and a choice, a LUT per bit each. The tables count for themselves.
        """
        e, r = (f.table_quantizer.bits().width for f in (self.exp, self.inverse))
        data = self.input_quantizer.bits().width.sum() * (3 * self.stable)
        return (e * r + e + data) * self.positions + self.input_quantizer.resources()

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of the two factors."""
        e, r = (f.table_quantizer.formats().width for f in (self.exp, self.inverse))
        return e, r

    def extra_repr(self) -> str:
        return f"dim={self.dim}, stable={self.stable}"


class QAttention(Layer):
    """Multi-head self-attention on [B, positions, features] (Vaswani et al., arXiv 1706.03762, sec. 3.2).

    Queries, keys and values by a `QLinear` each, their products (`QProduct`) divided by sqrt(dim) through a
    `QSoftmax` over the positions, the values' means with those weights (`QProduct`), and a `QLinear` of them all.

    - `features`: of every position.
    - `heads`, `dim`: number of heads, and of each head's features; ``features // heads`` by default.
    - `out`: features of the result, as many as there are by default.
    - `data`, `weights`: options of the quantisers in the linear layers.
    - `products`: options of the quantisers of queries, keys and values.
    - `shares`: options of the quantiser of the softmax's results (unsigned and saturating by default).
    - `softmax`: options of `QSoftmax`.
    - `dropout`: share of the softmax's results that are left out in training.

    Raises ValueError if ``heads`` does not divide the features and no ``dim`` is given.
    """

    def __init__(
        self,
        features: int,
        heads: int = 1,
        dim: int | None = None,
        *,
        out: int | None = None,
        bias: bool = True,
        data: Options | None = None,
        weights: Options | None = None,
        products: Options | None = None,
        shares: Options | None = None,
        softmax: Options | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim is None and features % heads:
            raise ValueError(f"{heads} heads do not divide {features} features; give dim")
        self.heads, self.dim = heads, features // heads if dim is None else dim
        wide = heads * self.dim
        self.query, self.key, self.value = (
            QLinear(features, wide, bias, data=data, weights=weights) for _ in range(3)
        )
        self.scores = QProduct("bihd,bjhd->bhij", left=products, right=products)
        self.softmax = QSoftmax(**{"scale": self.dim**-0.5, **(softmax or {})})
        self.dropout = nn.Dropout(dropout)
        part = {"signed": False, "overflow": "saturate", "integer": 1, "fraction": 6} | (shares or {})
        self.mix = QProduct("bhij,bjhd->bihd", left=part, right=products)
        self.output = QLinear(
            wide, features if out is None else out, bias, data=_one_format(data), weights=weights
        )

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.training else x.double()
        q, k, v = (
            layer(wide).unflatten(-1, (self.heads, self.dim)) for layer in (self.query, self.key, self.value)
        )
        y: Tensor = self.output(self.mix(self.dropout(self.softmax(self.scores(q, k))), v).flatten(2))
        return y.to(x.dtype)


def _one_format(data: Options | None) -> Options:
    """The options without a shape of formats, which is that of the features."""
    return {k: v for k, v in (data or {}).items() if k != "shape"}
