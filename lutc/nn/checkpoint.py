"""A trained model in one file, ready for ``lutc compile model.pt``: how its layers were made, and their state.

The file is `torch.save` of plain containers and tensors, read by `lutc.files.pickles`, so that opening one runs no
code of its maker:

    {"format": "lutc.nn", "version": 1, "name": str, "shape": [...] or None, "dtype": "float32" or "float64",
     "model": {"layer": class name, "args": [...], "options": {...}},   # layers within layers nest
               # {"layer": "Again", "args": [n]} is the n-th layer of the description, from 0, once more
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
from lutc.files.foreign import first_line, shown
from lutc.files.pickles import read_checkpoint

from . import attention, einsum, function, graph, joins, layers, lut, lutconv, pareto, pooling, quantizer
from .known import oddity
from .quantizer import Layer

FORMAT, VERSION = "lutc.nn", 1
AGAIN = "Again"  # a layer that stands in the model once more
_FLOATS = {"float32": torch.float32, "float64": torch.float64}
LARGEST = 1 << 20  # elements that are made for nothing, if a file lacks them

# What surrounds our layers, with the attributes that make it again.
_TORCH: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Identity: (),
    nn.ReLU: ("inplace",),
    nn.Dropout: ("p", "inplace"),
    nn.Dropout1d: ("p", "inplace"),
    nn.Dropout2d: ("p", "inplace"),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.MaxPool1d: ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"),
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"),
}
_OURS = [
    kind
    for home in (quantizer, layers, joins, pooling, einsum, function, attention, lut, lutconv, graph)
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

    Examples
    --------
    >>> import lutc, torch
    >>> from lutc import nn
    >>> model = torch.nn.Sequential(nn.LUTDense(4, 2))
    >>> nn.save(model, "model.pt")
    >>> str(lutc.load("model.pt")) == str(lutc.load(model.eval()))
    True
    """
    path = Path(path)
    dtype = _dtype(model)
    if dtype not in _FLOATS.values():
        raise error(
            f"the model's numbers are {str(dtype).removeprefix('torch.')}, and a checkpoint holds float32 or float64",
            where=type(model).__name__,
            help="save model.float(), which holds the same numbers",
        )
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": name or path.stem,
        "shape": None if shape is None else list(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "model": _Description().of(model, ""),
        "state": model.state_dict(),
        "about": dict(about or {}),
    }
    try:
        changed = _changed(model, _restore(content))
    except (RuntimeError, TypeError, ValueError, KeyError) as e:
        changed = first_line(e)
    if changed:
        raise error(
            f"the model is no longer as it was made: {changed}",
            where=type(model).__name__,
            help="make the model again as it should be, and load this one's state_dict into it",
        )
    pareto.save(content, path)


def load(path: str | Path) -> nn.Module:
    """The model of a file that `save` wrote, in evaluation mode. Raises LirError if it is no such file.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> nn.save(torch.nn.Sequential(nn.LUTDense(4, 2)), "model.pt")
    >>> nn.load("model.pt").training
    False
    """
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
        made = _Maker().of(content["model"]).state_dict()
    for name, value in made.items():
        if name in content["state"] and content["state"][name].shape != value.shape:
            stored = list(content["state"][name].shape)
            raise ValueError(f"the model's {name} is {list(value.shape)}, and the file holds {stored}")
        if name not in content["state"] and value.numel() > LARGEST:
            raise ValueError(f"the model's {name} is {list(value.shape)}, and the file holds none")


def _restore(content: dict[str, Any]) -> nn.Module:
    dtype = _FLOATS[content["dtype"]]
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and that is nobody's business
        model: nn.Module = _Maker().of(content["model"]).to(dtype)
    model.load_state_dict(content["state"])
    evaluated: nn.Module = model.eval()
    return evaluated


class _Description:
    """Layers, and options of them, in plain containers; one that stands in the model twice is described once."""

    def __init__(self) -> None:
        self._numbers: dict[nn.Module, int] = {}

    def of(self, value: Any, where: str) -> Any:
        """A layer or an option. Raises LirError for one that a file cannot describe."""
        if isinstance(value, nn.Module):
            return self._layer(value, where)
        if isinstance(value, list | tuple):
            return [self.of(v, where) for v in value]
        if isinstance(value, dict):
            return {str(k): self.of(v, where) for k, v in value.items()}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise _refused(f"a {type(value).__name__}", where)

    def _layer(self, layer: nn.Module, where: str) -> Any:
        if layer in self._numbers:
            return {"layer": AGAIN, "args": [self._numbers[layer]], "options": {}}
        kind = type(layer).__name__
        for part in (
            layer.modules() if type(layer) in _OURS else (layer,)
        ):  # quantisers are made by their layer
            if reason := oddity(part):
                raise _refused(f"a {type(part).__name__} that {reason}", where)
        self._numbers[layer] = len(self._numbers)
        args: list[Any] = []
        options: dict[str, Any] = {}
        if type(layer) is nn.Sequential:
            inner = [(n, m) for n, m in layer._modules.items()]
            args = [[n, self.of(m, f"{where}.{n}" if where else n)] for n, m in inner]
        elif type(layer) in _TORCH:
            options = {n: getattr(layer, n) for n in _TORCH[type(layer)]}
        elif type(layer) in _OURS:
            made: Any = layer
            args, options = made.made_with
            args = [self.of(v, where) for v in args]
        else:
            raise _refused(f"a {kind}", where)
        return {"layer": kind, "args": args, "options": {n: self.of(v, where) for n, v in options.items()}}


# What a layer keeps of its last call or of the training, and not of how it was made.
_PASSING = frozenset(
    ("training", "made_with", "positions", "size", "sizes", "room", "frozen", "elements", "seen", "adders")
)


def _changed(model: nn.Module, again: nn.Module) -> str:
    """What of a model is not as a description of it makes it again; empty if all is."""
    pairs = zip(
        model.named_modules(remove_duplicate=False),
        again.named_modules(remove_duplicate=False),
        strict=False,
    )
    for (name, a), (other, b) in pairs:
        if name != other or type(a) is not type(b):
            return f"{name or 'model'} is a {type(a).__name__} now"
        for word, value in vars(b).items():
            plain = not word.startswith("_") and word not in _PASSING and not callable(value)
            if plain and vars(a).get(word) != value:
                return f"{name or 'model'} has another {word} now"
    count, made = (sum(1 for _ in m.named_modules(remove_duplicate=False)) for m in (model, again))
    return "" if count == made else f"it has {count} modules, and is made again with {made}"


def _refused(kind: str, where: str) -> LirError:
    return error(
        f"a checkpoint cannot hold {kind}",
        where=where or "model",
        help="make the model of lutc.nn's layers, nn.Sequential, " + ", ".join(k.__name__ for k in _TORCH),
    )


class _Maker:
    """Makes layers again, in the order of their description."""

    def __init__(self) -> None:
        self._made: list[Any] = []

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(self.of(v) for v in value)
        if not isinstance(value, dict):
            return value
        if "layer" not in value:
            return {k: self.of(v) for k, v in value.items()}
        kind = value["layer"]
        if kind == AGAIN:
            (number,) = value["args"]
            if type(number) is not int or not 0 <= number < len(self._made) or self._made[number] is None:
                raise ValueError(f"no layer {shown(number)} that could stand there again")
            return self._made[number]
        number = len(self._made)
        self._made.append(None)
        if kind == "Sequential":
            made: Any = nn.Sequential(OrderedDict((str(n), self.of(m)) for n, m in value["args"]))
        elif kind in _KINDS:
            args = [self.of(v) for v in value["args"]]
            made = _KINDS[kind](*args, **{k: self.of(v) for k, v in value["options"].items()})
        else:
            raise ValueError(f"no layer {shown(kind)}")
        self._made[number] = made
        return made
