"""Einstein sums, over products, sums and transposes that there are already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lutc.lowering.elementwise import multiply
from lutc.lowering.layout import picked
from lutc.lowering.linear import matmul, view
from lutc.lowering.operands import BROKEN, computed, keep_samples_apart
from lutc.lowering.reduce import summed
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Tensor
from lutc.lowering.walk import Walk


@dataclass(frozen=True, eq=False)
class Part:
    """An operand: one letter for each dimension, no letter twice."""

    tensor: Tensor
    letters: str

    def size(self, letter: str) -> int:
        return self.tensor.shape[self.letters.index(letter)]


def einsum(walk: Walk, tensors: Sequence[Tensor], equation: str) -> Scaled:
    """The Einstein sum of any number of tensors, taken in pairs from the left, with letters as numpy has them.

    Raises Refusal for equations that do not fit the operands, and for sums over the batch.
    """
    terms, out = _equation(equation, tensors)
    parts = [_diagonal(walk, Part(t, letters)) for t, letters in zip(tensors, terms, strict=True)]
    sizes: dict[str, int] = {}
    for p in parts:
        for letter in p.letters:
            n = p.size(letter)
            if {n, sizes.get(letter, n)} - {1, max(n, sizes.get(letter, n))}:
                raise Refusal(f"joins lengths {sizes[letter]} and {n} in dimension {letter!r}", BROKEN)
            sizes[letter] = max(n, sizes.get(letter, n))
    sample = _sample_letter(parts, out)
    done = parts[0]
    for i, p in enumerate(parts[1:], 1):
        later = out + "".join(q.letters for q in parts[i + 1 :])
        done = _product(walk, done, p, later, sample)
    done = _summed(walk, done, "".join(c for c in done.letters if c not in out))
    return computed(_ordered(walk, done, out).tensor)


def _equation(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """The letters of every operand and of the result, with capital letters of their own for an ellipsis."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = equation.replace("...", "").replace("->", "").replace(",", "").replace(" ", "")
    if len(terms) != len(tensors) or (letters and not letters.isalpha()):
        raise Refusal(f"has the equation {equation!r} for {len(tensors)} operands", BROKEN)
    free = [chr(c) for c in range(0x3B1, 0x3CA)]  # Greek: letters no equation uses
    dots = max(len(t.shape) - len(x.replace("...", "")) for t, x in zip(tensors, terms, strict=True))
    if not arrow:  # letters that stand once, in alphabetical order
        out = ("..." if "..." in left else "") + "".join(
            c for c in sorted(set(letters)) if letters.count(c) == 1
        )
    named = []
    for t, x in zip(tensors, terms, strict=True):
        count = len(t.shape) - len(x.replace("...", ""))
        if count < 0 or (count and "..." not in x):
            raise Refusal(f"has {x!r} for a tensor {list(t.shape)}", BROKEN)
        named.append(x.replace("...", "".join(free[dots - count : dots])))
    out = out.replace("...", "".join(free[:dots]))
    if any(out.count(c) > 1 or not any(c in x for x in named) for c in out):
        raise Refusal(
            f"has the equation {equation!r}, whose result names a dimension twice or none has", BROKEN
        )
    return named, out


def _sample_letter(parts: list[Part], out: str) -> str:
    """The letter that counts samples, or "". Raises Refusal if samples are summed, moved or joined."""
    found = {p.letters[:1] for p in parts if isinstance(p.tensor, Scaled) and p.tensor.batched}
    if not found:
        return ""
    sample = out[:1]
    for p in parts:
        alone = sample not in p.letters[1:] and (sample not in p.letters or p.size(sample) == 1)
        if found != {sample} or not alone:
            keep_samples_apart(next(q for q in map(_data, parts) if q and q.batched), (0,))
    return sample


def _data(p: Part) -> Scaled | None:
    return p.tensor if isinstance(p.tensor, Scaled) else None


def _diagonal(walk: Walk, p: Part) -> Part:
    """A letter that stands twice takes the elements where both indices agree."""
    letters = "".join(dict.fromkeys(p.letters))
    if letters == p.letters:
        return p
    place = np.arange(math.prod(p.tensor.shape)).reshape(p.tensor.shape)
    codes = {c: i for i, c in enumerate(letters)}
    at = np.einsum(place, [codes[c] for c in p.letters], [codes[c] for c in letters])
    if isinstance(p.tensor, Known):
        return Part(view(p.tensor, lambda a: a.ravel()[at]), letters)
    if p.letters.count(p.letters[0]) > 1:
        keep_samples_apart(p.tensor, (0,))
    return Part(picked(walk, p.tensor, lambda a: a.ravel()[at]), letters)


def _summed(walk: Walk, p: Part, gone: str) -> Part:
    """The sum over some letters."""
    if not gone:
        return p
    axes = [p.letters.index(c) for c in gone]
    letters = "".join(c for c in p.letters if c not in gone)
    if isinstance(p.tensor, Known):
        if p.tensor.codes is None or p.tensor.scale.size > 1:
            return Part(Known(p.tensor.array.sum(axis=tuple(axes))), letters)
        codes = p.tensor.codes.sum(axis=tuple(axes))
        return Part(Known(p.tensor.array.sum(axis=tuple(axes)), codes, p.tensor.scale.reshape(())), letters)
    shape = tuple(p.size(c) for c in letters)
    return Part(walk.reshape(summed(walk, p.tensor, axes), shape), letters)


def _ordered(walk: Walk, p: Part, letters: str) -> Part:
    """The operand with its letters in this order; a letter it lacks gets the length 1."""
    have = [c for c in letters if c in p.letters]
    perm = tuple(p.letters.index(c) for c in have)
    shape = tuple(p.size(c) if c in p.letters else 1 for c in letters)
    if isinstance(p.tensor, Known):
        return Part(view(p.tensor, lambda a: a.transpose(perm).reshape(shape)), letters)
    return Part(walk.reshape(walk.transpose(p.tensor, perm), shape), letters)


def _product(walk: Walk, a: Part, b: Part, later: str, sample: str) -> Part:
    """Two operands as one, with the letters that are read later."""
    if isinstance(a.tensor, Known):
        a, b = b, a
    a = _summed(walk, a, "".join(c for c in a.letters if c not in b.letters + later))
    b = _summed(walk, b, "".join(c for c in b.letters if c not in a.letters + later))
    shared = [c for c in a.letters if c in b.letters and c != sample]
    inner = "".join(c for c in shared if c not in later)
    if not inner:  # nothing to sum: element by element
        letters = sample + "".join(dict.fromkeys((a.letters + b.letters).replace(sample or " ", "")))
        x, y = (_ordered(walk, p, letters).tensor for p in (a, b))
        return Part(multiply(walk, x, y), letters)
    if any(p.size(c) != max(a.size(c), b.size(c)) for p in (a, b) for c in shared):
        a, b = (_widened(walk, p, {c: max(a.size(c), b.size(c)) for c in shared}) for p in (a, b))
    outer = "".join(c for c in shared if c in later)
    left = "".join(c for c in a.letters if c not in b.letters and c != sample)
    right = "".join(c for c in b.letters if c not in a.letters and c != sample)
    n = {c: p.size(c) for p in (b, a) for c in p.letters if c != sample}
    count = {k: math.prod(n[c] for c in k) for k in (outer, left, inner, right)}
    x = _ordered(walk, a, sample + outer + left + inner).tensor
    y = _ordered(walk, b, sample + outer + inner + right).tensor
    # Samples, or a dimension of length 1 in their place, come first; a circuit's value does not have it.
    x = walk.reshape(computed(x), (1, count[outer], count[left], count[inner]))
    matrices = (count[outer], count[inner], count[right])
    if isinstance(y, Known):
        y = view(y, lambda v: v.reshape(matrices if outer else matrices[1:]))
    else:
        y = walk.reshape(y, (1, *matrices))
    product = matmul(walk, x, y)
    letters = sample + outer + left + right
    shape = tuple(1 if c == sample else n[c] for c in letters)
    return Part(walk.reshape(product, shape), letters)


def _widened(walk: Walk, p: Part, sizes: dict[str, int]) -> Part:
    """A dimension of length 1 repeated, as an ellipsis allows."""
    shape = tuple(sizes.get(c, p.size(c)) for c in p.letters)
    if isinstance(p.tensor, Known):
        return Part(view(p.tensor, lambda a: np.broadcast_to(a, shape)), p.letters)
    return Part(walk.broadcast(p.tensor, shape), p.letters)
