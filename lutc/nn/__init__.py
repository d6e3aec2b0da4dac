"""LUT-aware training in PyTorch: layers that train like ordinary layers and compile bit for bit.

The names are imported when first used, so that the compiler can ask this package about a model without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutc.nn.attention import QAttention, QSoftmax
    from lutc.nn.checkpoint import load, save
    from lutc.nn.einsum import QEinsum
    from lutc.nn.from_float import convert, to_float
    from lutc.nn.function import QFunction
    from lutc.nn.graph import Add, Concat, Graph, Move, QAffine, QMean
    from lutc.nn.history import Record
    from lutc.nn.joins import Maximum, Minimum, Multiply, QMaximum, QMinimum, QMultiply
    from lutc.nn.layers import QAdd, QBatchNorm, QConcat, QConv1d, QConv2d, QConv3d, QLinear, QReLU, Sum
    from lutc.nn.lut import LUTDense, LutTables
    from lutc.nn.lutconv import LUTConv1d, LUTConv2d, LUTConv3d
    from lutc.nn.pareto import ParetoFront
    from lutc.nn.pooling import QAvgPool1d, QAvgPool2d, QMaxPool1d, QMaxPool2d
    from lutc.nn.quantizer import Quantizer
    from lutc.nn.quantizer import Quantizer as Quantize
    from lutc.nn.ranges import freeze_ranges, settle_norms, trace_ranges, traced
    from lutc.nn.schedules import PID, Constant, CosineRamp, LinearRamp, LogRamp, Piecewise
    from lutc.nn.surrogate import Resources, resource_total, resources
    from lutc.nn.to_design import export
    from lutc.nn.to_onnx import export_onnx
    from lutc.nn.training import Trainer, accuracy

_HOMES = {
    "accuracy": "training",
    "Add": "graph",
    "Concat": "graph",
    "Constant": "schedules",
    "convert": "from_float",
    "CosineRamp": "schedules",
    "export": "to_design",
    "export_onnx": "to_onnx",
    "freeze_ranges": "ranges",
    "Graph": "graph",
    "LinearRamp": "schedules",
    "load": "checkpoint",
    "LogRamp": "schedules",
    "LUTConv1d": "lutconv",
    "LUTConv2d": "lutconv",
    "LUTConv3d": "lutconv",
    "LUTDense": "lut",
    "LutTables": "lut",
    "Maximum": "joins",
    "Minimum": "joins",
    "Move": "graph",
    "Multiply": "joins",
    "ParetoFront": "pareto",
    "PID": "schedules",
    "Piecewise": "schedules",
    "QAdd": "layers",
    "QAffine": "graph",
    "QAttention": "attention",
    "QAvgPool1d": "pooling",
    "QAvgPool2d": "pooling",
    "QBatchNorm": "layers",
    "QConcat": "layers",
    "QConv1d": "layers",
    "QConv2d": "layers",
    "QConv3d": "layers",
    "QEinsum": "einsum",
    "QFunction": "function",
    "QLinear": "layers",
    "QMaximum": "joins",
    "QMaxPool1d": "pooling",
    "QMaxPool2d": "pooling",
    "QMean": "graph",
    "QMinimum": "joins",
    "QMultiply": "joins",
    "QReLU": "layers",
    "QSoftmax": "attention",
    "Quantizer": "quantizer",
    "Record": "history",
    "resource_total": "surrogate",
    "Resources": "surrogate",
    "resources": "surrogate",
    "save": "checkpoint",
    "settle_norms": "ranges",
    "Sum": "layers",
    "to_float": "from_float",
    "trace_ranges": "ranges",
    "traced": "ranges",
    "Trainer": "training",
}

__all__ = [
    "PID",
    "Add",
    "Concat",
    "Constant",
    "CosineRamp",
    "Graph",
    "LUTConv1d",
    "LUTConv2d",
    "LUTConv3d",
    "LUTDense",
    "LinearRamp",
    "LogRamp",
    "LutTables",
    "Maximum",
    "Minimum",
    "Move",
    "Multiply",
    "ParetoFront",
    "Piecewise",
    "QAdd",
    "QAffine",
    "QAttention",
    "QAvgPool1d",
    "QAvgPool2d",
    "QBatchNorm",
    "QConcat",
    "QConv1d",
    "QConv2d",
    "QConv3d",
    "QEinsum",
    "QFunction",
    "QLinear",
    "QMaxPool1d",
    "QMaxPool2d",
    "QMaximum",
    "QMean",
    "QMinimum",
    "QMultiply",
    "QReLU",
    "QSoftmax",
    "Quantize",
    "Quantizer",
    "Record",
    "Resources",
    "Sum",
    "Trainer",
    "accuracy",
    "convert",
    "export",
    "export_onnx",
    "freeze_ranges",
    "load",
    "resource_total",
    "resources",
    "save",
    "settle_norms",
    "to_float",
    "trace_ranges",
    "traced",
]


def __getattr__(name: str) -> Any:
    if name == "Quantize":
        return import_module("lutc.nn.quantizer").Quantizer
    if name in _HOMES:
        return getattr(import_module(f"lutc.nn.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'lutc.nn' has no attribute {name!r}")
