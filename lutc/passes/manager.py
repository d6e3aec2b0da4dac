"""A pass is a frozen value, a pipeline a list of them; verifying, dumping and checking are the runner's job."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from lutc import extensions
from lutc.choices import PASS_NAME
from lutc.diagnostics import Diagnostic, LirError, did_you_mean, error, noted, shortened
from lutc.extensions import Maker
from lutc.ir.graph import Design, Value, owners
from lutc.ir.interp import execute
from lutc.ir.verify import verify, violations
from lutc.passes.context import Context
from lutc.passes.dump import Dump


@dataclass(frozen=True)
class Pass:
    """Design in, design out; the fields are its options, the docstring its help.

    An option that makes no sense is refused when the pass is made (`__post_init__` raises LirError), before any has
    run. What it needs to know of the target, and how long it may look, stands in the context.
    """

    name: ClassVar[str]
    # Whether it may change the answers to inputs that are not assumed (`Context.assumed`).
    assumes: ClassVar[bool] = False

    def __call__(self, design: Design, context: Context) -> Design:
        raise NotImplementedError

    def tolerance(self, before: Design, after: Design) -> dict[str, list[tuple[int, int]]] | None:
        """How far the elements of each output may be off, lowest and highest, in their last bits; None: not at all."""
        return None

    def __str__(self) -> str:
        given = ((f, getattr(self, f.name)) for f in fields(self))
        return _written(self.name, [f"{f.name}={_spelled(v)}" for f, v in given if v != _default(f)])


Observer = Callable[[int, Pass, Design], None]


def run(
    design: Design,
    passes: Sequence[Pass],
    context: Context | None = None,
    *,
    dump: Path | None = None,
    check: int = 0,
    observer: Observer | None = None,
    each: bool = True,
) -> Design:
    """Run passes in order and verify the design after each, or of lutc's own only after the last one.

    `context` is what all of them are told (the usual target and effort if none is given).
    `dump` is a folder for the designs after each pass (see `lutc.passes.dump`). `check` is the number of random vectors
    on which the design must mean the same after each pass as before, or something within what the pass promises; the
    first difference raises LirError, and so does a pass that changes how the design is used from outside: its name and
    its ports. Where inputs are assumed, so many of those are compared as well, and what the
    design means on random vectors may be changed by passes that assume. `observer` is told of every pass that has run.
    """
    context = context or Context()
    dumped = Dump(dump) if dump else None
    if dumped:
        dumped.put(0, "input", design)
    compared = Compared(design, context, check)
    right: set[Value] = set()  # values verified already
    for number, step in enumerate(passes, 1):
        maker = extensions.maker(extensions.PASSES, step.name, type(step))
        before = design
        with maker.answering():
            design = step(before, context)
            _unchanged(maker, before, design)
        if design.stage is not before.stage:
            right.clear()
        if each or number == len(passes) or not maker.own:
            _verified(maker, before, design, right)
            right.update(v for owner in owners(design) for v in owner.values)
        if dumped:
            dumped.put(number, step.name, design)
        compared.look(maker, step, before, design)
        if observer:
            observer(number, step, design)
    if dumped:
        dumped.end()
    return design


class Compared:
    """What a design answers to some vectors, before and after each pass."""

    def __init__(self, design: Design, context: Context, check: int) -> None:
        self.vectors: dict[str, dict[str, Any]] = {}
        if check and context.assumed:
            self.vectors["assumed row"] = {name: x[:check] for name, x in context.assumed.codes.items()}
        if check:
            self.vectors["random vector"] = random_codes(design, check)
        self.expected = {what: execute(design, codes) for what, codes in self.vectors.items()}

    def look(self, maker: Maker, step: Pass, before: Design, after: Design) -> None:
        """Raise LirError if a pass changed an answer that it may not change."""
        for what, codes in self.vectors.items():
            got = self.expected[what] if after is before else execute(after, codes)
            if what == "assumed row" or not step.assumes:
                with maker.answering():
                    tolerance = _promised(maker, step.tolerance(before, after), after)
                    _same(maker, got, self.expected[what], tolerance, what)
            self.expected[what] = got


def _unchanged(maker: Maker, before: Design, after: Any) -> None:
    """Raise LirError if a pass gives no design, or one that is used otherwise from outside."""
    if not isinstance(after, Design):
        raise LirError(maker.fault(f"gave a {type(after).__name__} in place of a design"))
    was, now = _outside(before), _outside(after)
    if was != now:
        raise LirError(
            *(
                maker.fault(f"changed {what}: {_shown(was[what])} became {_shown(now[what])}")
                for what in was
                if what in now and was[what] != now[what]
            )
        )


def _outside(design: Design) -> dict[str, Any]:
    """What a design is from outside, which no pass may change, by the words for it."""
    found: dict[str, Any] = {
        "the design's name": design.name,
        "the inputs": [p.name for p in design.params],
        "the outputs": [o.name for o in design.outputs],
    }
    for p in design.params:
        parts: dict[str, Any] = {"format": p.type, "rounding": p.round.value, "overflow": p.overflow.value}
        parts |= {"scale": p.scale, "offset": p.offset}
        found |= {f"the {part} of input {p.name!r}": said for part, said in parts.items()}
    for o in design.outputs:
        parts = {"format": o.value.type, "scale": o.scale, "offset": o.offset}
        found |= {f"the {part} of output {o.name!r}": said for part, said in parts.items()}
    return found


def _shown(said: Any) -> str:
    return shortened(", ".join(map(str, said)) if isinstance(said, list | tuple) else str(said))


def _verified(maker: Maker, before: Design, after: Design, right: set[Value]) -> None:
    """Raise LirError if a pass makes a design that is not well-formed."""
    with maker.answering():
        found = violations(after, known=right)
    if found:
        verify(before)  # what was wrong already is not the pass's doing
        raise LirError(*(maker.fault(f"made what is no design: {d.message}") for d in found))


Tolerance = dict[str, list[tuple[int, int]]]


def _promised(maker: Maker, found: Tolerance | None, design: Design) -> Tolerance | None:
    """How far a pass says that the outputs may be off."""
    sizes = {o.name: o.value.type.size for o in design.outputs}
    if found is not None and {name: len(some) for name, some in found.items()} != sizes:
        raise LirError(
            maker.fault("has a tolerance that is not a (lowest, highest) for each element of every output")
        )
    return found


def random_codes(design: Design, count: int) -> dict[str, Any]:
    """Codes over the whole of every port's range, its ends among them."""
    rng = np.random.default_rng(0)
    codes = {}
    for param in design.params:
        columns = []
        for fmt in param.type.formats:
            words = [int.from_bytes(rng.bytes(-(-fmt.width // 8) or 1), "little") for _ in range(count)]
            column = [fmt.lo, fmt.hi, *(w % (fmt.hi - fmt.lo + 1) + fmt.lo for w in words)]
            columns.append(column[:count])
        codes[param.name or ""] = np.array(columns, dtype=object).T.reshape(count, *param.type.shape)
    return codes


def _same(
    maker: Maker, got: dict[str, Any], expected: dict[str, Any], tolerance: Tolerance | None, what: str
) -> None:
    for port, want in expected.items():
        off = got[port] - want
        lo, hi = (0, 0) if tolerance is None else _ends(tolerance[port], off.shape[1:])
        wrong = np.argwhere(np.asarray((off < lo) | (off > hi)))
        if len(wrong):
            promised = "" if tolerance is None else " by more than is proven"
            said = f"changed output {port!r} on {what} {int(wrong[0][0])}{promised}"
            raise LirError(maker.fault(said))


def _ends(intervals: list[tuple[int, int]], shape: tuple[int, ...]) -> list[Any]:
    """The lower and the upper ends of the elements' intervals, as arrays of a shape."""
    return [np.array([i[k] for i in intervals], dtype=object).reshape(shape) for k in (0, 1)]


_STEP = re.compile(r"\s*(" + PASS_NAME + r")\s*(?:\{([^}]*)\})?\s*(?:,|$)")


def read_passes(text: str, find: Callable[[str], type[Pass]]) -> list[Pass]:
    """The passes of a text, each by its name; what `find` refuses is told with the rest."""
    steps: list[Pass] = []
    wrong: list[Diagnostic] = []
    at = 0
    while at < len(text.rstrip()):
        match = _STEP.match(text, at)
        if not match:
            raise error(
                f"cannot read the passes from {text[at:]!r} on",
                help='write -p "scalarize, pipeline{stages=2}"',
            )
        at = match.end()
        with noted(wrong):
            steps.append(_made(find(match[1]), match[2] or ""))
    if wrong:
        raise LirError(*dict.fromkeys(wrong))
    return steps


def usage(kind: type[Pass]) -> str:
    """How a pass is written, each of its options with what it is if nobody says."""
    return _written(kind.name, [f"{f.name}={_spelled(_default(f))}" for f in _options(kind)])


def about(kind: type[Pass]) -> str:
    """What a pass says of itself, in a line."""
    said = (kind.__doc__ or "").strip()
    # A dataclass without a docstring is given its signature for one.
    return (
        "(it says nothing of itself)"
        if not said or said.startswith(f"{kind.__name__}(")
        else said.splitlines()[0]
    )


def _written(name: str, options: Sequence[str]) -> str:
    return name + ("{" + ", ".join(options) + "}" if options else "")


def _options(kind: type[Pass]) -> list[Field[Any]]:
    return [f for f in fields(kind) if f.init]


def _default(option: Field[Any]) -> Any:
    """What an option is if nobody says; `...` if somebody must."""
    if option.default_factory is not MISSING:
        return option.default_factory()
    return ... if option.default is MISSING else option.default


def _spelled(value: Any) -> str:
    return "none" if value is None else "..." if value is ... else str(value)


def _made(kind: type[Pass], text: str) -> Pass:
    """A pass with its options as they are written."""
    maker = extensions.maker(extensions.PASSES, kind.name, kind)
    with maker.answering():  # its annotations, and what it checks, are its maker's
        hints = get_type_hints(kind)
        known = {f.name: _default(f) for f in _options(kind)}
    given: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, _, value = (x.strip() for x in part.partition("="))
        if key not in known:
            help = did_you_mean(key, list(known)) or "leave it away: the pass has none"
            raise error(f"pass {kind.name} has no option {key!r}", help=help)
        if key in given:
            raise error(f"pass {kind.name} is given {key!r} twice", help="leave one of them away")
        given[key] = _value(hints[key], value, f"{kind.name}{{{key}}}")
    missing = [n for n, default in known.items() if default is ... and n not in given]
    if missing:
        raise error(
            f"pass {kind.name} needs {', '.join(missing)}", help=f"write {kind.name}{{{missing[0]}=...}}"
        )
    with maker.answering():
        try:
            return kind(**given)
        except ValueError as e:  # the usual way to refuse an option, where no LirError is at hand
            raise error(f"{kind.name}{{{text}}}: {shortened(str(e), 300)}", help=usage(kind)) from e


_NUMBERS = {int: "a whole number", float: "a number", str: "a text"}


def _value(kind: Any, text: str, what: str) -> Any:
    """What an option's text means, by its annotation."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    words: dict[str, Any] = {}
    for one in kinds:
        words |= {"none": None} if one is type(None) else {}
        words |= {"true": True, "false": False} if one is bool else {}
        words |= {str(word): word for word in get_args(one)} if get_origin(one) is Literal else {}
    for spelled in (text, text.lower()):
        if spelled in words:
            return words[spelled]
    casts: list[type] = [cast for cast in _NUMBERS if cast in kinds]
    for cast in casts:
        with suppress(ValueError):
            return cast(text)
    may = [*(_NUMBERS[cast] for cast in casts), *words]
    help = f"give {' or '.join(may)}" if may else "it can be set in Python alone: passes=[...]"
    raise error(f"{what} cannot be {text!r}", help=help)
