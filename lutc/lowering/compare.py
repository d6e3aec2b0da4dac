"""An independent look: the framework that made a model runs it, and the design has to give the same answers.

An importer that drops an option agrees with itself in every later test. So a loaded design is compared once with the
model as its own framework runs it, on corners, random numbers and numbers between the steps of the ports. First in
the framework's own floats: if those give the design's numbers, that is all. Else float32 may have rounded where the
design does not, and the framework runs in double precision: its answers have to be the design's, to what doubles lose.
What differs then is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error
from lutc.ir.graph import Design, Param

Reals = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

ROWS = 18
DOUBLE = 2.0**-36  # of the largest number: what doubles may lose in a sum
SINGLE = 2.0**-16  # of the largest number: what float32 may lose in one
EXACT = 2.0**20  # steps that float32 counts, with halves of them to spare
UNSURE = (
    "float32's rounding may be the reason: where a result lies between two steps, --no-compare takes the exact design; "
    "where it does not, please report it with the model"
)
HELP = "this is a mistake in lutc: please report it with the model; --no-compare takes the design as it is"


class CannotRun(Exception):
    """The framework cannot run this model, or not in this precision; the text says why."""


class Framework(Protocol):
    """A framework with a model of its own."""

    @property
    def name(self) -> str:
        """As people know it, with its version."""

    def run(self, inputs: Arrays, double: bool) -> Sequence[NDArray[Any]]:
        """Its answers to samples `(batch, *shape)` by port, one array `(batch, ...)` per output port.

        With `double` every float in the model and in what it computes is a double. Raises CannotRun.
        """


@dataclass(frozen=True)
class Look:
    """What the comparison has to know of a design besides itself.

    `fixed` names the inputs whose formats the user gave: they take no number between their steps. `hosts` gives, by
    output port, what is left to the host: it is applied to the design's numbers (float64, batch first) beforehand,
    and makes them floats, which need not be equal to the last bit. With `undefined` the model has functions that are
    no number for some inputs, where the design's answer is its own: samples to which the framework answers NaN are
    not compared then.
    """

    fixed: Collection[str] = ()
    undefined: bool = False
    hosts: Mapping[str, Callable[[Reals], Reals]] = field(default_factory=dict)


def compared(design: Design, framework: Framework, where: str, look: Look | None = None) -> Design:
    """The design, which now says what it was compared with. Raises LirError if the framework answers otherwise."""
    look = look or Look()
    inputs = {p.name or "": samples(p, (p.name or "") in look.fixed) for p in design.params}
    try:
        own = framework.run(inputs, False)
    except CannotRun as reason:
        return not_compared(design, f"{framework.name} cannot run it: {reason}")
    found = design.run(**inputs) if inputs else {}
    answers = list(found.values()) if isinstance(found, dict) else [found]
    mine = [
        look.hosts[o.name](floats(a)) if o.name in look.hosts else floats(a)
        for o, a in zip(design.outputs, answers, strict=True)
    ]
    whole, own = mine, _fitted(design, mine, own, framework, where)
    loose = [o.name in look.hosts for o in design.outputs]
    rows = _defined(own) if look.undefined else np.arange(ROWS)
    if not len(rows):
        return not_compared(design, "every test input meets a function where it is no number")
    mine, own = [a[rows] for a in mine], [b[rows] for b in own]
    said = f"{framework.name}, {len(rows)} samples"
    moved = sum(int((~_equal(a, b, host)).sum()) for a, b, host in zip(mine, own, loose, strict=True))
    if not moved:
        return replace(design, compared=f"{said}: equal")
    try:
        precise = [b[rows] for b in _fitted(design, whole, framework.run(inputs, True), framework, where)]
    except CannotRun as reason:
        if all(close(a, b, SINGLE).all() for a, b in zip(mine, own, strict=True)):
            return replace(design, compared=f"{said}: equal to within float32's rounding")
        how = f" (double precision: {reason})"
        raise _different(design, mine, own, SINGLE, framework, where, how, UNSURE) from None
    if not all(close(a, b, DOUBLE).all() for a, b in zip(mine, precise, strict=True)):
        raise _different(design, mine, precise, DOUBLE, framework, where, " in double precision")
    return _noted(design, mine, own, said)


def not_compared(design: Design, reason: str) -> Design:
    """The design, which says that nobody else has looked at it, and why."""
    return replace(design, compared=f"not compared: {reason}")


def samples(port: Param, fixed: bool = False) -> NDArray[np.float64]:
    """Real numbers for a port, `(ROWS, *shape)`, each a float32: zero, the range's ends, and random ones.

    Unless the format is `fixed` by the user, who then promises such inputs, some lie between the port's steps and
    some beyond its range; but none has more steps than float32 can round, for a wide range may never have been meant.
    """
    rng = np.random.default_rng(0)
    formats = port.type.formats
    step = np.array([float(port.scale * f.step) for f in formats])
    lo, hi = (np.array([float(getattr(f, end)) for f in formats]) for end in ("lo", "hi"))
    if not fixed:
        lo, hi = np.clip(lo, -EXACT, EXACT), np.clip(hi, -EXACT, EXACT)
    codes = np.rint(rng.uniform(lo, hi, (ROWS, len(formats))))
    codes[0], codes[1], codes[2] = np.clip(0, lo, hi), lo, hi
    if not fixed:
        # Quarters of a step are exact where steps are powers of two; elsewhere keep off the ties.
        dyadic = (np.frexp(step)[0] == 0.5) | (step == 0)
        between = np.where(
            dyadic, rng.integers(-2, 3, codes.shape) / 4, rng.uniform(-0.45, 0.45, codes.shape)
        )
        codes[3:] += between[3:]
        codes[3:6] *= 3
        codes = np.clip(codes, -EXACT, EXACT)
    reals = (codes * step + float(port.offset)).astype(np.float32)
    if fixed:
        ends = [sorted(port.scale * f.value(c) + port.offset for c in (f.lo, f.hi)) for f in formats]
        reals = np.clip(reals, *(np.array([_inside(*e)[i] for e in ends], np.float32) for i in (0, 1)))
    found: NDArray[np.float64] = reals.astype(np.float64).reshape(ROWS, *port.type.shape)
    return found


def _inside(lo: Fraction, hi: Fraction) -> tuple[np.float32, np.float32]:
    """The outermost float32 numbers between two numbers."""
    low, high = np.float32(float(lo)), np.float32(float(hi))
    if Fraction(float(low)) < lo:
        low = np.nextafter(low, np.float32(np.inf))
    if Fraction(float(high)) > hi:
        high = np.nextafter(high, np.float32(-np.inf))
    return low, high


def floats(numbers: Any) -> Reals:
    """Real numbers of any kind as doubles."""
    array = np.asarray(numbers)
    if array.dtype != object:
        return array.astype(np.float64)
    return np.array([float(v) for v in array.ravel().tolist()]).reshape(array.shape)


def _fitted(
    design: Design, mine: Sequence[Reals], theirs: Sequence[Any], framework: Framework, where: str
) -> list[Reals]:
    """The framework's answers in the shapes of the design's. Raises LirError if they do not fit."""
    if len(theirs) != len(mine):
        raise error(
            f"has {len(theirs)} outputs in {framework.name} and {len(mine)} in the design",
            where=where,
            help=HELP,
        )
    found = []
    for output, a, b in zip(design.outputs, mine, map(floats, theirs), strict=True):
        if a.size != b.size:
            raise error(
                f"its output {output.name!r} has {b.size // len(a)} numbers in {framework.name}, "
                f"{a.size // len(a)} in the design",
                where=where,
                help=HELP,
            )
        found.append(b.reshape(a.shape))
    return found


def _defined(answers: Sequence[Reals]) -> Any:
    """The samples to which every answer is a number."""
    return np.flatnonzero(np.all([~np.isnan(a).reshape(ROWS, -1).any(axis=1) for a in answers], axis=0))


def _equal(mine: Reals, theirs: Reals, loose: bool) -> Any:
    if loose:
        return close(mine, theirs, SINGLE)
    return (mine == theirs) | (mine.astype(np.float32) == theirs)


def close(mine: Reals, theirs: Reals, part: float) -> Any:
    """Where numbers differ by no more than this part of the largest of theirs."""
    return np.abs(mine - theirs) <= part * max(1e-300, float(np.abs(theirs).max(initial=0)))


def _different(
    design: Design,
    mine: Sequence[Reals],
    theirs: Sequence[Reals],
    part: float,
    framework: Framework,
    where: str,
    how: str,
    help: str = HELP,
) -> Exception:
    for output, a, b in zip(design.outputs, mine, theirs, strict=True):
        bad = np.argwhere(~close(a, b, part))
        if len(bad):
            at = tuple(bad[0])
            place = f"[{', '.join(map(str, at[1:]))}]" if len(at) > 1 else ""
            return error(
                f"its output {output.name}{place} is {b[at]:.10g} in {framework.name}{how} and {a[at]:.10g} in the "
                f"design, for test input {at[0]}; {len(bad)} of {a.size} numbers differ",
                where=where,
                help=help,
            )
    raise AssertionError("nothing differs")


def _noted(design: Design, mine: Sequence[Reals], own: Sequence[Reals], said: str) -> Design:
    """The design, with a note if the framework's floats round to other steps, not only in their last bits."""
    moved = sum(int((~close(a, b, SINGLE)).sum()) for a, b in zip(mine, own, strict=True))
    if not moved:
        return replace(design, compared=f"{said}: equal to within float32's rounding")
    most = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(mine, own, strict=True))
    numbers = f"{moved} of {sum(a.size for a in mine)} numbers"
    note = (
        f"in float32 the model gives {numbers} otherwise on test inputs, by up to {most:.4g}, where its own sums and "
        "scales round to another step: the design has the numbers of double precision"
    )
    return replace(design, compared=f"{said}: equal in double precision", notes=(*design.notes, note))
