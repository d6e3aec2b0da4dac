"""Types, numbers and lists of the text, and their exact codes in a format. Nothing here passes through a float."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutc import synonyms
from lutc.diagnostics import Diagnostic, LirError, Source, Span, did_you_mean
from lutc.files.foreign import read_array
from lutc.ir.graph import Table
from lutc.ir.ops.base import number
from lutc.limits import MAX_DIGITS, MAX_ELEMENTS, MAX_KEY, MAX_RANK, MAX_WIDTH
from lutc.text.syntax import inside, parser, place_of, span
from lutc.types import Fixed, Type, uniform

if TYPE_CHECKING:
    from lark import Token

# -- types ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def type_of(text: str) -> Type:
    """The type that `text` spells. Raises ValueError saying what is wrong with it."""
    from lark.exceptions import UnexpectedInput

    try:
        tree: Any = parser().parse(text, start="type")
    except UnexpectedInput as e:
        at = place_of(e, text)
        rest, text = " ".join(blanked(text[at:]).split()), " ".join(blanked(text).split())
        partly = f": {rest!r} is not expected" if rest and at else ""
        raise ValueError(f"{text!r} is no type{partly}") from None
    dims = next((c for c in tree.children if getattr(c, "data", None) == "dims"), None)
    shape = tuple(_small(c) for c in dims.children) if dims is not None else ()
    if len(shape) > MAX_RANK:
        raise ValueError(f"a tensor has up to {MAX_RANK} dimensions, not {len(shape)}")
    if prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"{text} has {prod(shape)} elements; the most is {MAX_ELEMENTS}")
    if max(shape, default=0) > MAX_ELEMENTS:
        raise ValueError(f"{text} has a dimension of length {max(shape)}; the most is {MAX_ELEMENTS}")
    if tree.data == "uniform":
        return uniform(shape, _format(str(tree.children[0])))
    runs = [c for c in tree.children if getattr(c, "data", None) == "run_length"]
    several = [(_small(n) if n else 1, _format(str(f))) for f, n in (r.children for r in runs)]
    if sum(n for n, _ in several) != prod(shape):
        raise ValueError(
            f"{text} has {sum(n for n, _ in several)} formats, but its shape {list(shape)} has {prod(shape)} elements"
        )
    merged = [(sum(n for n, _ in group), f) for f, group in groupby(several, key=lambda run: run[1])]
    return Type(shape, tuple((n, f) for n, f in merged if n))


def _small(digits: str) -> int:
    if len(digits) > 12:
        raise ValueError(f"{digits[:12]}... is too large a count")
    return int(digits)


def _format(text: str) -> Fixed:
    sign, width, _, frac = re.fullmatch(r"([su])(\d+)(f(-?\d+))?", text).groups()  # type: ignore[union-attr]
    if len(width) > 6 or len(frac or "") > 6 or abs(int(frac or 0)) > 2 * MAX_WIDTH:
        most = (
            f"a format has at most {MAX_WIDTH} bits, its point at most {2 * MAX_WIDTH} places from the last"
        )
        raise ValueError(f"{text} is too large: {most}")
    return Fixed(sign == "s", int(width), int(frac or 0))


def type_help(text: str) -> str:
    """What to write in place of a text that is no type."""
    written = " ".join(text.split())
    bare = written.partition("[")[0]
    for foreign in (written, bare):  # dimensions may be part of it, as in bits[8]
        if known := synonyms.type_of(foreign):
            return f"write: {known}{written.removeprefix(foreign)}"
    return TYPE_HELP


TYPE_HELP = (
    "a type is a format such as s8f4 (signed, 8 bits, 4 of them after the point), then a shape: s8f4[16]"
)

# -- numbers and lists ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _number_pattern() -> re.Pattern[str]:
    """How the grammar spells a number."""
    return re.compile(parser().get_terminal("NUMBER").pattern.to_regexp())


@lru_cache(maxsize=65536)
def number_of(text: str) -> Fraction:
    """The number that `text` spells, exactly. Raises ValueError if it spells none, or one beyond reason."""
    if not _number_pattern().fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    exponent = re.search(r"[eE]([+-]?\d+)", text)
    if len(text) > MAX_DIGITS + 4 or (
        exponent and (len(exponent[1]) > 5 or abs(int(exponent[1])) > MAX_DIGITS)
    ):
        raise ValueError(f"{text[:20]}... has too many digits")
    if re.search(r"/0+$", text):
        raise ValueError(f"{text} divides by zero")
    value = Fraction(text)
    if _digits(value.numerator) + _digits(value.denominator) > MAX_DIGITS:
        raise ValueError(f"{text[:20]}... has too many digits")
    return value


def _digits(number: int) -> int:
    """How many decimal digits an integer has; of more than there may be, only so many."""
    return MAX_DIGITS + 1 if abs(number) >= _TOO_LARGE else len(str(abs(number)))


_TOO_LARGE = 10**MAX_DIGITS


def raw_value(terminal: str, text: str) -> Any:
    """An attribute's value as `decode` wants it: a Fraction, a word, or a list. Raises ValueError."""
    if terminal == "NUMBER":
        return number_of(text)
    return _raws(list_of(text), [0]) if terminal == "LIST" else text


def _raws(items: list[Any], made: list[int]) -> list[Any]:
    """The items of a list as numbers and words; `made` counts them over all lists inside each other."""
    found: list[Any] = []
    for item in items:
        if isinstance(item, list):
            found.append(_raws(item, made))
            continue
        word, count = repeated(str(item))
        made[0] += count
        if made[0] > MAX_ELEMENTS:
            raise ValueError(f"a list of more than {MAX_ELEMENTS} elements is too long")
        found += [number_of(word) if word[0] in "+-.0123456789" else word] * count
    return found


def repeated(word: str) -> tuple[str, int]:
    """An element of a list and how often it stands there: `0*20` is 20 times `0`. Raises ValueError."""
    if "*" not in word:
        return word, 1
    found = re.fullmatch(r"([^*]+)\*(\d+)", word)
    if not found or not (count := _small(found[2])):
        raise ValueError(f"{word!r} is no element of a list; twenty times 0 is written 0*20, without blanks")
    return found[1], count


def list_of(text: str) -> list[Any]:
    """The tokens of a list, by the grammar. Raises ValueError where it is none."""
    from lark.exceptions import UnexpectedInput

    try:
        found: Any = parser().parse(text, start="list")
    except UnexpectedInput as e:
        rest = text[place_of(e, text) :][:10]
        raise ValueError(f"this list is wrong at {rest!r}") from None
    return list(found)


def blanked(text: str) -> str:
    """A list's or a type's text with spaces for comments and line ends, nothing moved."""
    text = re.sub(r"#[^\n]*", lambda m: " " * len(m[0]), text) if "#" in text else text
    return text.replace("\n", " ")


# -- data -----------------------------------------------------------------------------------------------------------


def nearest(value: Fraction, fmt: Fixed, text: str) -> str:
    """Why a number, written as `text`, is none of a format's, and which of them are the nearest."""
    lo, hi = fmt.value(fmt.lo), fmt.value(fmt.hi)
    if not lo <= value <= hi:
        return f"{text} is no number of {fmt}, which reaches from {number(lo)} to {number(hi)}"
    below = (value / fmt.step).__floor__()
    around = f"{number(fmt.value(below))} and {number(fmt.value(below + 1))}"
    return f"{text} is no number of {fmt}; the nearest are {around}"


class Codes:
    """From texts of numbers to codes of one format, remembering: few of many numbers differ."""

    def __init__(self, fmt: Fixed) -> None:
        self.fmt = fmt
        self.known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        code = self.known.get(text)
        if code is None:
            code = self.known[text] = exact_code(number_of(text), self.fmt, text)
        return code


def exact_code(value: Fraction, fmt: Fixed, text: str) -> int:
    """The code of a number of the format. Raises ValueError naming the nearest if it is none."""
    if not fmt.holds(value):
        raise ValueError(nearest(value, fmt, text))
    return (value / fmt.step).numerator


# What becomes of a run of numbers: how many there are, and their format.
Runs = Sequence[tuple[int, Fixed]]


def has_inner_brackets(text: str) -> bool:
    return text.count("[") + text.count("]") > 2


def check_commas(source: Source, token: Token, text: str) -> None:
    """Raise LirError if a list's text, its comments blanked, has a comma with no number before or after it."""
    if wrong := re.search(r"(?<=,)\s*[,\]]|\[\s*,", text):
        place = inside(source, token, wrong.end() - 1, wrong.end())
        raise LirError(Diagnostic("here a number is missing", place, help="or a comma is too many"))


def list_checked(source: Source, token: Token) -> list[Any]:
    """The tokens of a LIST token. Raises LirError where it is none."""
    try:
        return list_of(str(token))
    except ValueError as e:
        raise LirError(Diagnostic(str(e), span(source, token))) from None


def inline_codes(source: Source, token: Token, runs: Runs, shape: tuple[int, ...] | None, what: str) -> Any:
    """The codes of a LIST token's numbers, flat.

    Numbers may stand in nested brackets if `shape` is given; these are then checked against it. Raises LirError with
    every wrong number at its place.
    """
    text = blanked(str(token))
    nested = has_inner_brackets(text)
    check_commas(source, token, text)
    words = re.sub(r"[\[\],]", " ", text).split() if nested else text[1:-1].replace(",", " ").split()
    total = sum(n for n, _ in runs)
    places: Sequence[int] = range(len(words))
    have = len(words)
    if "*" in text:
        try:
            counts = [repeated(word) for word in words]
        except ValueError as e:
            raise LirError(Diagnostic(str(e), span(source, token))) from None
        have = sum(n for _, n in counts)
        if have == total:
            words = [word for word, n in counts for _ in range(n)]
            places = [i for i, (_, n) in enumerate(counts) for _ in range(n)]
    if have != total:
        strange = (i for i, word in enumerate(words) if not _number_pattern().fullmatch(repeated(word)[0]))
        if (alien := next(strange, None)) is not None:
            raise LirError(*_at_words(source, token, text, {alien: f"{words[alien]!r} is no number"}))
        kind = "entry" if what.startswith("table") else "number"
        said = f"{have} {kind if have == 1 else kind.replace('entry', 'entrie') + 's'}"
        help = "count them, or change the type: a constant has one for each element, a table one for each key"
        raise LirError(Diagnostic(f"{what} has {said}, but needs {total}", span(source, token), help=help))
    if nested:
        _check_nesting(source, token, text, shape, what)
    codes: list[int] = []
    bad: dict[int, str] = {}
    makers = {f: Codes(f) for _, f in runs}
    at = 0
    for n, fmt in runs:
        make = makers[fmt]
        try:
            codes.extend(map(make, words[at : at + n]))
        except ValueError:
            bad |= _bad_words(words, at, at + n, make)
        at += n
    if bad:
        raise LirError(*_at_words(source, token, text, {places[i]: message for i, message in bad.items()}))
    return codes


def _bad_words(words: list[str], start: int, stop: int, make: Callable[[str], int]) -> dict[int, str]:
    """The numbers that are none of their format, by position, each kind once."""
    found: dict[str, tuple[int, str]] = {}
    for i in range(start, stop):
        if words[i] not in found:
            try:
                make(words[i])
            except ValueError as e:
                found[words[i]] = (i, str(e))
    return dict(found.values())


def _at_words(source: Source, token: Token, text: str, bad: dict[int, str]) -> list[Diagnostic]:
    places = [m.span() for m in re.finditer(r"[^\s,\[\]]+", text)]
    helps = {
        "the nearest are": "choose one of them, or a format with more bits after the point",
        "which reaches from": "choose a format with more bits",
        "is no number": "numbers are decimal, such as -0.5 and 1e-3, or quotients such as 1/3",
    }
    found = []
    for i, message in bad.items():
        help = next((text for words, text in helps.items() if words in message), None)
        found.append(Diagnostic(message, inside(source, token, *places[i]), help=help))
    return found


def _check_nesting(source: Source, token: Token, text: str, shape: tuple[int, ...] | None, what: str) -> None:
    """Nested brackets must follow the shape: every list at depth d has `shape[d]` parts."""
    if shape is None:
        raise LirError(Diagnostic(f"{what} is one flat list, without inner brackets", span(source, token)))
    counts: list[int] = []
    for place in re.finditer(r"[\[\]]|[^\s,\[\]]+", text):
        match place[0]:
            case "[":
                wrong = len(counts) == len(shape) or (not counts and place.start() > 0)
                if counts:
                    counts[-1] += 1
                counts.append(0)
            case "]":
                wrong = not counts or counts.pop() != shape[len(counts)]
            case _:
                wrong = not counts or len(counts) != len(shape)
                if counts:
                    counts[-1] += repeated(place[0])[1]
        if wrong:
            message = f"the brackets of {what} do not follow its shape {list(shape)}"
            help = "give every dimension its brackets, or write all numbers in one flat list"
            raise LirError(Diagnostic(message, inside(source, token, *place.span()), help=help))


def file_codes(place: Span, folder: Path | None, name: str, runs: Runs, kind: Type | None, what: str) -> Any:
    """The codes of the real numbers in a `.npy` file, flat. A constant's file has the shape of its type, `kind`.

    Raises LirError if there is no such file, or if it does not fit.
    """
    array = _load(place, folder, name)
    total = sum(n for n, _ in runs)
    if array.size != total or (kind and array.shape not in (kind.shape, (total,))):
        needs = f"the shape {list(kind.shape)}" if kind else f"{total} entries"
        raise LirError(
            Diagnostic(f"{name} has the shape {list(array.shape)}, but {what} needs {needs}", place)
        )
    values = array.ravel().tolist()
    codes: list[int] = []
    at = 0
    for n, fmt in runs:
        known: dict[Any, int] = {}
        for i in range(at, at + n):
            code = known.get(values[i])
            if code is None:
                try:
                    code = known[values[i]] = exact_code(Fraction(values[i]), fmt, str(values[i]))
                except (ValueError, OverflowError) as e:
                    reason = (
                        str(e)
                        if isinstance(e, ValueError) and "no number of" in str(e)
                        else "it is not finite"
                    )
                    raise LirError(Diagnostic(f"element {i} of {name}: {reason}", place)) from None
            codes.append(code)
        at += n
    return codes


def _load(place: Span, folder: Path | None, name: str) -> Any:
    if folder is None:
        help = "read the text with parse_file, or say which folder: parse(text, folder=...)"
        raise LirError(Diagnostic(f"this text has no folder to look for {name} in", place, help=help))
    if Path(name).is_absolute() or not (folder / name).resolve().is_relative_to(folder.resolve()):
        help = "copy it into the folder of the text, or below"
        raise LirError(Diagnostic(f"{name} lies outside the folder of this text", place, help=help))
    try:
        array = read_array((folder / name).read_bytes(), name)
    except FileNotFoundError:
        there = sorted(p.name for p in folder.glob("*.npy"))
        raise LirError(
            Diagnostic(f"there is no file {name} beside this text", place, help=did_you_mean(name, there))
        ) from None
    except (OSError, ValueError, LirError):
        raise LirError(Diagnostic(f"{name} is no .npy file of numbers", place)) from None
    if array.dtype.kind not in "iufb" or array.dtype.itemsize > 8:
        raise LirError(Diagnostic(f"{name} holds no array of integers or floats", place))
    return array


def table_runs(key: Type, value: Type) -> list[tuple[int, Fixed]]:
    """How many entries of which format a table has. Raises ValueError if key and value do not go together."""
    if key.shape != value.shape:
        raise ValueError(
            f"its keys {key} and values {value} differ in shape: a tensor of tables has one of each"
        )
    if key.max_width > MAX_KEY:
        raise ValueError(f"its key {key} has {key.max_width} bits; the most is {MAX_KEY}")
    if Table.entries(key) > MAX_ELEMENTS:
        raise ValueError(f"its keys {key} ask for {Table.entries(key)} entries; the most is {MAX_ELEMENTS}")
    if key.format and value.format:
        return [(Table.entries(key), value.format)]
    return [(1 << k.width, v) for k, v in zip(key.formats, value.formats, strict=True)]
