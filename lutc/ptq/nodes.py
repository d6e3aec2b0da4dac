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
# Functions of one number, which become truth tables: their operand has to be of few bits as well.
CURVES = frozenset({
    "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Gelu", "Erf", "Exp", "Log",
    "Sqrt", "Reciprocal", "LeakyRelu", "PRelu", "HardSigmoid", "HardSwish", "Mish", "Swish", "Sin",
    "Cos", "Atan", "ThresholdedRelu", "Pow", "Abs",
})  # fmt: skip
# What a host does as well: it changes no order of the outputs.
NORMALISING = frozenset({"Softmax", "LogSoftmax"})
