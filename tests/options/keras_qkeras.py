"""Every parameter of QKeras's quantisers, as an activation and on weights, against the formulas of `qkeras_zoo`.

QKeras itself cannot be had beside Keras 3; the parameters are those of lutc's own table of its quantisers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import qkeras_zoo as zoo
from keras_options import Refused
from settings import Setting

from lutc.frontends.keras import load_keras
from lutc.frontends.keras.qkeras_quantizers import PARAMETERS

PARAMETER: Mapping[str, Sequence[Any]] = {
    "bits": [2, 3, 8],
    "integer": [0, 1, 2],
    "symmetric": [0, 1],
    "keep_negative": [True, False],
    "alpha": [None, 1, 0.5, 2.0],
    "use_stochastic_rounding": [False],
    "scale_axis": [None, Refused(0, "another axis")],
    "qnoise_factor": [1.0, Refused(0.5, "part of the unquantised number")],
    "use_sigmoid": [0, Refused(1, "a sigmoid in front")],
    "negative_slope": [0.0, 0.25, 0.5],
    "relu_upper_bound": [None],
    "is_quantized_clip": [True],
    "use_real_tanh": [False, True],
    "use_real_sigmoid": [False, True],
    "max_value": [None, 1, 2],
    "quadratic_approximation": [False, Refused(True, "logarithms in float32 decide")],
    "log2_rounding": ["rnd", Refused("floor", "logarithms in float32 decide")],
    "use_01": [False, True],
    "threshold": [None, 0.5],
    "number_of_unrolls": [5],
    "temperature": [6.0],
    "var_name": [None, "q"],
    "use_ste": [True],
    "use_variables": [False],
    "elements_per_scale": [None, Refused(2, "of a later version")],
    "post_training_scale": [None, Refused(0.5, "of a later version")],
    "anything": [Refused(1, "not known")],
}
BASE = {"quantized_bits": {"bits": 4, "integer": 1, "alpha": 1}, "quantized_relu": {"bits": 4, "integer": 1}}
ALWAYS = ("var_name", "elements_per_scale", "post_training_scale", "anything")
LAYER: Mapping[str, Sequence[Any]] = {
    "kernel_range": [None, [-1, 1]],
    "bias_range": [None],
    "kernel_initializer": ["ones"],
    "kernel_constraint": [None],
    "kernel_regularizer": [None],
    "anything": [Refused(1, "not known")],
}
CONV = {
    **LAYER,
    "mask": [None, Refused([[1]], "a mask of weights")],
    "groups": [1, Refused(2, "left out by QKeras")],
}
FOLDED = {
    **LAYER,
    "axis": [-1, [3], Refused(1, "another axis")],
    "folding_mode": ["ema_stats_folding", "batch_stats_folding"],
    "ema_freeze_delay": [None, 100],
    "renorm": [False],
    "virtual_batch_size": [None],
}


def setting(item: str, option: str, shape: tuple[int, ...], layers: list[zoo.Layer], why: str) -> Setting:
    def make() -> Any:
        x = zoo.samples(shape, 60)

        def load() -> Any:
            with tempfile.TemporaryDirectory() as folder:
                return load_keras(zoo.save(Path(folder) / "m.h5", shape, layers))

        return load, zoo.predict(layers, x), {"x": x}

    return Setting("qkeras", item, option, make, why)


def settings() -> Iterator[Setting]:
    first = zoo.activation(zoo.bits(6, 2))
    for kind, parameters in PARAMETERS.items():
        for name in (*parameters, *ALWAYS):
            for value in PARAMETER[name]:
                why = value.why if isinstance(value, Refused) else ""
                value = getattr(value, "value", value)
                if (kind, name, value) == ("quantized_po2", "bits", 8):
                    why = "powers from 2**-64 to 2**63"
                given = zoo.conf(
                    kind, **{**BASE.get(kind, {"bits": 4} if "bits" in parameters else {}), name: value}
                )
                yield setting(kind, f"{name}={value!r}", (5,), [first, zoo.activation(given)], why)
                if kind in ("quantized_bits", "binary", "ternary") and name != "keep_negative":
                    layer = zoo.dense(5, 3, given, zoo.bits(4))
                    yield setting(f"{kind} of weights", f"{name}={value!r}", (5,), [first, layer], why)
    made_by: dict[str, tuple[tuple[int, ...], Callable[[], zoo.Layer], Mapping[str, Sequence[Any]]]] = {
        "QDense": ((4,), lambda: zoo.dense(4, 3, zoo.bits(4), zoo.bits(4), zoo.relu(4, 1)), LAYER),
        "QConv1D": ((5, 2), lambda: zoo.conv1d(2, 3, 2, zoo.bits(4), zoo.bits(4)), CONV),
        "QConv2D": ((4, 4, 2), lambda: zoo.conv2d(2, 3, 2, zoo.bits(4), zoo.bits(4)), CONV),
        "QDepthwiseConv2D": ((4, 4, 2), lambda: zoo.depthwise(2, 2, zoo.bits(4), zoo.bits(4)), LAYER),
        "QConv2DBatchnorm": ((4, 4, 2), lambda: zoo.folded(2, 3, 2, zoo.bits(4), zoo.bits(6)), FOLDED),
    }
    for item, (shape, new, options) in made_by.items():
        for name, values in options.items():
            for value in values:
                why = value.why if isinstance(value, Refused) else ""
                made = new()
                made.config = made.config | {name: getattr(value, "value", value)}
                yield setting(item, f"{name}={getattr(value, 'value', value)!r}", shape, [first, made], why)
