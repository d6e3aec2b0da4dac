"""DWN checkpoints: thermometer encoder, layers of LUTs, a popcount for each class, the class of the largest count.

What the modules of torch-dwn compute (Bacellar et al., Differentiable Weightless Neural Networks, ICML 2024,
arXiv 2410.11112): bit t of feature i is `x_i > thresholds[i, t]`; a LUT's answer is `luts[address] > 0`, with the first
of its inputs the address's lowest bit; class c counts the c-th of equally long runs of the last layer's bits.
A learnable mapping connects each input to the bit of largest weight.

A checkpoint is a dict written by `torch.save`: `state_dict` of the model, `thermometer` with its `thresholds`, and
`config` with `num_classes`.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lutc.files.foreign import shown
from lutc.files.pickles import pickled, read_checkpoint
from lutc.lowering.refusals import Refusal, Refusals

from .form import ARGMAX, VALUES, Encoder, Input, Layer, Network

SUFFIXES = (".pt", ".pth")
DICT = "{'state_dict': ..., 'thermometer': {'thresholds': ...}, 'config': {'num_classes': ...}}"


def is_dwn(path: Path) -> bool:
    """Whether a file is a checkpoint with LUTs in it, as far as the names in it tell."""
    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    return b"luts" in (names := pickled(path)) and b"lutc.nn" not in names


def read_dwn(path: Path) -> Network:
    """The network of a checkpoint. Raises LirError listing what is missing or cannot be told from it."""
    saved = read_checkpoint(path, path.name)
    where = path.name
    wrong = Refusals()
    encoder: Encoder | None = None
    classes = 0
    with wrong.at(where):
        saved = _dict(saved, "the checkpoint")
    with wrong.at(f"{where}: thermometer"):
        encoder = _encoder(saved)
    with wrong.at(f"{where}: config"):
        classes = _classes(saved)
    layers = _layers(saved, where, wrong, encoder, classes)
    wrong.check()
    assert encoder is not None
    notes = []
    if "scaler" in saved:
        notes.append("the inputs are features after the checkpoint's scaler, which the host applies")
    name = str(saved.get("run_name", path.stem))
    outputs = {"score": VALUES, "class": ARGMAX}
    return Network(name, Input("x", len(encoder.thresholds)), tuple(layers), encoder, outputs, tuple(notes))


def _encoder(saved: Any) -> Encoder:
    if "thermometer" not in saved:
        raise Refusal(
            "the checkpoint lacks it, and without its thresholds the bits have no meaning",
            f"save it beside the weights: {DICT}",
        )
    rows = _array(_dict(saved["thermometer"], "it").get("thresholds"), "thresholds", 2)
    return Encoder(tuple(tuple(Fraction(t) for t in row) for row in rows.astype(np.float64).tolist()))


def _classes(saved: Any) -> int:
    config = _dict(saved.get("config", {}), "it")
    found = config.get("num_classes")
    if not isinstance(found, int) or found < 1:
        raise Refusal(f"num_classes is {shown(found)}", f"save it beside the weights: {DICT}")
    if config.get("randperm"):
        raise Refusal(
            "its groups are permuted, and the checkpoint does not hold the permutation", "use randperm=False"
        )
    return found


def _layers(saved: Any, where: str, wrong: Refusals, encoder: Encoder | None, classes: int) -> list[Layer]:
    layers: list[Layer] = []
    state: dict[str, Any] = {}
    with wrong.at(f"{where}: state_dict"):
        state = _dict(saved.get("state_dict"), "it")
        if not any(k.endswith("luts") for k in state):
            raise Refusal("it holds no LUT layer", "store the whole model: model.state_dict()")
    names = [k.removesuffix("luts").rstrip(".") for k in state if k.endswith("luts")]
    width: int | None = sum(map(len, encoder.thresholds)) if encoder else None
    for name in names:
        before = width
        width = None
        with wrong.at(f"{where}: layer {name!r}"):
            groups = classes if name == names[-1] else 0
            layers.append(_layer(state, name, before, groups))
            width = len(layers[-1].tables)
    return layers


def _layer(state: dict[str, Any], name: str, width: int | None, groups: int) -> Layer:
    at = name + "." if name else ""
    luts = _array(state[at + "luts"], "luts", 2)
    count, entries = luts.shape
    fan_in = entries.bit_length() - 1
    if entries != 1 << fan_in:
        raise Refusal(
            f"its LUTs have {entries} entries, which is no power of two", "the checkpoint is broken"
        )
    # A learnable layer also stores a plain mapping of the same shape that only counts upwards; it is not this one.
    if (weights := state.get(at + "mapping.weights")) is not None:
        weights = _array(weights, "mapping.weights", 2)
        if weights.shape[1] != count * fan_in or (width is not None and weights.shape[0] != width):
            raise Refusal(
                f"its mapping chooses {weights.shape[1]} of {weights.shape[0]} bits, and it has {width} bits and "
                f"{count} LUTs of {fan_in} inputs",
                "the thermometer, the layers and their mappings must come from one model",
            )
        mapping = weights.argmax(axis=0).reshape(count, fan_in)
    else:
        mapping = _array(state.get(at + "mapping"), "mapping", 2)
        if mapping.shape != (count, fan_in) or mapping.dtype.kind not in "iu":
            raise Refusal(
                f"its mapping has shape {list(mapping.shape)}, not {[count, fan_in]}",
                "the checkpoint is broken",
            )
    if width is not None and (mapping.min() < 0 or mapping.max() >= width):
        raise Refusal(
            f"its mapping reads bit {mapping.max()} of {width}", "the layers must come from one model"
        )
    sums = None
    if groups:
        if count % groups:
            raise Refusal(
                f"its {count} LUTs do not divide among {groups} classes",
                "torch-dwn pads such a layer with zeros in front of its groups: use a multiple of the classes",
            )
        size = count // groups
        sums = tuple(tuple(range(g * size, (g + 1) * size)) for g in range(groups))
    inputs = tuple(tuple(row) for row in mapping.tolist())
    tables = tuple((luts > 0).astype(np.int64))
    return Layer(f"lut{name.replace('.', '_')}", inputs, tables, sums=sums)


def _dict(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Refusal(
            f"{what} is {type(found).__name__} and no dict",
            f"save {DICT}",
        )
    return found


def _array(found: Any, what: str, rank: int) -> Any:
    if not isinstance(found, np.ndarray) or found.ndim != rank or not found.size:
        raise Refusal(f"{what} is no tensor of {rank} dimensions", "the checkpoint is broken: save it again")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise Refusal(f"{what} holds numbers that are not finite", "the model did not train: save another")
    return found
