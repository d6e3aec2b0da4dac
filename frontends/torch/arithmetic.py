"""Products, sums, elementwise functions and reductions, as ONNX operators that compute the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lutc.lowering import exact as ex
from lutc.lowering.operands import axis_of
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Missing, Scaled

from ..onnx.linear import view
from .call import Call, schema_name
from .leaves import NO_STATISTICS

Handler = Callable[[Call], Any]


def linear(c: Call) -> Any:
    x, weight = c.tensor("input"), c.tensor("weight")
    inputs = [x, weight, c.maybe("bias")]
    return c.lower("Gemm", inputs if inputs[2] is not None else inputs[:2], transB=1)


def matmul(c: Call) -> Any:
    return c.lower("MatMul", [c.tensor("self"), c.tensor("other", "mat2", "vec")])


def addmm(c: Call) -> Any:
    """`beta * self + alpha * (mat1 @ mat2)`."""
    done = c.lower("MatMul", [c.tensor("mat1", "batch1"), c.tensor("mat2", "batch2")])
    alpha, beta = c.constant(c.get("alpha", 1)), c.constant(c.get("beta", 1))
    done = done if alpha.array == 1 else c.lower("Mul", [done, alpha])
    term = c.tensor("self")
    term = term if beta.array == 1 else c.lower("Mul", [term, beta])
    return c.lower("Add", [done, term])


def binary(op: str) -> Handler:
    """`self op alpha * other`."""

    def rule(c: Call) -> Any:
        a, b = c.tensor("self"), c.tensor("other")
        return c.lower(op, [a, _times(c, b, c.get("alpha", 1))])

    return rule


def _times(c: Call, t: Any, alpha: Any) -> Any:
    if alpha == 1:
        return t
    if isinstance(t, Known):
        return replace(t, array=t.array * np.asarray(alpha, t.array.dtype), codes=None, scale=None)
    if isinstance(t, Scaled):
        return t.times(c.constant(alpha).reals())
    raise Refusal("multiplies what a function computes by alpha", "multiply in a layer of its own")


def reversed_sub(c: Call) -> Any:
    a, b = c.tensor("self"), c.tensor("other")
    return c.lower("Sub", [b, _times(c, a, c.get("alpha", 1))])


def div(c: Call) -> Any:
    if c.get("rounding_mode") is not None:
        raise Refusal(f"rounds its quotient ({c.get('rounding_mode')})", "quantise instead")
    return c.lower("Div", [c.tensor("self"), c.tensor("other")])


def unary(op: str) -> Handler:
    return lambda c: c.lower(op, [c.tensor("self", "input")])


def extreme(op: str) -> Handler:
    return lambda c: c.lower(op, [c.tensor("self"), c.tensor("other")])


def clamp(*names: str, lo: float | None = None, hi: float | None = None) -> Handler:
    """A clip to bounds that are arguments under these names, or fixed; by min and max if they are no single numbers."""

    def rule(c: Call) -> Any:
        ends: list[Any] = []
        for name, fixed in zip((*names, "", ""), (lo, hi), strict=False):
            value = c.maybe(name) if name else None
            ends.append(c.constant(fixed) if value is None and fixed is not None else value)
        if any(e is not None and (not isinstance(e, Known) or e.array.size != 1) for e in ends):
            done = c.tensor("self")
            for op, end in zip(("Max", "Min"), ends, strict=True):
                done = done if end is None else c.lower(op, [done, end])
            return done
        x = c.tensor("self")
        if not isinstance(x, Scaled):
            return c.lower("Clip", [x, *ends])
        low, high = (
            ex.number(sign * ex.INF) if e is None or not np.isfinite(e.array) else e.reals()
            for e, sign in zip(ends, (-1, 1), strict=True)
        )
        return x.clip(low.reshape(()), high.reshape(()))

    return rule


def leaky(c: Call) -> Any:
    return c.lower("PRelu", [c.tensor("self"), c.constant(c.get("negative_slope", 0.01))])


def prelu(c: Call) -> Any:
    x, slope = c.tensor("self"), c.tensor("weight")
    if isinstance(slope, Known) and slope.array.size > 1:  # one for each channel, which is dimension 1
        slope = view(slope, lambda a: a.reshape(-1, *(1,) * (len(x.shape) - 2)))
    return c.lower("PRelu", [x, slope])


def power(c: Call) -> Any:
    return c.lower("Pow", [c.tensor("self"), c.tensor("exponent")])


def batch_norm(c: Call) -> Any:
    """Batch normalisation by the statistics of the training."""
    if c.given.get("running_mean") is None:
        raise Refusal(*NO_STATISTICS)
    if c.get("training", False):
        raise Refusal("normalises by the statistics of the batch", "export model.eval()")
    x, mean = c.tensor("input"), c.tensor("running_mean")
    count = mean.shape[0]
    weight, bias = (c.maybe(n) for n in ("weight", "bias"))
    weight = Known(np.ones(count)) if weight is None else weight
    bias = Known(np.zeros(count)) if bias is None else bias
    # The rule takes epsilon as a float32, and PyTorch as a float64: it is added before.
    spread = Known(np.asarray(c.tensor("running_var").array, np.float64) + float(c.get("eps", 1e-5)))
    done = c.lower("BatchNormalization", [x, weight, bias, mean, spread], epsilon=0.0)
    return (done, Missing(), Missing()) if "native" in schema_name(c.fx) else done


# -- along dimensions -----------------------------------------------------------------------------------------------


def _axes(c: Call, rank: int) -> list[int]:
    given = c.get("dim")
    if given is None or given == []:
        return list(range(rank))
    return [axis_of(a, rank) for a in (given if isinstance(given, list | tuple) else [given])]


def reduce(op: str, pair: bool = False) -> Handler:
    def rule(c: Call) -> Any:
        x = c.tensor("self")
        computes_in(c, x)
        axes = _axes(c, len(x.shape))
        done = c.lower(op, [x], axes=axes, keepdims=int(c.get("keepdim", False)))
        if not pair or c.get("dim") is None:
            return done
        used = any(u.args[1:] == (1,) and u.users for u in c.fx.users)
        return done, arg(op.replace("Reduce", "Arg"))(c) if used else Missing()

    return rule


def computes_in(c: Call, x: Any) -> None:
    """Raise Refusal for a `dtype` in which sums would be rounded, or wrap sooner than in the model's own."""
    kind = c.given.get("dtype")
    whole = isinstance(x, Scaled) and x.integer is not None
    if kind not in (None, c.state.dtype, torch.float64) and not (whole and kind == torch.int64):
        raise Refusal(f"sums in {str(kind).removeprefix('torch.')}", "leave the dtype away")


def largest(op: str) -> Handler:
    """`max` and `min`: of two tensors, along a dimension (with the index), or of everything."""

    def rule(c: Call) -> Any:
        if c.given.get("other") is not None:
            return extreme(op)(c)
        return reduce(f"Reduce{op}", pair=True)(c)

    return rule


def einsum(c: Call) -> Any:
    c.given.get("path")  # in which order it multiplies changes nothing
    return c.lower("Einsum", c.given["tensors"], equation=c.get("equation"))


def cumsum(c: Call) -> Any:
    x = c.tensor("self")
    computes_in(c, x)
    return c.lower("CumSum", [x, Known(np.asarray(axis_of(c.get("dim"), len(x.shape))))])


def logical(op: str) -> Handler:
    """`&`, `|`, `^` and `~` of truth values, under both of their names."""

    def rule(c: Call) -> Any:
        parts = [c.tensor(n) for n in ("self", "other") if c.given.get(n) is not None]
        value = c.fx.meta.get("val")
        if isinstance(value, torch.Tensor) and value.dtype != torch.bool:
            raise Refusal("works on the bits of integers", "use it on truth values, such as x > 0")
        if any(isinstance(p, Scaled) and p.integer != "bool" for p in parts):
            raise Refusal("takes numbers for truth values", "compare them: x != 0")
        return c.lower(op, [_truth(p) for p in parts])

    return rule


def _truth(t: Any) -> Any:
    return replace(t, array=np.asarray(t.array) != 0, codes=None, scale=None) if isinstance(t, Known) else t


def unequal(c: Call) -> Any:
    return c.lower("Not", [c.lower("Equal", [c.tensor("self"), c.tensor("other")])])


def arg(op: str) -> Handler:
    def rule(c: Call) -> Any:
        x = c.tensor("self")
        dim = c.get("dim")
        if dim is None:
            raise Refusal("looks for the index in all dimensions, the batch included", "name one: dim=1")
        return c.lower(op, [x], axis=int(dim), keepdims=int(c.get("keepdim", False)))

    return rule


def softmax(op: str) -> Handler:
    def rule(c: Call) -> Any:
        computes_in(c, c.tensor("self"))
        return c.lower(op, [c.tensor("self")], axis=int(c.get("dim", -1)))

    return rule


# -- functions that become tables -----------------------------------------------------------------------------------


def curve(op: str) -> Handler:
    """A function of one tensor; `op` is what messages and tables call it."""

    def rule(c: Call) -> Any:
        return c.by(None, op, [c.tensor("self", "input")])

    return rule


CURVES = (
    "acos acosh asin asinh atan atanh ceil celu cos cosh elu erf erfc exp exp2 expm1 floor frac gelu hardshrink "
    "hardsigmoid hardswish log log10 log1p log2 log_sigmoid mish reciprocal round rsqrt selu sigmoid sign silu sin "
    "sinh softplus softshrink sqrt tan tanh threshold trunc"
)
COMPARED = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}

RULES: dict[str, Handler] = {
    "aten::linear": linear,
    "aten::matmul": matmul,
    "aten::mm": matmul,
    "aten::bmm": matmul,
    "aten::mv": matmul,
    "aten::addmm": addmm,
    "aten::baddbmm": addmm,
    "aten::add": binary("Add"),
    "aten::sub": binary("Sub"),
    "aten::rsub": reversed_sub,
    "aten::mul": extreme("Mul"),
    "aten::div": div,
    "aten::neg": unary("Neg"),
    "aten::abs": unary("Abs"),
    "aten::relu": unary("Relu"),
    "aten::minimum": extreme("Min"),
    "aten::maximum": extreme("Max"),
    "aten::clamp": clamp("min", "max"),
    "aten::clip": clamp("min", "max"),
    "aten::clamp_min": clamp("min"),
    "aten::clamp_max": clamp("", "max"),
    "aten::hardtanh": clamp("min_val", "max_val", lo=-1.0, hi=1.0),
    "aten::relu6": clamp(lo=0.0, hi=6.0),
    "aten::leaky_relu": leaky,
    "aten::prelu": prelu,
    "aten::_prelu_kernel": prelu,
    "aten::pow": power,
    "aten::square": lambda c: c.lower("Mul", [c.tensor("self")] * 2),
    "aten::batch_norm": batch_norm,
    "aten::_native_batch_norm_legit_no_training": batch_norm,
    "aten::mean": reduce("ReduceMean"),
    "aten::sum": reduce("ReduceSum"),
    "aten::amax": reduce("ReduceMax"),
    "aten::amin": reduce("ReduceMin"),
    "aten::max": largest("Max"),
    "aten::min": largest("Min"),
    "aten::einsum": einsum,
    "aten::cumsum": cumsum,
    "aten::ne": unequal,
    **{
        f"aten::{kind}_{word}": logical(op)
        for kind in ("bitwise", "logical")
        for word, op in (("and", "And"), ("or", "Or"), ("xor", "Xor"), ("not", "Not"))
    },
    **{f"aten::__{word}__": logical(op) for word, op in (("and", "And"), ("or", "Or"), ("xor", "Xor"))},
    "aten::argmax": arg("ArgMax"),
    "aten::argmin": arg("ArgMin"),
    "aten::softmax": softmax("Softmax"),
    "aten::_softmax": softmax("Softmax"),
    "aten::log_softmax": softmax("LogSoftmax"),
    "aten::_log_softmax": softmax("LogSoftmax"),
    **{f"aten::{name}": curve(name) for name in CURVES.split()},
    **{f"aten::{name}": extreme(op) for name, op in COMPARED.items()},
}
