"""What the compiled kernels are given and fill, bundled; the words are those of `lutc.nn.kernels`.

Arrays are by edge [E], group [G], point [P] or output [n_out], unless a shape is said. numba takes the records apart
when it compiles: reading one costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from .quantizer import Array


class Codes(NamedTuple):
    """How groups quantise their input: lo and hi limit the codes, in the data's float type, up to 2**30 in size."""

    owner: Array  # [G] the group's input
    scale: Array  # [G] 2**fraction
    lo: Array  # [G]
    hi: Array  # [G]
    rounding: int


class Numbering(NamedTuple):
    """What `kernels.points` finds. Group g's points start at g times the room that each group has."""

    point_of: Array  # [G, B] a sample's point
    x_at: Array  # values of the points, and how many samples lie on each (float)
    weight: Array
    size: Array  # [G] how many points there are, padding included
    low: Array  # [G] extreme codes of the batch
    high: Array  # [G]


class Points(NamedTuple):
    """Where edges are evaluated, and which samples read them there."""

    place: Array  # [E] edge -> position
    group: Array  # [E] position -> group
    start: Array  # [G] where a group's points start
    at: Array  # [E + 1] where a position's table starts
    point_of: Array  # [G, B] a sample's point
    x_at: Array  # values of the points, and how many samples lie on each
    weight: Array


class Groups(NamedTuple):
    """The groups of every input, and their edges."""

    first: Array  # [n_in + 1] groups of an input
    edges: Array  # [G + 1] positions of a group
    edge: Array  # [E] position -> edge


class Networks(NamedTuple):
    """The edges' networks of one hidden layer; not `compiled`, their values are there already, and these are empty."""

    compiled: bool
    activation: int
    w1: Array  # [E, hidden]
    b1: Array  # [E, hidden]
    w2: Array  # [E, hidden]
    b2: Array  # [E]


class Normed(NamedTuple):
    """A batch norm by output: `kind` is BATCH, whose statistics the running ones follow, or GIVEN, or NONE."""

    kind: int
    momentum: float
    eps: float
    divisor: float  # sqrt(n_in)
    running_mean: Array
    running_var: Array
    gamma: Array
    beta: Array
    mean: Array  # float64, the statistics in use
    var: Array


class Values(NamedTuple):
    """The networks' values at all points, and their derivatives there."""

    t: Array  # [P]
    slope: Array  # [P]


class Steps(NamedTuple):
    """The table quantiser by edge, 2**fraction and the largest code; by output, a table value is gain * t + bias."""

    scale: Array  # [E]
    limit: Array  # [E]
    gain: Array  # [n_out]
    bias: Array  # [n_out]


class Gradients(NamedTuple):
    """What `kernels_backward.outputs_backward` finds."""

    value: Array  # [P] at each point's value
    per_sample: Array  # [P] see `kernels_backward._norm_backward`
    offset: Array  # [P]
    affine: Array  # [2, n_out] at gamma and beta
    fraction: Array  # [E] at the table quantiser's bits
    integer: Array  # [E]
    w1: Array  # of compiled networks, as in `Networks`
    b1: Array
    w2: Array
    b2: Array


class Keys(NamedTuple):
    """How edges look a value up: scale, lowest code, entries (a power of two if it wraps), place in the flat table."""

    scale: Array  # [E]
    lo: Array  # [E]
    entries: Array  # [E]
    at: Array  # [E + 1]
    rounding: int
    wrap: bool
