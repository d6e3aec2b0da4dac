"""From a network of tables to a design."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Const, Design, Value
from lutc.lowering.constants import each_narrowest
from lutc.lowering.given import by_name, given_type
from lutc.lowering.lookup import rom_tables
from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal, Refusals
from lutc.numbers import twos
from lutc.types import ZERO, Fixed, Overflow, Rounding, Type, holding, tensor, uniform

from .form import ARGMAX, Encoder, Layer, Network, Rounded

KEY_BITS = 20


def lower_network(network: Network, where: str, input_types: Mapping[str, str] | None = None) -> Design:
    """The design of a network; `where` is what the user calls it.

    `input_types` gives the input's format, by its name or under `""`. Raises LirError listing every layer whose
    tables do not fit what they read.
    """
    network = _used(network)
    names, wrong = Names(), Refusals()
    b = Builder(names.take(network.name, "network"))
    made: list[Value] = []
    with wrong.at(f"{where}: input {network.input.name!r}"):
        made.append(_input(b, names, network, input_types or {}))
    wrong.check()
    for layer in network.layers:
        count = len(made)
        with wrong.at(f"{where}: layer {layer.name!r}"), b.origin(layer.name):
            made.append(_layer(b, names, layer, made[-1]))
        if len(made) == count:
            # Refused: the layers behind are looked at as well, if the format they read is known all the same.
            if layer.result is None:
                break
            made.append(b.input(names.take("refused"), _formats(layer.result, layer.size)))
    wrong.check()
    values = made[-1]
    for name, what in network.outputs.items():
        b.output(names.take(name), b.argmax(values) if what == ARGMAX else values)
    for note in network.notes:
        b.note(note)
    return b.design()


def _used(network: Network) -> Network:
    """The network without the encoder's bits that no table reads."""
    if network.encoder is None or not network.layers:
        return network
    first = network.layers[0]
    used = sorted({i for row in first.inputs for i in row})
    place = {old: new for new, old in enumerate(used)}
    rows, start = [], 0
    for row in network.encoder.thresholds:
        rows.append(tuple(t for i, t in enumerate(row, start) if i in place))
        start += len(row)
    inputs = tuple(tuple(place[i] for i in row) for row in first.inputs)
    encoder = replace(network.encoder, thresholds=tuple(rows))
    return replace(network, encoder=encoder, layers=(replace(first, inputs=inputs), *network.layers[1:]))


# -- the input --------------------------------------------------------------------------------------------------------


def _input(b: Builder, names: Names, network: Network, given: Mapping[str, str]) -> Value:
    source, encoder = network.input, network.encoder
    formats = by_name([source.name], given, "network")
    if formats:
        rounded = Rounded(given_type(formats[source.name], (source.size,)).formats)
    elif source.rounded:
        rounded = source.rounded
    elif encoder:
        rounded = _of_thresholds(encoder)
        b.note(
            f"input {source.name} has formats that hold the encoder's thresholds exactly, up to "
            f"{max(f.width for f in rounded.formats)} bits wide; a coarser one makes a smaller encoder: "
            f"--input-type {source.name}=s8f4"
        )
    else:
        raise Refusal(
            "it has no format", f'give it one: "format" in the file, or --input-type {source.name}=s8f4'
        )
    port = b.input(
        names.take(source.name),
        _formats(rounded, source.size),
        round=rounded.round,
        overflow=rounded.overflow,
    )
    if encoder is None:
        return port
    with b.origin("encoder"):
        return _encoded(b, names, port, encoder)


def _of_thresholds(encoder: Encoder) -> Rounded:
    """The narrowest formats in which every real number compares with the thresholds as it does itself.

    `x > t` is `ceil(x) > t` and `x >= t` is `floor(x) >= t` in steps that t is a multiple of; saturation keeps both if
    one step lies beyond the outermost threshold.
    """
    formats = []
    for row in encoder.thresholds:
        frac = max((twos(t) for t in row if t), default=0)
        codes = [int(t * Fraction(2) ** frac) for t in row]
        below, above = (1, 0) if encoder.inclusive else (0, 1)
        formats.append(holding(min(codes) - below, max(codes) + above, frac) if codes else ZERO)
    mode = Rounding.FLOOR if encoder.inclusive else Rounding.CEIL
    return Rounded(tuple(formats), mode, Overflow.SATURATE)


def _encoded(b: Builder, names: Names, x: Value, encoder: Encoder) -> Value:
    """The thermometer's bits."""
    of = [i for i, row in enumerate(encoder.thresholds) for _ in row]
    formats = x.type.formats
    # Between two numbers of the format, a threshold may stand on the lower (or, inclusive, the upper) one.
    nearest = math.ceil if encoder.inclusive else math.floor
    fracs = [formats[i].frac for i in of]
    thresholds = [t for row in encoder.thresholds for t in row]
    codes = [nearest(t * Fraction(2) ** f) for t, f in zip(thresholds, fracs, strict=True)]
    kind = each_narrowest([len(of)], codes, fracs)
    const = Const(names.take("thresholds"), kind, np.array(codes, dtype=object))
    bits: Value = b.compare(b.gather(x, indices=of), b.const(const), rel="ge" if encoder.inclusive else "gt")
    return bits


# -- layers -----------------------------------------------------------------------------------------------------------


def _layer(b: Builder, names: Names, layer: Layer, x: Value) -> Value:
    keys = _keys(b, layer, x)
    key = keys[0] if len(keys) == 1 else b.bit_concat(keys[::-1])
    codes = []
    for number, (entries, fmt) in enumerate(zip(layer.tables, key.type.formats, strict=True)):
        if fmt.width > KEY_BITS:
            raise Refusal(
                f"table {number} has a key of {fmt.width} bits, and {KEY_BITS} are the most",
                "give it fewer inputs or narrower ones",
            )
        if len(entries) != 1 << fmt.width:
            raise Refusal(
                f"table {number} has {len(entries)} entries, and its key of {fmt.width} bits asks for "
                f"{1 << fmt.width}",
                "the widths of what it reads add up to its key: check inputs, formats and tables",
            )
        if layer.by_value:
            entries = entries[np.arange(len(entries)) ^ _signs([k.type.formats[number] for k in keys])]
        codes.append(entries)
    table = rom_tables(names.take(f"{layer.name}_tables"), key.type, codes, [layer.frac] * len(codes))
    y: Value = b.lut(key, table)
    if layer.sums is not None:
        y = _summed(b, y, layer.sums)
    if layer.result:
        y = _quant(b, y, layer.result, _formats(layer.result, layer.size))
    return y


def _keys(b: Builder, layer: Layer, x: Value) -> list[Value]:
    """The inputs of the tables: first inputs, second inputs, ...; a table with fewer reads zeros without bits."""
    fan_in = max((len(row) for row in layer.inputs), default=0)
    nothing = x.type.size
    padded = (
        b.pad(x, before=[0], after=[1]) if any(len(row) < fan_in for row in layer.inputs) or not fan_in else x
    )
    keys = []
    for slot in range(max(fan_in, 1)):
        reads = [slot < len(row) for row in layer.inputs]
        at = [row[slot] if there else nothing for row, there in zip(layer.inputs, reads, strict=True)]
        part: Value = b.gather(padded, indices=at)
        if layer.key:
            formats = [layer.key.of(t) if there else ZERO for t, there in enumerate(reads)]
            part = _quant(b, part, layer.key, tensor([len(formats)], formats))
        keys.append(part)
    return keys


def _signs(formats: Sequence[Fixed]) -> int:
    """The sign bits of a key made of these, the first in the lowest bits."""
    mask = start = 0
    for f in formats:
        start += f.width
        mask |= 1 << (start - 1) if f.signed else 0
    return mask


def _summed(b: Builder, y: Value, sums: Sequence[Sequence[int]]) -> Value:
    terms = max(map(len, sums), default=0)
    nothing = y.type.size
    padded = b.pad(y, before=[0], after=[1])
    at = [i for row in sums for i in (*row, *[nothing] * (terms - len(row)))]
    rows = b.reshape(b.gather(padded, indices=at), shape=[len(sums), terms])
    total: Value = b.sum(rows, axes=[1])
    return total


def _quant(b: Builder, x: Value, how: Rounded, to: Type) -> Value:
    result: Value = b.quant(x, to=to, round=how.round, overflow=how.overflow) if x.type != to else x
    return result


def _formats(how: Rounded, size: int) -> Type:
    return uniform([size], how.formats[0]) if len(how.formats) == 1 else tensor([size], how.formats)
