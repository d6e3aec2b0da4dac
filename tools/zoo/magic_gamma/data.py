"""The MAGIC gamma telescope data set (UCI): 19,020 showers, 10 image parameters, gamma or hadron.

R. K. Bock, UCI Machine Learning Repository 2007, https://doi.org/10.24432/C52C8B (CC BY 4.0).
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import urllib.request
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/magic/magic04.data"
ROWS = 19020
FEATURES = ("Length", "Width", "Size", "Conc", "Conc1", "Asym", "M3Long", "M3Trans", "Alpha", "Dist")

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


def cache_folder() -> Path:
    """``$LUTC_DATA``, or a folder of lutc's own in the user's cache."""
    return Path(os.environ.get("LUTC_DATA") or Path.home() / ".cache" / "lutc")


def fetch(url: str = URL) -> Path:
    """The public file, downloaded once. Raises ValueError if what arrives is not the data set."""
    path = cache_folder() / "magic04.data"
    if not path.exists():
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read()
        parse(text.decode())
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(text)
        part.with_suffix(".sha256").write_text(hashlib.sha256(text).hexdigest())
        os.replace(part, path)
    elif path.with_suffix(".sha256").exists():
        want = path.with_suffix(".sha256").read_text()
        if hashlib.sha256(path.read_bytes()).hexdigest() != want:
            raise ValueError(f"{path} has changed since it was downloaded; delete it to fetch it again")
    return path


def parse(text: str) -> Arrays:
    """Features and classes (gamma 1, hadron 0) of CSV text, with or without a head.

    Raises ValueError unless every row has ten numbers and a class, and the whole file its 19,020 rows.
    """
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0] != FEATURES[0]]
    bad = [k for k, row in enumerate(rows) if len(row) != 11 or row[10] not in ("g", "h")]
    if bad or len(rows) != ROWS:
        raise ValueError(f"not the MAGIC data set: {len(rows)} rows, {len(bad)} of them malformed")
    x = np.array([[float(v) for v in row[:10]] for row in rows], np.float32)
    return x, np.array([row[10] == "g" for row in rows], np.int64)


def load(path: str | Path | None = None, seed: int = 0) -> dict[str, Arrays]:
    """``train`` (60 %), ``validation`` (20 %) and ``test`` (20 %), kept apart by a fixed shuffle of the rows.

    ``path`` is the data file, or a folder whose CSV files together are the data set; None downloads it. Features are
    standardised by the training rows' mean and deviation, and limited to +-8 deviations.
    """
    source = Path(path) if path else fetch()
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    x, y = parse("\n".join(f.read_text() for f in files))
    key = [hashlib.sha256(row.tobytes()).digest() for row in x]  # one order whatever file the rows came from
    order = np.random.default_rng(seed).permutation(
        np.array(sorted(range(len(x)), key=lambda k: (key[k], k)))
    )
    a, b = len(x) * 6 // 10, len(x) * 8 // 10
    mean, std = x[order[:a]].mean(0), x[order[:a]].std(0)
    x = np.clip((x - mean) / std, -8, 8)
    parts = {"train": order[:a], "validation": order[a:b], "test": order[b:]}
    return {name: (x[rows], y[rows]) for name, rows in parts.items()}
