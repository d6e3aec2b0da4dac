"""The list that a build keeps of the files it wrote, with their digests: which of the files in a folder are ours."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from lutc._version import __version__
from lutc.files import writing

MANIFEST = ".lutc-files.json"
UNFINISHED = (
    ".lutc-unfinished"  # the first file of a folder that is being filled, and gone when it is in its place
)

# What our own bench leaves in `sim/`, by name: made anew whenever it runs.
_PRODUCTS = {Path("sim", name) for name in ("results.json", "results.json.part", "simulation.log")}
_COMPILED = Path("sim", "__pycache__")


def write_list(folder: Path) -> None:
    """Write the list of a folder's files."""
    digests = {
        path.as_posix(): _digest(folder / path)
        for path in files_in(folder)
        if (folder / path).is_file() and path not in (Path(MANIFEST), Path(UNFINISHED))
    }
    text = json.dumps({"lutc": __version__, "sha256": dict(sorted(digests.items()))}, indent=1)
    with writing.naming(folder / MANIFEST):
        (folder / MANIFEST).write_text(text + "\n")


def listed(folder: Path) -> dict[str, str] | None:
    """The digests of a build's files; None if there is no list, or none that can be read."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text("utf-8"))["sha256"] if not path.is_symlink() else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    right = isinstance(found, dict) and all(isinstance(v, str) for v in found.values())
    return found if right else None


def lack(folder: Path) -> str:
    """Why a folder has no list."""
    broken = os.path.lexists(folder / MANIFEST)
    return f"its list of files, {MANIFEST}, cannot be read" if broken else f"it has no {MANIFEST}"


def changed(folder: Path, digests: dict[str, str]) -> list[Path]:
    """The files of a list that are not there as they were written. No link is followed, and none leads out."""
    return [Path(name) for name in digests if not _as_written(folder, Path(name), digests[name])]


def _as_written(folder: Path, path: Path, digest: str) -> bool:
    if path.is_absolute() or ".." in path.parts:
        return False
    steps = [folder / step for step in (path, *path.parents[:-1])]
    return steps[0].is_file() and not any(s.is_symlink() for s in steps) and _digest(steps[0]) == digest


def files_in(folder: Path) -> Iterator[Path]:
    """What is in a folder, as paths from there: files, links, which are not followed, and folders that are empty."""
    for root, folders, names in os.walk(folder, onerror=_raised):
        here = Path(root)
        links = [name for name in folders if (here / name).is_symlink()]
        if here != folder and not names and not folders:
            yield here.relative_to(folder)
        for name in (*names, *links):
            yield (here / name).relative_to(folder)


def _raised(mistake: OSError) -> None:
    raise mistake  # a folder that cannot be read holds we know not what


def _digest(path: Path) -> str:
    with writing.naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ours(folder: Path, path: Path, digests: dict[str, str]) -> bool | None:
    """Whether a file may go: yes if it is as we wrote it, None if it is one of ours but is not."""
    full, name = folder / path, path.as_posix()
    if full.is_symlink():
        return None if name in digests else False
    if full.is_dir():  # an empty one
        return any(file.startswith(f"{name}/") for file in digests)
    if path in (Path(MANIFEST), Path(UNFINISHED)) or path in _PRODUCTS:
        return full.is_file()
    if path.parent == _COMPILED and path.suffix == ".pyc":
        return f"sim/{name.split('/')[-1].split('.')[0]}.py" in digests
    if name not in digests:
        return False
    return True if full.is_file() and _digest(full) == digests[name] else None
