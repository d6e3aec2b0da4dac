"""In which type Keras holds a tensor.

lutc computes with exact numbers, which is what float32 does as long as they are short. Integers that wrap, bools whose
sum is an OR and numbers of 16 bits are other arithmetic: they may be moved, compared with their like, and turned into
float32 by what does so in Keras.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from lutc.lowering.dtypes import WHOLE
from lutc.lowering.refusals import Refusal
from lutc.types import Type

WAY_OUT = "give the inputs dtype='float32', which is also what a layer makes of its inputs"


class Kind(StrEnum):
    """A type of Keras's tensors."""

    FLOAT32 = "float32"
    BOOL = "bool"
    UINT8 = "uint8"
    INT8 = "int8"
    UINT16 = "uint16"
    INT16 = "int16"
    UINT32 = "uint32"
    INT32 = "int32"
    INT64 = "int64"

    @classmethod
    def of(cls, name: object) -> Kind:
        """A type by Keras's name. Raises Refusal for one that rounds in its own way."""
        try:
            return cls(str(name))
        except ValueError:
            raise Refusal(f"it holds numbers in {name}, which rounds in its own way", WAY_OUT) from None

    @classmethod
    def common(cls, kinds: Iterable[Kind]) -> Kind:
        """What tensors become when they are put together; float32 if one of them is."""
        found = set(kinds)
        if len(found) > 1 and cls.FLOAT32 not in found:
            raise Refusal(f"it puts numbers of types {', '.join(sorted(found))} together", WAY_OUT)
        return cls.FLOAT32 if len(found) != 1 else found.pop()

    def real(self) -> None:
        """Raise Refusal unless this is float32."""
        if self is not Kind.FLOAT32:
            raise Refusal(f"it computes with numbers of type {self}", WAY_OUT)

    def hold(self, kind: Type) -> None:
        """Raise Refusal unless the type holds all numbers of the formats without wrapping."""
        if self in (Kind.FLOAT32, Kind.BOOL):
            return
        least, most = WHOLE[self]
        for _, f in kind.runs:
            if f.frac > 0 or f.value(f.lo) < least or f.value(f.hi) > most:
                raise Refusal(f"it is of type {self}, which does not hold every {f}", WAY_OUT)
