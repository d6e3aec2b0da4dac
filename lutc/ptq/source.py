"""What a user gives: a float model of any kind, data to calibrate on, and perhaps the right answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc import plugins
from lutc.diagnostics import Diagnostic, error
from lutc.files.foreign import read_arrays, shown

from .graph import Graph

Array = NDArray[Any]

LEAST_ROWS = 16


def as_onnx(model: Any, example_inputs: Any = None) -> tuple[Any, str]:
    """A float model as an `onnx.ModelProto`, and its name. Raises LirError if no frontend can make one of it."""
    wrong: list[Diagnostic] = []
    if isinstance(model, str | Path):
        path = Path(model)
        if not path.exists():
            raise error("no such file", where=str(path))
        importer, name = plugins.reader(path, wrong), path.stem
    else:
        importer, name = plugins.taker(model, wrong), str(getattr(model, "name", None) or "model")
    if importer is None:
        what = Path(model).suffix if isinstance(model, str | Path) else type(model).__name__
        raise error(
            f"no frontend reads {what or 'files without a suffix'}",
            where=str(model) if isinstance(model, str | Path) else None,
            help="give an ONNX, Keras or PyTorch model",
        )
    return importer.as_onnx(model, example_inputs), name


def arrays(data: Any, what: str) -> dict[str, Array]:
    """Arrays by name from a mapping, an array, or the path of an `.npy` or `.npz` file; one without a name has ''."""
    place = str(data) if isinstance(data, str | Path) else None
    if isinstance(data, str | Path):
        data = read_arrays(Path(data))
    found = data if isinstance(data, Mapping) else {"": data}
    made = {}
    for name, value in found.items():
        array = np.asarray(value)
        told = f"{what} {name!r}" if name else what
        if array.dtype.kind not in "fiub" or not array.ndim:
            raise error(f"{told}: no array of numbers with rows: {shown(value)}", where=place)
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                finite = np.isfinite(array.astype(np.float32)).reshape(len(array), -1).all(axis=1)
            if not finite.all():
                row = int(np.argmin(finite))
                large = np.isfinite(array[row]).all()
                fault = "beyond what float32 holds" if large else "that are not finite"
                raise error(
                    f"{told}: row {row} has numbers {fault}", where=place, help="leave out rows like that"
                )
        made[str(name)] = array
    return made


def by_input(graph: Graph, data: Mapping[str, Array]) -> dict[str, Array]:
    """The data of each of the model's inputs, `(rows, ...)` in the model's own layout.

    Raises LirError unless there are enough rows, as many for each input, of the shape that the model reads.
    """
    names = [i.name for i in graph.inputs]
    given = dict(data)
    if len(names) == len(given) == 1:
        given = {names[0]: next(iter(given.values()))}
    missing = [n for n in names if n not in given]
    if missing:
        raise error(
            f"the data has no array for input {missing[0]!r}",
            help=f"it has {', '.join(map(repr, given)) or 'none'}, and the model reads {', '.join(map(repr, names))}",
        )
    rows = {n: len(given[n]) for n in names}
    if len(set(rows.values())) > 1:
        raise error(f"the inputs have different numbers of rows: {rows}")
    count = next(iter(rows.values()))
    if count < LEAST_ROWS:
        raise error(
            f"{count} rows of data say too little of what the numbers are",
            help=f"give {LEAST_ROWS} at least; some hundreds are usual",
        )
    for item in graph.inputs:
        _check(item, given[item.name])
    return {n: given[n].astype(np.float32) for n in names}


def _check(item: Any, array: Array) -> None:
    import onnx

    kind = item.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise error(
            f"input {item.name!r} is no float32, and only those are quantised",
            help="export the model in float32, from where its numbers are floats",
        )
    first = kind.shape.dim[0] if kind.shape.dim else None
    if first is not None and first.dim_value > 1:
        raise error(
            f"input {item.name!r} is a batch of {first.dim_value} samples, and a circuit takes one at a time",
            help="export the model with an open first dimension, or with one of 1",
        )
    wanted = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    fits = len(wanted) == array.ndim and all(
        n is None or n == m for n, m in zip(wanted[1:], array.shape[1:], strict=True)
    )
    if not fits:
        shape = [n if n is not None else "any" for n in wanted]
        raise error(
            f"the data of input {item.name!r} has the shape {list(array.shape)}, and the model reads {shape}",
            help="the first dimension counts the rows; the others are the model's own",
        )
