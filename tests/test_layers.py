"""Layers point one way: every import of the distribution is read from its source and held to the order below.

The layers are lutc's first-level modules and packages, lowest first. A module imports from lower layers and from
its own; lutc's own `__init__` stands above them all. `frontends` and `backends` may use the core below the
driver, never each other, and the core reaches them through entry points only.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "lutc": "lutc",
    "frontends": "lutc.frontends",
    "backends": "lutc.backends",
    "ir_spec": "lutc.ir_spec",
}
OUTSIDE = ("frontends", "backends", "ir_spec")

LAYERS = (
    {"_version", "diagnostics", "lazy", "limits", "streams"},
    {"files", "folder", "foreign", "manifest", "pickles"},
    {"types"},
    {"graph", "netlist", "netlist_build", "netlist_split", "target", "targets"},
    {"numbers", "functions"},
    {"ops"},
    {"build", "parse", "print", "fmt", "verify", "interp", "analysis"}
    | {
        "answers",
        "comments",
        "settings",
        "syntax",
        "bodies",
        "reader",
        "literals",
        "rows",
        "layout",
        "plugins",
        "edges",
        "attention",
        "compare",
    },
    {"passes", "cmvm", "emit", "nn", "report"},
    {"driver"},
    {"cli"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# Methods that only spell a higher layer's function conveniently; each imports it when called.
SHORTCUTS = {("lutc.graph", "lutc.interp"), ("lutc.graph", "lutc.print")}

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
    """The first-level name below lutc: 'ops' for 'lutc.ops.arith', '' for lutc itself."""
    return module.split(".")[1] if "." in module else ""


def internal(name: str) -> bool:
    return name == "lutc" or name.startswith("lutc.")


def distribution(requirement: str) -> str:
    return re.split(r"[<>=!~ \[;]", requirement)[0]


def show(wrong: list[Import]) -> str:
    return "\n".join(dict.fromkeys(map(str, wrong)))


def test_every_module_has_a_layer() -> None:
    parts = {part(name) for name in modules()} - {"", "__main__", *OUTSIDE}
    assert parts <= RANK.keys(), "give the new modules a layer in tests/test_layers.py"


def test_imports_point_down() -> None:
    core = [i for i in imports() if part(i.source) in RANK and internal(i.target)]
    assert core, "no import was found: the walk is broken"
    wrong = [
        i
        for i in core
        if RANK.get(part(i.target), len(LAYERS)) > RANK[part(i.source)]
        and not (i.lazy and (i.source, i.target) in SHORTCUTS)
    ]
    assert not show(wrong)


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
    forbidden = {*OUTSIDE, "driver", "cli"} - {outside}
    mine = [i for i in imports() if part(i.source) == outside and internal(i.target)]
    wrong = [i for i in mine if part(i.target) in forbidden]
    assert not show(wrong)
    # mypy reads these folders before they are mapped into lutc, and knows no lutc.frontends to check against.
    absolute = [i for i in mine if part(i.target) == outside and not i.relative]
    assert not show(absolute), "import relatively"


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

    lutc.nn alone is made for one extra, torch, whose builds for GPUs bring triton.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {"lutc", *map(distribution, project["dependencies"]), *sys.stdlib_module_names}
    nn = core | set(map(distribution, project["optional-dependencies"]["torch"])) | {"triton"}
    wrong = [
        i
        for i in loaded()
        if part(i.source) not in OUTSIDE
        and i.target.split(".")[0] not in (nn if part(i.source) == "nn" else core)
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


def test_help_starts_at_once() -> None:
    """Less than 0.3 s above an empty program: the best of several tries each, since the machine is shared."""

    def seconds(program: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    empty = min(seconds("pass") for _ in range(5))
    assert min(seconds(HELP) for _ in range(5)) - empty < 0.3
