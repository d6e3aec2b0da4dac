"""Straight muon tracks through seven thin-gap-chamber layers: which of 50 channels fire, and the track's angle.

Three groups of layers as in an end-cap trigger station: a triplet and two doublets, whose strips are staggered by a
third and a half of the pitch. Toy Monte Carlo with inefficiency, hits shared by neighbours, delta-ray clusters and
noise; no magnetic field, no geometry of a real detector beyond the distances.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.zoo.common import Parts, split

CHANNELS = 50
PITCH = 30.0  # mm
DEPTH = np.array([-1400.0, -1380.0, -1360.0, -20.0, 0.0, 380.0, 400.0])  # mm, of the layers along the beam
STAGGER = np.array([0, 1 / 3, 2 / 3, 0, 1 / 2, 0, 1 / 2])  # pitches
ANGLE = 80.0  # mrad, largest
EFFICIENCY, SHARED, DELTA, NOISE = 0.95, 0.15, 0.03, 0.002
SCALE = 32.0  # mrad of one unit of the target


def tracks(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Hits [count, 7, 50] of 0 and 1, and angles [count, 1] in mrad."""
    random = np.random.default_rng(seed)
    angle = random.uniform(-ANGLE, ANGLE, count)
    place = random.uniform(8, CHANNELS - 8, count) * PITCH
    x = (place[:, None] + np.tan(angle[:, None] / 1000) * DEPTH) / PITCH + STAGGER
    x += random.normal(0, 0.02, x.shape)
    channel = np.floor(x).astype(np.int64)
    hit = random.random(x.shape) < EFFICIENCY
    # charge near a strip's edge is shared with the strip beyond it
    side = np.where(x - channel > 0.5, 1, -1)
    near = 1 - 2 * np.abs(x - channel - 0.5)  # 0 at the edge, 1 in the middle
    both = hit & (random.random(x.shape) < 4 * SHARED * (1 - near) ** 3)
    reach = np.where(hit & (random.random(x.shape) < DELTA), random.integers(1, 5, x.shape), 0)
    fired = random.random((*x.shape, CHANNELS)) < NOISE
    rows, layers = np.indices(x.shape)
    for offset in range(5):  # a delta ray goes on to one side
        for step, live in ((side * offset, reach >= max(offset, 1)), (side * min(offset, 1), both)):
            at = channel + step
            live = (live | (hit & (offset == 0))) & (at >= 0) & (at < CHANNELS)
            fired[rows[live], layers[live], at[live]] = True
    return fired.astype(np.float32), angle[:, None].astype(np.float32)


def parts(data: str | None, events: int, seed: int) -> Parts:
    """``events`` tracks. Raises ValueError if ``data`` is given: this task has no public data set."""
    if data is not None:
        raise ValueError("tgc_muon is generated; there is no public file")
    return split(*tracks(events, seed))
