"""Public data sets to train on: downloaded once, checked, and split the same way for everyone. Needs NumPy alone."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import Diagnostic, LirError

URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/magic/magic04.data"
ROWS = 19020
FEATURES = ("Length", "Width", "Size", "Conc", "Conc1", "Asym", "M3Long", "M3Trans", "Alpha", "Dist")

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


class DataMistake(LirError, ValueError):
    """A file that is not the data set it should be, or that does not arrive."""

    def __init__(self, message: str, help: str | None = None, where: str | None = None) -> None:
        super().__init__(Diagnostic(message, where=where, help=help))


def magic_gamma(path: str | Path | None = None, seed: int = 0) -> dict[str, Arrays]:
    """The MAGIC gamma telescope data set (UCI): 19,020 showers, 10 image parameters, gamma (1) or hadron (0).

    ``train`` (60 %), ``validation`` (20 %) and ``test`` (20 %), kept apart by a fixed shuffle of the rows. ``path`` is
    the data file, or a folder whose CSV files together are the data set; None downloads it. Features are standardised
    by the training rows' mean and deviation, and limited to +-8 deviations. Raises LirError, a ValueError, for another
    file, or if there is none and it cannot be downloaded.

    R. K. Bock, UCI Machine Learning Repository 2007, https://doi.org/10.24432/C52C8B (CC BY 4.0).
    """
    source = Path(path) if path else fetch(URL, "magic04.data", check=lambda text: parse(text.decode()))
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    x, y = parse("\n".join(f.read_text() for f in files), str(source))
    key = [hashlib.sha256(row.tobytes()).digest() for row in x]  # one order whatever file the rows came from
    order = np.random.default_rng(seed).permutation(
        np.array(sorted(range(len(x)), key=lambda k: (key[k], k)))
    )
    a, b = len(x) * 6 // 10, len(x) * 8 // 10
    mean, std = x[order[:a]].mean(0), x[order[:a]].std(0)
    x = np.clip((x - mean) / std, -8, 8)
    parts = {"train": order[:a], "validation": order[a:b], "test": order[b:]}
    return {name: (x[rows], y[rows]) for name, rows in parts.items()}


def parse(text: str, where: str | None = None) -> Arrays:
    """Features and classes (gamma 1, hadron 0) of MAGIC's CSV text, with or without a head.

    Raises DataMistake unless every row has ten numbers and a class, and the whole file its 19,020 rows.
    """
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0] != FEATURES[0]]
    bad = [k for k, row in enumerate(rows) if len(row) != 11 or row[10] not in ("g", "h")]
    if bad or len(rows) != ROWS:
        message = f"not the MAGIC data set: {len(rows)} rows, {len(bad)} of them malformed"
        raise DataMistake(message, f"take the file {URL}", where)
    x = np.array([[float(v) for v in row[:10]] for row in rows], np.float32)
    return x, np.array([row[10] == "g" for row in rows], np.int64)


def cache_folder() -> Path:
    """``$LUTC_DATA``, or a folder of lutc's own in the user's cache."""
    return Path(os.environ.get("LUTC_DATA") or Path.home() / ".cache" / "lutc")


def fetch(
    url: str, name: str, md5: str | None = None, check: Callable[[bytes], object] | None = None
) -> Path:
    """The file at ``url``, downloaded once and kept as ``name`` in `cache_folder` with its SHA-256.

    A file that was put there by hand, without the SHA-256, is taken as it is. Raises DataMistake if what arrives has
    another ``md5`` or fails ``check`` (nothing is kept then), if nothing arrives, or if the kept file was changed.
    """
    path = cache_folder() / name
    note = path.with_name(f"{name}.sha256")
    if path.exists():
        if note.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != note.read_text():
            raise DataMistake(
                "this file has changed since it was downloaded", "delete it to fetch it again", str(path)
            )
        return path
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:
            content: bytes = answer.read()
    except OSError as e:
        help = (
            f"download it where there is a network, and put it here: {path} ($LUTC_DATA names another folder)"
        )
        raise DataMistake(f"the data cannot be downloaded: {e}", help, url) from None
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DataMistake(f"this did not arrive whole: its MD5 is not {md5}", "try again", url)
    if check is not None:
        check(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{name}.part")
    part.write_bytes(content)
    note.write_text(hashlib.sha256(content).hexdigest())
    os.replace(part, path)
    return path
