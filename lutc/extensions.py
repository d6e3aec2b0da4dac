"""What other packages add to lutc: entry points, one group for each kind of thing.

A package names what it adds in its `pyproject.toml`, as `[project.entry-points."lutc.passes"]` with a line
`mine = "package.module:Mine"`. Nothing of it is imported before it is asked for; what is broken then is told with the
name of the package, and no command that does without it notices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import Any

from lutc.diagnostics import Diagnostic, LirError, Terminated, did_you_mean, shortened

# The groups, and what one thing of each is called.
FRONTENDS, BACKENDS, BENCHES = "lutc.frontends", "lutc.backends", "lutc.benches"
PASSES, TARGETS = "lutc.passes", "lutc.targets"
KINDS = {
    FRONTENDS: "importer",
    BACKENDS: "emitter",
    BENCHES: "bench",
    PASSES: "pass",
    TARGETS: "folder of targets",
}
OWN = "lutc"
_AGAIN = "install lutc again: pip install -e . in a checkout"
_BUG = "this is a bug in lutc: please report it with the file in front of the pass (--dump)"
_SHOWN = "LUTC_TRACEBACK=1 shows where"


# An extension, whatever messages call it: its group, its name there and its package.
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Fault(Diagnostic):
    """What is wrong with something that packages add, and which extensions these are."""

    of: frozenset[_Key] = frozenset()


@dataclass(frozen=True)
class Maker:
    """Who answers for a thing that lutc calls: what it is called in messages, and what to do when it is at fault."""

    thing: str
    own: bool
    help: str
    of: frozenset[_Key] = frozenset()

    def fault(self, said: str) -> Fault:
        """What is wrong with the thing."""
        return Fault(f"{self.thing} {said}", help=self.help, of=self.of)

    @contextmanager
    def answering(self, source: object = None) -> Iterator[None]:
        """Around a call of the thing: what another package's raises is told as its fault, unless it is a refusal.

        That a user's own file, the `source`, cannot be read is no fault of who reads it.
        """
        try:
            yield
        except (LirError, Terminated, MemoryError, BrokenPipeError):
            raise
        except (Exception, SystemExit) as e:
            its = isinstance(e, OSError) and source is not None and str(e.filename) == str(source)
            if self.own or its:
                raise
            fault = self.fault(f"failed: {_raised(e)}")
            raise LirError(replace(fault, help=f"{self.help}; {_SHOWN}")) from e


def _raised(e: BaseException) -> str:
    return f"{type(e).__name__}: {shortened(str(e), 300)}"


@dataclass(frozen=True)
class Extension:
    """One thing that a package adds: the group, its name there, and the package with its version."""

    group: str
    name: str
    package: str
    version: str
    point: EntryPoint

    @property
    def own(self) -> bool:
        return self.package == OWN

    @property
    def origin(self) -> str:
        """The package as people write it."""
        return f"{self.package} {self.version}".strip()

    def load(self, fault: Callable[[Any], str | None]) -> Any:
        """What the entry point names. Raises LirError if that cannot be imported, or has a `fault`."""
        try:
            found = self.point.load()
        except Terminated:
            raise
        except (Exception, SystemExit) as e:  # whatever the code of others raises
            raise LirError(self.broken(f"cannot be loaded: {_raised(e)}")) from e
        with self.maker.answering():
            reason = fault(found)
        if reason:
            raise LirError(self.broken(reason))
        return found

    @property
    def called(self) -> str:
        """What it is, and by which name."""
        return f"the {KINDS[self.group]} {self.name!r}"

    @property
    def maker(self) -> Maker:
        """Who answers for it."""
        help = f"ask its makers for a version that works, or: pip uninstall {self.package}"
        thing = f"{self.called} of the package {self.origin}"
        return Maker(thing, self.own, _AGAIN if self.own else help, frozenset([self._key]))

    @property
    def _key(self) -> _Key:
        return self.group, self.name, self.package

    def among(self, faults: Iterable[Diagnostic]) -> bool:
        """Whether it is told of there: as broken, or because its name is not its own."""
        return any(isinstance(fault, Fault) and self._key in fault.of for fault in faults)

    def broken(self, reason: str) -> Fault:
        """What is wrong with it, and what to do."""
        return self.maker.fault(reason)


def extensions(group: str) -> list[Extension]:
    """All that the installed packages add to a group, by name."""
    return [e for e in _installed(tuple(sys.path)) if e.group == group]


@lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> tuple[Extension, ...]:
    """Of all groups, for one list of import folders: reading them takes some milliseconds."""
    found, all_groups = [], entry_points()
    for group in KINDS:
        for point in all_groups.select(group=group):
            package, version = (point.dist.name, point.dist.version) if point.dist else ("(unknown)", "")
            found.append(Extension(group, point.name, package, version, point))
    return tuple(sorted(found, key=lambda e: (e.group, e.name, not e.own, e.package)))


def chosen(group: str, name: str, built_in: Iterable[str] = ()) -> Extension | None:
    """What has a name in a group; None for one of lutc's own that are `built_in` and no entry points.

    Raises LirError if there is none such, or if two packages give the name: neither is meant more than the other.
    """
    own = set(built_in)
    known = extensions(group)
    found = [e for e in known if e.name == name]
    if len(found) + (name in own) > 1:
        raise LirError(claimed(found, name in own))
    if not found and name not in own:
        names = sorted({*own, *(e.name for e in known)})
        help = did_you_mean(str(name)[:100], names) or f"there are {', '.join(names)}"
        help = help if names else _AGAIN
        raise LirError(Diagnostic(f"no {KINDS[group]} {shortened(repr(name))}", help=help))
    return found[0] if found else None


def claimed(found: Sequence[Extension], built_in: bool = False) -> Fault:
    """That several packages give one name."""
    origins = [*(["lutc itself"] if built_in else []), *(e.origin for e in found)]
    other = next(e for e in reversed(found) if not e.own)
    return Fault(
        f"{other.called} comes from {' and from '.join(origins)}",
        help=f"one name is one thing: remove one of the packages, such as: pip uninstall {other.package}",
        of=frozenset(e._key for e in found),
    )


def maker(group: str, name: str, kind: type) -> Maker:
    """Who answers for a thing that somebody made of a class, which need not be that of an entry point."""
    root = kind.__module__.partition(".")[0]
    if root == OWN:
        return Maker(f"the {KINDS[group]} {name!r}", True, _BUG)
    found = [e for e in _foreign() if e.point.module.partition(".")[0] == root]
    if found:
        same = [e for e in found if (e.group, e.name) == (group, name)]
        return replace((same or found)[0], group=group, name=name).maker
    thing = f"the {KINDS[group]} {name!r} ({kind.__module__}.{kind.__qualname__})"
    return Maker(thing, False, "mend it, or do without it")


def _foreign() -> list[Extension]:
    return [e for e in _installed(tuple(sys.path)) if not e.own and e.point.module.partition(".")[0] != OWN]


def culprit(trace: TracebackType | None) -> Extension | None:
    """Whose code an exception comes from, if it was raised in (or below) a module of a package that adds something."""
    roots = {e.point.module.partition(".")[0]: e for e in _foreign()}
    found = None
    while trace:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        found = roots.get(module.partition(".")[0], found)
        trace = trace.tb_next
    return found
