"""What the core reaches by entry points only, so that others can add their own: importers, emitters, the bench.

See `lutc.extensions` for how they are found. Each group names objects that satisfy one of the protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

from lutc import extensions
from lutc.diagnostics import Diagnostic, LirError, error, noted
from lutc.extensions import Extension, Maker
from lutc.ir.graph import Design
from lutc.ir.verify import violations
from lutc.loading import LoadOptions as LoadOptions  # a frontend finds here all that it is given
from lutc.rtl.nets import DATA, VALID, Module


class Frontend(Protocol):
    """Brings a kind of model in, bit-exact or refused.

    One whose files share their suffix with others', or that reads folders, also has `reads(path: Path) -> bool`, which
    looks into a file or folder; such a frontend is asked before those that go by the suffix. One whose models may be
    float models has `as_onnx(source, example_inputs) -> onnx.ModelProto`, so that `lutc.quantize` takes them.
    """

    name: str  # as its entry point says: --frontend NAME
    suffixes: tuple[str, ...]  # of the files it reads, such as ".onnx"

    def matches(self, source: object) -> bool:
        """Whether a live object is one of this frontend's models. Must not import the framework to find out."""

    def load(self, source: Any, options: LoadOptions) -> Design:
        """The design that means the same as the model. Raises LirError listing everything that is refused."""


class Backend(Protocol):
    """Prints a circuit in one language, as at least one file whose name ends in its suffix."""

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
        of text for the head of every file.

        A backend may also have `models`, of the same arguments: what simulators read besides and synthesis must not,
        such as what LUTs do that are asked for by name. They are written to `sim/`.

        One that writes programs, and no circuits, may have `emit_design(design, head, notes)` besides: the texts by
        file name of the design that the circuit means the same as. It is then asked for these in place of `emit`.
        """


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

    def simulate(
        self,
        folder: Path,
        *,
        simulator: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Run the bench of a folder: whether it `passed`, and what was seen.

        `simulator` is one of `simulators`, or left to the bench; `progress` is told cycles done and cycles in all.
        """


@dataclass(frozen=True)
class Importer:
    """A frontend as it was found, by its entry point's name: what goes wrong in it is told as its maker's fault."""

    name: str
    suffixes: tuple[str, ...]
    made: Frontend
    maker: Maker

    def matches(self, source: object) -> bool:
        with self.maker.answering():
            return bool(self.made.matches(source))

    def reads(self, path: Path) -> bool:
        """Whether it recognises what is in a file or folder; one that does not look into them recognises nothing."""
        look = getattr(self.made, "reads", None)
        with self.maker.answering(path):
            return bool(look and look(path))

    def as_onnx(self, source: Any, example_inputs: Any = None) -> Any:
        """The model, float, as an `onnx.ModelProto`. Raises LirError if its frontend has no way to make one."""
        turn = getattr(self.made, "as_onnx", None)
        if turn is None:
            raise error(
                f"models that the frontend {self.name!r} reads are not quantised",
                where=str(source) if isinstance(source, str | Path) else None,
                help="give an ONNX, Keras or PyTorch model with floats",
            )
        with self.maker.answering(source):
            return turn(source, example_inputs)

    def load(self, source: Any, options: LoadOptions) -> Design:
        with self.maker.answering(source):
            found: Any = self.made.load(source, options)
            if not isinstance(found, Design):
                raise LirError(self.maker.fault(f"gave a {type(found).__name__} in place of a design"))
            wrong = () if self.maker.own else violations(found)
        if wrong:
            raise LirError(*(self.maker.fault(f"made what is no design: {d.message}") for d in wrong))
        return found


@dataclass(frozen=True)
class Emitter:
    """A backend as it was found: what goes wrong in it is told as its maker's fault, and what it gives is looked at."""

    name: str
    suffix: str
    named_luts: bool
    simulators: tuple[str, ...]
    made: Backend
    maker: Maker

    def identifiers(self, modules: Sequence[Module]) -> tuple[str, dict[str, str]]:
        with self.maker.answering():
            found: Any = self.made.identifiers(modules)
            right = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)
            if not right or not all(isinstance(s, str) and _plain(s) for s in (found[0], *found[1].values())):
                raise LirError(self.maker.fault("gives no identifiers: (top, {port: identifier})"))
            top, names = found
            ports = [p.port for p in modules[-1].inputs] + [p.port for p in modules[-1].outputs]
            lacking = [p for p in ports if p not in VALID and p.removesuffix(DATA) not in names]
            if lacking:
                raise LirError(self.maker.fault(f"gives no identifier of the port {lacking[0]!r}"))
        return top, names

    def models(self, modules: Sequence[Module], head: str) -> dict[str, str]:
        """What simulators read besides, by file name."""
        made = getattr(self.made, "models", None)
        if made is None:
            return {}
        with self.maker.answering():
            found: Any = made(modules, head)
            if not isinstance(found, dict) or not all(_is_file(name, text) for name, text in found.items()):
                raise LirError(self.maker.fault("gives no models by file name: see lutc.plugins.Backend"))
        return found

    def emit(
        self, modules: Sequence[Module], head: str, design: Design | None = None, notes: Sequence[str] = ()
    ) -> dict[str, str]:
        """The files' texts by name; of a backend that writes programs, those of the design."""
        program: Any = getattr(self.made, "emit_design", None)
        with self.maker.answering():
            from_nets = program is None or design is None
            found: Any = self.made.emit(modules, head) if from_nets else program(design, head, notes)
            if not isinstance(found, dict) or not all(_is_file(name, text) for name, text in found.items()):
                raise LirError(self.maker.fault("gives no texts by file name: see lutc.plugins.Backend"))
            if not any(name.endswith(self.suffix) for name in found):
                raise LirError(self.maker.fault(f"gives no file whose name ends in {self.suffix}"))
        return dict(found)


def _plain(word: str) -> bool:
    return bool(word) and word.isprintable()


def _is_file(name: Any, text: Any) -> bool:
    """Whether it is a name in one folder, and a text that a file can hold."""
    named = isinstance(name, str) and _plain(name) and name not in (".", "..") and name == Path(name).name
    return named and isinstance(text, str) and text == text.encode(errors="ignore").decode()


def frontends() -> list[Importer]:
    """The importers that can be loaded, by the names of their entry points."""
    return _frontends()[0]


def broken_frontends() -> list[Diagnostic]:
    """What is wrong with the importers that cannot be loaded: they are missed where nothing else reads a model."""
    return _frontends()[1]


def _frontends() -> tuple[list[Importer], list[Diagnostic]]:
    found: list[Importer] = []
    wrong: list[Diagnostic] = []
    known = extensions.extensions(extensions.FRONTENDS)
    for extension in known:
        same = [e for e in known if e.name == extension.name]
        if len(same) > 1 and not extension.own:
            wrong.append(extensions.claimed(same))
            continue
        with noted(wrong):
            found.append(_importer(extension))
    return found, list(dict.fromkeys(wrong))


def _importer(extension: Extension) -> Importer:
    made: Frontend = extension.load(partial(_no_frontend, extension.name))
    return Importer(extension.name, made.suffixes, made, extension.maker)


def frontend(name: str) -> Importer:
    """An importer by the name of its entry point. Raises LirError if there is none such, or a broken one."""
    extension = extensions.chosen(extensions.FRONTENDS, name)
    assert extension  # none is built in
    return _importer(extension)


def reader(path: Path, wrong: list[Diagnostic]) -> Importer | None:
    """The frontend for a file or folder: one that recognises what is in it, else the one for its suffix.

    Raises LirError if there are several: an answer must not hang on what else is installed. What is `wrong` with
    those that could not be asked is missed only where nothing reads it.
    """
    known = frontends()
    found = _willing(known, lambda f: f.reads(path), wrong)
    found = found or [f for f in known if path.is_file() and path.suffix in f.suffixes]
    return _only(found, str(path)) if len(found) > 1 else next(iter(found), None)


def taker(source: object, wrong: list[Diagnostic]) -> Importer | None:
    """The frontend for a live object, as `reader` is for a file; of lutc's own, the first knows it best."""
    found = _willing(frontends(), lambda f: f.matches(source), wrong)
    if len(found) > 1 and not all(f.maker.own for f in found):
        _only(found, type(source).__name__)
    return next(iter(found), None)


def _willing(
    known: Sequence[Importer], asked: Callable[[Importer], bool], wrong: list[Diagnostic]
) -> list[Importer]:
    found = []
    for one in known:
        with noted(wrong):
            found += [one] * asked(one)
    return found


def _only(found: Sequence[Importer], where: str) -> NoReturn:
    names = ", ".join(f.name for f in found)
    help = f"say which: --frontend {found[0].name}, or in Python frontend={found[0].name!r}"
    raise error(f"several importers read it: {names}", where=where, help=help)


def languages() -> list[str]:
    """The languages that there are emitters for: nothing is loaded to know them."""
    return sorted({e.name for e in extensions.extensions(extensions.BACKENDS)})


def backend(name: str) -> Emitter:
    """An emitter by name. Raises LirError if there is none such, or if it is not what `Backend` says."""
    extension = extensions.chosen(extensions.BACKENDS, name)
    assert extension  # none is built in
    made: Backend = extension.load(partial(_no_backend, name))
    return Emitter(name, made.suffix, made.named_luts, made.simulators, made, extension.maker)


def bench() -> Bench:
    """The bench that build folders get."""
    extension = extensions.chosen(extensions.BENCHES, "cocotb")
    assert extension  # none is built in
    found: Bench = extension.load(partial(lack, Bench))
    return found


def faults() -> list[Diagnostic]:
    """What is wrong with the importers, the emitters and the bench that are installed."""
    wrong = broken_frontends()
    with noted(wrong):
        bench()
    for name in languages():
        with noted(wrong):
            backend(name)
    return list(dict.fromkeys(wrong))


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


def _no_frontend(name: str, found: Any) -> str | None:
    if missing := lack(Frontend, found):
        return missing
    if found.name != name:
        return f"calls itself {found.name!r}"
    suffixes = found.suffixes
    if not isinstance(suffixes, tuple) or not all(isinstance(s, str) and s[:1] == "." for s in suffixes):
        return f"says suffixes = {suffixes!r}, not a tuple such as ('.onnx',)"
    for name in ("reads", "as_onnx"):
        if not callable(getattr(found, name, lack)):
            return f"has {name} that cannot be called"
    return None


def _no_backend(name: str, found: Any) -> str | None:
    if missing := lack(Backend, found):
        return missing
    if found.name != name:
        return f"calls itself {found.name!r}"
    if not (isinstance(found.suffix, str) and found.suffix.startswith(".")):
        return f"has the suffix {found.suffix!r}, which does not begin with a point"
    if not isinstance(found.named_luts, bool):
        return f"says named_luts = {found.named_luts!r}, not True or False"
    if not callable(getattr(found, "models", lack)):
        return "has models that cannot be called"
    simulators = found.simulators
    if not isinstance(simulators, tuple):
        return f"says simulators = {simulators!r}, not a tuple of names"
    known = bench().simulators if simulators else {}
    if strange := [s for s in simulators if s not in known]:
        return f"names the simulators {strange}, and the bench knows {', '.join(known)}"
    if len({known[s] for s in simulators}) > 1:
        return "names simulators that read different languages"
    return None
