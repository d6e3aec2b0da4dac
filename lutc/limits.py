"""How large things may be: beyond these numbers it is a slip of the pen, or more than any device and machine holds.

What is too large is refused before the work is done, with the place and the number. `LUTC_MAX_OPERATIONS` in the
environment raises (or lowers) `operations` and `scalars`, for those who have the time and the memory.
"""

from __future__ import annotations

import os

MAX_WIDTH = 4096  # bits of a format: wider than any sane circuit
MAX_RANK = 16  # dimensions of a tensor: the arrays they are computed with have up to 32
MAX_KEY = 20  # bits of a table's key: a million entries
MAX_DIGITS = 4000  # of a number in the text; no format of MAX_WIDTH bits needs as many
MAX_ELEMENTS = 1 << 24  # of one tensor, and entries of one table: an array of them takes 128 MB
MAX_ALL_ELEMENTS = 1 << 26  # of all tensors of a design together, each of which keeps such an array
MAX_DEPTH = 100  # of functions that call each other: as many modules, one inside the other

VARIABLE = "LUTC_MAX_OPERATIONS"
_OPERATIONS = 1 << 24  # loading and running takes a minute and a gigabyte; the largest device has 2**21 LUTs
_SCALARS = (
    1 << 22
)  # values of the scalar stage take a kilobyte each: compiling takes hours and some 8 gigabytes


def operations() -> int:
    """The most scalar operations of a design, those of a function counted for every call."""
    return _raised() or _OPERATIONS


def scalars() -> int:
    """The most values of a design at the scalar stage, those of a function counted once."""
    return _raised() or _SCALARS


def _raised() -> int | None:
    text = os.environ.get(VARIABLE, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


SMALLER = "every element becomes a circuit of its own: make the tensors smaller"
ADVICE = (
    "each becomes a circuit of its own: make the layer or its input smaller, or, with time and memory to spare, "
    f"set {VARIABLE}=N in the environment"
)
