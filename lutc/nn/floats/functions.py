"""Rules of `lutc.nn.convert`. Functions of one number, which become tables, and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from lutc.lowering.refusals import Refusal
from lutc.nn.attention import QSoftmax
from lutc.nn.function import QFunction
from lutc.nn.graph import Move, QAffine
from lutc.nn.layers import Options as Given

from .call import Call
from .moves import same_type
from .run import Rule
from .walk import Result
from .weights import SATURATING, product


def relu(c: Call) -> Result:
    return c.made(nn.ReLU(), c.result())


def table(function: str, parameters: Sequence[str], c: Call) -> Result:
    """A function that lutc.nn has as a table, with those of its parameters that the operator has, too."""
    return table_of(c, function, c.result(), {p: c[p] for p in parameters})


def table_of(c: Call, function: str, x: Result, parameters: Given) -> Result:
    w = c.walk.widths
    return c.made(QFunction(function, data=w.key(), table=w.data | SATURATING, parameters=parameters), x)


def relu6(c: Call) -> Result:
    return table_of(c, "hardtanh", c.result(), {"min_val": 0.0, "max_val": 6.0})


def elu(c: Call) -> Result:
    x, alpha, scale, inside = c.result(), c["alpha"], c["scale"], c["input_scale"]
    if (scale, inside) != (1, 1):
        raise Refusal("is an elu with a scale", "use SELU, or an ELU")
    return table_of(c, "elu", x, {"alpha": alpha})


def reciprocal_root(c: Call) -> Result:
    return table_of(c, "rsqrt", c.result(), {"eps": 2.0**-60})  # at 0 the table saturates


def power(c: Call) -> Result:
    x, exponent = c.result(), c["exponent"]
    if exponent != 2:
        which = f"the power {exponent}" if isinstance(exponent, int | float) else "a power that is computed"
        raise Refusal(f"takes {which}", "lutc.nn has squares (2) and products")
    return table_of(c, "square", x, {})


def softmax(c: Call) -> Result:
    x, dtype = c.result(), c["dtype"]
    same_type(c, dtype)
    dim = c.axis(c["dim"], len(x.shape) + 1)
    _sees_all(c, x)
    return c.made(softmax_of(c, dim, 1.0), x)


MASK = -1000.0  # what is added to scores that are not to count is no greater


def _sees_all(c: Call, x: Result) -> None:
    """Raise Refusal for scores with a mask: beside its numbers, one format has no bits left for the scores."""
    name = x.name
    while isinstance(c.walk.layers.get(name), Move):
        name = c.walk.reads[name][0]
    source = c.walk.layers.get(name)
    shift = getattr(source, "shift", None) if isinstance(source, QAffine) else None
    least = 0.0 if shift is None else float(shift.detach().min())
    if least <= MASK:
        raise Refusal(
            f"reads scores with a mask (down to {least:.3g})",
            "leave the mask away: all positions are seen",
        )


def softmax_of(c: Call, dim: int, scale: float) -> QSoftmax:
    w = c.walk.widths
    bits = {"max_bits": w.key()["max_bits"]}
    return QSoftmax(dim, scale=scale, data=w.data, keys=bits, total=bits)


def dot_product_attention(c: Call) -> Result:
    q, k, v = (c.result(n) for n in ("query", "key", "value"))
    for name in ("attn_mask", "is_causal"):
        if c[name]:
            raise Refusal(f"is given a mask ({name})", "leave the mask away: all positions are seen")
    if c["dropout_p"]:
        raise Refusal("leaves scores out in evaluation too", "set its dropout_p to 0 unless self.training")
    c["enable_gqa"]
    scale = q.shape[-1] ** -0.5 if c["scale"] is None else c["scale"]
    scores = product(c, q, k, transposed=True)
    shares = c.walk.layer(
        f"{c.where}_softmax", softmax_of(c, len(scores.shape), scale), [scores], scores.shape
    )
    return product(c, shares, v, transposed=False)


RULES: dict[str, Rule] = {
    "rsqrt": reciprocal_root,
    "abs": partial(table, "abs", ()),
    "celu": partial(table, "celu", ("alpha",)),
    "cos": partial(table, "cos", ()),
    "elu": elu,
    "erf": partial(table, "erf", ()),
    "exp": partial(table, "exp", ()),
    "gelu": partial(table, "gelu", ("approximate",)),
    "hardsigmoid": partial(table, "hardsigmoid", ()),
    "hardswish": partial(table, "hardswish", ()),
    "hardtanh": partial(table, "hardtanh", ("min_val", "max_val")),
    "leaky_relu": partial(table, "leaky_relu", ("negative_slope",)),
    "log_sigmoid": partial(table, "logsigmoid", ()),
    "mish": partial(table, "mish", ()),
    "pow": power,
    "relu": relu,
    "relu6": relu6,
    "scaled_dot_product_attention": dot_product_attention,
    "selu": partial(table, "selu", ()),
    "sigmoid": partial(table, "sigmoid", ()),
    "silu": partial(table, "silu", ()),
    "sin": partial(table, "sin", ()),
    "softmax": softmax,
    "softplus": partial(table, "softplus", ("beta", "threshold")),
    "square": partial(table, "square", ()),
    "tanh": partial(table, "tanh", ()),
    "threshold": partial(table, "threshold", ("threshold", "value")),
}
