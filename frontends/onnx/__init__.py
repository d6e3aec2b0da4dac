"""ONNX models: QONNX, QuantizeLinear/DequantizeLinear, and the operators between them. Bit-exact or refused."""

from __future__ import annotations

from typing import Any

from lutc.graph import Design
from lutc.plugins import LoadOptions

from .load import load_onnx

__all__ = ["FRONTEND", "load_onnx"]


class _Onnx:
    name = "onnx"
    suffixes = (".onnx",)

    def matches(self, source: object) -> bool:
        """Whether it is an `onnx.ModelProto`, judged by its name: onnx need not be there to say no."""
        return type(source).__name__ == "ModelProto"

    def load(self, source: Any, options: LoadOptions) -> Design:
        return load_onnx(source, input_types=options.input_types or None)


FRONTEND = _Onnx()
