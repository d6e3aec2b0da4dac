"""The tensors and plain containers of a PyTorch checkpoint, read without PyTorch and without running its code.

`torch.save` writes a zip: `NAME/data.pkl`, a pickle in which tensors are references, and `NAME/data/KEY`, the bytes
of storage KEY. A pickle may name any function to call; this reader knows the few that rebuild tensors and refuses
every other name before anything is called.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error

STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    """A kind of storage, as the pickle names it."""

    dtype: str


class _Refused(Exception):
    pass


def read_checkpoint(path: Path) -> Any:
    """What `torch.save` wrote, tensors as numpy arrays.

    Raises LirError for another kind of file, and for a checkpoint that holds anything but tensors, numbers, text and
    containers of them.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _Reader(file, _folder(file)).load()
    except _Refused as cause:
        raise error(
            f"the checkpoint holds {cause}",
            where=path.name,
            help="save tensors, numbers, text, lists and dicts only, such as {'state_dict': model.state_dict(), ...}",
        ) from None
    except (zipfile.BadZipFile, pickle.UnpicklingError, *DAMAGE) as cause:
        raise error(
            f"this is no checkpoint of PyTorch 1.6 or newer ({type(cause).__name__}: {cause})",
            where=path.name,
            help="write it again with torch.save",
        ) from None


# What a damaged pickle or zip may end in.
DAMAGE = (OSError, EOFError, KeyError, ValueError, IndexError, TypeError, AttributeError, RuntimeError)


def pickled(path: Path) -> bytes:
    """The bytes of a checkpoint's pickle, not opened; empty if the file is no checkpoint."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.read(_folder(file) + "data.pkl")
    except (zipfile.BadZipFile, OSError, KeyError, ValueError):
        return b""


def _folder(file: zipfile.ZipFile) -> str:
    """The folder that all of a checkpoint's files are in."""
    for name in file.namelist():
        if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1):
            return name.removesuffix("data.pkl")
    raise KeyError("data.pkl")


class _Reader(pickle.Unpickler):
    def __init__(self, file: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(file.read(folder + "data.pkl")))
        self.file, self.folder = file, folder
        order = file.read(folder + "byteorder") if folder + "byteorder" in file.namelist() else b"little"
        self.order = ">" if order == b"big" else "<"

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return _Storage(STORAGES[name])
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data,
            ("torch.torch_version", "TorchVersion"): str,
            ("torch", "Size"): tuple,
        }
        if (module, name) not in known:
            raise _Refused(f"a {module}.{name}, and opening that could run code")
        return known[module, name]

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise _Refused("a storage of a kind that lutc does not know")
        data = np.frombuffer(self.file.read(f"{self.folder}data/{key}"), dtype=self.order + storage.dtype)
        if len(data) < count:
            raise ValueError(f"storage {key} has {len(data)} numbers, not {count}")
        return data


def _tensor(
    storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any
) -> NDArray[Any]:
    """A tensor of a storage. Raises ValueError if it would reach beyond it."""
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (all(size) and last >= len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    at = np.full(tuple(size), offset, dtype=np.int64)
    for axis, (n, s) in enumerate(zip(size, stride, strict=True)):
        at += (np.arange(n) * s).reshape([-1 if a == axis else 1 for a in range(len(size))])
    tensor: NDArray[Any] = storage[at]
    return tensor
