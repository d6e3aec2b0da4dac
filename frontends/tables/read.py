"""Reading the form from JSON or npz, strictly: an unknown key is as wrong as a missing one.

An npz holds the JSON text under the name `network`; anywhere in it, `"@name"` stands for the array of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lutc.build import as_type
from lutc.diagnostics import LirError, did_you_mean, error
from lutc.files.foreign import Members, opened, read_array, read_json, shown
from lutc.limits import MAX_ELEMENTS, MAX_WIDTH
from lutc.lowering.refusals import Refusal, Refusals
from lutc.types import Fixed, Overflow, Rounding

from .form import ARGMAX, VALUES, Encoder, Input, Layer, Network, Rounded

MARK, VERSION = "lutc tables", 1

E = TypeVar("E", bound=Enum)
T = TypeVar("T")


def is_form(path: Path) -> bool:
    """Whether a file is in the form, as far as a look at its beginning tells."""
    if not path.is_file():
        return False
    if path.suffix == ".npz":
        try:
            with opened(path, path.name) as members:
                return "network.npy" in members
        except LirError:
            return False
    if path.suffix != ".json":
        return False
    with path.open(errors="replace") as file:
        return f'"{MARK}"' in file.read(1000)


def read_form(path: Path) -> Network:
    """The network of a `.json` or `.npz` file. Raises LirError listing everything that is not as the chapter says."""
    document = _document(path)
    if not isinstance(document, dict) or MARK not in document:
        raise error(
            f"this is no network of tables: it lacks the key {MARK!r}",
            where=path.name,
            help=f'begin with {{"{MARK}": {VERSION}, "input": ...; the chapter tables.md tells the rest',
        )
    if type(document[MARK]) is not int or document[MARK] != VERSION:
        raise error(f"its version is {shown(document[MARK])}, and lutc reads {VERSION}", where=path.name)
    wrong = Refusals()
    network = _network(document, path, wrong)
    wrong.check()
    assert network is not None
    return network


def _document(path: Path) -> Any:
    if path.suffix != ".npz":
        return read_json(path, path.name)
    with opened(path, path.name) as members:
        if "network.npy" not in members:
            raise error("it has no array named 'network'", where=path.name, help="see the chapter tables.md")
        text = read_array(members.read("network.npy"), path.name)
        document = read_json(text.tobytes() if text.dtype == np.uint8 else str(text), path.name)
        return _filled(document, members, {}, path.name)


def _filled(tree: Any, members: Members, arrays: dict[str, Any], where: str) -> Any:
    """The JSON with `"@name"` replaced by the archive's arrays; `arrays` are those read so far."""
    if isinstance(tree, dict):
        return {k: _filled(v, members, arrays, where) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_filled(v, members, arrays, where) for v in tree]
    if isinstance(tree, str) and tree.startswith("@"):
        name = tree[1:]
        if name not in arrays:
            if f"{name}.npy" not in members:
                there = [n.removesuffix(".npy") for n in members.names]
                raise error(f"there is no array {shown(name)}", where=where, help=did_you_mean(name, there))
            arrays[name] = read_array(members.read(f"{name}.npy"), where)
        return arrays[name]
    return tree


def _network(document: dict[str, Any], path: Path, wrong: Refusals) -> Network | None:
    where = path.name
    parts: dict[str, Any] = {"outputs": {"y": VALUES}}
    with wrong.at(where):
        _only(document, (MARK, "name", "input", "encoder", "layers", "outputs", "notes"))
    with wrong.at(f"{where}: input"):
        parts["input"] = _input(document.get("input"))
    source: Input | None = parts.get("input")
    with wrong.at(f"{where}: encoder"):
        if document.get("encoder") is not None:
            parts["encoder"] = _encoder(document["encoder"], None if source is None else source.size)
    encoder: Encoder | None = parts.get("encoder")
    with wrong.at(f"{where}: outputs"):
        parts["outputs"] = _outputs(document.get("outputs", parts["outputs"]))
    width: int | None = None
    if encoder:
        width = sum(map(len, encoder.thresholds))
    elif source is not None and document.get("encoder") is None:
        width = source.size
    layers: list[Layer] = []
    with wrong.at(f"{where}: layers"):
        for number, entry in enumerate(_list(document.get("layers", []), "layers")):
            given = entry.get("name") if isinstance(entry, dict) else None
            name = given if isinstance(given, str) else f"layer{number}"
            count = len(layers)
            with wrong.at(f"{where}: layer {shown(name)}"):
                layers.append(_layer(entry, name, width))
            width = layers[-1].size if len(layers) > count else None
    if source is None:
        return None
    name = path.stem
    notes: tuple[str, ...] = ()
    with wrong.at(where):
        name = _string(document.get("name", name), "name")
        notes = tuple(_each(document.get("notes", []), lambda n: _string(n, "it"), "note", "notes"))
    return Network(name, source, tuple(layers), encoder, parts["outputs"], notes)


def _input(entry: Any) -> Input:
    _only(entry, ("name", "size", "format", "round", "overflow"))
    size = entry.get("size")
    if type(size) is not int or size < 1:
        raise Refusal(f"its size is {_shown(size)}", 'give the number of inputs: "size": 16')
    if size > MAX_ELEMENTS:
        raise Refusal(f"its size is {_shown(size)}", f"{MAX_ELEMENTS} are the most")
    return Input(_string(entry.get("name", "x"), "name"), size, _rounded(entry, "format", [size]))


def _encoder(entry: Any, size: int | None) -> Encoder:
    _only(entry, ("thresholds", "compare"))
    rows = _list(entry.get("thresholds"), "thresholds")
    if size is not None and len(rows) != size:
        raise Refusal(f"it has thresholds for {len(rows)} inputs, not {size}", "give one list for each input")
    compare = _word(entry.get("compare", "gt"), {"gt": False, "ge": True}, "compare")
    return Encoder(tuple(_each(rows, lambda r: tuple(_numbers(r)), "input")), compare)


def _outputs(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict) or not entry:
        raise Refusal("it names no output", f'name the ports: {{"y": "{VALUES}"}}')
    return {str(k): _word(v, {VALUES: VALUES, ARGMAX: ARGMAX}, str(k)) for k, v in entry.items()}


def _layer(entry: Any, name: str, width: int | None) -> Layer:
    keys = ("name", "inputs", "tables", "frac", "order", "key", "sum", "format", "round", "overflow")
    _only(entry, keys)
    inputs = tuple(_each(entry.get("inputs"), lambda r: tuple(_integers(r).tolist()), "table", "inputs"))
    tables = tuple(_each(entry.get("tables"), _integers, "table", "tables"))
    if len(inputs) != len(tables):
        raise Refusal(
            f"it connects {len(inputs)} tables and holds {len(tables)}", "give each table its inputs"
        )
    frac = entry.get("frac", 0)
    if type(frac) is not int or abs(frac) > MAX_WIDTH:
        raise Refusal(f"frac is {_shown(frac)}", "give the entries' number of bits after the point")
    _inside(inputs, width, "table", "reads input")
    _bounded(inputs, "tables", "inputs")
    sums = _sums(entry["sum"], len(tables)) if entry.get("sum") is not None else None
    key = None
    if entry.get("key") is not None:
        _only(entry["key"], ("format", "round", "overflow"))
        key = _rounded(entry["key"], "format", [len(tables)])
        if key is None:
            raise Refusal("its key has no format", 'such as "key": {"format": "u5f3"}')
    by_value = _word(entry.get("order", "bits"), {"bits": False, "value": True}, "order")
    result = _rounded(entry, "format", [len(inputs if sums is None else sums)])
    return Layer(name, inputs, tables, frac, by_value, key, sums, result)


def _sums(entry: Any, tables: int) -> tuple[tuple[int, ...], ...]:
    if isinstance(entry, int) and not isinstance(entry, bool):
        if entry < 1 or tables % entry:
            raise Refusal(
                f"{tables} tables do not divide into {entry} groups",
                'list the tables of each sum: "sum": [[0, 1], [2]]',
            )
        size = tables // entry
        return tuple(tuple(range(g * size, (g + 1) * size)) for g in range(entry))
    sums = tuple(_each(entry, lambda r: tuple(_integers(r).tolist()), "sum", "sum"))
    _inside(sums, tables, "sum", "adds table")
    _bounded(sums, "sums", "tables")
    return sums


# -- values -----------------------------------------------------------------------------------------------------------


def _only(entry: Any, keys: Sequence[str]) -> None:
    if not isinstance(entry, dict):
        raise Refusal(f"it is {_shown(entry)} and no object with keys", "keys: " + ", ".join(keys))
    for key in entry:
        if key not in keys:
            raise Refusal(
                f"it has an unknown key {_shown(key)}", did_you_mean(key, keys) or "keys: " + ", ".join(keys)
            )


def _string(entry: Any, what: str) -> str:
    if not isinstance(entry, str):
        raise Refusal(f"{what} is {_shown(entry)} and no text", "see the chapter tables.md")
    return entry


def _bounded(rows: Sequence[Sequence[int]], many: str, of: str) -> None:
    """Raise Refusal if rows of one length, the longest one's, would be too many numbers."""
    longest = max(map(len, rows), default=0)
    if longest * len(rows) > MAX_ELEMENTS:
        raise Refusal(f"it has {len(rows)} {many} with up to {longest} {of}", "cut the layer into several")


def _list(entry: Any, what: str) -> Any:
    if not isinstance(entry, list | np.ndarray):
        raise Refusal(f"{what} is {_shown(entry)} and no list", "see the chapter tables.md")
    return entry


def _each(entry: Any, read: Callable[[Any], T], one: str, what: str | None = None) -> list[T]:
    """Every item read; what is wrong with one says which."""
    found = []
    for number, item in enumerate(_list(entry, what or one)):
        try:
            found.append(read(item))
        except Refusal as e:
            raise Refusal(f"{one} {number}: {e.reason}", e.help) from None
    return found


def _integers(row: Any) -> Any:
    if isinstance(row, list) and not all(type(v) is int for v in row):
        raise Refusal(f"{_shown(row)} is no list of integers", "entries are codes: integers, scaled by frac")
    array = np.asarray(_list(row, "it"))
    if array.dtype == object and any(v.bit_length() > MAX_WIDTH // 2 for v in array.tolist()):
        raise Refusal("it holds integers that no format holds", f"{MAX_WIDTH // 2} bits are the most")
    whole = array.dtype.kind in "iub" or (
        array.dtype == object and all(type(v) is int for v in array.ravel().tolist())
    )
    if array.ndim != 1 or (array.size and not whole):
        raise Refusal(f"{_shown(row)} is no list of integers", "entries are codes: integers, scaled by frac")
    return array.astype(object if array.dtype == object else np.int64)


def _numbers(row: Any) -> list[Fraction]:
    numbers = row.tolist() if isinstance(row, np.ndarray) else _list(row, "it")
    for v in numbers:
        number = type(v) is float or (type(v) is int and v.bit_length() <= MAX_WIDTH // 2)
        if not number or (type(v) is float and not np.isfinite(v)):
            raise Refusal(f"{_shown(v)} is no number", "thresholds are finite numbers")
    return [Fraction(v) for v in numbers]


def _rounded(entry: dict[str, Any], key: str, sizes: Sequence[int]) -> Rounded | None:
    """The format(s) under a key and the modes beside it; None if there is no format."""
    given = entry.get(key)
    if given is None:
        for mode in ("round", "overflow"):
            if mode in entry:
                raise Refusal(f"it has {mode!r} and no format", f'such as "{key}": "s8f4"')
        return None
    texts = [given] if isinstance(given, str) else _list(given, key)
    if len(texts) not in (1, *sizes):
        raise Refusal(
            f"it has {len(texts)} formats for {sizes[0]} numbers", "give one format, or one for each"
        )
    modes: dict[str, Any] = {}
    if "round" in entry:
        modes["round"] = _enum(entry["round"], Rounding, "round")
    if "overflow" in entry:
        modes["overflow"] = _enum(entry["overflow"], Overflow, "overflow")
    return Rounded(tuple(_format(t) for t in texts), **modes)


def _format(text: Any) -> Fixed:
    if not isinstance(text, str) or len(text) > 20:
        raise Refusal(f"{_shown(text)} is no format", "give a format such as s8f4")
    kind = as_type(text)
    if kind.shape:
        raise Refusal(f"{text} is a type of tensors", "give a format such as s8f4")
    return kind.scalar


def _enum(word: Any, kind: type[E], what: str) -> E:
    return _word(word, {e.value: e for e in kind}, what)


def _word(word: Any, meanings: dict[str, T], what: str) -> T:
    if not isinstance(word, str) or word not in meanings:
        raise Refusal(f"{what} is {_shown(word)}", "one of: " + ", ".join(meanings))
    return meanings[word]


def _inside(lists: Sequence[Sequence[int]], size: int | None, one: str, does: str) -> None:
    for number, row in enumerate(lists):
        bad = [i for i in row if i < 0 or (size is not None and i >= size)]
        if bad:
            there = f"there are {size}, counted from 0" if size is not None else "they are counted from 0"
            raise Refusal(f"{one} {number} {does} {bad[0]}", there)


def _shown(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 40 else text[:37] + "..."
