"""Jet tagging on particles: the toy jets of `tools.zoo.jets`, the hardest particles as they are."""

from __future__ import annotations

import numpy as np

from tools.zoo.common import Parts, split
from tools.zoo.jets import Floats, jets

PARTICLES = 16


def inputs(particles: Floats) -> Floats:
    """Of each of the 16 hardest particles log share, eta, phi and distance from the axis [n, 16, 4]; 0 where none is.

    Phi is turned so that the second particle lies at phi = 0 seen from the first: jets have no direction of their own.
    """
    share, eta, phi = (particles[:, :PARTICLES, k] for k in range(3))
    turn = np.arctan2(phi[:, 1] - phi[:, 0], eta[:, 1] - eta[:, 0])[:, None]
    along = np.cos(turn) * eta + np.sin(turn) * phi
    across = np.cos(turn) * phi - np.sin(turn) * eta
    columns = [
        np.log2(np.maximum(share, 2.0**-10)) / 2 + 5,
        8 * along,
        8 * across,
        8 * np.hypot(along, across),
    ]
    x = np.stack(columns, 2) * (share > 0)[:, :, None]
    limited: Floats = np.clip(x, -8, 7.99)
    return limited


def parts(data: str | None, events: int, seed: int) -> Parts:
    """``events`` toy jets. Raises ValueError if ``data`` is given: this task has no loader."""
    if data is not None:
        raise ValueError("jsc_plf is generated; it has no loader for a public file")
    particles, y = jets(events, seed)
    return split(inputs(particles).astype(np.float32), y)
