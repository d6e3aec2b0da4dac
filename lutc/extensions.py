"""What other packages add to lutc: entry points, one group for each kind of thing.

A package names what it adds in its `pyproject.toml`, as `[project.entry-points."lutc.passes"]` with a line
`mine = "package.module:Mine"`. Nothing of it is imported before it is asked for; what is broken then is told with the
name of the package, and no command that does without it notices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import Any

from lutc.diagnostics import Diagnostic, LirError, did_you_mean, shortened

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
            reason = fault(found)
        except (Exception, SystemExit) as e:  # whatever the code of others raises
            said = f"{type(e).__name__}: {shortened(str(e), 300)}"
            raise LirError(self.broken(f"cannot be loaded: {said}")) from e
        if reason:
            raise LirError(self.broken(reason))
        return found

    def broken(self, reason: str) -> Diagnostic:
        """What is wrong with it, and what to do."""
        said = f"the {KINDS[self.group]} {self.name!r} of the package {self.origin} {reason}"
        if self.own:
            return Diagnostic(said, help=_AGAIN)
        return Diagnostic(
            said, help=f"ask its makers for a version that works, or: pip uninstall {self.package}"
        )


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


def claimed(found: Sequence[Extension], built_in: bool = False) -> Diagnostic:
    """That several packages give one name."""
    origins = [*(["lutc itself"] if built_in else []), *(e.origin for e in found)]
    other = next(e for e in reversed(found) if not e.own)
    return Diagnostic(
        f"the {KINDS[other.group]} {other.name!r} comes from {' and from '.join(origins)}",
        help=f"one name is one thing: remove one of the packages, such as: pip uninstall {other.package}",
    )


def culprit(trace: TracebackType | None) -> Extension | None:
    """Whose code an exception comes from, if it was raised in (or below) a module of a package that adds something."""
    roots = {e.point.module.partition(".")[0]: e for e in _installed(tuple(sys.path)) if not e.own}
    roots.pop(OWN, None)
    found = None
    while trace:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        found = roots.get(module.partition(".")[0], found)
        trace = trace.tb_next
    return found
