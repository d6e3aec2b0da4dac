"""Model files changed at random: bytes, members of zips, values of JSON. Whatever comes, it is loaded or refused."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import lutc
from lutc.diagnostics import LirError

Random = random.Random
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    3,
    1 << 40,
    10**30,
    0.5,
    float("inf"),
    "",
    "x",
    "s8f4",
    [],
    [[]],
    {},
    [1, "a"],
]


def mutant(data: bytes, rng: Random) -> bytes:
    """A file's bytes with one to three changes somewhere; members of a zip may change with their check sums."""
    if data[:2] == b"PK" and rng.random() < 0.85:
        return _zip(data, rng)
    if data[:1] in (b"{", b"[") and rng.random() < 0.7:
        return _json(data, rng)
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed)) if changed else 0
        some = rng.randint(1, 8)
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at : at + some] = b"\xff" * some
            case 2:
                changed[at : at + some] = bytes(some)
            case 3:
                del changed[at : at + some]
            case 4:
                changed[at:at] = changed[at : at + some]
            case _:
                changed[at : at + some] = rng.randbytes(some)
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.05 else changed)


def _zip(data: bytes, rng: Random) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            content = old.read(name)
            if name == chosen:
                if rng.random() < 0.05:
                    continue
                content = mutant(content, rng)
            new.writestr(name, content)
    return target.getvalue()


def _json(data: bytes, rng: Random) -> bytes:
    try:
        tree = json.loads(data)
    except ValueError:
        return data[::-1]
    for _ in range(rng.randint(1, 2)):
        places: list[tuple[Any, Any]] = []
        waiting = [tree]
        while waiting:
            item = waiting.pop()
            inner = list(item.items() if isinstance(item, dict) else enumerate(item))
            places += [(item, key) for key, _ in inner]
            waiting += [v for _, v in inner if isinstance(v, dict | list)]
        if not places:
            break
        item, key = rng.choice(places)
        if rng.random() < 0.3 and isinstance(item, dict):
            del item[key]
        elif rng.random() < 0.2:
            other, there = rng.choice(places)
            item[key] = json.loads(json.dumps(other[there]))
        else:
            item[key] = rng.choice(VALUES)
    return json.dumps(tree).encode()


def check(path: Path, **options: Any) -> None:
    """Load a file that may be anything: it is taken, or refused with messages that can be printed."""
    try:
        lutc.load(path, compare=False, **options)  # starting a framework for each would take minutes
    except LirError as e:
        assert str(e).encode()
        assert e.diagnostics
