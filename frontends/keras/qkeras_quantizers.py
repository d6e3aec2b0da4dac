"""QKeras's quantisers at inference, as `qkeras/quantizers.py` (Apache-2.0) of version 0.9.0 defines them.

What counts is the quantised number. QKeras returns it as `x + (xq - x)`, so that gradients pass; in float32 that may
miss xq by a last bit where x is large, and lutc takes xq itself.

Layers set `alpha="auto_po2"` for weights unless it is given: a power of two for each output channel, found by least
squares in floating point. That scale is computed here in float64; where it lies so near the border of two powers that
float32 may have taken the other, the layer is refused. Later versions, and their port to Keras 3, look the levels up
once more with the last scale, which changes nothing once the search has settled.

`quantized_bits(bits, integer)` has `bits` wires, `integer` of them before the point beside the sign; all rounding is
half to even.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, AnyOf, Options
from lutc.types import Overflow, Rounding

from .quantizers import Quantizer
from .unary import Reals

EPSILON = 1e-7  # Keras's own
DOUBT = 2.0**-16  # of a logarithm or a scaled weight that was computed in float32

# The parameters of each quantiser in order, with what they are if not given.
PARAMETERS: dict[str, dict[str, Any]] = {
    "quantized_bits": {
        "bits": 8,
        "integer": 0,
        "symmetric": 0,
        "keep_negative": True,
        "alpha": None,
        "use_stochastic_rounding": False,
        "scale_axis": None,
        "qnoise_factor": 1.0,
    },
    "quantized_relu": {
        "bits": 8,
        "integer": 0,
        "use_sigmoid": 0,
        "negative_slope": 0.0,
        "use_stochastic_rounding": False,
        "relu_upper_bound": None,
        "is_quantized_clip": True,
        "qnoise_factor": 1.0,
    },
    "quantized_tanh": {
        "bits": 8,
        "use_stochastic_rounding": False,
        "symmetric": False,
        "use_real_tanh": False,
    },
    "quantized_sigmoid": {
        "bits": 8,
        "symmetric": False,
        "use_real_sigmoid": False,
        "use_stochastic_rounding": False,
    },
    "quantized_po2": {
        "bits": 8,
        "max_value": None,
        "use_stochastic_rounding": False,
        "quadratic_approximation": False,
        "log2_rounding": "rnd",
        "qnoise_factor": 1.0,
    },
    "binary": {"use_01": False, "alpha": None, "use_stochastic_rounding": False},
    "ternary": {
        "alpha": None,
        "threshold": None,
        "use_stochastic_rounding": False,
        "number_of_unrolls": 5,
    },
}
# Options that do not change what comes out.
NO_MATTER = ("var_name", "use_ste", "use_variables", "name", "dtype")

# At inference these are what they are called without "stochastic_".
PARAMETERS["stochastic_binary"] = {"alpha": None, "temperature": 6.0, "use_real_sigmoid": True}
PARAMETERS["stochastic_ternary"] = {
    "alpha": None,
    "threshold": None,
    "temperature": 8.0,
    "use_real_sigmoid": True,
    "number_of_unrolls": 5,
}


@dataclass(frozen=True)
class Spec:
    """A quantiser: its name in QKeras and its parameters; `what` is what the user calls it."""

    kind: str
    options: dict[str, Any]
    what: str

    def __getitem__(self, name: str) -> Any:
        return self.options.get(name)

    @property
    def auto(self) -> bool:
        return isinstance(self["alpha"], str)

    @property
    def scale(self) -> float:
        """The constant alpha, as float32."""
        alpha = self["alpha"]
        if isinstance(alpha, str) or np.ndim(1.0 if alpha is None else alpha):
            raise Refusal(
                f"{self.what} has alpha={alpha!r} on data, so that its scale depends on them", "use alpha=1"
            )
        return 1.0 if alpha is None else float(np.float32(alpha))

    @property
    def threshold(self) -> float:
        """Of ternary: from here on, up or down, a number counts."""
        return float(np.float32(0.33 if self["threshold"] is None else self["threshold"]))

    @property
    def signs_only(self) -> bool:
        """Whether it is one bit for the sign."""
        bits = self.kind == "quantized_bits" and self["bits"] - bool(self["keep_negative"]) == 0
        return bits or self.kind.endswith("binary")

    def fixed(self) -> Quantizer | None:
        """The fixed-point quantiser it is, `alpha` apart; None if it is none."""
        o = self.options
        symmetric = Overflow.SATURATE_SYMMETRIC if o.get("symmetric") else Overflow.SATURATE
        if self.kind == "quantized_bits" and not self.signs_only:
            k = int(bool(o["keep_negative"]))
            return data_quantizer(k, o["integer"], o["bits"] - k - o["integer"], overflow=symmetric)
        if self.kind == "quantized_relu" and not o["negative_slope"]:
            return data_quantizer(0, o["integer"], o["bits"] - o["integer"])
        if self.kind == "quantized_tanh" and not o["use_real_tanh"]:
            return data_quantizer(1, 0, o["bits"] - 1, overflow=symmetric)
        return None


def data_quantizer(
    k: int, i: int, f: int, rounding: Rounding = Rounding.HALF_EVEN, overflow: Overflow = Overflow.SATURATE
) -> Quantizer:
    """One format for all elements: sign bit, bits before and bits after the point."""
    return Quantizer(np.array([k]), np.array([i]), np.array([f]), rounding, overflow)


def read_spec(conf: Any, what: str) -> Spec | None:
    """A serialised quantiser, or its text such as `quantized_bits(4,0,1)`. None if there is none. Raises Refusal."""
    if conf is None:
        return None
    if isinstance(conf, dict):
        kind, given = str(conf.get("class_name")), dict(conf.get("config") or {})
    else:
        kind, given = _call(str(conf), what)
    kind = kind.split(">")[-1]
    if kind not in PARAMETERS:
        raise Refusal(
            f"{what} is {kind}, which lutc does not know", "use one of " + ", ".join(sorted(PARAMETERS))
        )
    options = PARAMETERS[kind] | given
    _check(kind, options, what)
    return Spec(kind, options, what)


def _call(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a call, read as text: nothing is evaluated."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise ValueError("no call of a quantiser")
        names = list(PARAMETERS.get(tree.func.id, {}))
        given = {n: ast.literal_eval(a) for n, a in zip(names, tree.args, strict=False)}
        return tree.func.id, given | {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
    except (SyntaxError, ValueError) as cause:
        raise Refusal(
            f"{what} is {text!r}, which is no quantiser ({cause})", "such as quantized_bits(4,0,1)"
        ) from None


def _check(kind: str, o: dict[str, Any], what: str) -> None:
    """Refuse what depends on more than the formula."""
    neutral = dict.fromkeys(NO_MATTER, FREE) | dict.fromkeys(PARAMETERS[kind], FREE)
    later = {k: AnyOf(None, False) for k in o if k not in neutral}
    Options(o, neutral | later, f"option of {what}").check()
    if o.get("qnoise_factor", 1.0) != 1.0:
        raise Refusal(
            f"{what} mixes in the unquantised number (qnoise_factor={o['qnoise_factor']})",
            "set qnoise_factor to 1 before saving",
        )
    if o.get("use_sigmoid"):
        raise Refusal(f"{what} applies a sigmoid first", "use quantized_sigmoid, or use_sigmoid=0")
    if o.get("relu_upper_bound") is not None and not o.get("is_quantized_clip", True):
        raise Refusal(f"{what} has an upper bound of its own", "leave is_quantized_clip=True")
    if o.get("quadratic_approximation") or o.get("log2_rounding", "rnd") != "rnd":
        raise Refusal(
            f"{what} rounds exponents in a way that float32 logarithms decide",
            "use log2_rounding='rnd' and no quadratic_approximation",
        )
    if o.get("scale_axis") is not None:
        raise Refusal(f"{what} sets scale_axis", "leave scale_axis=None: one scale for each output channel")


# -- weights ----------------------------------------------------------------------------------------------------------


def weights(spec: Spec | None, x: Any) -> Reals:
    """Weights after their quantiser, as float64; as they are without one. Raises Refusal where float32 might decide."""
    v: Reals = np.asarray(x, dtype=np.float32).astype(np.float64)
    if spec is None:
        return v
    if spec.kind == "quantized_po2":
        power: Reals = signs(v) * po2(spec, np.abs(v))
        return power
    if spec.auto:
        return _auto_bits(spec, v) if spec.kind == "quantized_bits" else _auto_levels(spec, v)
    alpha = np.asarray(1.0 if spec["alpha"] is None else spec["alpha"], dtype=np.float32)
    scaled: Reals = (_constant(spec, v).astype(np.float32) * alpha).astype(np.float64)
    return scaled


def signs(x: Reals) -> Reals:
    """1 for numbers from 0 up, -1 below."""
    found: Reals = np.where(x >= 0, 1.0, -1.0)
    return found


def _constant(spec: Spec, x: Reals) -> Reals:
    """The quantised weights before a constant alpha."""
    if spec.signs_only:
        return (signs(x) + 1) / 2 if spec["use_01"] else signs(x)
    if spec.kind.endswith("ternary"):
        return np.where(np.abs(x) >= spec.threshold, np.sign(x), 0.0)
    q = spec.fixed()
    if q is None:
        raise Refusal(f"{spec.what} is {spec.kind}, which is no quantiser of weights", "use quantized_bits")
    k, i, f = int(q.k[0]), int(q.i[0]), int(q.f[0])
    high = 2.0 ** (i + f) - 1
    low = -k * (high if q.overflow is Overflow.SATURATE_SYMMETRIC else high + 1)
    held: Reals = np.clip(np.rint(x * 2.0**f), low, high) * 2.0**-f
    return held


def _channels(x: Reals) -> tuple[int, ...]:
    """The axes that share a scale: all but the last."""
    return tuple(range(x.ndim - 1))


def _auto(spec: Spec, x: Reals) -> None:
    if spec["alpha"] != "auto_po2":
        raise Refusal(
            f"{spec.what} has alpha={spec['alpha']!r}, a scale that is any float32 number",
            "use alpha='auto_po2' or a constant such as alpha=1",
        )
    if x.ndim < 2:
        raise Refusal(
            f"{spec.what} has alpha='auto_po2' for a vector, which versions of QKeras scale differently",
            "give its quantiser alpha=1",
        )


def _auto_bits(spec: Spec, x: Reals) -> Reals:
    """Five rounds of least squares, each channel beginning with the scale that its largest weight needs."""
    _auto(spec, x)
    bits, axes = int(spec["bits"]), _channels(x)
    unit = 2.0 ** int(spec["integer"])
    top = 2.0 ** (bits - 1) - 1
    if top < 1:
        raise Refusal(
            f"{spec.what} has alpha='auto_po2' and {bits} bits, which leave no level", "use binary()"
        )
    v = x / unit

    def levels(scale: Reals) -> Reals:
        near = (np.abs(v) / scale).astype(np.float32) + np.float32(0.5)
        found: Reals = np.sign(v) * np.minimum(np.floor(near), top)
        return found

    scale, z = _power(spec, np.abs(v).max(axis=axes, keepdims=True) / top), v
    for _ in range(5):
        z = levels(scale)
        scale = _power(spec, _fit(v, z, axes))
    if (levels(scale) != z).any():
        raise Refusal(
            f"{spec.what} has a channel whose scale has not settled after five rounds, where versions of QKeras part",
            "give it the scale as a constant",
        )
    return z * scale * unit


def _fit(x: Reals, z: Reals, axes: tuple[int, ...]) -> Reals:
    """The scale by which levels come nearest to numbers: mean(x z) / mean(z z)."""
    top = (x * z).mean(axis=axes, keepdims=True)
    scale: Reals = top / ((z * z).mean(axis=axes, keepdims=True) + EPSILON)
    return scale


def _power(spec: Spec, scale: Reals) -> Reals:
    """The power of two nearest in the logarithm. Raises Refusal if float32 may have rounded the other way."""
    log = np.log2(scale + EPSILON)
    if (np.abs(log - np.floor(log) - 0.5) < DOUBT).any():
        raise Refusal(
            f"{spec.what} has a channel whose scale lies between two powers of two, too near to tell which one "
            "float32 takes",
            "give it the scale as a constant",
        )
    power: Reals = np.exp2(np.rint(log))
    return power


def _auto_levels(spec: Spec, x: Reals) -> Reals:
    """binary and ternary weights with a power of two for each channel."""
    _auto(spec, x)
    axes = _channels(x)
    if spec.kind.endswith("binary"):
        bit = (signs(x) + 1) / 2 if spec["use_01"] else signs(x)
        return bit * _power(spec, _fit(x, bit, axes))
    scale = _power(spec, 2 * np.abs(x).max(axis=axes, keepdims=True) / 3)
    q: Reals = np.zeros_like(x)
    for _ in range(int(spec["number_of_unrolls"])):
        q = np.where(np.abs(np.rint(x / scale)) >= 0.5, np.sign(x), 0.0)
        scale = _power(spec, _fit(x, q, axes))
    return q * scale


def po2(spec: Spec, size: Reals) -> Reals:
    """The nearest power of two in the logarithm, within the exponents that the bits can count.

    Raises Refusal for a number so near the border of two powers that float32 may have taken the other.
    """
    low, high = exponents(spec)
    ceiling = spec["max_value"]
    held = np.maximum(size, EPSILON) if ceiling is None else np.clip(size, EPSILON, float(ceiling))
    log = np.log2(held)
    near = (np.abs(log - np.floor(log) - 0.5) < DOUBT) & (log > low) & (log < high)
    if near.any():
        raise Refusal(
            f"{spec.what} meets {float(size[near][0])}, too near the border of two powers of two to tell which one "
            "float32 takes",
            "round the number differently before saving",
        )
    power: Reals = np.exp2(np.where(size < EPSILON, low, np.clip(np.rint(log), low, high)))
    return power


def exponents(spec: Spec) -> tuple[int, int]:
    """The smallest and the largest exponent of quantized_po2: a bit is the sign's, one perhaps the exponent's."""
    ceiling = spec["max_value"]
    bits = int(spec["bits"]) - 1 - (ceiling is None or ceiling > 1)
    if bits < 0:
        raise Refusal(f"{spec.what} has {spec['bits']} bits, too few for an exponent", "give it more bits")
    return -(2**bits), 2**bits - 1
