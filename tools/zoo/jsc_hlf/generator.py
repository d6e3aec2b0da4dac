"""Jet tagging on 16 high-level features: the public data set (OpenML 42468), or toy jets with the same features.

M. Pierini, J. Duarte, N. Tran, M. Freytsis, hls4ml LHC jet data set (150 particles), https://doi.org/10.5281/zenodo.3602260.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lutc.nn.datasets import fetch
from tools.zoo.common import Parts, split
from tools.zoo.jets import CLASSES, PT, Floats, jets

DESCRIPTION = "https://www.openml.org/api/v1/json/data/42468"
FEATURES = (
    "zlogz", "c1_b0_mmdt", "c1_b1_mmdt", "c1_b2_mmdt", "c2_b1_mmdt", "c2_b2_mmdt", "d2_b1_mmdt", "d2_b2_mmdt",
    "d2_a1_b1_mmdt", "d2_a1_b2_mmdt", "m2_b1_mmdt", "m2_b2_mmdt", "n2_b1_mmdt", "n2_b2_mmdt", "mass_mmdt",
    "multiplicity",
)  # fmt: skip
ROWS = 830_000


def public(path: str | Path | None = None) -> tuple[Floats, NDArray[np.int64]]:
    """Features [n, 16] and classes of the ARFF file at ``path`` (None: downloaded from OpenML once, MD5 checked)."""
    if path is not None:
        return parse(Path(path).read_text())
    with urllib.request.urlopen(DESCRIPTION, timeout=60) as answer:
        about = json.load(answer)["data_set_description"]
    file = fetch(
        about["url"], "jsc_hlf.arff", about["md5_checksum"], lambda content: parse(content.decode(), ROWS)
    )
    return parse(file.read_text(), ROWS)


def parse(text: str, rows: int | None = None) -> tuple[Floats, NDArray[np.int64]]:
    """An ARFF file with the 16 features and the class, in any order of columns.

    Raises ValueError for other columns, for a row that has not all of them, or for another number of ``rows``.
    """
    head, mark, body = text.partition("@DATA") if "@DATA" in text else text.partition("@data")
    names = [
        line.split()[1].strip("'\"") for line in head.splitlines() if line.lower().startswith("@attribute")
    ]
    if not mark or sorted(names) != sorted((*FEATURES, "class")):
        raise ValueError("not the jet data set: its columns are " + (", ".join(names) or "none"))
    lines = [line.split(",") for line in body.split("\n") if line.strip() and not line.startswith("%")]
    if any(len(line) != len(names) for line in lines) or len(lines) != (rows or len(lines)):
        raise ValueError(f"not the jet data set: {len(lines)} rows, some of them perhaps cut short")
    at = names.index("class")
    y = np.array([CLASSES.index(line[at].strip().strip("'\"")) for line in lines], np.int64)
    columns = [names.index(name) for name in FEATURES]
    return np.array([[float(line[k]) for k in columns] for line in lines]), y


def features(particles: Floats, chunk: int = 500) -> Floats:
    """The 16 features [n, 16] of particles [n, p, 3].

    Energy correlation functions and their ratios: C_N of Larkoski, Salam, Thaler (arXiv 1305.0007), D_2 of Larkoski,
    Moult, Neill (arXiv 1409.6298), M_2 and N_2 of Moult, Necib, Thaler (arXiv 1609.07483).
    """
    return np.concatenate([_features(particles[k : k + chunk]) for k in range(0, len(particles), chunk)])


def _features(particles: Floats) -> Floats:
    z, eta, phi = (np.ascontiguousarray(particles[:, :, k]) for k in range(3))
    first, second = np.triu_indices(z.shape[1], 1)
    pair = z[:, first] * z[:, second]
    distance = np.hypot(eta[:, first] - eta[:, second], phi[:, first] - phi[:, second])
    # the triples of the twelve hardest particles: the others' share of the sum is the square of little
    a, b, c = np.array([(i, j, k) for k in range(12) for j in range(k) for i in range(j)]).T
    number = np.zeros((z.shape[1],) * 2, np.int64)
    number[first, second] = np.arange(len(first))
    sides = np.sort(np.stack([distance[:, number[i, j]] for i, j in ((a, b), (a, c), (b, c))]), 0)
    triple = z[:, a] * z[:, b] * z[:, c]
    e2 = {beta: (pair * distance**beta).sum(1) + 1e-9 for beta in (0, 1, 2)}
    e3 = {beta: (triple * np.prod(sides, 0) ** beta).sum(1) for beta in (1, 2)}
    m3 = {beta: (triple * sides[0] ** beta).sum(1) for beta in (1, 2)}
    n3 = {beta: (triple * (sides[0] * sides[1]) ** beta).sum(1) for beta in (1, 2)}
    columns = [
        (z * np.log(np.maximum(z, 1e-9))).sum(1),
        e2[0], e2[1], e2[2],
        *(e3[k] / e2[k] ** 2 for k in (1, 2)),
        *(e3[k] / e2[k] ** 3 for k in (1, 2)),
        e3[1] / e2[1] ** 3, e3[1] / e2[2] ** 1.5,
        *(m3[k] / e2[k] for k in (1, 2)),
        *(n3[k] / e2[k] ** 2 for k in (1, 2)),
        PT * np.sqrt(e2[2]),
        (z > 0.002).sum(1),
    ]  # fmt: skip
    return np.stack(columns, 1)


def parts(data: str | None, events: int, seed: int) -> Parts:
    """The public set if ``data`` is its file or "openml", else ``events`` toy jets; standardised by training rows."""
    if data is None:
        particles, y = jets(events, seed)
        x = features(particles)
    else:
        x, y = public(None if data == "openml" else data)
        order = np.random.default_rng(seed).permutation(len(x))
        x, y = x[order], y[order]
    rows = x[: len(x) * 6 // 10]
    x = np.clip((x - rows.mean(0)) / (rows.std(0) + 1e-9), -8, 8)
    return split(x.astype(np.float32), y)
