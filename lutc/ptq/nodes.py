"""What the operators of ONNX do to precision: which only move numbers, which make new ones, which are curves."""

from __future__ import annotations

# Results are among the operands' numbers: they need no format of their own.
MOVES = frozenset({
    "Identity", "Dropout", "Cast", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice",
    "Gather", "GatherElements", "Split", "Concat", "Pad", "Expand", "Tile", "MaxPool", "GlobalMaxPool",
    "ReduceMax", "ReduceMin", "Max", "Min", "DepthToSpace", "SpaceToDepth", "Upsample", "Resize",
    "ArgMax", "ArgMin", "TopK", "Relu", "Clip", "Neg", "Where",
})  # fmt: skip
# Activations that take whole numbers of steps to whole numbers of steps, up to their bounds.
THROUGH = frozenset({"Relu", "Clip"})
# Products with constant weights.
WEIGHTED = frozenset({"Gemm", "MatMul", "Conv", "ConvTranspose"})
# Functions of one number, which become truth tables: their operand has to be of few bits as well.
CURVES = frozenset({
    "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Gelu", "Erf", "Exp", "Log",
    "Sqrt", "Reciprocal", "LeakyRelu", "PRelu", "HardSigmoid", "HardSwish", "Mish", "Swish", "Sin",
    "Cos", "Atan", "ThresholdedRelu", "Pow", "Abs",
})  # fmt: skip
# What a host does as well: it changes no order of the outputs.
NORMALISING = frozenset({"Softmax", "LogSoftmax"})
# Constants that state a shape or an axis, not numbers to compute with: by operator, the operands that are data.
SHAPES = {
    "Reshape": 1, "Squeeze": 1, "Unsqueeze": 1, "Slice": 1, "Gather": 1, "GatherElements": 1, "Split": 1,
    "Pad": 1, "Expand": 1, "Tile": 1, "Resize": 1, "Upsample": 1, "Clip": 1, "ReduceMean": 1, "ReduceSum": 1,
    "ReduceMax": 1, "ReduceMin": 1, "TopK": 1, "CumSum": 1, "Trilu": 1,
}  # fmt: skip
