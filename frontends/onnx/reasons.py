"""Operators that are known and refused: why, and what to do instead."""

from __future__ import annotations

_DIVIDES = "quantise its parts, each of which is compiled exactly between quantisers: "
_LOOPS = (
    "runs its steps in a loop, and a circuit has none",
    "unroll it: export every step with operators of its own",
)
_DYNAMIC = (
    "chooses its scale by the data, sample by sample",
    "calibrate it: static quantisation gives QuantizeLinear with a constant scale",
)
_FUSED = (
    "is made by ONNX Runtime when it optimises a model",
    "save the model before optimisation: quantise first, with graph_optimization_level=ORT_DISABLE_ALL",
)
_ROOTS = "divides by a root of the data, which no table of one number gives"
_NORMAL = _DIVIDES + "ReduceMean, Sub, Mul, ReduceMean, Quant, Sqrt and Reciprocal (one table), Quant, Mul"

# They would give one draw for all time if they were computed at compile time.
RANDOM = (
    "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial",
)  # fmt: skip

REASONS: dict[str, tuple[str, str]] = {
    "LayerNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "RMSNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "SimplifiedLayerNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "SkipLayerNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "InstanceNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "GroupNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "MeanVarianceNormalization": (_ROOTS, _NORMAL + "; or train with BatchNormalization"),
    "LpNormalization": (
        _ROOTS,
        _DIVIDES + "ReduceSumSquare, Quant, Sqrt and Reciprocal (one table), Quant, Mul",
    ),
    "ReduceL2": ("takes a root of wide sums", _DIVIDES + "ReduceSumSquare, Quant, Sqrt, Quant"),
    "LpPool": ("takes a root of wide sums", _DIVIDES + "Mul, AveragePool, Quant, Sqrt, Quant"),
    "LRN": (_ROOTS, "train with BatchNormalization"),
    "Attention": (
        "is attention in one operator, with a Softmax inside that nothing quantises",
        "export it as MatMul, Softmax and MatMul, and quantise the parts of the Softmax",
    ),
    "QLinearSoftmax": (
        "divides integers by their sum, which no table gives",
        _DIVIDES + "Exp, Quant, ReduceSum, Quant, Reciprocal, Quant, Mul",
    ),
    "DynamicQuantizeLinear": _DYNAMIC,
    "DynamicQuantizeMatMul": _DYNAMIC,
    "DynamicQuantizeLSTM": _DYNAMIC,
    "FloatQuant": (
        "quantises to floats of few bits, whose steps differ from number to number",
        "quantise to fixed-point numbers with Quant",
    ),
    "MatMulNBits": (
        "has a scale for each block of a column, which no integer product can take out",
        "quantise per tensor or per channel",
    ),
    **dict.fromkeys(
        ("BiasGelu", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "MultiHeadAttention", "QuickGelu"),
        _FUSED,
    ),
    "LSTM": _LOOPS,
    "GRU": _LOOPS,
    "RNN": _LOOPS,
    "Loop": _LOOPS,
    "Scan": _LOOPS,
    "NonZero": ("has a result whose size depends on the data", "use a mask: Greater, Where"),
    "Compress": ("has a result whose size depends on the data", "use a mask: Greater, Where"),
    "Unique": ("has a result whose size depends on the data", "leave it to the host"),
    "NonMaxSuppression": ("has a result whose size depends on the data", "leave it to the host"),
    "TopK": (
        "sorts its data, for which there is no circuit yet",
        "of one element (k = 1) there is: use that, or ArgMax and ReduceMax, or leave it to the host",
    ),
    **dict.fromkeys(RANDOM, ("makes random numbers", "export the model for inference")),
}
