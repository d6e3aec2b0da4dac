"""ONNX models: QONNX, QuantizeLinear/DequantizeLinear, and the operators between them. Bit-exact or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lutc.ir.graph import Design
from lutc.plugins import LoadOptions

if TYPE_CHECKING:
    from .load import load_onnx

__all__ = ["FRONTEND", "load_onnx"]


def __getattr__(name: str) -> Any:
    """What reads models is imported when first used: others are asked, too, whose model a file is."""
    if name == "load_onnx":
        from .load import load_onnx

        return load_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Onnx:
    name = "onnx"
    suffixes = (".onnx",)

    def matches(self, source: object) -> bool:
        """Whether it is an `onnx.ModelProto`, judged by its name: onnx need not be there to say no."""
        return type(source).__name__ == "ModelProto"

    def load(self, source: Any, options: LoadOptions) -> Design:
        from .load import load_onnx

        options.only("input_types", "leaf_type", kind="an ONNX model")
        return load_onnx(
            source,
            input_types=options.input_types or None,
            compare=options.compare,
            leaf_type=options.leaf_type,
        )

    def as_onnx(self, source: Any, example_inputs: Any = None) -> Any:
        """The model itself, with the parts that lie in other files; the given one is not changed."""
        from .read import whole

        return whole(source)


FRONTEND = _Onnx()
