"""Real functions of one number, as Keras defines them, and what may still be done to a fixed-point value.

A `Tensor` in the making is an exact fixed-point value and a chain of functions that the framework computes in
floating point. The chain ends at the next quantiser, where the two together become a truth table (or a rescaling).
Every function is evaluated in float64 and its result rounded to float32, which is what an exact float32
implementation would return.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.lowering.refusals import Refusal

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """`x * by / over + add`; all three broadcast to the tensor's shape."""

    by: Reals
    add: Reals
    over: Reals

    name = "a scaling"

    @property
    def params(self) -> tuple[Reals, ...]:
        return (self.by, self.add, self.over)

    def __call__(self, x: Reals, by: Reals, add: Reals, over: Reals) -> Reals:
        return x * by / over + add

    def then(self, other: Affine) -> Affine:
        """This scaling and then another, as one."""
        return Affine(
            self.by * other.by, self.add * other.by / other.over + other.add, self.over * other.over
        )


@dataclass(frozen=True, eq=False)
class Unary:
    """A function of one number; `params` broadcast to the tensor's shape and are passed after it."""

    name: str
    fn: Callable[..., Any]
    params: tuple[Reals, ...] = ()

    def __call__(self, x: Reals, *params: Reals) -> Reals:
        y: Reals = self.fn(x, *params)
        return y


Step = Affine | Unary


def evaluate(chain: Sequence[Step], x: Reals, pick: Callable[[Reals], Reals]) -> Reals:
    """The chain's result for `x`; `pick` selects the parameters that belong to the elements of `x`."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        for step in chain:
            x = step(x, *(pick(p) for p in step.params)).astype(np.float32).astype(np.float64)
    return x


def _erf(x: Reals) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _softplus(x: Reals) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x: Reals) -> Any:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def _elu(x: Reals, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _gelu(x: Reals, approximate: bool = False) -> Any:
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _hard_sigmoid(x: Reals) -> Any:
    return np.clip(x + 3, 0, 6) / 6


def relu(
    x: Reals, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """Keras's general rectifier: 0 up to the threshold, `max_value` at most, and a slope below the threshold."""
    y = np.where(x > threshold, x, 0.0)
    if max_value is not None:
        y = np.minimum(y, max_value)
    slope = float(np.float32(negative_slope))
    return y - slope * np.maximum(threshold - x, 0) if slope else y


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x, negative_slope=0.2: np.where(x >= 0, x, x * float(np.float32(negative_slope))),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "elu": _elu,
    "selu": lambda x: _SELU_SCALE * _elu(x, _SELU_ALPHA),
    "celu": lambda x, alpha=1.0: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha),
    "gelu": _gelu,
    "exponential": np.exp,
    "exp": np.exp,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda x: x * _hard_sigmoid(x),
    "hard_swish": lambda x: x * _hard_sigmoid(x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0),
    "soft_shrink": lambda x, threshold=0.5: np.sign(x) * np.maximum(np.abs(x) - threshold, 0),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "log_sigmoid": lambda x: -_softplus(-x),
    "squareplus": lambda x, b=4: (x + np.sqrt(x * x + b)) / 2,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "threshold": lambda x, threshold, default_value: np.where(x > threshold, x, default_value),
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "erf": _erf,
    "cbrt": np.cbrt,
    "sign": np.sign,
    "square": np.square,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "linear": lambda x: x,
}


def unary(name: str, **params: Any) -> Unary:
    """The function Keras calls `name`. Raises Refusal for one that is not known."""
    fn = FUNCTIONS.get(name)
    if fn is None:
        raise Refusal(
            f"its function {name!r} is not one lutc knows",
            "use a named Keras activation of one number, such as tanh, sigmoid or gelu",
        )
    return Unary(name, (lambda x: fn(x, **params)) if params else fn)


def parameters(name: str) -> list[str]:
    """The options of a function beside the number it is of, by the names Keras gives them."""
    fn = FUNCTIONS.get(name)
    return [] if fn is None or isinstance(fn, np.ufunc) else list(inspect.signature(fn).parameters)[1:]


def activation_name(conf: Any) -> str:
    """The name of a serialised activation; `linear` if there is none. Raises Refusal for a user's own function."""
    if conf is None:
        return "linear"
    if isinstance(conf, str):
        return conf
    if not isinstance(conf, dict):
        raise Refusal("its activation is no named function", "use a named Keras activation")
    name, registered, module = conf.get("config"), conf.get("registered_name"), conf.get("module")
    if conf.get("class_name") != "function" or not isinstance(name, str):
        raise Refusal(
            f"its activation is an object of class {conf.get('class_name')}, with options of its own",
            "put it behind as a layer, with the activation here left out",
        )
    if registered not in (None, "function", name) or not str(module).startswith(("builtins", "keras")):
        raise Refusal(
            f"its activation is a function of the user's own, {registered or name}",
            "use a named Keras activation of one number, such as tanh, sigmoid or gelu",
        )
    return name
