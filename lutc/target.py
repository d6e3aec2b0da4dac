"""What a device is like: device data is data, in `targets/*.toml`, with the boards that carry it.

The delay model is made for choosing and for placing registers, not for promising a clock: a logic level is one LUT and
the wire to it, a carry chain adds a little for every bit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from math import inf, log2
from pathlib import Path
from typing import Any

from lutc.diagnostics import Diagnostic, LirError, Source, Span, did_you_mean, error, noted, shortened
from lutc.extensions import TARGETS, extensions
from lutc.primitives import PRIMITIVES, XILINX, Primitive
from lutc.types import Fixed

MAX_TARGET_FILE = 1 << 16  # bytes; lutc's own have one 64th of it
COPY = "begin with one of lutc's own: lutc targets --show xcvu13p > my.toml"


Share = float  # of something, from 0 to 1
Named = str  # a library's LUTs
ROOMY = 1000  # LUTs of a circuit whose wires are as long as they have to be


@dataclass(frozen=True, eq=False)  # one object a name: it is a key of many caches
class Target:
    """A device. Delays are in nanoseconds, counts in LUTs (of `lut_inputs` inputs each)."""

    name: str
    family: str
    part: str
    description: str
    luts: int  # on the whole device
    ffs: int
    dsps: int  # blocks with a multiplier
    dsp_wide: int  # bits of a block's wider factor, its sign included
    dsp_narrow: int  # bits of the other
    dsp_unsigned: bool  # both factors may also be without sign, and fill these bits
    lut_inputs: int
    fractured: bool  # a LUT may serve as two with one input less, on shared inputs
    ternary: bool  # a carry chain adds three operands, one LUT a bit
    named_luts: Named  # whose LUTs can be instantiated by name, one of `PRIMITIVES`, or "" for none
    mux_levels: int  # dedicated multiplexers behind the LUTs (MUXF7, F8, F9: 3)
    lut: float  # through a LUT
    net: float  # from one cell to the next
    mux: float  # through a dedicated multiplexer
    carry: float  # along one bit of a carry chain
    carry_ends: float  # onto and off the chain
    dsp: float  # through the multiplier of a DSP block that uses none of its registers
    register: float  # clock to output plus setup, and what the longest wire is longer than most
    clock_ns: float  # the clock period to aim at if the user names none
    fan_out: Share = 0.0  # wires are longer by this share with every doubling of the LUTs that they lead to
    spread: Share = 0.0  # wires are longer by this share with every doubling of the LUTs beyond `ROOMY`
    delays: str = "not calibrated: round figures for typical wires"  # where they come from

    @property
    def primitive(self) -> Primitive | None:
        """The LUTs that can be asked for by name, if any."""
        return PRIMITIVES.get(self.named_luts)

    def crowded(self, luts: float) -> Target:
        """The target as a circuit of so many LUTs finds it: with longer wires the larger it is."""
        doublings = round(4 * log2(luts / ROOMY)) / 4 if luts > ROOMY and self.spread else 0.0
        return _with_wires(self, self.net * (1 + self.spread * doublings)) if doublings else self

    def slowed(self, factor: float) -> Target:
        """The target with delays so many times as long; the same object for the same factor."""
        return self if factor == 1 else _slowed(self, factor)

    def lut_ns(self) -> float:
        """One logic level with its wire."""
        return self.lut + self.net

    def adder_luts(self, width: int) -> float:
        """A carry-chain adder, one LUT a bit."""
        return float(width)

    def adder_ns(self, width: int) -> float:
        return self.lut_ns() + self.carry_ends + self.carry * width if width > 1 else self.lut_ns()

    def ternary_ns(self, width: int) -> float:
        """A carry-chain adder of three operands: one level of compression before it."""
        return self.lut_ns() + self.adder_ns(width)

    def mux_luts(self, width: int) -> float:
        """A two-way choice: three inputs a bit, so two bits share a fractured LUT."""
        return width / 2 if self.fractured else float(width)

    def table_luts(self, inputs: int, outputs: int) -> float:
        """A truth table in LUTs, before any minimisation."""
        if inputs <= self.lut_inputs - 1 and self.fractured:
            return outputs / 2
        return outputs * self.function_luts(inputs)

    def function_luts(self, inputs: int) -> float:
        """A boolean function by Shannon's expansion: LUTs, and where the dedicated multiplexers end a LUT for each."""
        extra = max(inputs - self.lut_inputs, 0)
        chosen = max(extra - self.mux_levels, 0)
        return float((1 << extra) + (1 << chosen) - 1)

    def table_ns(self, inputs: int) -> float:
        extra = max(inputs - self.lut_inputs, 0)
        near = min(extra, self.mux_levels)
        # Beyond the dedicated multiplexers, each LUT level picks one of four.
        return self.lut_ns() + near * self.mux + -(-(extra - near) // 2) * self.lut_ns()

    def multiplier_luts(self, a: int, b: int) -> float:
        """An array multiplier out of ternary-free adders: one row for each bit of the shorter factor."""
        return float(a * b)

    def multiplier_ns(self, a: int, b: int) -> float:
        return max(min(a, b) - 1, 1).bit_length() * self.adder_ns(a + b)

    def factor_bits(self, a: Fixed, b: Fixed) -> tuple[int, int]:
        """How many bits of a DSP block's factors two numbers take: a sign bit more where the block asks for one."""
        bare = self.dsp_unsigned and not a.signed and not b.signed
        return a.width + (not bare and not a.signed), b.width + (not bare and not b.signed)

    def dsp_sides(self, a: int, b: int) -> tuple[int, int]:
        """The bits that a block has for two factors of `a` and `b` bits, turned so that they fit best."""
        ways = (self.dsp_wide, self.dsp_narrow), (self.dsp_narrow, self.dsp_wide)
        return min(ways, key=lambda way: _parts(a, way[0]) * _parts(b, way[1]))

    def dsp_blocks(self, a: int, b: int) -> int:
        """The DSP blocks of a product whose factors take `a` and `b` bits; 0 on a device without such blocks.

        A factor too wide for a block is cut: each part but the highest has no sign, and a zero in the sign's place.
        """
        wide, narrow = self.dsp_sides(a, b)
        return _parts(a, wide) * _parts(b, narrow) if self.dsps else 0

    def dsp_ns(self) -> float:
        """Through a DSP block, with the wire to it."""
        return self.dsp + self.net

    def dsp_luts(self) -> float:
        """What a DSP block is worth: the device's LUTs for each of its blocks."""
        return self.luts / self.dsps if self.dsps else inf


@lru_cache(maxsize=256)
def _with_wires(target: Target, net: float) -> Target:
    """One object for each length of wires: a target is a key of many caches."""
    return replace(target, net=net)


DELAYS = ("lut", "net", "mux", "carry", "carry_ends", "dsp", "register")


@lru_cache(maxsize=256)
def _slowed(target: Target, factor: float) -> Target:
    longer = {name: factor * getattr(target, name) for name in DELAYS}
    return replace(target, **longer, delays=f"{target.delays}; all {factor:g} times as long")


def _parts(bits: int, most: int) -> int:
    """How many parts of a factor there are if none takes more than `most` bits."""
    return max(-(-(bits - 1) // (most - 1)), 1)


def _folder() -> Path:
    return Path(str(resources.files("lutc") / "targets"))


def names() -> list[str]:
    """The targets that can be named: lutc's own and those of other packages."""
    return sorted({*_own(), *(path.stem for path, _ in _foreign()[0])})


def load(name: str) -> Target:
    """A target by name, or from a `.toml` file of the user's own; the same object while the file stays the same.

    A name is a device's, a board's or a part's with its package, in any capitals; the target's `part` is then that
    board's or as it was asked for.

    Raises LirError if there is none such or two packages have one, and with every wrong entry of the file at its line.
    """
    if not isinstance(name, str):
        raise error(f"a target is a name or the path of a .toml file, not {shortened(repr(name))}")
    path, part = _place_of(name)
    return _target(_text(path), path.stem, str(path), part)


def show(name: str) -> str:
    """A target as a file that `load` reads as the same, for a user to start a file from."""
    path, part = _place_of(name)
    whole = _text(path)
    found = _target(whole, path.stem, str(path), part)
    text = re.split(r"^\[boards\]", whole, flags=re.M)[0].rstrip() + "\n"
    return re.sub(r"^part *=.*$", f'part = "{found.part}"', text, count=1, flags=re.M) if part else text


def boards() -> dict[str, str]:
    """The boards that can be named in place of their devices, with these."""
    return {board: stem for stem, path in _places().items() for board in _boards(path)}


def _boards(path: Path) -> dict[str, str]:
    """The boards that a target's file names, with their parts; none if the file is wrong, which `load` says."""
    try:
        found = _parsed(_text(path)).get("boards", {})
    except (LirError, ValueError, RecursionError):
        return {}
    return found if _mistaken_boards(found) is None else {}


def _places() -> dict[str, Path]:
    return {path.stem: path for path, _ in _foreign()[0]} | _own()


def _place_of(name: str) -> tuple[Path, str | None]:
    """The file of a target, and the part that a name asks for if it does."""
    if name.endswith(".toml"):
        return Path(name), None
    own = _own()
    stem, part = (name, None) if name in own else _meant(name)
    return own.get(stem) or _others(stem), part


def _meant(name: str) -> tuple[str, str | None]:
    """The device that a name is one of, and the part if the name says it; the name itself if it is of none."""
    places, asked = _places(), _plain(name) if len(name) < 100 else ""
    for stem in places:
        if asked == _plain(stem):
            return stem, None
    for stem, path in places.items():
        for board, part in _boards(path).items():
            if asked in (_plain(board), _plain(part)):
                return stem, part
    found = [stem for stem, path in places.items() if _of_device(name, stem, path)]
    return (max(found, key=len), name) if found else (name, None)


def _plain(name: str) -> str:
    """A name without what people write in more than one way."""
    return re.sub(r"[-_ .]", "", name.lower())


_PACKAGE = re.compile(r"-?\d?[a-z]{2,5}\d{2,4}[a-z]?(-[a-z0-9]{1,3})*", re.I)


def _of_device(name: str, stem: str, path: Path) -> bool:
    """Whether a name is that of a device's part: the device, the package, and perhaps grades."""
    try:
        devices = stem, str(_parsed(_text(path))["part"]).rpartition("-")[0]
    except (LirError, ValueError, KeyError, RecursionError):
        return False
    starts = (d for d in devices if d and name.lower().startswith(d.lower()))
    return any(_PACKAGE.fullmatch(name[len(d) :]) for d in starts)


def listed() -> tuple[list[tuple[Target, str]], list[Diagnostic]]:
    """All targets by name, each with the package it comes from ("" for lutc's own), and what is wrong with others."""
    (found, wrong), places = _foreign(), _own()
    right: list[tuple[Target, str]] = []
    for name in sorted({*places, *(path.stem for path, _ in found)}):
        with noted(wrong):
            own = places.get(name)
            path, origin = (own, "") if own else _only(name, found)
            right.append((_target(_text(path), name, str(path), None), origin))
    return right, wrong


def _own() -> dict[str, Path]:
    return {path.stem: path for path in _folder().glob("*.toml")}


def _others(name: str) -> Path:
    """The file of a target that is not lutc's own, whose packages are not even looked at for those that are."""
    found, wrong = _foreign()
    if name in (path.stem for path, _ in found):
        return _only(name, found)[0]
    own = "lutc targets lists them; for another device write a file: lutc targets --show xcvu13p > my.toml"
    help = did_you_mean(name.lower(), [*names(), *boards()]) or own
    raise LirError(Diagnostic(f"no target {shortened(name)!r}", help=help), *wrong)


def _only(name: str, found: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
    """The file of a name with its package. Raises LirError if two packages have one."""
    places = [place for place in found if place[0].stem == name]
    if len(places) > 1:
        origins = " and from ".join(origin for _, origin in places)
        raise error(f"the target {name!r} comes from {origins}", help="give the path of the .toml file")
    return places[0]


def _foreign() -> tuple[list[tuple[Path, str]], list[Diagnostic]]:
    """The files of other packages' targets, each with its package, and what is wrong with others.

    An entry of the group `lutc.targets` names a package or a module in whose folder they stand, or the folder.
    """
    found: list[tuple[Path, str]] = []
    wrong: list[Diagnostic] = []
    own = _own()
    for extension in extensions(TARGETS):
        files: list[Path] = []
        with noted(wrong):
            files = _files(extension.load(_no_folder))
        for file in files:
            if file.stem in own:
                wrong.append(
                    extension.broken(f"has a target {file.stem!r}, and that name is one of lutc's own")
                )
            else:
                found.append((file, extension.origin))
    return found, wrong


def _files(named: Any) -> list[Path]:
    file = getattr(named, "__file__", None)
    folder = Path(file).parent if file else Path(named) if isinstance(named, str | Path) else None
    return sorted(folder.glob("*.toml")) if folder else []


def _no_folder(named: Any) -> str | None:
    return None if _files(named) else "names no folder with .toml files, nor a module in one"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TARGET_FILE + 1)
        if len(data) > MAX_TARGET_FILE:
            raise error(f"a target has at most {MAX_TARGET_FILE} bytes", where=str(path), help=COPY)
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise error("there is no such target file", where=shortened(str(path)), help=COPY) from None
    except UnicodeDecodeError as e:
        raise error(f"this is no text: byte {e.start} is not UTF-8", where=str(path), help=COPY) from None
    except (OSError, ValueError) as e:  # ValueError: a zero byte in the path
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise error(f"cannot read the target: {reason}", where=shortened(str(path)), help=COPY) from None


@lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, Any]:
    """The entries of a file, for everybody who looks a name up: nobody changes them."""
    return tomllib.loads(text)


@lru_cache(maxsize=32)
def _target(text: str, name: str, where: str, part: str | None) -> Target:
    if part is not None:
        return replace(_target(text, name, where, None), part=part)
    source = Source(where, text)
    try:
        data = _parsed(text)
    except tomllib.TOMLDecodeError as e:
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(e))
        line, column = (int(at[1]), int(at[2])) if at else (text.count("\n") + 1, 1)
        said = f"this is no TOML: {str(e).split(' (at ')[0]}"
        raise error(said, span=Span(source, line, column, line, column + 1), help=COPY) from None
    except (ValueError, RecursionError) as e:  # integers of 5,000 digits, lists in lists without end
        said = "it is nested too deep" if isinstance(e, RecursionError) else str(e).split(";")[0]
        raise error(f"this is no target: {said}", where=where, help=COPY) from None
    wrong = list(_wrong(data))
    if wrong:
        raise LirError(*(Diagnostic(m, _place(source, key), where, help) for key, m, help in wrong))
    data = {"name": name} | data
    data.pop("boards", None)
    delays = {
        f.name: float(data[f.name]) for f in fields(Target) if f.type in ("float", "Share") and f.name in data
    }
    named = data["named_luts"]
    luts = (XILINX.name if named else "") if isinstance(named, bool) else named
    return Target(**(data | delays | {"named_luts": luts}))


# What a target's numbers may be, ends included: what no device has is a slip of the pen, or of the unit.
_COUNT = (0, 10**9)
_DELAY = (0.0, 1000.0)
_RANGES: dict[str, tuple[float, float]] = {
    "luts": (1, 10**9),
    "ffs": _COUNT,
    "dsps": _COUNT,
    "dsp_wide": (2, 256),  # its sign and a bit
    "dsp_narrow": (2, 256),
    "lut_inputs": (3, 8),
    "mux_levels": (0, 8),
    "lut": (0.001, 1000.0),
    "net": _DELAY,
    "mux": _DELAY,
    "carry": _DELAY,
    "carry_ends": _DELAY,
    "dsp": _DELAY,
    "register": _DELAY,
    "clock_ns": (0.001, 1e6),
    "fan_out": (0.0, 1.0),
    "spread": (0.0, 1.0),
}
_KINDS = {
    "str": "a text",
    "int": "an integer",
    "float": "a number of nanoseconds",
    "Share": "a share",
    "bool": "true or false",
    "Named": "true (AMD's LUT1 to LUT6), false, or whose LUTs they are: " + ", ".join(PRIMITIVES),
}


def _wrong(data: dict[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Everything wrong with a target's entries: the key, a message and what to do."""
    kinds = {f.name: str(f.type) for f in fields(Target)}
    for key in sorted(data.keys() - kinds.keys() - {"boards"}):
        yield key, f"a target has no {shortened(key)!r}", did_you_mean(key, list(kinds)) or "leave it away"
    if reason := _mistaken_boards(data.get("boards", {})):
        yield "boards", reason, 'write pynq-z2 = "xc7z020clg400-1" below [boards]'
    needed = (f.name for f in fields(Target) if f.default is MISSING)
    for key in (k for k in needed if k not in data and k != "name"):
        yield key, f"{key!r} is missing: {_KINDS[kinds[key]]}", COPY
    for key, kind in kinds.items():
        if key in data and (reason := _mistake(key, kind, data[key])):
            yield key, reason, None
    right = {key for key in data if key in kinds and not _mistake(key, kinds[key], data[key])}
    if {"named_luts", "lut_inputs"} <= right and (given := data["named_luts"]):
        named = XILINX if given is True else PRIMITIVES[given]
        if data["lut_inputs"] != named.inputs:
            fits = [f'named_luts = "{p.name}"' for p in PRIMITIVES.values() if p.inputs == data["lut_inputs"]]
            help = f"write {', '.join(['named_luts = false', *fits])} or lut_inputs = {named.inputs}"
            what = f"{named.name} has LUTs of {named.inputs} inputs ({', '.join(c for _, c in named.cells)})"
            yield "named_luts", f"{what}, and lut_inputs is {data['lut_inputs']}", help


def _mistaken_boards(given: Any) -> str | None:
    if isinstance(given, dict) and all(_mistake("part", "str", part) is None for part in given.values()):
        return None
    return f"'boards' names the part of each board, not {shortened(repr(given))}"


def _mistake(key: str, kind: str, value: Any) -> str | None:
    """What is wrong with a key's value, if anything."""
    shown = shortened(repr(value))
    if kind == "Named":
        right = isinstance(value, bool) or (isinstance(value, str) and value in PRIMITIVES)
        return None if right else f"{key!r} is {_KINDS[kind]}; not {shown}"
    known: Any = {"str": str, "int": int, "float": int | float, "Share": int | float, "bool": bool}[kind]
    if not isinstance(value, known) or (isinstance(value, bool) and kind != "bool"):
        return f"{key!r} is {_KINDS[kind]}, not {shown}"
    if kind == "str" and not (0 < len(value) <= 200 and value.isprintable()):
        return f"{key!r} is a text of one line, of 1 to 200 characters, not {shown}"
    if key in _RANGES and not _RANGES[key][0] <= value <= _RANGES[key][1]:
        lo, hi = _RANGES[key]
        return f"{key!r} is {_KINDS[kind]} from {lo:,} to {hi:,}, not {shown}"
    return None


def _place(source: Source, key: str) -> Span | None:
    """The line where a key is given, or None where it is not."""
    spelled = re.escape(key)
    given = re.search(
        rf"^[ \t]*\[*[ \t]*(\"{spelled}\"|'{spelled}'|{spelled})[ \t]*[=.\]].*$", source.text, re.M
    )
    if not given:
        return None
    line = source.text.count("\n", 0, given.start()) + 1
    column = given.start(1) - given.start() + 1
    return Span(source, line, column, line, given.end() - given.start() + 1)
