"""Products with a trained constant in Einstein's notation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .costs import Item, Products, rounding
from .layers import Options, _Affine


class QEinsum(_Affine):
    """``einsum(equation, Q(x), Q(W))`` with a trained constant W of shape ``weight_shape``.

    The equation names every dimension with a letter, the batch first, as in ``"bij,jk->bik"``. A letter stands once
    in a term; the batch's is the result's first, and the constant's letters all stand in another term too.

    ``data`` and ``weights`` are options of the quantisers (`Quantizer`): by default one format for the input, which
    follows its range, and one per weight. Raises ValueError for an equation that is none of this form.
    """

    def __init__(
        self,
        equation: str,
        weight_shape: tuple[int, ...],
        *,
        data: Options | None = None,
        weights: Options | None = None,
    ) -> None:
        self.equation = equation.replace(" ", "")
        self.terms = _terms(self.equation)
        if len(self.terms[1]) != len(weight_shape):
            raise ValueError(f"{equation!r} with a constant of shape {tuple(weight_shape)}")
        self.size: tuple[int, ...] | None = None  # of the last input, without the batch
        super().__init__(tuple(weight_shape), (), False, data, weights)

    def _draw(self) -> None:
        _, constant, out = self.terms
        sizes = zip(constant, self.weight.shape, strict=True)
        bound = 1 / math.sqrt(max(math.prod(n for c, n in sizes if c not in out), 1))
        nn.init.uniform_(self.weight, -bound, bound)

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.size = tuple(x.shape[1:])
        return torch.einsum(self.equation, x, weight)

    def costs(self) -> list[Item]:
        """EBOPs: for every product, its operands' widths multiplied; for an input like the last one seen.

        To that comes the rounding of the input.
        """
        data, constant, _ = self.terms
        sizes = dict(zip(constant, self.weight.shape, strict=True))
        sizes |= dict(zip(data[1:], self.size or [sizes.get(c, 1) for c in data[1:]], strict=True))
        operands = [(self.input_quantizer, data[1:]), (self.weight_quantizer, constant)]
        formats = [
            dict(zip(letters, (1,) * (len(letters) - len(q.shape)) + q.shape, strict=True))
            for q, letters in operands
        ]
        kept = [
            c for c in sizes if any(f.get(c, 1) > 1 for f in formats)
        ]  # all else only repeats the same products
        at = [
            torch.arange(math.prod(f.values()))
            .reshape([f.get(c, 1) for c in letters])
            .permute(
                [letters.index(c) for c in kept if c in letters]
                + [letters.index(c) for c in f if c not in kept]
            )
            .reshape([f.get(c, 1) for c in kept])
            .expand([sizes[c] for c in kept])
            for f, (_, letters) in zip(formats, operands, strict=True)
        ]
        pairs = [v.flatten().numpy().astype(np.uint32) for v in at]
        times = math.prod(n for c, n in sizes.items() if c not in kept)
        (inputs, _), (weights, _) = operands
        return [Products(inputs, weights, pairs[0], pairs[1], times), rounding(inputs)]


def _terms(equation: str) -> tuple[str, str, str]:
    left, arrow, out = equation.partition("->")
    parts: list[Any] = left.split(",")
    fits = arrow and len(parts) == 2 and all(t.isascii() and t.isalpha() for t in (*parts, out))
    if fits:
        data, constant = parts
        fits = (
            all(len(set(t)) == len(t) for t in (data, constant, out))
            and set(constant) <= set(data + out)
            and set(out) <= set(data + constant)
            and data[0] == out[0]
            and data[0] not in constant
        )
    if not fits:
        raise ValueError(f"{equation!r} is no equation such as 'bij,jk->bik'")
    return parts[0], parts[1], out
