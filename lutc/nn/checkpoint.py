"""A trained model in one file, ready for ``lutc compile model.pt``: how its layers were made, and their state.

The file is `torch.save` of plain containers and tensors, read by `lutc.pickles`, so that opening one runs no code of
its maker:

    {"format": "lutc.nn", "version": 1, "name": str, "shape": [...] or None, "dtype": "float32" or "float64",
     "model": {"layer": class name, "args": [...], "options": {...}},   # layers within layers nest
     "state": state_dict, "about": {...}}                               # about: free, such as the metric
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lutc.diagnostics import LirError, error
from lutc.foreign import first_line, shown
from lutc.pickles import read_checkpoint

from . import attention, einsum, function, layers, lut, lutconv, pareto, pooling, quantizer
from .quantizer import Layer

FORMAT, VERSION = "lutc.nn", 1
LARGEST = 1 << 20  # elements that are made for nothing, if a file lacks them

# What surrounds our layers, with the attributes that make it again.
_TORCH: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Identity: (),
    nn.ReLU: (),
    nn.Dropout: ("p",),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.MaxPool1d: ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"),
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"),
}
_OURS = [
    kind
    for home in (quantizer, layers, pooling, einsum, function, attention, lut, lutconv)
    for name, kind in vars(home).items()
    if isinstance(kind, type) and issubclass(kind, Layer) and kind is not Layer and not name.startswith("_")
]
_KINDS: dict[str, Callable[..., nn.Module]] = {kind.__name__: kind for kind in (*_TORCH, *_OURS)}


@dataclass(frozen=True)
class Checkpoint:
    """A file's model (in evaluation mode), its input's shape without the batch if known, and what was noted."""

    model: nn.Module
    name: str
    shape: tuple[int, ...] | None
    about: dict[str, Any] = field(default_factory=dict)


def save(
    model: nn.Module,
    path: str | Path,
    *,
    shape: tuple[int, ...] | None = None,
    name: str | None = None,
    about: dict[str, Any] | None = None,
) -> None:
    """Write a model to ``path``: the old file or the new one is there, however it ends.

    ``shape`` is the input's without the batch, needed where no layer tells it; ``name`` becomes the design's (by
    default the file's); ``about`` may hold numbers and text. Raises LirError for a layer the file cannot describe.
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": name or path.stem,
        "shape": None if shape is None else list(shape),
        "dtype": str(_dtype(model)).removeprefix("torch."),
        "model": _describe(model, ""),
        "state": model.state_dict(),
        "about": dict(about or {}),
    }
    try:
        _restore(content)
    except (RuntimeError, TypeError, ValueError, KeyError) as e:
        raise error(
            f"the model is no longer as it was made: {str(e).splitlines()[0]}",
            where=type(model).__name__,
            help="make the model again as it should be, and load this one's state_dict into it",
        ) from None
    pareto.save(content, path)


def load(path: str | Path) -> nn.Module:
    """The model of a file that `save` wrote, in evaluation mode. Raises LirError if it is no such file."""
    return read(path).model


def read(path: str | Path) -> Checkpoint:
    """All of a file that `save` wrote. Raises LirError if it is no such file."""
    help = "write it with lutc.nn.save(model, path)"
    content = read_checkpoint(path, str(path), help)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise error("the file holds no description of a model", where=str(path), help=help)
    if content.get("version") != VERSION:
        raise error(
            f"written in version {shown(content.get('version'))} of the format; this lutc reads version {VERSION}",
            where=str(path),
            help="compile it with the lutc that wrote it, or a newer one",
        )
    try:
        content["state"] = {k: torch.from_numpy(v) for k, v in content["state"].items()}
        _expected(content)
        model = _restore(content)
        shape = None if content["shape"] is None else tuple(map(int, content["shape"]))
        return Checkpoint(model, str(content["name"]), shape, dict(content["about"]))
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError, MemoryError) as e:
        raise error(f"damaged: {first_line(e)}", where=str(path), help=help) from None


def _dtype(model: nn.Module) -> torch.dtype:
    return next((v.dtype for v in model.state_dict().values() if v.dtype.is_floating_point), torch.float32)


def _expected(content: dict[str, Any]) -> None:
    """Raise ValueError unless the model's parameters are as large as those in the file, before they are made."""
    with torch.device("meta"):  # on which tensors have shapes and no memory
        made = _make(content["model"]).state_dict()
    for name, value in made.items():
        if name in content["state"] and content["state"][name].shape != value.shape:
            stored = list(content["state"][name].shape)
            raise ValueError(f"the model's {name} is {list(value.shape)}, and the file holds {stored}")
        if name not in content["state"] and value.numel() > LARGEST:
            raise ValueError(f"the model's {name} is {list(value.shape)}, and the file holds none")


def _restore(content: dict[str, Any]) -> nn.Module:
    dtype = {"float32": torch.float32, "float64": torch.float64}[content["dtype"]]
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and that is nobody's business
        model: nn.Module = _make(content["model"]).to(dtype)
    model.load_state_dict(content["state"])
    evaluated: nn.Module = model.eval()
    return evaluated


def _describe(value: Any, where: str) -> Any:
    """A layer, or an option of one, in plain containers."""
    if isinstance(value, nn.Sequential):
        children = [(n, _describe(m, f"{where}.{n}" if where else n)) for n, m in value.named_children()]
        return {"layer": "Sequential", "args": [list(pair) for pair in children], "options": {}}
    if type(value) in _TORCH:
        options = {n: _describe(getattr(value, n), where) for n in _TORCH[type(value)]}
        return {"layer": type(value).__name__, "args": [], "options": options}
    if type(value) in _OURS:
        args, options = value.made_with
        return {
            "layer": type(value).__name__,
            "args": [_describe(v, where) for v in args],
            "options": {n: _describe(v, where) for n, v in options.items()},
        }
    if isinstance(value, list | tuple):
        return [_describe(v, where) for v in value]
    if isinstance(value, dict):
        return {str(k): _describe(v, where) for k, v in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _refused(type(value).__name__, where)


def _refused(kind: str, where: str) -> LirError:
    return error(
        f"a checkpoint cannot hold a {kind}",
        where=where or "model",
        help="make the model of lutc.nn's layers, nn.Sequential, " + ", ".join(k.__name__ for k in _TORCH),
    )


def _make(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_make(v) for v in value)
    if not isinstance(value, dict):
        return value
    if "layer" not in value:
        return {k: _make(v) for k, v in value.items()}
    kind = value["layer"]
    if kind == "Sequential":
        return nn.Sequential(OrderedDict((str(n), _make(m)) for n, m in value["args"]))
    if kind not in _KINDS:
        raise ValueError(f"no layer {shown(kind)}")
    return _KINDS[kind](*map(_make, value["args"]), **{k: _make(v) for k, v in value["options"].items()})
