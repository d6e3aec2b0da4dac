"""lutc: trained, quantised neural networks as fixed-latency FPGA circuits.

    design = lutc.load("model.onnx")  # or lutc.loads(TEXT), for IR
    y = design.run(x)
    build = lutc.compile(design, target="xcvu13p", clock_ns=2.0)
    build.write("build")

The names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lutc._version import __version__

if TYPE_CHECKING:
    from lutc.build import Builder
    from lutc.built import Build, simulate
    from lutc.diagnostics import Diagnostic, LirError
    from lutc.driver import compile, load
    from lutc.engines.engine import run
    from lutc.ir.graph import Design
    from lutc.pnr.implement import implement
    from lutc.ptq.quantize import quantize
    from lutc.settings import Settings
    from lutc.text.parse import parse as loads

# Where the public names live: `lutc --help` must not wait for numpy.
_HOMES = {
    "Builder": "build",
    "Diagnostic": "diagnostics",
    "LirError": "diagnostics",
    "Build": "built",
    "compile": "driver",
    "implement": "pnr.implement",
    "load": "driver",
    "quantize": "ptq.quantize",
    "run": "engines.engine",
    "simulate": "built",
    "Design": "ir.graph",
    "Settings": "settings",
    "loads": "text.parse",
}

__all__ = [
    "Build",
    "Builder",
    "Design",
    "Diagnostic",
    "LirError",
    "Settings",
    "__version__",
    "compile",
    "implement",
    "load",
    "loads",
    "quantize",
    "run",
    "simulate",
]


def __dir__() -> list[str]:
    return sorted(__all__)  # what is there to use, imported already or not


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"lutc.{_HOMES[name]}"), "parse" if name == "loads" else name)
    raise AttributeError(f"module 'lutc' has no attribute {name!r}")
