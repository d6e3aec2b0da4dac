"""The weights of a model that lie in files beside it: in its own folder, and no more of them than the model states.

A tensor may name any path, an offset and a length. What is read here is a file of the model's folder or below, not
through a link that leads out of it, and as many bytes as the tensor's type and dimensions make.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lutc.diagnostics import LirError, error
from lutc.files.foreign import BYTES_AT_MOST, shown

HELP = "keep the data file in the same folder as the model"


def brought_in(onnx: Any, proto: Any, folder: Path | None, where: str) -> None:
    """Put the data of every tensor that lies in another file into the model.

    `folder` is the model's; without one there is no place to look. Raises LirError for a tensor whose data are not
    there, or that names a file anywhere else.
    """
    left = BYTES_AT_MOST
    for tensor in tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        data = _data(onnx, tensor, folder, where, left)
        left -= len(data)
        tensor.raw_data = data
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def tensors(proto: Any) -> Iterator[Any]:
    """Every tensor of a model, wherever it stands: graphs within graphs, functions, sparse ones, training."""
    waiting: list[Any] = [proto.graph, *proto.functions]
    for training in proto.training_info:
        waiting += [training.initialization, training.algorithm]
    while waiting:
        part = waiting.pop()
        sparse: list[Any] = []
        if part.DESCRIPTOR.name == "GraphProto":
            yield from part.initializer
            sparse += part.sparse_initializer
        else:
            waiting += [a.g for a in part.attribute_proto if a.HasField("g")]
            yield from (a.t for a in part.attribute_proto if a.HasField("t"))
        for node in part.node:
            for a in node.attribute:
                if a.HasField("t"):
                    yield a.t
                yield from a.tensors
                waiting += [a.g] if a.HasField("g") else []
                waiting += a.graphs
                sparse += [a.sparse_tensor] if a.HasField("sparse_tensor") else []
                sparse += a.sparse_tensors
        for s in sparse:
            yield from (s.values, s.indices)


def _data(onnx: Any, tensor: Any, folder: Path | None, where: str, left: int) -> bytes:
    about = {e.key: e.value for e in tensor.external_data}

    def wrong(reason: str, help: str = HELP) -> LirError:
        of = f"its weights lie in another file, which cannot be read: {shown(tensor.name)}: {reason}"
        return error(of, where=where, help=help)

    if folder is None:
        raise wrong("the model was given without its folder", "load the model by its path")
    location = about.get("location", "")
    parts = PurePosixPath(location.replace("\\", "/")).parts
    if not parts or location.startswith(("/", "\\")) or ".." in parts or ":" in location or "\0" in location:
        raise wrong(f"{shown(location)} is no file in the model's folder")
    path, home = folder.joinpath(*parts), folder.resolve()
    if not path.resolve().is_relative_to(home):
        raise wrong(f"{shown(location)} leads out of the model's folder")
    if not path.is_file():
        raise wrong(f"there is no file {shown(location)}")
    if path.stat().st_nlink > 1:
        raise wrong(
            f"{shown(location)} is a file of another folder as well", "copy it, instead of linking it"
        )
    try:
        start = int(about.get("offset") or 0)
        bits = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
        if tensor.data_type in _packed(onnx):
            bits = _packed(onnx)[tensor.data_type]
        size = -(-math.prod(tensor.dims) * bits // 8)
        stated = int(about.get("length") or size)
    except (ValueError, KeyError, TypeError):
        raise wrong("its type, offset or length is none") from None
    if min((start, *tensor.dims), default=0) < 0 or stated != size:
        raise wrong(f"it states {stated:,} bytes, and its {list(tensor.dims)[:8]} numbers are {size:,}")
    if size > left:
        raise wrong(f"it states {size:,} bytes, more than is read")
    with path.open("rb") as file:
        if start + size > os.fstat(file.fileno()).st_size:
            raise wrong(f"{shown(location)} is too short")
        file.seek(start)
        return file.read(size)


def _packed(onnx: Any) -> dict[int, int]:
    """The types that share bytes, with their bits."""
    kinds = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
    return {getattr(onnx.TensorProto, k): bits for k, bits in kinds.items() if hasattr(onnx.TensorProto, k)}
