"""What a user may ask of a compilation: numbers and words checked before any work is begun.

The functions give back what they were given, in its proper type, or raise LirError; `Settings` is all of it together,
for the library, the command line, whose options are made of its fields, and the report.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import wraps
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from lutc.choices import DSP_MODES, EFFORTS, OBJECTIVES, PASS_NAME, STANDARD, USUAL_TARGET
from lutc.diagnostics import Diagnostic, LirError, did_you_mean, error, noted, shortened

if TYPE_CHECKING:
    from lutc.assumed import Rows
    from lutc.plugins import Emitter
    from lutc.target import Target

PERIODS = (0.001, 1e6)  # nanoseconds: a register takes more than the one, and nobody waits for the other
STAGES = 1000  # ranks of registers; each holds some of every value on its way
VECTORS = 10_000_000  # of a bench, or compared around every pass: the words of each are kept
MARGIN = 1000  # keys on both sides of one that is read; no table worth it is so long
FACTORS = (0.1, 10.0)  # of delays: place and route is not further from any model
NAME = 200  # letters of a top module


def period(value: Any, unit: str = "ns") -> float:
    """A clock period in nanoseconds; or a frequency in MHz, which is made one."""
    what = "a clock period is a number of nanoseconds" if unit == "ns" else "a clock is a number of MHz"
    lo, hi = PERIODS if unit == "ns" else (1000 / PERIODS[1], 1000 / PERIODS[0])
    if not _is(value, Real) or not lo <= value <= hi:
        raise error(f"{what} above 0, from {lo:,} to {hi:,.0f}, not {_shown(value)}")
    return float(value) if unit == "ns" else 1000 / float(value)


def count(value: Any, what: str, most: int, least: int = 0) -> int:
    """A number of things."""
    if not _is(value, Integral) or not least <= value <= most:
        raise error(f"{what} is a whole number from {least} to {most:,}, not {_shown(value)}")
    return int(value)


def vectors(value: Any, own: bool) -> int:
    """The random and corner vectors of a bench; none are needed where there are some of the user's `own`."""
    if not own and _is(value, Integral) and value == 0:
        raise error("a bench needs at least one vector", help="ask for one or more, or give some of your own")
    return count(value, "a number of vectors", VECTORS, 0 if own else 1)


def stages(value: Any) -> int:
    """The ranks of registers to cut a design into; 0 for none."""
    return count(value, "a number of stages", STAGES)


def one_of(clock: Any, ranks: Any) -> None:
    """Raise LirError if both a clock period and a number of stages are asked for."""
    if clock is not None and ranks is not None:
        raise error("a clock period and a number of stages exclude each other", help="give one of them")


def lsb(value: Any) -> float:
    """By how many units of its least significant bit an output may be off."""
    if not _is(value, Real) or not (isfinite(value) and value >= 0):
        raise error(
            f"outputs cannot be off by {_shown(value)} units of their least significant bit",
            help="give a number from 0 on: 1 allows one unit, 0 keeps the circuit exact",
        )
    return float(value)


def rows(value: Any, setting: str) -> Rows:
    """Rows of inputs: a file, an array, or arrays by name."""
    from lutc.assumed import Rows

    return Rows.of(value, setting)


def choice(value: Any, what: str, words: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in words:
        close = did_you_mean(str(value)[:100], list(words))
        raise error(f"no {what} {_shown(value)}", help=close or "one of: " + ", ".join(words))
    return str(value)  # numpy's texts are texts, too


def factor(value: Any) -> float:
    """How many times as long a target's delays are taken to be."""
    lo, hi = FACTORS
    if not _is(value, Real) or not lo <= value <= hi:
        raise error(f"a factor of delays is a number from {lo:g} to {hi:g}, not {_shown(value)}")
    return float(value)


def flag(value: Any, what: str) -> bool:
    """Yes or no."""
    if not isinstance(value, bool):
        raise error(f"{what} is True or False, not {_shown(value)}")
    return value


def name(value: Any, what: str) -> str:
    """The name of a design: an identifier."""
    if not isinstance(value, str) or len(value) > NAME or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        help = f"a name is made of at most {NAME} letters, digits and _, and begins with no digit"
        raise error(f"{_shown(value)} is no name for {what}", help=help)
    return str(value)


def _target(value: Any) -> str:
    from lutc import target as targets

    targets.load(value)
    # The same file wherever one goes from here.
    return os.path.abspath(value) if value.endswith(".toml") else str(value)


def _language(value: Any) -> str:
    from lutc import plugins

    choice(value, "hardware description language", plugins.languages())
    plugins.backend(value)
    return str(value)


def _own_passes(value: Any) -> tuple[Any, ...]:
    """Passes in place of the usual ones."""
    if not isinstance(value, list | tuple):
        raise error(f"passes are a list such as [Scalarize(), Narrow()], not {_shown(value)}")
    help = (
        "a pass is an object made of a class such as Scalarize, a dataclass made of lutc.passes.manager.Pass"
    )
    wrong = [Diagnostic(f"{_shown(step)} is no pass", help=help) for step in value if not _is_pass(step)]
    if wrong:
        raise LirError(*wrong)
    return tuple(value)


def _is_pass(step: Any) -> bool:
    """Whether it has all the parts of a Pass, which stands above the settings."""
    named = isinstance(name := getattr(step, "name", None), str) and re.fullmatch(PASS_NAME, name)
    parts = callable(step) and callable(getattr(step, "tolerance", None))
    return bool(named) and parts and is_dataclass(step) and not isinstance(step, type)


Check = Callable[[Any], Any]


def _setting(
    default: Any,
    help: str,
    check: Check,
    *,
    words: tuple[str, ...] = (),
    metavar: str | None = None,
    switch: Any = None,
    command: bool = True,
) -> Any:
    """A field of `Settings`: its help, how it is checked, and how the command line spells it.

    `words` are all that there are to choose among. `switch` is the value that an option without a value stands for. A
    field that is not for the `command` line has no option.
    """
    about = {"help": help, "check": check, "words": words, "metavar": metavar}
    return field(default=default, metadata=about | {"switch": switch, "command": command})


def unknown(name: str, known: Sequence[str]) -> LirError:
    """That nothing is called so that may be asked for."""
    help = did_you_mean(name, known) or f"there are {', '.join(known)}"
    return error(f"there is no setting {shortened(name)!r}", help=help)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that may be asked of a compilation. Raises LirError, listing everything that makes no sense, when made.

    `clock_ns` is the clock period to meet, or `stages` the ranks of registers to cut the design into (0: none); if
    neither is given, the target's usual clock. Registers are placed by the target's delays, times `delay_factor`.
    `effort` (fast, normal or high) is how long to look for a smaller circuit; the answer is the same every time; `fast`
    verifies only the last stage. The `objective` decides where a shorter way through the circuit takes more LUTs: area
    never takes them, latency does, balanced as long as they are a fiftieth of all. `dsp` says which products go to
    DSP blocks: `none`, `auto` (those that cost more LUTs than a block is worth on the target) or `all`; what a `.lir`
    sends there stays there. `check` random vectors are compared before and after every pass. `passes` stand in place
    of the usual ones, which `standard` among them stands for.

    With `approx_lsb` above 0, outputs may be off by so many units of their least significant bits; that they are not
    off by more is proven, and the circuit, the folder and the report say so. See `lutc.passes.approximate.approximate`.

    With `assume_inputs`, rows of numbers by input name (arrays, or a file of them), the circuit is exact on those rows,
    and other inputs may be answered otherwise than the model does; circuit, folder and report say so. The larger
    `assume_margin` is, the more of what lies near the rows stays exact as well. On the rows of `assume_check`, held
    out, the report counts how many answers and classes are still the model's, and with `assume_labels`, the right
    classes, what is right. See `lutc.passes.assume`.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import lutc
    >>> fast = lutc.Settings(target="xc7a100t", clock_ns=5.0)
    >>> replace(fast, hdl="vhdl").clock_ns
    5.0
    """

    target: str = _setting(
        USUAL_TARGET, "A device, board or part that `lutc targets` knows, or a .toml file.", _target
    )
    hdl: str = _setting(
        "verilog",
        "Language of the circuit: verilog, vhdl, or one that another package adds.",
        _language,
        metavar="NAME",
    )
    clock_ns: float | None = _setting(None, "Clock period to meet, in nanoseconds.", period)
    stages: int | None = _setting(
        None, "Ranks of registers instead of a clock; 0 makes it combinational.", stages
    )
    delay_factor: float = _setting(
        1.0,
        "Take the target's delays to be F times as long; `lutc implement --close` finds F by place and route.",
        factor,
        metavar="F",
    )
    clock_enable: bool = _setting(
        False, "Add the input `ce`; registers hold while it is 0.", lambda value: flag(value, "clock_enable")
    )
    valid: bool = _setting(
        False,
        "Add `valid_in` and `valid_out`, which follows it by the latency.",
        lambda value: flag(value, "valid"),
    )
    top: str | None = _setting(None, "Name of the top module.", lambda value: name(value, "a design"))
    effort: str = _setting(
        "normal",
        "How long to look for a smaller circuit. `fast` also leaves tables to synthesis, writes the last of the "
        "stages only, and reports no LUTs by pass.",
        lambda value: choice(value, "effort", EFFORTS),
        words=EFFORTS,
    )
    objective: str = _setting(
        OBJECTIVES[0],
        "What decides where a shorter way through the circuit takes more LUTs; `balanced`: they are taken as long as "
        "they are a fiftieth of all.",
        lambda value: choice(value, "objective", OBJECTIVES),
        words=OBJECTIVES,
    )
    dsp: str = _setting(
        "none",
        "Which products go to DSP blocks; `auto`: those that cost more LUTs than a block is worth on the target.",
        lambda value: choice(value, "choice of DSP blocks", DSP_MODES),
        words=DSP_MODES,
    )
    approx_lsb: float = _setting(
        0.0,
        "Let every output be off by up to N units of its least significant bit, proven, for a smaller circuit.",
        lsb,
        metavar="N",
    )
    assume_inputs: Any = _setting(  # noqa: RUF009 - it makes a field
        None,
        "Make a circuit that is exact on these inputs only (.npy or .npz: rows first, by input name).",
        lambda value: rows(value, "assume_inputs"),
    )
    assume_margin: int = _setting(
        2,
        "Keep keys of tables up to N steps from one that is read, and ranges N quarters wider at both ends.",
        lambda value: count(value, "a margin", MARGIN),
        metavar="N",
    )
    assume_check: Any = _setting(  # noqa: RUF009 - it makes a field
        None,
        "Say of these rows, held out, how many are answered as the model does (.npy or .npz).",
        lambda value: rows(value, "assume_check"),
    )
    assume_labels: Any = _setting(  # noqa: RUF009 - it makes a field
        None,
        "The right classes of --assume-check (.npy or .npz); also as labels in it.",
        lambda value: rows(value, "assume_labels"),
    )
    check: int = _setting(
        0,
        "Compare random vectors before and after every pass.",
        lambda value: count(value, "a number of vectors to check with", VECTORS),
        switch=1000,
    )
    passes: tuple[Any, ...] | None = _setting(
        None, "Passes in place of the standard pipeline.", _own_passes, command=False
    )

    def __post_init__(self) -> None:
        wrong: list[Diagnostic] = []
        with noted(wrong):
            one_of(self.clock_ns, self.stages)
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None and f.default is None:
                continue  # it is not asked for
            with noted(wrong):
                value = f.metadata["check"](value)
                object.__setattr__(self, f.name, value)
                if f.name in _TAKEN_BY and value != f.default and not self.usual:
                    help = f"put {STANDARD} or {_TAKEN_BY[f.name]} among them"
                    raise error(f"passes of your own leave no place for {f.name}", help=help)
        if not wrong:
            with noted(wrong):
                self._assumes()
        if wrong:
            raise LirError(*wrong)

    def _assumes(self) -> None:
        """Raise LirError for assumptions that have no effect, or a part of their own that is missing."""
        if self.assume_inputs is None:
            for name in ("assume_check", "assume_labels"):
                if getattr(self, name) is not None:
                    raise error(f"{name} says nothing without assume_inputs", help="give both, or none")
            if self.assume_margin != type(self).assume_margin:
                raise error("assume_margin says nothing without assume_inputs", help="give both, or none")
            return
        if self.assume_labels is not None and self.assume_check is None:
            raise error("assume_labels are those of assume_check", help="give both, or none")
        if self.approx_lsb:
            what = "approx_lsb proves a bound for every input, and assume_inputs makes no promise for most"
            raise error(what, help="give one of them")
        own = self.passes if isinstance(self.passes, list | tuple) else ()
        if not self.usual and not any(getattr(step, "assumes", False) for step in own):
            raise error(
                "passes of your own leave no place for assume_inputs", help=f"put {STANDARD} among them"
            )

    @property
    def usual(self) -> bool:
        """Whether the usual pipeline runs: alone, or where passes of one's own name it."""
        own = self.passes if isinstance(self.passes, list | tuple) else ()
        return self.passes is None or any(getattr(step, "name", None) == STANDARD for step in own)

    @property
    def device(self) -> Target:
        """The target itself, with delays as long as they are taken to be."""
        from lutc import target as targets

        return targets.load(self.target).slowed(self.delay_factor)

    @property
    def backend(self) -> Emitter:
        """What prints the circuit."""
        from lutc import plugins

        return plugins.backend(self.hdl)


def _by_name(made: Callable[..., None]) -> Callable[..., None]:
    """A constructor that says which names there are, where another is given."""

    @wraps(made)
    def told(self: Settings, *args: Any, **given: Any) -> None:
        names = [f.name for f in fields(Settings)]
        if args:
            help = f"write Settings({names[0]}={_shown(args[0])})"
            raise error("settings are given by their names", help=help)
        for name in given:
            if name not in names:
                raise unknown(name, names)
        made(self, **given)

    return told


Settings.__init__ = _by_name(Settings.__init__)  # type: ignore[method-assign]


# What the passes of the usual pipeline are told; it has no effect on others.
_TAKEN_BY = {
    "clock_ns": "pipeline{period=...}",
    "stages": "pipeline{stages=...}",
    "dsp": "dsp{mode=...}",
    "approx_lsb": "approximate{lsb=...}",
}


def _is(value: Any, kind: type) -> bool:
    """Whether it is a number of a kind, numpy's among them; true and false are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return shortened(repr(value))
