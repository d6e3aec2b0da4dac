"""The exchange of build folders: a new one takes the place of an old one whole, and nothing that is not ours is lost.

A build lists the files it wrote with their digests (`.lutc-files.json`, inside). Only those are ever replaced or
removed, and only while their digests are right; what a user put beside them is carried over into the new folder.

A build in the folder `build` uses three names beside it: `.build-lutc-lock`, held by whoever writes, simulates or
clears up; `.build-lutc-new`, the folder that is being filled; and `.build-lutc-old`, the one that was taken away. Who
holds the lock is alone, so what of the other two is there was left by a process that was killed, if it is lutc's: an
empty file that is the lock, a new folder that says it is unfinished, an old one with its list. Anything else stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lutc.diagnostics import LirError, error
from lutc.files import writing
from lutc.files.manifest import MANIFEST, UNFINISHED, files_in, lack, listed, ours, write_list

_TOLD = 10  # files that a message names

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_held: dict[Path, int] = {}  # the thread that holds the lock of a place


@contextmanager
def held(place: Path, *, always: bool = True) -> Iterator[None]:
    """Be alone at a place, with what a killed process left there put right first.

    With `always` False, a place where no lock can be made is taken as it is.
    """
    if _held.get(place) == threading.get_ident():
        yield
        return
    path = _beside(place, "lock")
    handles: list[int] = []  # told as soon as they are open, for an interrupt may come at any moment
    locked = False
    try:
        try:
            locked = _lock(path, handles)
        except OSError as e:
            if always:
                raise OSError(e.errno, f"cannot write beside it: {e.strerror}", str(place)) from None
        if locked:  # else a file system without locks: `exchange` notices when another is at work
            _held[place] = threading.get_ident()
            _recover(place)
        yield
    finally:
        if _held.get(place) == threading.get_ident():
            del _held[place]
        _let_go(path, handles)


def _lock(path: Path, handles: list[int]) -> bool:
    """Open and lock a lock file; what is open is among `handles`. False where there are no locks."""
    while True:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise _strange(path)
        handles.append(os.open(path, _READ | os.O_CREAT, 0o666))
        if os.fstat(handles[-1]).st_size:  # ours is empty
            raise _strange(path)
        locked = writing.lock(handles[-1], wait=True)
        if writing.here(handles[-1], path) or not locked:
            return locked
        os.close(handles.pop())


def _let_go(path: Path, handles: list[int]) -> None:
    """Clear a lock file away, if it is an empty file that nobody else holds, and close it.

    It goes before it is let go: whoever waited for it sees that it is gone, and makes a new one.
    """
    with suppress(OSError):
        if not handles:  # interrupted while it was opened
            handles.append(os.open(path, _READ))
        about = os.fstat(handles[-1])
        plain = stat.S_ISREG(about.st_mode) and not about.st_size
        if plain and writing.lock(handles[-1], wait=False) and writing.here(handles[-1], path):
            path.unlink()
    for handle in handles:
        os.close(handle)


def _beside(place: Path, what: str) -> Path:
    name = place.name or "root"
    if len(os.fsencode(name)) > 200:
        name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return place.parent / f".{name}-lutc-{what}"


def check(place: Path, shown: str) -> None:
    """Raise LirError unless a build may come to a place: nothing there, an empty folder, or an untouched build."""
    _not_inside(place, shown)
    if place.exists():
        with _said_of(place, shown), held(place):
            _kept(place, shown)


def exchange(place: Path, shown: str, fill: Callable[[Path], None]) -> None:
    """Put a new folder, which `fill` fills, in a place. It is complete there, or all is as before.

    Raises LirError if something is in the way that is not ours, or ours but edited, and OSError.
    """
    _not_inside(place, shown)
    with _said_of(place, shown):
        place.parent.mkdir(parents=True, exist_ok=True)
    with _said_of(place, shown), held(place):
        if place.exists():
            _kept(place, shown)  # early: filling takes its time
        new, old = _beside(place, "new"), _beside(place, "old")
        if os.path.lexists(new):
            raise error(f"another lutc writes to {new}", where=shown, help="if none does, remove that folder")
        if os.path.lexists(old):
            raise _strange(old)
        mine = True
        try:
            try:
                new.mkdir()
            except OSError:
                mine = False
                raise
            (new / UNFINISHED).touch()
            fill(new)
            write_list(new)
            if place.exists():
                kept = _kept(place, shown)
                _in_the_way(place, new, kept, shown)
                _link(place, new, kept)
                shutil.copymode(place, new)
                _owned(new, place.stat())
                place.rename(old)
            new.rename(place)
            (place / UNFINISHED).unlink()
        except BaseException:
            if os.path.lexists(old) and not os.path.lexists(place):
                old.rename(place)
            if mine:  # also where an interrupt came right after it was made
                shutil.rmtree(new, ignore_errors=True)
            raise
        if os.path.lexists(old):
            _remove(old, place, shown)


def _not_inside(place: Path, shown: str) -> None:
    """Raise LirError for a place inside a build: that would be exchanged while this one is written."""
    for folder in place.parents:
        if listed(folder) is not None:
            raise error(
                f"it lies inside the build {folder}", where=shown, help="give a folder outside with -o"
            )


@contextmanager
def _said_of(place: Path, shown: str) -> Iterator[None]:
    """An OSError about a file of the new folder, or none, is about what it would be in its place."""
    try:
        yield
    except OSError as e:
        if e.errno is None:
            raise
        name = str(e.filename or place)
        for what in ("new", "old", "lock"):
            name = name.replace(str(_beside(place, what)), str(place))
        raise OSError(e.errno, e.strerror, name.replace(str(place), shown.rstrip("/"), 1)) from e


# -- what is not ours -------------------------------------------------------------------------------------------------


def _kept(place: Path, shown: str) -> list[Path]:
    """The paths in a place that are the user's. Raises LirError if there is more than a build and what is beside it."""
    if not place.is_dir():
        raise error("there is a file of that name", where=shown, help="give another folder with -o")
    if place == Path.cwd() or place in Path.cwd().parents:
        raise error("you are standing in that folder", where=shown, help="give another one with -o")
    if place.is_mount():
        raise error("the folder is a mount point", where=shown, help="give a folder inside it with -o")
    if not os.access(place, os.W_OK):
        raise error("the folder is read-only", where=shown, help="give another one with -o")
    if locked := [
        Path(root).relative_to(place) for root, *_ in os.walk(place) if not os.access(root, os.W_OK)
    ]:
        raise error(
            f"it has folders that are read-only: {names(locked)}",
            where=shown,
            help="make them writable (chmod u+w), or give another folder with -o",
        )
    if not any(place.iterdir()):
        return []
    digests = listed(place)
    if digests is None:
        raise error(
            f"the folder holds other things than a build of lutc's: {lack(place)}",
            where=shown,
            help="give another folder with -o, or empty this one",
        )
    found = [(path, ours(place, path, digests)) for path in files_in(place)]
    if edited := [path for path, mine in found if mine is None]:
        raise error(
            f"the build was edited since lutc wrote it: {names(edited)}",
            where=shown,
            help="to have it written anew, move it away or delete it; or give another folder with -o",
        )
    kept = [path for path, mine in found if not mine]
    if mounted := [path for path in kept if _device(place / path) not in (None, _device(place))]:
        raise error(
            f"the folder holds files of another file system: {names(mounted)}",
            where=shown,
            help="give another folder with -o",
        )
    return kept


def _device(path: Path) -> int | None:
    try:
        return path.lstat().st_dev
    except FileNotFoundError:  # another program's, and gone again
        return None


def _in_the_way(place: Path, new: Path, kept: Sequence[Path], shown: str) -> None:
    """Raise LirError if something of the user's stands where the new build has a file or a folder."""
    wrong = []
    for path in kept:
        both = _is_folder(place / path) and _is_folder(new / path)
        if (os.path.lexists(new / path) and not both) or any((new / p).is_file() for p in path.parents):
            wrong.append(path)
    if wrong:
        raise error(
            f"files of yours stand where the new build has its own: {names(wrong)}",
            where=shown,
            help="move them out of the folder, or give another one with -o",
        )


def names(paths: Sequence[Path]) -> str:
    """Files as a message names them: the first few."""
    shown = [os.fsencode(p).decode("utf-8", "replace") for p in sorted(paths)[:_TOLD]]
    more = f" and {len(paths) - _TOLD} more" if len(paths) > _TOLD else ""
    return ", ".join(shown) + more


# -- carrying over ----------------------------------------------------------------------------------------------------


def _link(place: Path, new: Path, kept: Sequence[Path]) -> None:
    """Give the user's files a second name in the new folder, so that no moment is without them.

    Where a file system knows no second names, they move when the folders have changed places.
    """
    for path in kept:
        folder = _is_folder(place / path)
        _folders(place, new, path if folder else path.parent)
        if not folder:
            with suppress(OSError):
                os.link(place / path, new / path, follow_symlinks=False)


def _same(a: Path, b: Path) -> bool:
    """Whether two names are one file's."""
    return os.path.lexists(b) and os.path.samestat(a.lstat(), b.lstat())


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _folders(place: Path, new: Path, path: Path) -> None:
    """Make a folder and those above it as they are in the old place."""
    for folder in (*reversed(path.parents), path):
        if not (new / folder).exists():
            (new / folder).mkdir()
            shutil.copystat(place / folder, new / folder)
            _owned(new / folder, (place / folder).stat())


def _owned(path: Path, as_was: os.stat_result) -> None:
    with suppress(OSError):  # only root may give folders away
        os.chown(path, as_was.st_uid, as_was.st_gid)


def _remove(old: Path, place: Path, shown: str) -> None:
    """Take an old folder away: what is ours, and what the new one has too; the rest moves there.

    What cannot, because the new build has a file there (it was edited in these very moments), stays, and is told.
    """
    digests = listed(old) or {}
    left = []
    for path in [p for p in files_in(old) if p != Path(MANIFEST)]:
        with suppress(FileNotFoundError):  # another program's, and gone again
            if not _moved(old, place, path, digests):
                left.append(path)
    for root, _, _ in os.walk(old, topdown=False):
        if not left and root == str(old):  # last of all: without its list the folder is not known as ours
            (old / MANIFEST).unlink(missing_ok=True)
        with suppress(OSError):  # something came into it just now
            os.rmdir(root)
    if os.path.lexists(old):
        raise error(
            f"something changed while lutc wrote{': ' * bool(left)}{names(left)}; it is kept in {old}",
            where=shown,
            help=f"move it out of there, and remove {old}",
        )


def _moved(old: Path, place: Path, path: Path, digests: dict[str, str]) -> bool:
    """Take one thing out of an old folder, or over into the new one; False if it can do neither."""
    full, there = old / path, place / path
    if _is_folder(full):
        if not ours(old, path, digests):
            _folders(old, place, path)
    elif _same(full, there) or ours(old, path, digests):
        full.unlink()
    elif os.path.lexists(there):
        return False
    else:
        _folders(old, place, path.parent)
        full.rename(there)
    return True


def _bears(folder: Path, mark: str) -> bool:
    """Whether a folder is one of lutc's by a file in it; an empty one may be, and nothing is lost with it."""
    if not _is_folder(folder):
        return False
    mine = folder / mark
    return (mine.is_file() and not mine.is_symlink()) or not any(folder.iterdir())


def _strange(path: Path) -> LirError:
    return error(
        "lutc needs this name for a moment, and something is there that is not its own",
        where=str(path),
        help="move it away, or give another folder to write to",
    )


def _recover(place: Path) -> None:
    """Put right what a process left that was killed at any moment of `exchange`."""
    new, old = _beside(place, "new"), _beside(place, "old")
    if os.path.lexists(new) and not _bears(new, UNFINISHED):
        raise _strange(new)
    if os.path.lexists(old) and not _bears(old, MANIFEST):
        raise _strange(old)
    if os.path.lexists(old) and not os.path.lexists(place):
        old.rename(place)  # killed between the two renames
    if os.path.lexists(new):
        shutil.rmtree(new)  # the user's files in it are second names
    if listed(place) is not None and (place / UNFINISHED).is_file():
        (place / UNFINISHED).unlink()  # killed just after them
    if os.path.lexists(old):
        if listed(place) is None:
            raise error(f"an earlier build is in {old}", where=str(place), help="move it away")
        _remove(old, place, str(place))
