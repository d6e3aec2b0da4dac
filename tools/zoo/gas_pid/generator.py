"""Waveforms of a drift-chamber cell and the number of primary ionisations in them: cluster counting.

A particle leaves Poisson clusters along its way through a cell; kaons of some GeV fewer than pions, for they ionise
nearer to the minimum. A cluster has one electron or, rarely, many (P(n) ~ 1/n^2, up to 50): the charge fluctuates like
Landau's distribution, the number of clusters only like Poisson's, so counting tells particles apart better than
charge does. Electrons drift to the wire with diffusion, an avalanche multiplies each (Polya distribution), the
preamplifier shapes the pulses, and noise is added.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.zoo.common import Parts, split

SAMPLES = 48
CLUSTERS = (16.0, 13.0)  # mean of pions and kaons
ELECTRONS = 50  # largest cluster
DIFFUSION = 0.4  # samples, at the longest drift
RISE, FALL = 0.5, 1.5  # samples, of the preamplifier
NOISE = 0.08  # of a one-electron pulse
CELLS = 100  # of a track, for the separation power
SCALE = 4.0  # clusters of one unit of the target


def waveforms(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Waveforms [count, 1, 48] in units of one electron's pulse, and [count, 2]: clusters, and 1 for a kaon."""
    random = np.random.default_rng(seed)
    kaon = random.integers(2, size=count)
    clusters = random.poisson(np.array(CLUSTERS)[kaon])
    chance = 1 / np.arange(1, ELECTRONS + 1) ** 2.0
    event = np.repeat(np.arange(count), clusters)
    # the distance from the wire is uniform along the track; near the wire electrons are faster
    when = (SAMPLES - 8) * random.random(len(event)) ** 1.2 + 1
    size = random.choice(np.arange(1, ELECTRONS + 1), size=len(event), p=chance / chance.sum())
    electron = np.repeat(np.arange(len(event)), size)
    spread = DIFFUSION * np.sqrt(when[electron] / SAMPLES)
    arrival = when[electron] + spread * random.standard_normal(len(electron))
    gain = random.gamma(1.5, 1 / 1.5, len(electron))
    # eight fine bins a sample, then the shape, then every eighth: pulses keep their place between samples
    fine = 8
    bins = np.clip((arrival * fine).astype(np.int64), 0, SAMPLES * fine - 1)
    current = np.bincount(event[electron] * SAMPLES * fine + bins, gain, count * SAMPLES * fine)
    t = np.arange(0, 12, 1 / fine)
    shape = np.exp(-t / FALL) - np.exp(-t / RISE)
    shape /= shape.max()
    size_fft = SAMPLES * fine + len(t)
    x = np.empty((count, SAMPLES))
    for first in range(0, count, 4096):
        part = current.reshape(count, -1)[first : first + 4096]
        shaped = np.fft.irfft(np.fft.rfft(part, size_fft) * np.fft.rfft(shape, size_fft), size_fft)
        x[first : first + 4096] = shaped[:, fine - 1 : SAMPLES * fine : fine]
    x += NOISE * random.standard_normal(x.shape)
    return x[:, None].astype(np.float32), np.stack([clusters, kaon], 1).astype(np.float32)


def parts(data: str | None, events: int, seed: int) -> Parts:
    """``events`` waveforms. Raises ValueError if ``data`` is given: this task has no public data set."""
    if data is not None:
        raise ValueError("gas_pid is generated; there is no public file")
    return split(*waveforms(events, seed))
