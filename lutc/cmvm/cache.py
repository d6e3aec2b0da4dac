"""Networks found before, in memory and on disk.

One file an answer, named by the content of its question and of this package's code, under `$XDG_CACHE_HOME/lutc`
(else `~/.cache/lutc`). Files appear whole (written aside, then renamed), so any number of processes may share them;
one that cannot be read, or that does not answer its question, is as if it were not there. `LUTC_CACHE=0` leaves the
disk alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files as files_of
from pathlib import Path

from lutc.cmvm.network import Network, Problem, Sum, digits, right
from lutc.cmvm.search import Goal, solve
from lutc.files.writing import write_text

_WORTH_A_FILE = 4096  # pairs of digits; below, solving is as fast as reading

_known: dict[str, Network] = {}


def solved(problem: Problem, goal: Goal, effort: str, solver: Callable[..., Network] = solve) -> Network:
    """`solve(problem, goal, effort)`, computed once."""
    key = hashlib.sha256(repr((_code(), problem, goal, effort)).encode()).hexdigest()
    if key not in _known:
        large = sum(len(digits(row)) ** 2 for row in problem.rows) > _WORTH_A_FILE
        folder = _folder() if large else None
        path = folder / key[:2] / f"{key[2:]}.json" if folder else None
        network = _read(path) if path else None
        if network is None or not right(problem, network):
            network = solver(problem, goal, effort)
            if path:
                _write(path, network)
        _known[key] = network
    return _known[key]


@lru_cache(maxsize=1)
def _code() -> str:
    """A hash of the modules that answer: with other code, other answers."""
    files = sorted(files_of("lutc.cmvm").iterdir(), key=lambda f: f.name)
    code = [f.read_bytes() for f in files if f.name.endswith(".py")]
    return hashlib.sha256(b"\0".join(code)).hexdigest()


def _folder() -> Path | None:
    """Where the files are; None if there is no place for them."""
    if os.environ.get("LUTC_CACHE") == "0":
        return None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "lutc" / "cmvm"
    except RuntimeError:  # nobody's home is known
        return None


def _read(path: Path) -> Network | None:
    try:
        data = json.loads(path.read_text())
        nodes, outputs = (tuple(map(_sum, data[part])) for part in ("nodes", "outputs"))
        return Network(int(data["inputs"]), nodes, outputs)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sum(terms: list[list[int]]) -> Sum:
    return tuple((int(v), int(w)) for v, w in terms)


def _write(path: Path, network: Network) -> None:
    """A cache that cannot be written, for a full disk or a lack of rights, is no reason to stop."""
    data = {"inputs": network.inputs, "nodes": network.nodes, "outputs": network.outputs}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(data))
    except OSError:
        return
