"""Files that others made: only the parts that are needed are read, within limits, and nothing in them is ever run.

Members of zip archives, JSON, and numpy's arrays. The chapter `files.md` of the specification says what holds for each
kind of model file. Every function raises LirError for a file that is damaged or asks for too much.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import LirError, error

BYTES_AT_MOST = 2 << 30  # of all that is read of one file
TEXT_AT_MOST = 64 << 20  # of one JSON document: its objects take some forty times as much
LIR_AT_MOST = 256 << 20  # bytes of a text of ours: the largest models take a tenth of it
DEPTH_AT_MOST = 100  # of lists in lists, and of objects in objects

# What a damaged zip may end in, with the package's own kinds.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    IndexError,
    RuntimeError,
    NotImplementedError,
)


class Members:
    """The members of a zip archive. They are read one by one, never extracted: a name in it is only a name."""

    def __init__(self, file: zipfile.ZipFile, where: str) -> None:
        self._file, self._where = file, where
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._left = BYTES_AT_MOST
        for info in file.infolist():
            if info.filename in self._infos:
                raise error(
                    f"the zip holds {shown(info.filename)} twice, so it is not clear which is meant",
                    where=where,
                    help="save the model again",
                )
            self._infos[info.filename] = info

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in the archive's order."""
        return tuple(self._infos)

    def size(self, name: str) -> int:
        """How many bytes a member states it has. Raises KeyError if there is none of that name."""
        return self._infos[name].file_size

    def read(self, name: str, at_most: int | None = None) -> bytes:
        """A member's bytes. Raises LirError if it is not there, damaged, encrypted or too large."""
        info = self._infos.get(name)
        if info is None:
            raise error(f"the zip holds no {shown(name)}", where=self._where, help="save the model again")
        if info.flag_bits & 1:
            raise error(f"{shown(name)} is encrypted", where=self._where, help="save it without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise error(
                f"{shown(name)} is compressed in an unusual way ({info.compress_type})",
                where=self._where,
                help="pack it with deflate, as most programs do",
            )
        limit = self._left if at_most is None else min(at_most, self._left)
        if info.file_size > limit:
            raise too_large(shown(name), info.file_size, limit, self._where)
        try:
            with self._file.open(info) as member:  # gives no more bytes than the member states
                data = member.read()
        except _DAMAGE as cause:
            raise error(
                f"{shown(name)} is damaged: {first_line(cause)}",
                where=self._where,
                help="save the model again",
            ) from None
        self._left -= len(data)
        return data

    def json(self, name: str) -> Any:
        """A member that is JSON."""
        return read_json(self.read(name, TEXT_AT_MOST), f"{self._where}: {shown(name)}")


@contextmanager
def opened(
    source: str | os.PathLike[str] | bytes, where: str, kind: str = "zip archive", help: str | None = None
) -> Iterator[Members]:
    """The members of a zip archive, in a file or in memory. Raises LirError for anything else, which is no `kind`."""
    try:
        file = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except FileNotFoundError:
        raise error("there is no such file", where=where) from None
    except _DAMAGE as cause:
        raise error(f"this is no {kind}: {first_line(cause)}", where=where, help=help) from None
    with file:
        yield Members(file, where)


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether a file's first bytes are these; no if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


# -- JSON -------------------------------------------------------------------------------------------------------------

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.S)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # of a character that UTF-16 writes as two


def read_text(path: Path) -> str:
    """A text in UTF-8. Raises LirError for what is none, or is longer than any text of lutc's."""
    try:
        with path.open("rb") as file:
            data = file.read(LIR_AT_MOST + 1)
    except OSError as cause:
        raise error(f"cannot read the file: {cause.strerror}", where=str(path)) from None
    if len(data) > LIR_AT_MOST:
        raise error(f"is longer than {LIR_AT_MOST >> 20} MiB, which no text of lutc's is", where=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"this is no text: byte {cause.start} is not UTF-8", where=str(path)) from None


def read_json(source: str | bytes | Path, where: str) -> Any:
    """A JSON document. Raises LirError if it is none, nests too deeply, or names a key twice."""
    try:
        data = source.encode() if isinstance(source, str) else source
        if isinstance(data, Path):
            if (size := data.stat().st_size) > TEXT_AT_MOST:
                raise too_large("the JSON", size, TEXT_AT_MOST, where)
            data = data.read_bytes()
        if len(data) > TEXT_AT_MOST:
            raise too_large("the JSON", len(data), TEXT_AT_MOST, where)
        text = data.decode("utf-8-sig")
        if _depth(data) > DEPTH_AT_MOST:
            raise ValueError(f"it nests deeper than {DEPTH_AT_MOST} levels")
        found = json.loads(text, object_pairs_hook=_object)
        if _HALF.search(data):
            json.dumps(
                found, ensure_ascii=False
            ).encode()  # fails on half a character, which no text can hold
    except FileNotFoundError:
        raise error("there is no such file", where=where) from None
    except (OSError, ValueError, RecursionError) as cause:
        raise error(f"this is no JSON that can be read: {first_line(cause)}", where=where) from None
    return found


def _depth(data: bytes) -> int:
    """How deep the brackets nest, those in strings left out."""
    brackets = re.sub(rb"[^][{}]+", b"", _STRING.sub(b"", data))
    steps = np.where(np.isin(np.frombuffer(brackets, np.uint8), (0x5B, 0x7B)), 1, -1)  # [ and {
    return int(np.cumsum(steps).max(initial=0))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [k for k, _ in pairs]
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return found


# -- arrays -----------------------------------------------------------------------------------------------------------

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_SAVE = "save it with numpy.save or numpy.savez; numbers that are no machine numbers, as text such as '1/3'"


def read_array(data: bytes, where: str) -> NDArray[Any]:
    """The array of an `.npy` file. Raises LirError for Python objects, and if the data are not there."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        shape, fortran, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, and opening those could run code")
        if min(shape, default=0) < 0 or not dtype.itemsize:
            raise ValueError("its header is damaged")
        stated, start = math.prod(shape) * dtype.itemsize, file.tell()
        if stated > len(data) - start:
            raise ValueError(f"its header states {stated} bytes, and it holds {len(data) - start}")
        flat = np.frombuffer(data, dtype, math.prod(shape), start) if stated else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if fortran else "C").copy(order="K")
    except (
        ValueError,
        TypeError,
        SyntaxError,
        tokenize.TokenError,
        ArithmeticError,
        MemoryError,
        RecursionError,
    ) as cause:
        reason = first_line(cause) if data else "the file is empty"
        raise error(f"no array of numbers: {reason}", where=where, help=_SAVE) from None


def read_arrays(source: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of an `.npy` file, or those of an `.npz` by name. Raises LirError for anything else."""
    where = str(source)
    if not begins_with(source, b"PK"):
        return read_array(source.read_bytes(), where)
    try:
        with opened(source, where) as members:
            parts = {name: members.read(name) for name in members.names}
    except LirError as cause:
        raise error(f"no array of numbers: {cause.diagnostics[0].message}", where=where, help=_SAVE) from None
    return {
        name.removesuffix(".npy"): read_array(data, f"{where}: {shown(name)}") for name, data in parts.items()
    }


def mapped_arrays(source: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of a file by name, left where they are: that of an `.npy` file has the name "".

    None where they cannot be: compressed, of another byte order, or damaged, as `read_arrays` tells.
    """
    try:
        if not begins_with(source, b"PK"):
            return {"": _mapped(source, 0, source.stat().st_size)}
        found = {}
        with zipfile.ZipFile(source) as archive, source.open("rb") as file:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED or not member.filename.endswith(".npy"):
                    return None
                file.seek(member.header_offset + 26)
                lengths = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
                start = member.header_offset + 30 + lengths
                name = member.filename.removesuffix(".npy")
                if name in found:
                    return None
                found[name] = _mapped(source, start, start + member.file_size)
    except (
        OSError,
        ValueError,
        TypeError,
        SyntaxError,
        tokenize.TokenError,
        ArithmeticError,
        zipfile.BadZipFile,
    ):
        return None
    return found


def _mapped(source: Path, start: int, end: int) -> NDArray[Any]:
    """The array that begins at a place of a file. Raises ValueError unless it is one of machine numbers in order."""
    with source.open("rb") as file:
        file.seek(start)
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError("another version of the format")
        shape, fortran, dtype = _HEADERS[version](file)
        first = file.tell()
    if fortran or dtype.kind not in "biuf" or not dtype.isnative or min(shape, default=0) < 0:
        raise ValueError("no machine numbers in row-major order")
    if math.prod(shape) * dtype.itemsize > end - first or not math.prod(shape):
        raise ValueError("the data are not there")
    return np.memmap(source, dtype, "r", first, shape)


# -- messages ---------------------------------------------------------------------------------------------------------


def too_large(what: str, size: int, limit: int, where: str) -> LirError:
    """The error for a part of a file that states more bytes than are read."""
    return error(
        f"{what} states {size:,} bytes, and {limit:,} are the most that is read",
        where=where,
        help="a circuit holds far less: save the model without what it does not need",
    )


def first_line(cause: BaseException) -> str:
    """What an exception says, in a line of a length that one can read."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = lines[0] if lines else type(cause).__name__
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(". ")


def shown(value: Any) -> str:
    """A value of the file for a message: printable, and not long."""
    try:
        text = ascii(value) if not (isinstance(value, str) and value.isprintable()) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits has no text
        text = f"a {type(value).__name__} of many digits" if isinstance(value, int) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
