"""What a user may tell of a model besides the model: checked when it is said, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutc.build import as_type
from lutc.diagnostics import Diagnostic, LirError, error, shortened
from lutc.numbers import masked
from lutc.types import Fixed, Type


@dataclass(frozen=True)
class LoadOptions:
    """What a user may tell a frontend besides the model. Raises LirError for what makes no sense.

    `input_types` gives formats to inputs that have none: one for all, or one by name; it is kept by name, where the
    key `""` stands for every other input. `calibrate` is an array of samples, or one per input, for ranges that were
    never traced. `example_inputs` are what a PyTorch module is traced with. `compare` asks for the independent look of
    `lutc.lowering.compare`. `leaf_type` is the format that leaves of decision trees are rounded to.
    """

    input_types: Any = field(default_factory=dict)
    calibrate: Any = None
    example_inputs: Any = None
    compare: bool = True
    leaf_type: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_types", _input_types(self.input_types))
        _check_samples(self.calibrate)
        object.__setattr__(self, "leaf_type", _leaf_type(self.leaf_type))

    def only(self, *read: str, kind: str, where: str | None = None) -> None:
        """Raise LirError if an option was given that is not among those `read` for this kind of model.

        Each frontend says what it reads: an option that has no effect would be believed to have one.
        """
        given = {
            "input_types": (
                bool(self.input_types),
                "has formats of its own: leave out input_types (--input-type)",
            ),
            "calibrate": (
                self.calibrate is not None,
                "has no ranges to trace: leave out calibrate (--calibrate)",
            ),
            "example_inputs": (self.example_inputs is not None, "is not traced: leave out example_inputs"),
            "leaf_type": (
                self.leaf_type is not None,
                "has no decision trees: leave out leaf_type (--leaf-type)",
            ),
        }
        wrong = [why for name, (there, why) in given.items() if there and name not in read]
        if wrong:
            raise LirError(*(Diagnostic(f"{kind} {why}", where=where) for why in wrong))


def _input_types(value: Any) -> dict[str, Any]:
    """Formats of inputs by their names: from a mapping, or one for all."""
    kinds = {"": value} if isinstance(value, str | Fixed | Type) else value or {}
    if not isinstance(kinds, Mapping) or not all(isinstance(name, str) for name in kinds):
        help = 'write "s8f4", or {"x": "s8f4"}'
        said = shortened(repr(value))
        raise error(f"input_types is a format, or one for each name, not {said}", help=help)
    for key, kind in kinds.items():
        if not isinstance(kind, str | Fixed | Type):
            what = f"the format of {key or 'the inputs'!r}"
            raise error(f"{what} is a text such as 's8f4', not {shortened(repr(kind))}")
        as_type(kind)
    return dict(kinds)


def _leaf_type(value: Any) -> Fixed | None:
    """The format of leaves, from a format or its text."""
    if value is None or isinstance(value, Fixed):
        return value
    if not isinstance(value, str):
        raise error(f"leaf_type is a text such as 's8f4', not {shortened(repr(value))}")
    kind = as_type(value)
    if kind.shape:
        raise error(f"leaf_type is the format of one number, such as s8f4, not {kind}")
    return kind.scalar


def _check_samples(value: Any) -> None:
    """Data to calibrate with: an array of finite numbers, or several in a list or by name; none may be empty."""
    if value is None:
        return
    named = isinstance(value, Mapping)
    parts = value.items() if named else enumerate(value if isinstance(value, list | tuple) else [value])
    for name, part in parts:
        what = f"the calibration data of {name!r}" if named else "the calibration data"
        held = part.detach().cpu() if hasattr(part, "detach") else part  # a tensor of PyTorch's
        if masked(held):
            raise error(f"{what} have masked elements", help="fill them, or leave those samples out")
        try:
            if np.iscomplexobj(held):
                raise TypeError
            with np.errstate(over="ignore"):
                numbers = np.asarray(held).astype(np.float32)  # as the frameworks take them
        except (ValueError, TypeError, OverflowError):
            raise error(f"{what} are no array of real numbers") from None
        if not np.isfinite(numbers).all():
            raise error(f"{what} have numbers that are not finite in float32")
        if not numbers.size:
            raise error(f"{what} hold no numbers")
