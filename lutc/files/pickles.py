"""What `torch.save` wrote, read without PyTorch and without Python's own unpickler: nothing in the file can run.

A checkpoint is a zip: `NAME/data.pkl`, a pickle in which tensors are references, and `NAME/data/KEY`, the bytes of
storage KEY. A pickle is a program for a stack machine, whose instructions may call any function by its name. The
machine here knows the instructions that build containers, and the few functions that rebuild tensors; another
instruction or name ends it before anything is called. What it builds is a tree no larger than the file.
"""

from __future__ import annotations

import os
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import LirError, error
from lutc.files.foreign import BYTES_AT_MOST, DEPTH_AT_MOST, TEXT_AT_MOST, Members, first_line, opened, shown

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
AGAIN = "write it again with torch.save"
PLAIN = "save tensors, numbers, text, lists and dicts only, such as {'state_dict': model.state_dict(), ...}"


def read_checkpoint(source: str | os.PathLike[str] | bytes, where: str, help: str | None = None) -> Any:
    """What `torch.save` wrote, in a file or in memory: tensors as numpy arrays, in plain containers.

    Raises LirError, with `help`, for another kind of file, and for a checkpoint that holds anything but tensors,
    numbers, text and containers of them.
    """
    try:
        with opened(source, where) as members:
            return _Machine(members).run()
    except _Refused as cause:
        raise error(f"the checkpoint holds {cause}", where=where, help=help or PLAIN) from None
    except LirError as cause:
        raise _none(where, cause.diagnostics[0].message, help) from None
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError, MemoryError) as cause:
        raise _none(where, f"{type(cause).__name__}: {first_line(cause)}", help) from None


def pickled(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a checkpoint's pickle, not opened; empty if the file is no checkpoint."""
    try:
        with opened(path, str(path)) as members:
            return members.read(_folder(members) + "data.pkl", TEXT_AT_MOST)
    except (LirError, KeyError):
        return b""


def _none(where: str, reason: str, help: str | None) -> LirError:
    return error(
        f"this is no checkpoint of PyTorch 1.6 or newer ({reason})",
        where=where,
        help=help or AGAIN,
    )


def _folder(members: Members) -> str:
    """The folder that all of a checkpoint's files are in."""
    for name in members.names:
        if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1):
            return name.removesuffix("data.pkl")
    raise KeyError("data.pkl")


class _Refused(Exception):
    pass


@dataclass(frozen=True)
class _Name:
    """A function or class that the pickle names, and what stands for it here."""

    make: Callable[..., Any]


@dataclass(frozen=True)
class _Kind:
    """A kind of storage, as the pickle names it."""

    dtype: str


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a version that is no text")
    return value


_NAMES: dict[tuple[str, str], _Name | _Kind] = {
    ("collections", "OrderedDict"): _Name(lambda *pairs: OrderedDict(*pairs)),
    ("torch._utils", "_rebuild_tensor_v2"): _Name(lambda *given: _tensor(*given)),
    ("torch._utils", "_rebuild_parameter"): _Name(lambda data, *rest: data),
    ("torch.torch_version", "TorchVersion"): _Name(_text),
    ("torch", "Size"): _Name(tuple),
    **{("torch", name): _Kind(dtype) for name, dtype in STORAGES.items()},
}
_MARK = object()
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_ARGUMENTS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE"),
)


class _Machine:
    """The stack machine of one pickle."""

    def __init__(self, members: Members) -> None:
        self.members, self.folder = members, _folder(members)
        self.data = members.read(self.folder + "data.pkl", TEXT_AT_MOST)
        order = self.folder + "byteorder"
        self.order = ">" if order in members and members.read(order) == b"big" else "<"
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[Any, NDArray[Any]] = {}
        self.left = BYTES_AT_MOST

    def run(self) -> Any:
        for opcode, argument, _ in pickletools.genops(self.data):
            if opcode.name == "STOP":
                (found,) = self.stack
                _check_tree(found, len(self.data))
                return found
            self.step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _ARGUMENTS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self.marked()))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self.marked()
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop() for _ in "kv"][::-1] if name == "SETITEM" else self.marked()
            target = _expect(stack[-1], dict)
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[_expect(key, str | int)] = value
        elif name == "GLOBAL":
            stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            word = stack.pop()
            stack.append(_named(stack.pop(), word))
        elif name in ("REDUCE", "NEWOBJ"):
            given = _expect(stack.pop(), tuple)
            made = _expect(stack.pop(), _Name).make(*given)
            stack.append(made)
            self.left -= made.nbytes if isinstance(made, np.ndarray) else 0
            if self.left < 0:
                raise ValueError("its tensors show the same storage over and over")
        elif name == "BINPERSID":
            stack.append(self.storage(*stack.pop()))
        elif name == "BUILD":  # attributes, which nothing here reads
            stack.pop()
            _expect(stack[-1], OrderedDict | str)
        else:
            raise _Refused(f"something that is made by the instruction {name}, and that could run code")

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("the pickle lacks a mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def storage(self, what: Any, kind: Any, key: Any, place: Any, count: Any) -> NDArray[Any]:
        if what != "storage" or not isinstance(kind, _Kind) or not isinstance(key, str):
            raise _Refused("a storage of a kind that lutc does not know")
        found = self.storages.get((key, kind))
        if found is None:
            data = self.members.read(f"{self.folder}data/{key}")
            found = self.storages[key, kind] = np.frombuffer(data, dtype=self.order + kind.dtype)
        if len(found) < count:
            raise ValueError(f"storage {key} has {len(found)} numbers, not {count}")
        return found


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"the pickle has a {type(value).__name__} where it should not")
    return value


def _named(module: Any, name: Any) -> _Name | _Kind:
    if (module, name) not in _NAMES:
        raise _Refused(f"a {shown(f'{module}.{name}')[1:-1]}, and opening that could run code")
    return _NAMES[module, name]


def _tensor(
    storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any
) -> NDArray[Any]:
    """A tensor of a storage. Raises ValueError if it would reach beyond it, or repeats it many times."""
    if not isinstance(storage, np.ndarray) or not all(type(n) is int for n in (offset, *size, *stride)):
        raise ValueError("a tensor without storage, shape and strides")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (all(size) and last >= len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    count = 1
    for n in size:
        count *= n
    if count > max(len(storage), 1 << 16):
        raise ValueError(f"a tensor of {count} numbers has a storage of {len(storage)}")
    strides = [s * storage.itemsize for s in stride]
    view = np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides)
    return np.array(view, dtype=storage.dtype.newbyteorder("="))


def _check_tree(found: Any, most: int) -> None:
    """Raise ValueError if a container holds itself, or the same ones over and over: it would have no end."""
    level, count = [found], 0
    for _ in range(DEPTH_AT_MOST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, list | tuple):
                inner += item
            elif isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, _Name | _Kind) or item is _MARK:
                raise ValueError("the pickle is cut short")
            if len(inner) > most:
                break
        count += len(inner)
        if count > most or not inner:
            break
        level = inner
    if inner:
        raise ValueError("its containers hold each other without end")
