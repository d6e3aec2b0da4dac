"""What the core reaches by entry points only, so that others can add their own.

`lutc.frontends` names objects that satisfy `Frontend`; `lutc.backends` names the functions that print HDL
(`emit(modules, header) -> {file name: text}`), and the module that simulates (`bench`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from lutc.diagnostics import Diagnostic, LirError, did_you_mean, error
from lutc.ir.graph import Design


@dataclass(frozen=True)
class LoadOptions:
    """What a user may tell a frontend besides the model.

    `input_types` gives formats to inputs that have none, by name; the key `""` stands for every other input.
    `calibrate` is an array of samples, or one per input, for ranges that were never traced. `example_inputs` are what
    a PyTorch module is traced with. `compare` asks for the independent look of `lutc.lowering.compare`.
    """

    input_types: Mapping[str, str] = field(default_factory=dict)
    calibrate: Any = None
    example_inputs: Any = None
    compare: bool = True

    def only(self, *read: str, kind: str, where: str | None = None) -> None:
        """Raise LirError if an option was given that is not among those `read` for this kind of model.

        Each frontend says what it reads: an option that has no effect would be believed to have one.
        """
        given = {
            "input_types": (bool(self.input_types), "has formats of its own: leave out --input-type"),
            "calibrate": (self.calibrate is not None, "has no ranges to trace: leave out --calibrate"),
            "example_inputs": (self.example_inputs is not None, "is not traced: leave out example_inputs"),
        }
        wrong = [why for name, (there, why) in given.items() if there and name not in read]
        if wrong:
            raise LirError(*(Diagnostic(f"{kind} {why}", where=where) for why in wrong))


class Frontend(Protocol):
    """Brings a kind of model in, bit-exact or refused.

    One whose files share their suffix with others', or that reads folders, also has `reads(path: Path) -> bool`, which
    looks into a file or folder; such a frontend is asked before those that go by the suffix.
    """

    name: str
    suffixes: tuple[str, ...]  # of the files it reads, such as ".onnx"

    def matches(self, source: object) -> bool:
        """Whether a live object is one of this frontend's models. Must not import the framework to find out."""

    def load(self, source: Any, options: LoadOptions) -> Design:
        """The design that means the same as the model. Raises LirError listing everything that is refused."""


def frontends() -> list[Frontend]:
    return [
        _load("lutc.frontends", e.name)
        for e in sorted(entry_points(group="lutc.frontends"), key=lambda e: e.name)
    ]


def reader(path: Path) -> Frontend | None:
    """The frontend for a file or folder: one that recognises what is in it, else one for its suffix."""
    known = frontends()
    for frontend in known:
        reads: Callable[[Path], bool] | None = getattr(frontend, "reads", None)
        if reads and reads(path):
            return frontend
    return next((f for f in known if path.is_file() and path.suffix in f.suffixes), None)


def languages() -> list[str]:
    """The hardware description languages that there are backends for."""
    return sorted(e.name for e in entry_points(group="lutc.backends") if e.name != "bench")


def backend(name: str) -> Any:
    """A backend by name. Raises LirError if there is none such."""
    return _load("lutc.backends", name)


def _load(group: str, name: str) -> Any:
    found = {e.name: e for e in entry_points(group=group)}
    if name not in found:
        raise error(
            f"no {group.removeprefix('lutc.').removesuffix('s')} {name!r}",
            help=did_you_mean(name, sorted(found)) or "is lutc installed? run: pip install -e .",
        )
    return found[name].load()
