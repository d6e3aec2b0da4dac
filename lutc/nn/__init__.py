"""LUT-aware training in PyTorch: layers that train like ordinary layers and compile bit for bit.

The names are imported when first used, so that the compiler can ask this package about a model without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutc.nn.export import export
    from lutc.nn.layers import QAdd, QBatchNorm, QConcat, QConv1d, QConv2d, QLinear, QReLU, Sum
    from lutc.nn.lut import LUTDense, LutTables
    from lutc.nn.lutconv import LUTConv1d, LUTConv2d
    from lutc.nn.quantizer import Quantizer
    from lutc.nn.quantizer import Quantizer as Quantize
    from lutc.nn.resources import Resources, resource_total, resources

_HOMES = {
    "LUTConv1d": "lutconv",
    "LUTConv2d": "lutconv",
    "LUTDense": "lut",
    "LutTables": "lut",
    "QAdd": "layers",
    "QBatchNorm": "layers",
    "QConcat": "layers",
    "QConv1d": "layers",
    "QConv2d": "layers",
    "QLinear": "layers",
    "QReLU": "layers",
    "Quantizer": "quantizer",
    "Resources": "resources",
    "Sum": "layers",
    "export": "export",
    "resource_total": "resources",
    "resources": "resources",
}

__all__ = [
    "LUTConv1d",
    "LUTConv2d",
    "LUTDense",
    "LutTables",
    "QAdd",
    "QBatchNorm",
    "QConcat",
    "QConv1d",
    "QConv2d",
    "QLinear",
    "QReLU",
    "Quantize",
    "Quantizer",
    "Resources",
    "Sum",
    "export",
    "resource_total",
    "resources",
]


def __getattr__(name: str) -> Any:
    if name == "Quantize":
        return import_module("lutc.nn.quantizer").Quantizer
    if name in _HOMES:
        return getattr(import_module(f"lutc.nn.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'lutc.nn' has no attribute {name!r}")
