"""Datasets of an HDF5 file, and nothing beyond them: no other file, no plug-in, no link, no more than is stored.

HDF5 lets a dataset lie in any other file of the machine (external storage, virtual datasets, links) and names filters
that the library loads from plug-ins. Keras writes none of that. Here objects are reached by hard links alone, each
once; datasets hold numbers that lie in this file, as they are or in chunks compressed by deflate.
"""

from __future__ import annotations

import importlib
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error
from lutc.files.foreign import BYTES_AT_MOST, first_line, shown
from lutc.lowering.refusals import Refusal

MAGIC = b"\x89HDF\r\n\x1a\n"
SAVE = "save the model again, with Keras's own model.save"
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
ATTRIBUTE = 64 << 20  # bytes


@contextmanager
def opened(source: Path | bytes, where: str) -> Iterator[Group]:
    """The root of an HDF5 file. What is damaged or reaches outside it, there or inside the block, raises LirError."""
    h5py = _h5py(where)
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with (
            _without_plugins(h5py),
            h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as file,
        ):
            yield Group(_File(h5py, size), file, "")
    except FileNotFoundError:
        raise error("there is no such file", where=where) from None
    except Refusal as cause:
        raise error(cause.reason, where=where, help=cause.help or SAVE) from None
    # The library's errors are all of these, and it has some for every field of a damaged file.
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        OverflowError,
        MemoryError,
    ) as cause:
        raise error(
            f"this is no HDF5 file that can be read: {first_line(cause)}", where=where, help=SAVE
        ) from None


def _h5py(where: str) -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise error(
            "reading Keras's files needs the package h5py", where=where, help="pip install 'lutc[keras]'"
        ) from None


@contextmanager
def _without_plugins(h5py: Any) -> Iterator[None]:
    """The library looks for filters in these folders as soon as any part of a file names one."""
    paths = h5py.h5pl
    kept = [paths.get(i) for i in range(paths.size())]
    for _ in kept:
        paths.remove(0)
    try:
        yield
    finally:
        for path in kept:
            paths.append(path)


class _File:
    """What all groups of one file share: the library, what was seen, and what may yet be read."""

    def __init__(self, h5py: Any, size: int) -> None:
        self.h5py, self.size = h5py, size
        self.left = BYTES_AT_MOST
        self.seen: dict[Any, str] = {}


class Group:
    """A group of the file, and what is in it."""

    def __init__(self, file: _File, group: Any, path: str) -> None:
        self._file, self._group, self.path = file, group, path
        self._note(group, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __contains__(self, name: str) -> bool:
        return name in set(self._group)

    def item(self, name: str) -> Group | NDArray[Any]:
        """A group below, or the array of a dataset. Raises Refusal for a link that leads elsewhere."""
        found = self._follow(name)
        path = f"{self.path}/{name}" if self.path else name
        if isinstance(found, self._file.h5py.Group):
            return Group(self._file, found, path)
        return self._array(found, path)

    def group(self, name: str) -> Group | None:
        """A group below; None if there is another kind of object. A dataset is not read."""
        found = self._follow(name)
        if not isinstance(found, self._file.h5py.Group):
            return None
        return Group(self._file, found, f"{self.path}/{name}" if self.path else name)

    def array(self, path: str) -> NDArray[Any]:
        """The array at a path of names below. Raises Refusal if there is none."""
        here: Any = self
        for step in path.split("/"):
            here = here.item(step) if isinstance(here, Group) else None
        if not isinstance(here, np.ndarray):
            raise Refusal(f"has no dataset {shown(path)}")
        return here

    def attribute(self, name: str) -> Any:
        """An attribute: text, a list of texts, or a number; None if there is none."""
        return self._attribute(self._group, name)

    # -- what is checked --------------------------------------------------------------------------------------------

    def _follow(self, name: str) -> Any:
        link = self._group.get(name, getlink=True)
        if not isinstance(link, self._file.h5py.HardLink):
            kind = {"SoftLink": "a soft link", "ExternalLink": "a link to another file"}
            raise Refusal(
                f"has {kind.get(type(link).__name__, 'an unknown link')} ({shown(self._below(name))}), "
                "which is not followed"
            )
        return self._group[name]

    def _below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name

    def _note(self, item: Any, path: str) -> None:
        """Remember an object. Raises Refusal if it was reached before: links in a circle have no end."""
        info = self._file.h5py.h5o.get_info(item.id)
        other = self._file.seen.setdefault((info.fileno, info.addr), path)
        if other != path:
            raise Refusal(f"has one object under two names, {shown(other or '/')} and {shown(path)}")

    def _array(self, data: Any, path: str) -> NDArray[Any]:
        self._note(data, path)
        if not isinstance(data, self._file.h5py.Dataset) or data.dtype.kind not in "biuf":
            raise Refusal(f"has no numbers in {shown(path)}")
        if data.shape is None:
            raise Refusal(f"has nothing in {shown(path)}")
        self._check_storage(data, path)
        stated = math.prod(data.shape) * data.dtype.itemsize
        if stated > self._file.left:
            raise Refusal(
                f"states {stated:,} bytes in {shown(path)}, and {self._file.left:,} are the most that is read"
            )
        self._file.left -= stated
        found = np.empty(data.shape, data.dtype)
        if found.size:
            data.read_direct(found)
        if self._attribute(data, "dtype") == "bfloat16":  # Keras stores it as the upper half of a float32
            return (found.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return found

    def _check_storage(self, data: Any, path: str) -> None:
        """Raise Refusal unless the numbers of a dataset lie in this file, all of them."""
        plist, h5d = data.id.get_create_plist(), self._file.h5py.h5d
        stated = math.prod(data.shape) * data.dtype.itemsize
        layout = plist.get_layout()
        if layout == h5d.VIRTUAL or plist.get_external_count():
            raise Refusal(f"keeps {shown(path)} in another file, which is not read")
        if layout == h5d.CHUNKED:
            self._check_chunks(data, plist, path)
        elif layout not in (h5d.CONTIGUOUS, h5d.COMPACT):
            raise Refusal(f"keeps {shown(path)} in an unknown way")
        elif data.id.get_storage_size() < stated or stated > self._file.size:
            raise Refusal(f"states {stated:,} bytes in {shown(path)}, which are not there")

    def _check_chunks(self, data: Any, plist: Any, path: str) -> None:
        """Raise Refusal unless every chunk is there and unpacks to what it states."""
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if len(set(filters)) < len(filters) or not set(filters) <= {DEFLATE, SHUFFLE, FLETCHER32}:
            raise Refusal(f"packs {shown(path)} with filters that are not known here ({filters})", SAVE)
        size = math.prod(data.chunks) * data.dtype.itemsize
        count = math.prod(-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True))
        if size > self._file.left or count * size > 2 * self._file.left:
            raise Refusal(f"states {count * size:,} bytes in {shown(path)}, more than is read")
        if data.id.get_num_chunks() < count:
            raise Refusal(f"states {count} chunks in {shown(path)}, which are not all there")
        for number in range(data.id.get_num_chunks()):
            info = data.id.get_chunk_info(number)
            if info.size > self._file.size:
                raise Refusal(f"states a chunk of {info.size:,} bytes in {shown(path)}, which is not there")
            if DEFLATE not in filters or info.filter_mask & (1 << filters.index(DEFLATE)):
                fits = size <= info.size <= size + 4
            else:
                packed = data.id.read_direct_chunk(info.chunk_offset)[1]
                fits = size <= len(zlib.decompressobj().decompress(packed, size + 5)) <= size + 4
            if not fits:  # four bytes more are a check sum
                raise Refusal(f"has a chunk in {shown(path)} that does not unpack to its {size:,} bytes")

    def _attribute(self, item: Any, name: str) -> Any:
        if name not in item.attrs:
            return None
        about = item.attrs.get_id(name)
        count = math.prod(about.shape) if about.shape is not None else 0
        if count * max(about.dtype.itemsize, 1) > ATTRIBUTE or about.dtype.kind not in "biufSO":
            raise Refusal(f"has an attribute {shown(name)} of an unknown kind or size")
        if about.dtype.kind == "O":
            text = self._file.h5py.check_string_dtype(about.dtype)
            # Texts of any length: each may be as long as the file, and all may be the same one.
            if text is None or count * self._file.size > BYTES_AT_MOST:
                raise Refusal(f"has an attribute {shown(name)} that is no text")
        value = item.attrs[name]
        if isinstance(value, np.ndarray):
            return [_text(v) for v in value.ravel().tolist()]
        return _text(value)


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
