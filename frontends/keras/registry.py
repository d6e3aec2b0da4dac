"""The table of rules: every layer class that can be compiled, and why some cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lutc.diagnostics import did_you_mean
from lutc.lowering.refusals import Refusal

from . import activations as act
from . import attention, conv, dense, luts, merge, movement, pooling
from .base import Rule, variant
from .functional import Layer
from .identity import family
from .kerasops import OPS, BinaryOp, op_rule
from .qkeras import QKERAS

NO_OPS = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "ActivityRegularization", "Identity",
)  # fmt: skip


HGQ: dict[str, type[Rule]] = {
    "QDense": dense.QDense,
    "QEinsumDense": dense.QDense,
    "QBatchNormDense": dense.QBatchNormDense,
    "QEinsumDenseBatchnorm": dense.QEinsumDenseBatchnorm,
    "QDenseT": luts.QDenseT,
    "QEinsumDenseT": luts.QEinsumDenseT,
    "QBatchNormalization": act.QBatchNormalization,
    "QUnaryFunctionLUT": act.QUnaryFunctionLUT,
    "QActivation": act.QUnaryFunctionLUT,
    "QAffinedUnaryFunctionLUT": act.QAffinedUnaryFunctionLUT,
    "QSoftmax": act.QSoftmax,
    "Quantizer": act.StandaloneQuantizer,
    "QAveragePow2": merge.QAveragePow2,
    "QDot": merge.QDot,
    "QEinsum": merge.QEinsum,
    "QSum": merge.QSum,
    "QMeanPow2": merge.QMeanPow2,
    "QMultiHeadAttention": attention.QMultiHeadAttention,
    "QLinformerAttention": attention.QLinformerAttention,
    "QMultiHeadAttentionT": attention.QMultiHeadAttentionT,
    "QLinformerAttentionT": attention.QLinformerAttentionT,
}


class Input(Rule):
    """An input, which computes nothing; its type is followed, its shape read elsewhere."""

    neutral: ClassVar[Mapping[str, Any]] = {"sparse": False, "ragged": False, "optional": False}


LAYERS: dict[str, type[Rule]] = {
    "InputLayer": Input,
    "Dense": dense.Dense,
    "EinsumDense": dense.Dense,
    "BatchNormalization": act.BatchNormalization,
    "Activation": act.Activation,
    "Softmax": act.Softmax,
    "ReLU": act.Relu,
    "LeakyReLU": act.Relu,
    "PReLU": act.PRelu,
    "ELU": act.Elu,
    "Rescaling": act.Rescaling,
    "Normalization": act.Normalization,
    "Embedding": act.Embedding,
    "Average": variant(merge.Merge, "Average", op="add", mean=True),
    "Dot": merge.Dot,
    "Concatenate": movement.Concatenate,
    "Flatten": movement.Flatten,
    "Reshape": movement.Reshape,
    "Permute": movement.Permute,
    "RepeatVector": movement.RepeatVector,
    **dict.fromkeys(NO_OPS, movement.Nothing),
}

for _kind, _op in BinaryOp.names.items():
    LAYERS[_kind] = variant(merge.Merge, _kind, op=_op)
    HGQ[f"Q{_kind}"] = variant(merge.QMerge, f"Q{_kind}", op=_op)
for _n in (1, 2, 3):
    HGQ[f"QConv{_n}D"] = conv.of_rank(conv.QConv, _n)
    LAYERS |= {
        f"Conv{_n}D": conv.of_rank(conv.Conv, _n),
        f"Conv{_n}DTranspose": conv.of_rank(conv.ConvTranspose, _n),
        f"ZeroPadding{_n}D": conv.of_rank(movement.ZeroPadding, _n),
        f"Cropping{_n}D": conv.of_rank(movement.Cropping, _n),
        f"UpSampling{_n}D": conv.of_rank(movement.UpSampling, _n),
    }
    for _table, _q, _base in ((LAYERS, "", pooling.Pooling), (HGQ, "Q", pooling.QPooling)):
        for _kind, _largest in (("Max", True), ("Average", False)):
            _table[f"{_q}{_kind}Pooling{_n}D"] = conv.of_rank(_base, _n, largest=_largest)
            _table[f"{_q}Global{_kind}Pooling{_n}D"] = conv.of_rank(_base, _n, largest=_largest, whole=True)
for _n in (1, 2):
    HGQ |= {
        f"QConvT{_n}D": conv.of_rank(luts.QConvT, _n),
        f"QDepthwiseConv{_n}D": conv.of_rank(conv.QConv, _n, depthwise=True),
    }
    LAYERS |= {
        f"DepthwiseConv{_n}D": conv.of_rank(conv.Conv, _n, depthwise=True),
        f"SeparableConv{_n}D": conv.of_rank(conv.SeparableConv, _n),
    }

# Why some layers have no rule, by a word in their class name.
REASONS = {
    "GRU": "it is recurrent",
    "RNN": "it is recurrent",
    "LSTM": "it is recurrent",
    "SNN": "it is recurrent",
    "LIF": "it is recurrent",
    "Lambda": "it holds Python code, which is not part of the model's graph",
    "LayerNormalization": "it divides by a root of its inputs' own variance",
    "Masking": "it skips time steps, which depends on the data",
}
WAYS_OUT = {
    "it is recurrent": "unroll it over its fixed number of steps with QDense and QAdd layers",
    "it holds Python code, which is not part of the model's graph": "write it with keras.ops or Keras layers",
    "it divides by a root of its inputs' own variance": "use QBatchNormalization, whose statistics are constants",
}


QUANTISED = {
    "int8": "it multiplies codes of its inputs, which it quantises by their largest number at run time",
    "int4": "it multiplies codes of its inputs, which it quantises by their largest number at run time",
    "float8": "it rounds to floating point of 8 bits by scales that follow the data",
    "gptq": "its weights are codes times any float32 scale, which float32 sums round",
    "awq": "its weights are codes times any float32 scale, which float32 sums round",
}


def check_policy(layer: Layer) -> None:
    """Raise Refusal unless the layer computes in float32 and nothing else: no other type, no quantised mode."""
    policy = layer.config.get("dtype")
    named = policy.get("config") if isinstance(policy, dict) else None
    if isinstance(policy, dict) and isinstance(named, dict):
        kind, mode = str(policy.get("class_name")), str(named.get("mode") or named.get("name"))
        policy = mode if kind == "DTypePolicy" or mode != "float32" else kind
    if policy in (None, "float32"):
        return
    mode = str(policy).split("_from_")[0].split("/")[0]
    if mode in QUANTISED:
        raise Refusal(
            f"Keras has quantised it ({policy}): {QUANTISED[mode]}, so that no fixed circuit could be equal",
            "load the model from before model.quantize(...), and quantise it with HGQ2 or QKeras",
        )
    if layer.kind == "Cast":
        raise Refusal(f"it casts to {policy}", "leave its input in float32, and quantise it")
    raise Refusal(
        f"it computes under the dtype policy {policy}, which rounds on the way",
        "build it under float32: keras.config.set_dtype_policy('float32')",
    )


def rule_of(layer: Layer) -> Rule:
    """The layer's rule, ready. Raises Refusal if there is none, or if the rule cannot take this layer."""
    whose = family(layer)
    if layer.kind != "InputLayer":
        check_policy(layer)
    layers = {"qkeras": QKERAS, "hgq": HGQ, "keras": LAYERS}.get(whose, {})
    found = op_rule(layer.kind) if whose == "ops" else layers.get(layer.kind)
    if found is not None:
        return found(layer)
    for word, reason in REASONS.items():
        if word in layer.kind:
            raise Refusal(reason, WAYS_OUT.get(reason, "leave it out of the model that is compiled"))
    names = sorted(OPS) if whose == "ops" else sorted(layers)
    raise Refusal(
        "lutc has no rule for it",
        did_you_mean(layer.kind, names) or "build it from dense, convolution, merging and layout layers",
    )
