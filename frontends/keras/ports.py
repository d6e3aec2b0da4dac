"""What an input port is."""

from __future__ import annotations

from dataclasses import dataclass

from lutc.types import Overflow, Rounding, Type


@dataclass(frozen=True)
class Port:
    """An input port: its name in the model, its type, and how a real number becomes one of the type."""

    name: str
    kind: Type
    round: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE
