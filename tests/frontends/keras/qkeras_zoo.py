"""QKeras models as its `.h5` files hold them, made with h5py alone, and what QKeras computes with them.

The quantisers are written down here from the definitions in QKeras 0.9.0, in float32 as it has them; so are the
layers, plainly, on numpy arrays with a batch axis.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

F = np.float32
EPSILON = F(1e-7)


def conf(kind: str, **options: Any) -> dict[str, Any]:
    """A quantiser as a layer's config holds it."""
    return {"class_name": kind, "config": options, "module": "qkeras.quantizers", "registered_name": kind}


def bits(n: int, i: int = 0, **options: Any) -> dict[str, Any]:
    return conf("quantized_bits", bits=n, integer=i, **({"alpha": 1} | options))


def relu(n: int, i: int = 0, **options: Any) -> dict[str, Any]:
    return conf("quantized_relu", bits=n, integer=i, **options)


# -- quantisers -------------------------------------------------------------------------------------------------------


def nearest_power(scale: Any) -> Any:
    return F(2) ** np.rint(np.log(scale + EPSILON) / F(np.log(2.0)))


def least_squares(x: Any, z: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    return nearest_power(
        np.mean(x * z, axis=axes, keepdims=True) / (np.mean(z * z, axis=axes, keepdims=True) + EPSILON)
    )


def sign(x: Any) -> Any:
    return np.where(x < 0, F(-1), F(1))


def q_bits(x: Any, o: dict[str, Any]) -> Any:
    keep = bool(o.get("keep_negative", True))
    m, unit, alpha = F(2) ** (o["bits"] - keep), F(2) ** o["integer"], o.get("alpha")
    if alpha == "auto_po2":
        v, top = x / unit, F(2 ** (o["bits"] - 1) - 1)
        axes = tuple(range(x.ndim - 1))
        scale = nearest_power(np.max(abs(v), axis=axes, keepdims=True) * 2 / (2 * top))
        for _ in range(5):
            level = np.floor(abs(v) / scale + F(0.5))
            z = np.sign(v) * np.where(level < top, level, top)
            scale = least_squares(v, z)
        return unit * z / m * (scale * m)
    if o["bits"] == keep:
        return sign(x) * F(alpha or 1)
    symmetric = o.get("symmetric", 0)
    return F(alpha or 1) * (unit * np.clip(np.rint(x * m / unit), keep * (-m + symmetric), m - 1) / m)


def q_relu(x: Any, o: dict[str, Any]) -> Any:
    slope = F(o.get("negative_slope", 0.0))
    m, unit = F(2) ** (o["bits"] - (slope != 0)), F(2) ** o["integer"]
    p = x * m / unit
    y = unit * np.clip(np.rint(p) / m, F(0), 1 - 1 / m)
    return y + unit * slope * np.clip(np.rint(p * slope) / (slope * m), F(-1), F(0)) if slope else y


def q_tanh(x: Any, o: dict[str, Any]) -> Any:
    m = F(2) ** (o["bits"] - 1)
    p = np.tanh(x) if o.get("use_real_tanh") else 2 * np.clip(F(0.5) * x + F(0.5), F(0), F(1)) - 1
    return np.clip(np.rint(p * m) / m, F(o.get("symmetric", 0)) / m - 1, 1 - 1 / m)


def q_sigmoid(x: Any, o: dict[str, Any]) -> Any:
    m = F(2) ** o["bits"]
    p = 1 / (1 + np.exp(-x)) if o.get("use_real_sigmoid") else np.clip(F(0.5) * x + F(0.5), F(0), F(1))
    return np.clip(np.rint(p * m) / m, F(o.get("symmetric", 0)) / m, 1 - 1 / m)


def q_po2(x: Any, o: dict[str, Any]) -> Any:
    ceiling = o.get("max_value")
    effective = o["bits"] - 1 - (1 if ceiling is None or ceiling > 1 else 0)
    size = np.maximum(abs(x), EPSILON)
    size = size if ceiling is None else np.minimum(size, F(ceiling))
    exponent = np.clip(np.rint(np.log(size) / F(np.log(2.0))), -(2**effective), 2**effective - 1)
    return sign(x) * F(2) ** np.where(abs(x) < EPSILON, -(2**effective), exponent)


def q_binary(x: Any, o: dict[str, Any]) -> Any:
    q = (sign(x) + 1) / 2 if o.get("use_01") else sign(x)
    return q * (least_squares(x, q) if o.get("alpha") == "auto_po2" else F(o.get("alpha") or 1))


def q_ternary(x: Any, o: dict[str, Any]) -> Any:
    if o.get("alpha") != "auto_po2":
        return (abs(x) >= F(o.get("threshold") or 0.33)) * np.sign(x) * F(o.get("alpha") or 1)
    scale = nearest_power(2 * np.max(abs(x), axis=tuple(range(x.ndim - 1)), keepdims=True) / F(3))
    for _ in range(5):
        q = (abs(scale * np.rint(x / scale)) >= scale / 2) * np.sign(x)
        scale = least_squares(x, q)
    return q * scale


QUANTISERS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "quantized_bits": q_bits,
    "quantized_relu": q_relu,
    "quantized_tanh": q_tanh,
    "quantized_sigmoid": q_sigmoid,
    "quantized_po2": q_po2,
    "binary": q_binary,
    "stochastic_binary": q_binary,
    "ternary": q_ternary,
    "stochastic_ternary": q_ternary,
}


def quantised(x: Any, c: dict[str, Any] | None) -> Any:
    x = np.asarray(x, dtype=np.float32)
    return x if c is None else np.asarray(QUANTISERS[c["class_name"]](x, c["config"]), dtype=np.float32)


# -- layers -----------------------------------------------------------------------------------------------------------

Forward = Callable[..., Any]


@dataclass
class Layer:
    """A layer's class, config, weights by name, and what it computes."""

    kind: str
    config: dict[str, Any]
    forward: Forward
    weights: dict[str, Any] = field(default_factory=dict)


def activated(y: Any, c: Any) -> Any:
    return quantised(y, c) if isinstance(c, dict) else y


def activation(c: Any) -> Layer:
    return Layer("QActivation", {"activation": c}, lambda x: quantised(x, c))


def random(seed: int, *shape: int) -> Any:
    """Weights, a third of them on a grid of sixteenths, which is where 4 bits tie."""
    x = np.random.default_rng(seed).normal(size=shape) * 0.6
    x.ravel()[::3] = np.round(x.ravel()[::3] * 16) / 16
    return x.astype(np.float32)


def dense(n: int, m: int, kernel: Any, bias: Any = None, act: Any = None, seed: int = 0) -> Layer:
    w = {"kernel": random(seed, n, m)} | ({"bias": random(seed + 1, m)} if bias else {})

    def forward(x: Any) -> Any:
        y = x @ quantised(w["kernel"], kernel)
        return activated(y + quantised(w["bias"], bias) if bias else y, act)

    config = {
        "kernel_quantizer": kernel,
        "bias_quantizer": bias,
        "use_bias": bool(bias),
        "activation": act or "linear",
    }
    return Layer("QDense", config | {"units": m}, forward, w)


def convolved(x: Any, k: Any, strides: int = 1, same: bool = False) -> Any:
    """A two-dimensional convolution, tap by tap; channels last."""
    h, w = k.shape[:2]
    if same:
        pads = []
        for n, size in zip(x.shape[1:3], (h, w), strict=True):
            total = max((-(-n // strides) - 1) * strides + size - n, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [(0, 0), *pads, (0, 0)])
    rows, columns = ((n - s) // strides + 1 for n, s in zip(x.shape[1:3], (h, w), strict=True))
    taps = (
        x[:, i : i + rows * strides : strides, j : j + columns * strides : strides][:, :rows, :columns]
        @ k[i, j]
        for i in range(h)
        for j in range(w)
    )
    return sum(taps)


def conv2d(c: int, n: int, size: int, kernel: Any, bias: Any, act: Any = None, **options: Any) -> Layer:
    w = {"kernel": random(3, size, size, c, n), "bias": random(4, n)}

    def forward(x: Any) -> Any:
        same = options.get("padding") == "same"
        y = convolved(x, quantised(w["kernel"], kernel), options.get("strides", [1])[0], same)
        return activated(y + quantised(w["bias"], bias), act)

    config = window([size, size]) | {"kernel_quantizer": kernel, "bias_quantizer": bias, "activation": act}
    return Layer("QConv2D", config | options, forward, w)


def window(size: list[int]) -> dict[str, Any]:
    ones = [1] * len(size)
    return {
        "kernel_size": size,
        "strides": ones,
        "dilation_rate": ones,
        "padding": "valid",
        "data_format": "channels_last",
        "groups": 1,
        "use_bias": True,
    }


def conv1d(c: int, n: int, size: int, kernel: Any, bias: Any, act: Any = None) -> Layer:
    w = {"kernel": random(5, size, c, n), "bias": random(6, n)}

    def forward(x: Any) -> Any:
        y = convolved(x[:, np.newaxis], quantised(w["kernel"], kernel)[np.newaxis])[:, 0]
        return activated(y + quantised(w["bias"], bias), act)

    config = window([size]) | {"kernel_quantizer": kernel, "bias_quantizer": bias, "activation": act}
    return Layer("QConv1D", config, forward, w)


def depthwise(c: int, size: int, kernel: Any, bias: Any, act: Any = None) -> Layer:
    w = {"depthwise_kernel": random(7, size, size, c, 1), "bias": random(8, c)}

    def forward(x: Any) -> Any:
        k = quantised(w["depthwise_kernel"], kernel)
        full = np.zeros((size, size, c, c), dtype=np.float32)
        full[:, :, range(c), range(c)] = k[..., 0]
        return activated(convolved(x, full) + quantised(w["bias"], bias), act)

    config = window([size, size]) | {"depthwise_quantizer": kernel, "bias_quantizer": bias, "activation": act}
    return Layer("QDepthwiseConv2D", config | {"depth_multiplier": 1}, forward, w)


def statistics(n: int, seed: int) -> dict[str, Any]:
    r = np.random.default_rng(seed)
    return {
        "gamma": r.uniform(0.5, 1.5, n).astype(np.float32),
        "beta": random(seed + 1, n),
        "moving_mean": random(seed + 2, n),
        "moving_variance": r.uniform(0.3, 2, n).astype(np.float32),
    }


def batch_norm(n: int, axis: int) -> Layer:
    w = statistics(n, 9)

    def forward(x: Any) -> Any:
        by = w["gamma"] / np.sqrt(w["moving_variance"].astype(np.float64) + 0.001)
        return x * by + (w["beta"] - w["moving_mean"] * by)

    return Layer(
        "BatchNormalization", {"axis": [axis], "epsilon": 0.001, "center": True, "scale": True}, forward, w
    )


def folded(c: int, n: int, size: int, kernel: Any, bias: Any) -> Layer:
    norm = statistics(n, 12)
    w = {"kernel": random(15, size, size, c, n), "bias": random(16, n)}
    w |= {"bn/gamma": norm["gamma"], "bn/beta": norm["beta"], "iteration": np.array(7)}
    w |= {"bn/moving_mean": norm["moving_mean"], "bn/moving_variance": norm["moving_variance"]}

    def forward(x: Any) -> Any:
        by = norm["gamma"] / np.sqrt(norm["moving_variance"] + F(0.001))
        k = quantised(by * w["kernel"], kernel)
        return convolved(x, k) + quantised(by * (w["bias"] - norm["moving_mean"]) + norm["beta"], bias)

    config = window([size, size]) | {
        "kernel_quantizer": kernel,
        "bias_quantizer": bias,
        "activation": "linear",
    }
    return Layer("QConv2DBatchnorm", config | {"epsilon": 0.001, "center": True, "scale": True}, forward, w)


def keras(kind: str, forward: Forward, **config: Any) -> Layer:
    return Layer(kind, config, forward)


def flatten() -> Layer:
    return keras("Flatten", lambda x: x.reshape(len(x), -1), data_format="channels_last")


# -- files ------------------------------------------------------------------------------------------------------------


def save(
    path: Path,
    shape: tuple[int, ...],
    layers: list[Layer],
    *,
    sequential: bool = False,
    version: str = "2.15.0",
    edit: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """A chain of layers as Keras 2 writes it; `edit` may change the config first."""
    source = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *shape], "name": "x"}}
    entries: list[dict[str, Any]] = [source | {"name": "x", "inbound_nodes": []}]
    weights = {}
    for number, layer in enumerate(layers):
        name, before = f"{layer.kind.lower()}_{number}", entries[-1]["config"]["name"]
        config = {"name": name, "trainable": True, "dtype": "float32"} | layer.config
        nodes = {} if sequential else {"name": name, "inbound_nodes": [[[before, 0, 0, {}]]]}
        entries.append({"class_name": layer.kind, "config": config, **nodes})
        weights[name] = {f"{name}/{w}:0": v for w, v in layer.weights.items()}
    inner: dict[str, Any] = {"name": "model", "layers": entries}
    if not sequential:
        inner |= {"input_layers": [["x", 0, 0]], "output_layers": [[entries[-1]["name"], 0, 0]]}
    config = {"class_name": "Sequential" if sequential else "Functional", "config": inner}
    if edit:
        edit(config)
    return write(path, config, weights, version)


def write(path: Path, config: Any, weights: dict[str, dict[str, Any]], version: str = "2.15.0") -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
        top = file.create_group("model_weights")
        for name, variables in weights.items():
            group = top.create_group(name)
            group.attrs["weight_names"] = [n.encode() for n in variables]
            for n, v in variables.items():
                group[n] = v
    return path


def predict(layers: list[Layer], x: Any) -> Any:
    for layer in layers:
        x = layer.forward(x)
    return x


def samples(shape: tuple[int, ...], count: int = 200) -> Any:
    """Numbers in and beyond the ranges, a third of them on a grid of sixteenths (ties included)."""
    x = np.random.default_rng(20).normal(size=(count, *shape)) * 1.7
    x[::3] = np.round(x[::3] * 16) / 16
    return x.astype(np.float32)
