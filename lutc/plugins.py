"""What the core reaches by entry points only, so that others can add their own: importers, emitters, the bench.

See `lutc.extensions` for how they are found. Each group names objects that satisfy one of the protocols below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lutc import extensions
from lutc.diagnostics import Diagnostic, LirError, error
from lutc.ir.graph import Design
from lutc.loading import LoadOptions as LoadOptions  # a frontend finds here all that it is given
from lutc.rtl.nets import Module


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


class Backend(Protocol):
    """Prints a circuit in one language."""

    name: str  # as the user chooses it, and as its entry point says: --hdl NAME
    suffix: str  # of the files it writes, such as ".v"
    named_luts: bool  # whether it prints `lutc.rtl.nets.Lut`: LUTs that synthesis leaves as they are
    simulators: tuple[
        str, ...
    ]  # those of the bench that read what it writes; with none, a build has no bench

    def identifiers(self, modules: Sequence[Module]) -> tuple[str, dict[str, str]]:
        """The top module's identifier and those of its ports by the names the design gives them.

        They are legal in the language, and those that `emit` prints; ports without bits are left out.
        """

    def emit(self, modules: Sequence[Module], head: str) -> dict[str, str]:
        """The circuit as texts by file name. `modules` come callees first, the last is the top; `head` is a line
        of text for the head of every file."""


class Bench(Protocol):
    """Compares a circuit with a design, answer by answer, in a simulator."""

    simulators: Mapping[str, str]  # the language that each reads

    def write(
        self,
        folder: Path,
        source: Design,
        modules: Sequence[Module],
        *,
        hdl: str,
        files: Sequence[str],
        latency: int,
        valid: bool,
        count: int,
        user: Mapping[str, Any] | None,
    ) -> None:
        """Write `folder/sim/` for `files` in a language `hdl`; `source` gives the right answers."""

    def reads(self, folder: Path) -> list[str]:
        """The files that a simulation rests on, as paths from the folder. Raises LirError if there is no bench."""

    def simulate(self, folder: Path) -> Any:
        """Run the bench of a folder: whether it `passed`, and what was seen."""


def frontends() -> list[Frontend]:
    """The importers that can be loaded, by the names of their entry points."""
    return [frontend for _, frontend in _frontends()[0]]


def broken_frontends() -> list[Diagnostic]:
    """What is wrong with the importers that cannot be loaded: they are missed where nothing else reads a model."""
    return _frontends()[1]


def _frontends() -> tuple[list[tuple[str, Frontend]], list[Diagnostic]]:
    found: list[tuple[str, Frontend]] = []
    faults: list[Diagnostic] = []
    known = extensions.extensions(extensions.FRONTENDS)
    for extension in known:
        same = [e for e in known if e.name == extension.name]
        if len(same) > 1 and not extension.own:
            faults.append(extensions.claimed(same))
            continue
        try:
            found.append((extension.name, extension.load(partial(lack, Frontend))))
        except LirError as e:
            faults += e.diagnostics
    return found, list(dict.fromkeys(faults))


def frontend(name: str) -> Frontend:
    """An importer by the name of its entry point. Raises LirError if there is none such, or a broken one."""
    extension = extensions.chosen(extensions.FRONTENDS, name)
    assert extension  # none is built in
    found: Frontend = extension.load(partial(lack, Frontend))
    return found


def reader(path: Path) -> Frontend | None:
    """The frontend for a file or folder: one that recognises what is in it, else the one for its suffix.

    Raises LirError if there are several: an answer must not hang on what else is installed.
    """
    known = _frontends()[0]
    looking = [(n, f, reads) for n, f in known if (reads := getattr(f, "reads", None))]
    found = [(n, f) for n, f, reads in looking if reads(path)]
    found = found or [(n, f) for n, f in known if path.is_file() and path.suffix in f.suffixes]
    if len(found) > 1:
        names = ", ".join(n for n, _ in found)
        help = f"say which: --frontend {found[0][0]}, or in Python frontend={found[0][0]!r}"
        raise error(f"several importers read it: {names}", where=str(path), help=help)
    return found[0][1] if found else None


def languages() -> list[str]:
    """The languages that there are emitters for: nothing is loaded to know them."""
    return sorted({e.name for e in extensions.extensions(extensions.BACKENDS)})


def backend(name: str) -> Backend:
    """An emitter by name. Raises LirError if there is none such, or if it is not what `Backend` says."""
    extension = extensions.chosen(extensions.BACKENDS, name)
    assert extension  # none is built in
    found: Backend = extension.load(partial(_no_backend, name))
    return found


def bench() -> Bench:
    """The bench that build folders get."""
    extension = extensions.chosen(extensions.BENCHES, "cocotb")
    assert extension  # none is built in
    found: Bench = extension.load(partial(lack, Bench))
    return found


def faults() -> list[Diagnostic]:
    """What is wrong with the importers and emitters that are installed."""
    wrong = broken_frontends()
    for name in languages():
        try:
            backend(name)
        except LirError as e:
            wrong += e.diagnostics
    return wrong


def lack(kind: type, found: Any) -> str | None:
    """What an object lacks to be of a kind, a protocol; None if it has all the parts."""
    if isinstance(found, type):
        return f"is the class {found.__name__}, not an object made of it"
    own = vars(kind)
    methods = {name for name, part in own.items() if callable(part) and not name.startswith("_")}
    names = sorted({*own["__annotations__"], *methods})
    missing = [
        n for n in names if not hasattr(found, n) or (n in methods and not callable(getattr(found, n)))
    ]
    return f"lacks {', '.join(missing)}: see lutc.plugins.{kind.__name__}" if missing else None


def _no_backend(name: str, found: Any) -> str | None:
    if missing := lack(Backend, found):
        return missing
    if found.name != name:
        return f"calls itself {found.name!r}"
    if not (isinstance(found.suffix, str) and found.suffix.startswith(".")):
        return f"has the suffix {found.suffix!r}, which does not begin with a point"
    if not isinstance(found.named_luts, bool):
        return f"says named_luts = {found.named_luts!r}, not True or False"
    simulators = found.simulators
    if not isinstance(simulators, tuple):
        return f"says simulators = {simulators!r}, not a tuple of names"
    known = bench().simulators if simulators else {}
    if strange := [s for s in simulators if s not in known]:
        return f"names the simulators {strange}, and the bench knows {', '.join(known)}"
    if len({known[s] for s in simulators}) > 1:
        return "names simulators that read different languages"
    return None
