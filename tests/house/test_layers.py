"""Layers point one way: every import of the distribution is read from its source and held to the order below.

The core's rooms are its folders and the files beside them, lowest first. A module imports from lower rooms and from
its own; lutc's own `__init__` stands above them all. `frontends` and `backends` may use the core below the
driver, never each other, and the core reaches them through entry points only; nor does a frontend import another.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "lutc": "lutc",
    "frontends": "lutc.frontends",
    "backends": "lutc.backends",
    "ir_spec": "lutc.ir_spec",
}
OUTSIDE = ("frontends", "backends", "ir_spec")

# The rooms of the core, lowest first: each imports from those above it in this list and from itself. A module belongs
# to the room with the longest name that begins its own; so `ir` is what of lutc/ir stands over the operations.
ORDER = (
    "_version",
    "lazy",
    "limits",
    "choices",
    "synonyms",
    "diagnostics",
    "extensions",
    "types",
    "numbers",
    "primitives",
    "targets",
    "target",
    "truth",
    "files",
    "rtl",
    "ir.facts",
    "ir.graph",
    "ir.ops",
    "ir",
    "text",
    "cmvm",
    "analysis",
    "emit",
    "build",
    "loading",
    "plugins",
    "assumed",
    "settings",
    "lowering",
    "passes.dump",
    "passes.context",
    "passes.manager",
    "passes.rewriter",
    "passes.identities",
    "passes.rebuild",
    "passes.canonical",
    "passes.sums",
    "passes.tables",
    "passes.approximate",
    "passes.assume",
    "passes",
    "cmodel",
    "engines",
    "nn",
    "report",
    "built",
    "staging",
    "driver",
    "pnr",
    "ptq",
    "lsp",
    "cli",
)
RANK = {name: rank for rank, name in enumerate(ORDER)}

# The one circle: spellings of a room above that stand where a user looks for them. Each is imported when called.
SHORTCUTS = {
    ("lutc.ir.graph", "lutc.ir.interp"),
    ("lutc.ir.graph", "lutc.report.notebook"),
    ("lutc.ir.graph", "lutc.text.print"),
    ("lutc.ir.interp", "lutc.text.literals"),
}

LINES_AT_MOST = 500


@dataclass(frozen=True)
class Import:
    """One imported module: by whom and where; `lazy` inside a function, `typing` for the type checker only."""

    source: str
    target: str
    line: int
    relative: bool
    lazy: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@cache
def modules() -> dict[str, Path]:
    """Module name -> file, for the whole distribution."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = (package, *path.relative_to(ROOT / folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def _targets(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = module.split(".")
        up = node.level - (modules()[module].name == "__init__.py")
        base = ".".join([*package[: len(package) - up], *([base] if base else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in modules() else base


def _walk(node: ast.AST, module: str, lazy: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target in _targets(child, module):
                relative = isinstance(child, ast.ImportFrom) and child.level > 0
                yield Import(module, target, child.lineno, relative, lazy, typing)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from _walk(ast.Module([statement], []), module, lazy, True)
            for statement in child.orelse:
                yield from _walk(ast.Module([statement], []), module, lazy, typing)
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, module, lazy or function, typing)


@cache
def imports() -> tuple[Import, ...]:
    """Every import statement of the distribution."""
    return tuple(
        i for name, path in modules().items() for i in _walk(ast.parse(path.read_text()), name, False, False)
    )


def loaded() -> Iterator[Import]:
    """The imports that loading a module runs."""
    return (i for i in imports() if not i.lazy and not i.typing)


def part(module: str) -> str:
    """The first-level name below lutc: 'ir' for 'lutc.ir.ops.arith', '' for lutc itself."""
    return module.split(".")[1] if "." in module else ""


def room(module: str) -> str | None:
    """Where a module stands: 'ir.ops' for 'lutc.ir.ops.arith'; None for what has no place in the order."""
    parts = module.split(".")[1:]
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in RANK), None)


def upward(found: Iterable[Import]) -> list[Import]:
    """The imports of the core that do not point down the order, shortcuts aside."""
    wrong = []
    for i in found:
        here, there = room(i.source), room(i.target)
        if here is None or not internal(i.target):
            continue
        if i.lazy and (i.source, i.target) in SHORTCUTS:
            continue
        if there is None or RANK[there] > RANK[here]:
            wrong.append(i)
    return wrong


def internal(name: str) -> bool:
    return name == "lutc" or name.startswith("lutc.")


def distribution(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0]


def show(wrong: list[Import]) -> str:
    return "\n".join(dict.fromkeys(map(str, wrong)))


def test_every_module_has_a_room() -> None:
    outside = ("", "__main__", *OUTSIDE)
    homeless = [name for name in modules() if part(name) not in outside and room(name) is None]
    assert not homeless, "give the new modules a place in ORDER"
    assert {room(name) for name in modules()} >= {*ORDER} - {"targets"}, (
        "ORDER names a room that is not there"
    )


def test_imports_point_down() -> None:
    assert any(room(i.source) and internal(i.target) for i in imports()), (
        "no import was found: the walk is broken"
    )
    assert not show(upward(imports()))


@pytest.mark.parametrize("high", range(1, len(ORDER)), ids=ORDER[1:])
def test_an_import_in_the_wrong_direction_is_seen(high: int) -> None:
    """From every room below, as a statement in a function, for the type checker, and when loaded."""
    for low in ORDER[:high]:
        for lazy, typing in ((False, False), (True, False), (False, True)):
            up = Import(f"lutc.{low}", f"lutc.{ORDER[high]}", 1, False, lazy, typing)
            down = Import(f"lutc.{ORDER[high]}", f"lutc.{low}", 1, False, lazy, typing)
            assert upward([down]) == []
            shortcut = lazy and (up.source, up.target) in SHORTCUTS
            assert upward([up]) == ([] if shortcut else [up])


def test_shortcuts_are_still_taken() -> None:
    assert {(i.source, i.target) for i in imports() if i.lazy} >= SHORTCUTS


def test_core_reaches_frontends_and_backends_by_entry_points_only() -> None:
    core = {name for name in modules() if part(name) not in OUTSIDE}
    wrong = [i for i in imports() if i.source in core and part(i.target) in ("frontends", "backends")]
    assert not show(wrong)
    # The group names themselves are strings of the core; the name of a module inside is not its business.
    inside = re.compile(r"lutc\.(frontends|backends)(\.\w+)+")
    named = [
        f"{name}:{node.lineno}: {node.value}"
        for name in sorted(core)
        for node in ast.walk(ast.parse(modules()[name].read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and inside.fullmatch(node.value)
    ]
    assert not named, named


@pytest.mark.parametrize("outside", OUTSIDE)
def test_outside_packages_use_the_core_only(outside: str) -> None:
    forbidden = {*OUTSIDE, "built", "driver", "cli"} - {outside}
    mine = [i for i in imports() if part(i.source) == outside and internal(i.target)]
    wrong = [i for i in mine if part(i.target) in forbidden]
    assert not show(wrong)
    # mypy reads these folders before they are mapped into lutc, and knows no lutc.frontends to check against.
    absolute = [i for i in mine if part(i.target) == outside and not i.relative]
    assert not show(absolute), "import relatively"


def frontend(module: str) -> str | None:
    """The frontend that a module belongs to: 'onnx' for 'lutc.frontends.onnx.read'."""
    parts = module.split(".")
    return parts[2] if part(module) == "frontends" and len(parts) > 2 else None


def across(found: Iterable[Import]) -> list[Import]:
    """The imports of one frontend from another."""
    return [
        i
        for i in found
        if frontend(i.source) and frontend(i.source) != (frontend(i.target) or frontend(i.source))
    ]


def test_frontends_never_import_each_other() -> None:
    """What they share is the core's: a frontend is read without the others."""
    assert not show(across(imports()))
    wrong = Import("lutc.frontends.torch.call", "lutc.frontends.onnx.model", 1, True, True, False)
    mine = Import("lutc.frontends.torch.call", "lutc.frontends.torch.leaves", 1, True, False, False)
    assert across([wrong, mine]) == [wrong]


def test_no_module_imports_a_folder_by_its_own_name() -> None:
    wrong = [i for i in imports() if i.target.split(".")[0] in OUTSIDE]
    assert not show(wrong)


def test_imports_have_no_cycle() -> None:
    depends: dict[str, set[str]] = {name: set() for name in modules()}
    for i in loaded():
        if i.target in depends:
            depends[i.source].add(i.target)
    graphlib.TopologicalSorter(depends).prepare()


def test_core_needs_only_its_own_dependencies() -> None:
    """What an extra brings is imported by the function that uses it, never by loading a module of the core.

    lutc.nn alone is made for one extra, torch, whose builds for GPUs bring triton; and of lutc.ptq the file that
    computes a model in PyTorch.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {"lutc", *map(distribution, project["dependencies"]), *sys.stdlib_module_names}
    nn = core | set(map(distribution, project["optional-dependencies"]["torch"])) | {"triton"}
    wrong = [
        i
        for i in loaded()
        if part(i.source) not in OUTSIDE
        and i.target.split(".")[0]
        not in (nn if part(i.source) == "nn" or i.source == "lutc.ptq.play" else core)
    ]
    assert not show(wrong)


def test_files_stay_short() -> None:
    files = [*modules().values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    long = {name: count for name, count in lines.items() if count > LINES_AT_MOST}
    assert not long, long


HEAVY = {
    "cocotb",
    "h5py",
    "keras",
    "lark",
    "networkx",
    "numba",
    "onnx",
    "pygls",
    "pyosys",
    "scipy",
    "sklearn",
    "torch",
}
HELP = "import sys; sys.argv = ['lutc', '--help']; from lutc.cli import main; sys.exit(main())"


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", HELP], capture_output=True, text=True)
    timed = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert done.returncode == 0, done.stderr.splitlines()[len(timed) :]
    names = [line.rsplit("|", 1)[1].strip() for line in timed]
    packages = {name.split(".")[0] for name in names}
    assert "lutc" in packages
    assert not packages & HEAVY
