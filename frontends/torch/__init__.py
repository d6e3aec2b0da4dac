"""PyTorch modules and saved `torch.export` programs, by the lowering kit. Bit-exact or refused."""

from __future__ import annotations

import sys
from typing import Any

from lutc.diagnostics import error
from lutc.ir.graph import Design
from lutc.plugins import LoadOptions

__all__ = ["FRONTEND"]


class _Torch:
    name = "torch"
    suffixes = (".pt2",)

    def matches(self, source: object) -> bool:
        """Whether it is a module or an exported program, without importing torch to find out."""
        torch = sys.modules.get("torch")
        if torch is None:
            return False
        return isinstance(source, torch.nn.Module) or type(source).__name__ == "ExportedProgram"

    def load(self, source: Any, options: LoadOptions) -> Design:
        try:
            import torch  # noqa: F401
        except ImportError:
            raise error(
                "reading PyTorch models needs PyTorch", where=str(source), help="pip install 'lutc[torch]'"
            ) from None
        from .load import load_torch

        options.only("input_types", "example_inputs", kind="a PyTorch model")

        return load_torch(
            source,
            options.example_inputs,
            input_types=options.input_types or None,
            compare=options.compare,
        )

    def as_onnx(self, source: Any, example_inputs: Any = None) -> Any:
        """The model as PyTorch exports it to ONNX; a module is traced with `example_inputs`."""
        try:
            from .to_onnx import exported
        except ImportError:
            raise error(
                "reading PyTorch models needs PyTorch", where=str(source), help="pip install 'lutc[torch]'"
            ) from None
        return exported(source, example_inputs)


FRONTEND = _Torch()
