"""Toy jets for the two jet-tagging tasks: hard prongs by two-body kinematics, then soft and collinear radiation.

A jet of 1 TeV and radius 0.8 begins as one prong or a splitting of any mass (quark, gluon), two prongs (W, Z) or
three (top, by t -> bW -> bqq), so that the heavy particles' masses stand in a continuum.

A parent of mass m whose daughters carry the shares z and 1 - z of its momentum and have masses m1 and m2 opens
them by

    dR^2 = (m^2 - m1^2 / z - m2^2 / (1 - z)) / (z (1 - z) pT^2)        (small angles)

Each prong then radiates: emissions are uniform in the logarithms of share and angle, as in leading order, their
number Poisson with a mean proportional to the colour factor (4/3 for quarks, 3 for gluons). This is no event
generator: it has the right masses, prongs and colour factors, for training without a download.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = ("g", "q", "t", "w", "z")  # in the order of the public data set
PT = 1000.0  # GeV
RADIUS = 0.8
HARD = 0.7  # share of the quark and gluon jets that begin with a hard splitting
EMISSIONS = 21  # slots; with three prongs, 24 particles
PARTICLES = EMISSIONS + 3
MASSES = {"w": 80.4, "z": 91.2, "t": 172.8}  # GeV
WIDTHS = {"w": 2.1, "z": 2.5, "t": 1.4}

Floats = NDArray[np.float64]


def jets(count: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Particles [count, 24, 3] (share of the jet's pT, eta and phi from its axis; hardest first) and classes."""
    random = np.random.default_rng(seed)
    y = random.integers(len(CLASSES), size=count)
    share, eta, phi, opening = _prongs(y, random)
    prongs = (share > 0).sum(1)
    colour = np.where(y == CLASSES.index("g"), 3.0, 4 / 3)
    # two or three prongs radiate within their opening angle, where there is less room than in the whole jet
    mean = 3.6 * colour * np.where(prongs > 1, 0.55 * prongs, 1)
    wanted = np.minimum(random.poisson(mean), EMISSIONS)
    live = np.arange(EMISSIONS) < wanted[:, None]
    mother = random.integers(prongs[:, None], size=(count, EMISSIONS))
    z = np.exp(random.uniform(np.log(0.004), np.log(0.4), live.shape)) * live
    angle = opening[:, None] * np.exp(random.uniform(np.log(0.02), 0, live.shape))
    around = random.uniform(0, 2 * np.pi, live.shape)
    rows = np.arange(count)[:, None]
    kept = np.ones_like(share)
    for prong in range(share.shape[1]):
        kept[:, prong] = np.prod(np.where(mother == prong, 1 - z, 1), 1)
    pt = np.concatenate([share * kept, share[rows, mother] * z], 1)
    eta = np.concatenate([eta, eta[rows, mother] + angle * np.cos(around)], 1)
    phi = np.concatenate([phi, phi[rows, mother] + angle * np.sin(around)], 1)
    pt = pt * np.exp(random.normal(0, 0.05, pt.shape))  # energy resolution, and that of the angles
    eta, phi = (v + random.normal(0, 0.005, v.shape) for v in (eta, phi))
    pt /= pt.sum(1, keepdims=True)
    eta, phi = (v - (pt * v).sum(1, keepdims=True) for v in (eta, phi))
    order = np.argsort(-pt, 1)
    found = np.stack([v[rows, order] for v in (pt, eta, phi)], 2)
    return found * (found[:, :, :1] > 0), y


def _prongs(y: NDArray[np.int64], random: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    """Shares, eta and phi of up to three prongs [n, 3], and how far they radiate [n]."""
    n = len(y)
    share, eta, phi = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
    share[:, 0] = 1
    opening = np.full(n, RADIUS)
    hard = (y < 2) & (
        random.random(n) < HARD
    )  # a first splitting at any mass, colour-connected to what is outside
    here = np.flatnonzero(hard)
    mass = np.exp(random.uniform(np.log(30), np.log(300), len(here)))
    angle = _split(share, eta, phi, here, 0, 1, random.uniform(0.1, 0.9, len(here)), mass, 0.0, random)
    opening[here] = np.maximum(angle, RADIUS / 3)
    for name in ("w", "z"):
        here = np.flatnonzero(y == CLASSES.index(name))
        mass = MASSES[name] + WIDTHS[name] / 2 * np.clip(random.standard_cauchy(len(here)), -5, 5)
        z = random.uniform(0.1, 0.9, len(here))
        opening[here] = _split(share, eta, phi, here, 0, 1, z, mass, 0.0, random)
    here = np.flatnonzero(y == CLASSES.index("t"))
    mass = MASSES["t"] + WIDTHS["t"] / 2 * np.clip(random.standard_cauchy(len(here)), -5, 5)
    z = random.uniform(0.3, 0.9, len(here))  # the W's
    opening[here] = _split(share, eta, phi, here, 0, 2, z, mass, MASSES["w"], random)
    _split(share, eta, phi, here, 0, 1, random.uniform(0.1, 0.9, len(here)), MASSES["w"], 0.0, random)
    return share, eta, phi, np.minimum(opening, RADIUS)


def _split(
    share: Floats,
    eta: Floats,
    phi: Floats,
    rows: NDArray[Any],
    mother: int,
    new: int,
    z: Floats,
    mass: Floats | float,
    heavy: float,
    random: np.random.Generator,
) -> Floats:
    """Prong ``mother`` becomes one with share z (of mass ``heavy``) and prong ``new``; gives the opening angle."""
    whole = share[rows, mother]
    angle: Floats = np.sqrt((mass**2 - heavy**2 / z) / (z * (1 - z))) / (PT * whole)
    around = random.uniform(0, 2 * np.pi, len(rows))
    for v, part in ((eta, angle * np.cos(around)), (phi, angle * np.sin(around))):
        v[rows, new] = v[rows, mother] - z * part
        v[rows, mother] += (1 - z) * part
    share[rows, new] = (1 - z) * whole
    share[rows, mother] = z * whole
    return angle
