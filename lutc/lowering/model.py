"""A model as the walk knows it: its inputs, its layers in order, and its constants."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutc.lowering.tensors import Known


class Role(enum.Enum):
    """What a layer does to scores, for those who ask what follows a softmax."""

    COMPUTES = "computes"
    MOVES = "moves"  # they stay what they are, perhaps in other places
    QUANTISES = "quantises"
    CHOOSES = "chooses"  # the index of the largest


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer under the name and kind that messages call it by; what it reads and makes are names of tensors."""

    name: str
    kind: str
    reads: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    role: Role = Role.COMPUTES

    @property
    def label(self) -> str:
        """How messages call it: its name and its kind."""
        return f"{self.name} ({self.kind})"


@dataclass(frozen=True, eq=False)
class Input:
    """An input of the model: the name of its element type, and its dimensions (None where they are not fixed)."""

    name: str
    dtype: str
    dims: tuple[int | None, ...] | None


@dataclass(frozen=True, eq=False)
class Model:
    """A whole model; `layers` stand in the order in which they are lowered."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    constants: Mapping[str, Known] = field(default_factory=dict)
    dtype: Any = np.float32  # what functions that become tables are computed in
    defaults: tuple[str, ...] = ()  # inputs that are constants unless a caller says otherwise
