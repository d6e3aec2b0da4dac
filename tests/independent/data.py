"""Numbers of constants, tables, attributes and runs: of lists in the text, and of .npy files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .formats import MOST_ELEMENTS, Wrong
from .operations import Asked
from .text import Branch, Datum, FileName, Leaf, number_of

RULE = "text#numbers-and-data"
Placed = tuple[Fraction, int]
"""A number and the line it stands in."""


class WrongAt(Wrong):
    """A broken rule whose line is known."""

    def __init__(self, line: int, rule: str, message: str) -> None:
        super().__init__(rule, message)
        self.line = line


def leaf_number(leaf: Leaf) -> Fraction:
    try:
        return number_of(leaf.text)
    except Wrong as error:
        raise WrongAt(leaf.line, error.rule, str(error)) from None


def row(branch: Branch, length: int) -> list[Placed]:
    """The numbers of a list without brackets inside."""
    leaves = [item for item in branch.items if isinstance(item, Leaf)]
    if len(leaves) != len(branch.items):
        raise WrongAt(branch.line, RULE, "brackets do not follow the shape")
    if sum(leaf.count for leaf in leaves) != length:
        raise WrongAt(branch.line, RULE, f"this list should have {length} numbers")
    return [placed for leaf in leaves for placed in [(leaf_number(leaf), leaf.line)] * leaf.count]


def nested(branch: Branch, shape: Sequence[int]) -> list[Placed]:
    """The numbers of a list whose brackets follow a shape, or of one without brackets inside."""
    if not any(isinstance(item, Branch) for item in branch.items):
        return row(branch, math.prod(shape))
    return by_shape(branch, shape)


def by_shape(branch: Branch, shape: Sequence[int]) -> list[Placed]:
    if len(shape) <= 1:
        return row(branch, math.prod(shape))
    inner = [item for item in branch.items if isinstance(item, Branch)]
    if len(inner) != len(branch.items) or len(inner) != shape[0]:
        raise WrongAt(branch.line, RULE, "brackets do not follow the shape")
    return [placed for item in inner for placed in by_shape(item, shape[1:])]


def of_constant(data: Datum | FileName, shape: Sequence[int], folder: Path) -> list[Placed]:
    if isinstance(data, FileName):
        return from_file(data, shape, folder, any_shape=False)
    if isinstance(data, Leaf):
        if shape:
            raise WrongAt(data.line, RULE, "a tensor's numbers stand in a list")
        return [(leaf_number(data), data.line)]
    return nested(data, shape)


def of_table(data: Datum | FileName, entries: int, folder: Path) -> list[Placed]:
    if isinstance(data, FileName):
        return from_file(data, (entries,), folder, any_shape=True)
    if isinstance(data, Leaf):
        raise WrongAt(data.line, RULE, "a table's numbers stand in a list")
    return row(data, entries)


def at_port(data: Datum, shape: Sequence[int]) -> list[Fraction]:
    """The numbers of a run at a port: a single one counts for each element."""
    if isinstance(data, Leaf):
        return [leaf_number(data)] * math.prod(shape)
    return [number for number, _ in nested(data, shape)]


def from_file(name: FileName, shape: Sequence[int], folder: Path, *, any_shape: bool) -> list[Placed]:
    path = (folder / name.path).resolve()
    if Path(name.path).is_absolute() or not path.is_relative_to(folder.resolve()):
        raise WrongAt(name.line, RULE, "the path leads out of the folder of the text")
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise WrongAt(name.line, RULE, "the file is not there, or no .npy") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise WrongAt(name.line, RULE, "the file has no integers, truth values or floats of up to 64 bits")
    flat_one = array.ndim == 1 or any_shape
    if array.size != math.prod(shape) or not (flat_one or array.shape == tuple(shape)):
        raise WrongAt(name.line, RULE, "the array has another shape")
    if not np.isfinite(array).all():
        raise WrongAt(name.line, RULE, "not everything is a number")
    return [(Fraction(number), name.line) for number in array.ravel().tolist()]


def of_attribute(asked: Asked, data: Datum) -> Any:
    """The value of an attribute."""
    if isinstance(data, Leaf):
        one = of_leaf(asked, data)
        return [one] if asked.many else one
    if not asked.many:
        raise WrongAt(data.line, "text#statements", "one value is asked for, and no list")
    out: list[Any] = []
    for item in data.items:
        if isinstance(item, Branch):
            raise WrongAt(item.line, RULE, "an attribute takes a flat list")
        if item.count > MOST_ELEMENTS:
            raise WrongAt(item.line, "structure#limits", "too many")
        out += [of_leaf(asked, item)] * item.count
    return out


def of_leaf(asked: Asked, leaf: Leaf) -> Fraction | int | str:
    if asked.kind == "word":
        word = "nearest-half-up" if leaf.text == "nearest" else leaf.text
        if word not in asked.words:
            raise WrongAt(leaf.line, "text#statements", f"'{leaf.text}' is none of {', '.join(asked.words)}")
        return word
    number = leaf_number(leaf)
    if asked.kind == "rational":
        return number
    if number.denominator != 1:
        raise WrongAt(leaf.line, "text#statements", f"{leaf.text} is no integer")
    return number.numerator
