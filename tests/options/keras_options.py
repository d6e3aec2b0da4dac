"""Every constructor argument of every plain Keras layer that lutc reads, one at a time, against Keras itself.

The arguments come from the classes' own signatures: one without values here is a mistake of this file and is raised.
`keras_operations` does the same for `keras.ops`, activations and calls, `keras_hgq` for HGQ2.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from settings import Setting

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "frontends" / "keras"))

from keras_zoo import coarse, config, functional, gridded, keras, predict

from lutc.frontends.keras import load_keras
from lutc.frontends.keras.registry import LAYERS

k = keras.layers
Make = Callable[..., Any]


@dataclass(frozen=True)
class Refused:
    """A value that lutc may refuse, and why."""

    value: Any
    why: str


@dataclass(frozen=True)
class Item:
    """A layer: the arguments each of its settings has, its input, and values for the arguments of its own.

    `rounded`: a quantiser stands behind, because the layer computes real numbers.
    """

    base: Mapping[str, Any]
    shape: tuple[int, ...]
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    rounded: bool = False
    inputs: int = 1


def rounded(x: Any) -> Any:
    """A quantiser behind what computes real numbers."""
    from hgq.quantizer import Quantizer

    return Quantizer(
        config(overflow_mode="SAT", round_mode="RND_CONV", i0=4, f0=5, heterogeneous_axis=()), name="behind"
    )(x)


def weighted(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random coarse weights, and the quantiser behind as it was."""
    coarse(model, seed)
    for layer in model._flatten_layers():
        for name, value in (("_k", 1), ("_i", 4), ("_f", 5)):
            if hasattr(layer, name) and hasattr(layer, "bw_mapper"):
                v = getattr(layer, name)
                v.assign(np.full(v.shape, value))
    return model


def posed(model: keras.Model, inputs: Sequence[Any] | None = None, **options: Any) -> Any:
    """A model and its inputs as a setting wants them: how to load it, its own answers, and what it is given."""
    inputs = gridded(model, 40) if inputs is None else inputs
    # A softmax at the end is the host's: what it is given is the answer.
    end: Any = model.layers[-1] if model.layers else None
    body = keras.Model(model.inputs, end.input) if type(end).__name__ == "Softmax" else model
    expected = predict(body, inputs) if body is model or body.layers[1:] else list(inputs)

    def load() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.keras"
            model.save(path)
            return load_keras(path, **({"input_types": "s8f4"} | options))

    return load, expected, {i.name: x for i, x in zip(model.inputs, inputs, strict=True)}


RANDOM = "weights may be any numbers"
FLOATS = "another type than float32"
ROUNDING = ("leaky_relu", "tanh", "selu")  # in front of the quantiser behind
ACTIVATIONS = ["relu", "linear", None, "relu6", "hard_tanh", *ROUNDING]

SHARED: dict[str, list[Any]] = {
    **{
        f"{v}_{what}": [value]
        for v in (
            "kernel",
            "bias",
            "beta",
            "gamma",
            "moving_mean",
            "moving_variance",
            "depthwise",
            "pointwise",
            "alpha",
            "embeddings",
            "activity",
        )
        for what, value in (("initializer", "ones"), ("regularizer", "l2"), ("constraint", "non_neg"))
    },
    "activation": [
        *ACTIVATIONS,
        Refused(k.ReLU(max_value=1.0), "an object"),
        Refused(k.ELU(0.5), "an object"),
    ],
    "use_bias": [True, False],
    "name": ["another", "Dense"],
    "trainable": [True, False],
    "dtype": ["float32", *(Refused(d, FLOATS) for d in ("float16", "bfloat16", "mixed_float16", "float64"))],
    "autocast": [True, False],
    "seed": [3],
    "data_format": ["channels_last", "channels_first", None],
    "lora_rank": [None, Refused(1, "its factors are multiplied at run time")],
    "lora_alpha": [None, 2.0],
    "quantization_config": [None],
    "gptq_unpacked_column_size": [None],
    "synchronized": [False],
    "momentum": [0.5],
    "keepdims": [False, True],
}


def conv(rank: int, **more: Any) -> dict[str, list[Any]]:
    """Values of the arguments that convolutions share."""
    return {
        "filters": [1, 4],
        "kernel_size": [1, (2,) * rank, 3],
        "strides": [1, 2, (2,) + (1,) * (rank - 1)],
        "padding": ["valid", "same", "SAME", *(["causal"] if rank == 1 else [])],
        "dilation_rate": [1, 2, (1,) * (rank - 1) + (2,)],
        "groups": [1, 2],
        "depth_multiplier": [1, 2],
        **more,
    }


def pool(rank: int) -> dict[str, list[Any]]:
    return {
        "pool_size": [1, 2, (2,) + (1,) * (rank - 1)],
        "strides": [None, 1, 2],
        "padding": ["valid", "same"],
    }


SIZE = {1: (6, 2), 2: (5, 4, 2), 3: (3, 3, 3, 2)}
RELU: dict[str, list[Any]] = {
    "max_value": [None, 0.0, 1.5, 6],
    "negative_slope": [0.0, 0.25, 0.3, 1.0, 1.5],
    "threshold": [0.0, 0.5, 1.0],
}
NORM: dict[str, list[Any]] = {
    "axis": [-1, 1, 2],
    "epsilon": [1e-3, 0.25],
    "center": [True, False],
    "scale": [True, False],
    "renorm": [False, True],
    "renorm_clipping": [None],
    "renorm_momentum": [0.5],
}

ITEMS: dict[str, Item] = {
    "Dense": Item({"units": 3}, (4,), {"units": [1, 5]}),
    "EinsumDense": Item(
        {"equation": "abc,cd->abd", "output_shape": (2, 3), "bias_axes": "d"},
        (2, 4),
        {
            "equation": ["abc,cd->abd", "abc,bcd->abd", Refused("abc,bd->ad", "output_shape")],
            "output_shape": [(2, 3), (None, 5)],
            "bias_axes": [None, "d", "bd"],
        },
    ),
    "BatchNormalization": Item({}, (3, 4), NORM, rounded=True),
    "Activation": Item({"activation": "relu"}, (4,), rounded=True),
    "Softmax": Item({}, (3, 4), {"axis": [Refused(1, "not the last axis")]}),
    "ReLU": Item({}, (4,), RELU, rounded=True),
    "LeakyReLU": Item({}, (4,), {"negative_slope": RELU["negative_slope"]}, rounded=True),
    "PReLU": Item({}, (3, 4), {"shared_axes": [None, [1], [1, 2], 2]}, rounded=True),
    "ELU": Item({}, (4,), {"alpha": [1.0, 0.5, 0]}, rounded=True),
    "Rescaling": Item(
        {"scale": 0.5},
        (3, 4),
        {"scale": [1, 0.25, 1 / 3, [0.5, 1, 2, 4]], "offset": [0, 1.5, [1, 2, 3, 4]]},
        True,
    ),
    "Normalization": Item(
        {"mean": [0, 1, 2, 3], "variance": [4.0, 0.25, 1.0, 2.0]},
        (4, 4),
        {
            "axis": [-1, 1, 2, (1, 2)],
            "mean": [[0.5, 0, -1, 1]],
            "variance": [[1.0, 4.0, 0.3, 0.0]],
            "invert": [False, True],
        },
        rounded=True,
    ),
    "Embedding": Item(
        {"input_dim": 16, "output_dim": 3},
        (4,),
        {
            "input_dim": [8, 11, 16],
            "output_dim": [1, 3],
            "mask_zero": [False, Refused(True, "it makes a mask")],
            "weights": [None, [np.arange(48.0).reshape(16, 3) / 4]],
        },
        rounded=True,
    ),
    **{name: Item({}, (3, 4), inputs=2) for name in ("Add", "Subtract", "Multiply", "Maximum", "Minimum")},
    "Average": Item({}, (3, 4), rounded=True, inputs=3),
    "Dot": Item(
        {"axes": 1},
        (3, 3),
        {"axes": [1, 2, -1, (1, 2)], "normalize": [False, Refused(True, "a root")]},
        inputs=2,
    ),
    "Concatenate": Item({}, (3, 4), {"axis": [-1, 1, 2, Refused(0, "joins batches")]}, inputs=2),
    "Flatten": Item({}, (3, 4, 2)),
    "Reshape": Item({"target_shape": (4, 3)}, (3, 4), {"target_shape": [(12,), (2, -1), (3, 2, 2), (4, 3)]}),
    "Permute": Item({"dims": (2, 1)}, (3, 4), {"dims": [(1, 2), (2, 1)]}),
    "RepeatVector": Item({"n": 2}, (4,), {"n": [1, 3]}),
    **{
        name: Item({"rate": 0.5}, (4,), {"rate": [0.0, 0.3], "noise_shape": [None, (None, 1)]})
        for name in ("Dropout", "AlphaDropout", "GaussianDropout")
    },
    **{f"SpatialDropout{n}D": Item({"rate": 0.5}, SIZE[n], {"rate": [0.3]}) for n in (1, 2, 3)},
    "GaussianNoise": Item({"stddev": 0.5}, (4,), {"stddev": [0.1]}),
    "ActivityRegularization": Item({}, (4,), {"l1": [0.5], "l2": [0.5]}),
    "Identity": Item({}, (4,)),
}
for n in (1, 2, 3):
    both = (2,) * n
    ITEMS |= {
        f"Conv{n}D": Item({"filters": 2, "kernel_size": 2}, SIZE[n], conv(n)),
        f"Conv{n}DTranspose": Item(
            {"filters": 2, "kernel_size": 2},
            SIZE[n],
            conv(
                n,
                dilation_rate=[1, Refused(2, "dilated")],
                output_padding=[None, Refused(0, "a padding of its own")],
            ),
        ),
        f"ZeroPadding{n}D": Item(
            {}, SIZE[n], {"padding": [0, 1, (1, 2) if n == 1 else both, *([((1, 0),) * n] if n > 1 else [])]}
        ),
        f"Cropping{n}D": Item(
            {"cropping": 1} if n == 3 else {},
            SIZE[n],
            {"cropping": [0, 1, (1, 0) if n == 1 else ((1, 0),) * n]},
        ),
        f"UpSampling{n}D": Item(
            {},
            SIZE[n],
            {
                "size": [1, 2, *([(1,) * (n - 1) + (2,)] if n > 1 else [])],
                "interpolation": ["nearest", Refused("bilinear", "it interpolates")],
            },
        ),
        f"MaxPooling{n}D": Item({"pool_size": 2}, SIZE[n], pool(n)),
        f"AveragePooling{n}D": Item({"pool_size": 2}, SIZE[n], pool(n), rounded=True),
        f"GlobalMaxPooling{n}D": Item({}, SIZE[n]),
        f"GlobalAveragePooling{n}D": Item({}, SIZE[n], rounded=True),
    }
    if n < 3:
        ITEMS |= {
            f"DepthwiseConv{n}D": Item({"kernel_size": 2}, SIZE[n], conv(n)),
            f"SeparableConv{n}D": Item({"filters": 2, "kernel_size": 2}, SIZE[n], conv(n)),
        }


def arguments(cls: Any) -> list[str]:
    """The constructor's arguments, those of every layer included where it passes them on."""
    given = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = [p.name for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]
    if any(p.kind is p.VAR_KEYWORD for p in given):
        named += ["name", "trainable", "dtype", "autocast", "activity_regularizer"]
    return list(dict.fromkeys(named))


def layer_setting(name: str, item: Item, argument: str, value: Any) -> Setting:
    """A layer with one argument at one value."""
    why = value.why if isinstance(value, Refused) else ""
    value = value.value if isinstance(value, Refused) else value
    behind = item.rounded or (argument == "activation" and value in ROUNDING)

    def make() -> Any:
        def network(*inputs: Any) -> Any:
            layer = getattr(k, name)(**{**item.base, argument: value})
            y = layer(list(inputs) if item.inputs > 1 else inputs[0])
            return rounded(y) if behind else y

        model = weighted(functional(network, *[item.shape] * item.inputs))
        if name != "Embedding":
            return posed(model)
        rng = np.random.default_rng(0)
        rows = int(item.base["input_dim"]) if argument != "input_dim" else int(value)
        return posed(model, [rng.integers(0, rows, (40, *item.shape)).astype("float32")], input_types=None)

    return Setting("keras", name, f"{argument}={value!r}", make, why)


def layer_settings() -> Iterator[Setting]:
    missing = set(LAYERS) - set(ITEMS) - {"InputLayer"}  # whose types keras_operations sets
    assert not missing, f"no settings for {', '.join(sorted(missing))}"
    for name, item in ITEMS.items():
        for argument in arguments(getattr(k, name)):
            values = item.values.get(argument, SHARED.get(argument))
            assert values is not None, f"no values for the argument {argument!r} of {name}"
            if name == "Activation" and argument == "activation":
                continue  # keras_operations sets every one
            for value in values:
                yield layer_setting(name, item, argument, value)


def settings() -> Iterator[Setting]:
    """Every setting of Keras: its layers, operations, activations and calls, HGQ2 and QKeras."""
    import keras_hgq
    import keras_operations
    import keras_qkeras

    yield from layer_settings()
    yield from keras_operations.settings()
    yield from keras_hgq.settings()
    yield from keras_qkeras.settings()
