"""Files that come into being whole: written beside, then renamed, so that no end in the middle loses the old one.

Everything of lutc's that writes a file where a user says goes through here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

# The system's names for what is open: written to, never replaced.
_OPEN = ("/proc/", "/dev/fd/", "/dev/stdout", "/dev/stderr")


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An OSError raised inside that names no file, such as that of a full disk, names this one."""
    try:
        yield
    except OSError as e:
        if e.errno is None:  # said in words alone
            raise OSError(errno.EIO, str(e), str(path)) from e
        if e.filename is None:
            e.filename = str(path)
        raise


def may_be_written(path: Path) -> None:
    """Raise the OSError that a new file would meet, before hours are spent on what goes into it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a folder", str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "Permission denied", str(path.parent))


@contextmanager
def written(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write; what stood at `path` is replaced when the block ends, and stays if it does not.

    A symbolic link stays, and its target is replaced; the permissions of the old file are kept. What is no regular
    file (a terminal, a pipe) is written to as it is. Raises OSError, which always names the file.
    """
    with naming(path):
        old = _status(path)
        if (old and not stat.S_ISREG(old.st_mode)) or os.path.abspath(path).startswith(_OPEN):
            with open(path, "wb") as stream:
                yield stream
            return
        if old and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is read-only", str(path))
        target = Path(os.path.realpath(path))
        with _said_of(path):
            handle, aside = _beside(target)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                if old:
                    os.fchmod(handle, stat.S_IMODE(old.st_mode))
                    with suppress(OSError):  # only root may give files away
                        shutil.chown(aside, old.st_uid, old.st_gid)
                with _said_of(path):
                    os.replace(aside, target)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise


@contextmanager
def _said_of(path: str | Path) -> Iterator[None]:
    """An OSError about our own file beside is one about the user's."""
    try:
        yield
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from None


def _beside(target: Path) -> tuple[int, Path]:
    """A new file beside another, open and locked as long as it is being written, and its path.

    Those that nobody has locked were left by a process that was killed, and are cleared away.
    """
    start, end = f".{target.name[:40]}-lutc-", ".part"
    for entry in os.scandir(target.parent):
        if entry.name.startswith(start) and entry.name.endswith(end):
            _clear_stale(entry.path)
    while True:
        aside = target.parent / f"{start}{secrets.token_hex(4)}{end}"
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if lock(handle, wait=False) and not here(handle, aside):
            os.close(handle)  # taken for a stale one before it was locked
            continue
        return handle, aside


def _clear_stale(path: str) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if lock(handle, wait=False):
                os.unlink(path)
        finally:
            os.close(handle)


def lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file against other processes until it is closed; False if it is locked, or cannot be."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def here(handle: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    found = _status(path)
    return found is not None and os.path.samestat(os.fstat(handle), found)


def write_text(path: str | Path, text: str) -> None:
    """Put a text, in UTF-8, in the place of a file."""
    with written(path) as file:
        file.write(text.encode())


def write_array(path: str | Path, array: Any) -> None:
    """Put an array in the place of a `.npy` file."""
    from numpy.lib import format

    with written(path) as file:
        # A file of Python's own would be written past Python, which says of a full disk only how much was written.
        format.write_array(SimpleNamespace(write=file.write), array, allow_pickle=False)


def write_arrays(path: str | Path, arrays: dict[str, Any], *, compressed: bool = False) -> None:
    """Put named arrays in the place of a `.npz` file. Any name will do, as `numpy.savez` does not take them."""
    import zipfile

    from numpy.lib import format

    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with written(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # without the time: the same answers are the same file
            member.compress_type = how
            with archive.open(member, "w", force_zip64=True) as part:
                format.write_array(part, array, allow_pickle=False)


def write_stream(path: str | Path, kind: Any, shape: tuple[int, ...], data: Path) -> None:
    """Put an array whose bytes are in a file, row-major, in the place of a `.npy` file."""
    with written(path) as file:
        _array(file, kind, shape, data)


def write_streams(
    path: str | Path, kind: Any, arrays: dict[str, tuple[tuple[int, ...], Path]], texts: dict[str, str]
) -> None:
    """The same for a `.npz` file of several arrays, each with its shape, and of texts."""
    import zipfile

    import numpy as np
    from numpy.lib import format

    with written(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, (shape, data) in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as part:
                _array(part, kind, shape, data)
        for name, text in texts.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as part:
                format.write_array(part, np.array(text), allow_pickle=False)


def _array(file: IO[bytes], kind: Any, shape: tuple[int, ...], data: Path) -> None:
    from numpy.lib import format

    header = {"descr": format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    format.write_array_header_1_0(SimpleNamespace(write=file.write), header)
    with data.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)


def _status(path: str | Path) -> os.stat_result | None:
    """What is there, behind links; None if nothing is."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
