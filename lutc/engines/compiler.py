"""A C model compiled by the compiler at hand, and kept by its content.

The cache stands in `$XDG_CACHE_HOME/lutc/c` (`~/.cache/lutc/c`); a library is named by what it was made from, comes
into being whole, and goes when the cache is full and it was not used for the longest time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from lutc.cmodel.source import Model

FLAGS = (
    "-std=c99",
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fno-loop-unroll-and-jam",
)
_SHARED = ("-shared", "-fPIC", "-w")
_MOST = 256 << 20  # bytes of the cache
_PATIENCE = 600  # seconds


class NoCompiler(Exception):
    """There is no C compiler, or it does not take the model; the text says which."""


@cache
def compiler() -> tuple[str, str] | None:
    """The command of the C compiler (`$CC`, else `cc`, `gcc` or `clang`) and its version; None without one."""
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    for name in names:
        path = shutil.which(name)
        if path is None:
            continue
        with suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
            if said.returncode == 0:
                return path, said.stdout
    return None


@cache
def _flags(path: str) -> tuple[str, ...]:
    """The flags that the compiler knows: not every processor has wide vectors."""
    taken = []
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "empty.c"
        source.write_text("int lutc_empty;\n")
        for flag in FLAGS:
            done = subprocess.run(
                [path, flag, "-c", str(source), "-o", str(Path(work) / "empty.o")], capture_output=True
            )
            taken += [flag] * (done.returncode == 0)
    return tuple(taken)


def folder() -> Path:
    """Where libraries are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lutc" / "c"


def library(model: Model) -> Path:
    """The shared library of a model, compiled if it is not there yet. Raises NoCompiler."""
    found = compiler()
    if found is None:
        raise NoCompiler("no C compiler is installed")
    path, version = found
    parts = (model.header, model.source, version, *_flags(path), platform.machine(), _processor())
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = place / f"{name}.so"
        if target.exists():
            with suppress(OSError):
                os.utime(target)
            return target
        _compile(model, path, place, target)
        _clear(place, target)
    except OSError as e:
        raise NoCompiler(f"{e.strerror}: {e.filename}") from None
    return target


def _compile(model: Model, path: str, place: Path, target: Path) -> None:
    """Into a folder beside, then renamed: of two processes that do so at once, both are right."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place) as work:
        for suffix, text in ((".h", model.header), (".c", model.source)):
            (Path(work) / f"{model.name}{suffix}").write_text(text)
        command = [path, *_flags(path), *_SHARED, f"{model.name}.c", "-o", "model.so", "-lm"]
        try:
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=_PATIENCE)
        except (OSError, subprocess.SubprocessError) as e:
            raise NoCompiler(f"{path} did not compile the model: {e}") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            said = next((line for line in lines if "error:" in line), lines[0])
            raise NoCompiler(f"{path} did not compile the model: {said}")
        os.replace(Path(work) / "model.so", target)


def _clear(place: Path, kept: Path) -> None:
    """Remove what was not used for the longest time, until the cache has its size."""
    found = []
    for entry in place.glob("*.so"):
        with suppress(OSError):
            status = entry.stat()
            found.append((status.st_mtime, status.st_size, entry))
    total = sum(size for _, size, _ in found)
    for _, size, entry in sorted(found):
        if total <= _MOST:
            return
        if entry != kept:
            with suppress(OSError):
                entry.unlink()
                total -= size


@cache
def _processor() -> str:
    """What this machine's instructions are: a home may be shared by machines of several kinds."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.processor()
