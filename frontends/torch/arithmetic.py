"""Products, sums, elementwise functions and reductions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from lutc.ir.ops.logic import Relation
from lutc.lowering import elementwise as kit
from lutc.lowering import exact as ex
from lutc.lowering import reduce as reductions
from lutc.lowering.curve import normalised
from lutc.lowering.einsum import einsum
from lutc.lowering.linear import cumulative, gemm, matmul, view
from lutc.lowering.logic import compare, connected, logical_not
from lutc.lowering.operands import axis_of, small
from lutc.lowering.reduce import reduce
from lutc.lowering.refusals import Refusal
from lutc.lowering.scores import argmax, softmax
from lutc.lowering.tensors import Curve, Known, Missing, Scaled

from .call import Call, schema_name
from .odd import NO_STATISTICS

Handler = Callable[[Call], Any]


def linear(c: Call) -> Any:
    return c.exactly(gemm, c.tensor("input"), c.tensor("weight"), c.maybe("bias"), turn_b=True)


def matrix_product(c: Call) -> Any:
    return c.exactly(matmul, c.tensor("self"), c.tensor("other", "mat2", "vec"))


def addmm(c: Call) -> Any:
    """`beta * self + alpha * (mat1 @ mat2)`."""
    done = c.exactly(matmul, c.tensor("mat1", "batch1"), c.tensor("mat2", "batch2"))
    alpha, beta = c.constant(c.get("alpha", 1)), c.constant(c.get("beta", 1))
    done = done if alpha.array == 1 else c.pointwise("Mul", kit.multiply, done, alpha)
    term = c.tensor("self")
    term = term if beta.array == 1 else c.pointwise("Mul", kit.multiply, term, beta)
    return c.pointwise("Add", kit.add, done, term)


def one(op: str, lower: Callable[..., Any]) -> Handler:
    """An operator on one tensor; `op` is what messages and tables call it."""
    return lambda c: c.pointwise(op, lower, c.tensor("self", "input"))


def two(op: str, lower: Callable[..., Any]) -> Handler:
    """An operator on two tensors."""
    return lambda c: c.pointwise(op, lower, c.tensor("self"), c.tensor("other"))


def weighted(op: str, lower: Callable[..., Any]) -> Handler:
    """`self op alpha * other`."""

    def rule(c: Call) -> Any:
        a, b = c.tensor("self"), c.tensor("other")
        return c.pointwise(op, lower, a, _times(c, b, c.get("alpha", 1)))

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
    return c.pointwise("Sub", kit.subtract, b, _times(c, a, c.get("alpha", 1)))


def div(c: Call) -> Any:
    if c.get("rounding_mode") is not None:
        raise Refusal(f"rounds its quotient ({c.get('rounding_mode')})", "quantise instead")
    a, b = c.tensor("self"), c.tensor("other")
    return c.table("Div", a, b) if isinstance(a, Known) else c.pointwise("Div", kit.divide, a, b)


def bounded(c: Call, op: str, *tensors: Any) -> Any:
    """The larger or smaller of tensors: `op` is Max or Min."""
    return c.pointwise(op, partial(kit.extreme, largest=op == "Max"), list(tensors))


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
                done = done if end is None else bounded(c, op, done, end)
            return done
        x = c.tensor("self")
        if not isinstance(x, Scaled):
            return c.table("Clip", x, *ends)
        low, high = (
            ex.number(sign * ex.INF) if e is None or not np.isfinite(e.array) else e.reals()
            for e, sign in zip(ends, (-1, 1), strict=True)
        )
        return x.clip(low.reshape(()), high.reshape(()))

    return rule


def leaky(c: Call) -> Any:
    return c.pointwise("PRelu", kit.leaky_relu, c.tensor("self"), c.constant(c.get("negative_slope", 0.01)))


def prelu(c: Call) -> Any:
    x, slope = c.tensor("self"), c.tensor("weight")
    if isinstance(slope, Known) and slope.array.size > 1:  # one for each channel, which is dimension 1
        slope = view(slope, lambda a: a.reshape(-1, *(1,) * (len(x.shape) - 2)))
    return c.pointwise("PRelu", kit.leaky_relu, x, slope)


def power(c: Call) -> Any:
    a, b = c.tensor("self"), c.tensor("exponent")
    product = not isinstance(b, Known) or kit.whole_power(b)
    return c.pointwise("Pow", kit.power, a, b) if product else c.table("Pow", a, b)


def batch_norm(c: Call) -> Any:
    """Batch normalisation by the statistics of the training."""
    if c.given.get("running_mean") is None:
        raise Refusal(*NO_STATISTICS)
    if c.get("training", False):
        raise Refusal("normalises by the statistics of the batch", "export model.eval()")
    x, mean, var = (c.tensor(n) for n in ("input", "running_mean", "running_var"))
    weight, bias = (c.maybe(n) for n in ("weight", "bias"))
    weight = Known(np.ones(mean.shape[0])) if weight is None else weight
    bias = Known(np.zeros(mean.shape[0])) if bias is None else bias
    parameters = [weight, bias, mean, var]
    epsilon = np.float64(c.get("eps", 1e-5))
    if isinstance(x, Curve):
        done: Any = normalised("BatchNormalization", x, parameters, lambda a: c.run({id(x): a[0]}).numpy())
    else:
        gamma, beta, mu, sigma = map(small, parameters)
        done = c.exactly(kit.batch_norm, x, gamma=gamma, beta=beta, mean=mu, var=sigma, epsilon=epsilon)
    return (done, Missing(), Missing()) if "native" in schema_name(c.fx) else done


# -- along dimensions -----------------------------------------------------------------------------------------------


def _axes(c: Call, rank: int) -> list[int]:
    given = c.get("dim")
    if given is None or given == []:
        return list(range(rank))
    return [axis_of(a, rank) for a in (given if isinstance(given, list | tuple) else [given])]


def reduced(by: Callable[..., Any], index: bool | None = None) -> Handler:
    """A reduction by a function of the kit; along one dimension also the index of the largest, or smallest."""

    def rule(c: Call) -> Any:
        x = c.tensor("self")
        computes_in(c, x)
        axes = sorted(set(_axes(c, len(x.shape))))
        done = c.exactly(reduce, x, axes=axes, by=by, keep=bool(c.get("keepdim", False)))
        if index is None or c.get("dim") is None:
            return done
        used = any(u.args[1:] == (1,) and u.users for u in c.fx.users)
        return done, arg(index)(c) if used else Missing()

    return rule


def computes_in(c: Call, x: Any) -> None:
    """Raise Refusal for a `dtype` in which sums would be rounded, or wrap sooner than in the model's own."""
    kind = c.given.get("dtype")
    whole = isinstance(x, Scaled) and x.integer is not None
    if kind not in (None, c.state.dtype, torch.float64) and not (whole and kind == torch.int64):
        raise Refusal(f"sums in {str(kind).removeprefix('torch.')}", "leave the dtype away")


def extreme(op: str, by: Callable[..., Any]) -> Handler:
    """`max` and `min`: of two tensors, along a dimension (with the index), or of everything."""

    def rule(c: Call) -> Any:
        if c.given.get("other") is not None:
            return bounded(c, op, c.tensor("self"), c.tensor("other"))
        return reduced(by, index=op == "Max")(c)

    return rule


def einstein_sum(c: Call) -> Any:
    c.given.get("path")  # in which order it multiplies changes nothing
    return c.exactly(einsum, c.given["tensors"], equation=str(c.get("equation")))


def cumsum(c: Call) -> Any:
    x = c.tensor("self")
    computes_in(c, x)
    return c.exactly(cumulative, x, axis=axis_of(c.get("dim"), len(x.shape)))


def logical(word: str) -> Handler:
    """`&`, `|`, `^` and `~` of truth values, under both of their names."""

    def rule(c: Call) -> Any:
        parts = [c.tensor(n) for n in ("self", "other") if c.given.get(n) is not None]
        value = c.fx.meta.get("val")
        if isinstance(value, torch.Tensor) and value.dtype != torch.bool:
            raise Refusal("works on the bits of integers", "use it on truth values, such as x > 0")
        if any(isinstance(p, Scaled) and p.integer != "bool" for p in parts):
            raise Refusal("takes numbers for truth values", "compare them: x != 0")
        parts = [_truth(p) for p in parts]
        if word == "not":
            return c.exactly(logical_not, *parts)
        return c.exactly(
            connected, *parts, by=getattr(c.walk.b, {"and": "and_", "or": "or_", "xor": "xor"}[word])
        )

    return rule


def _truth(t: Any) -> Any:
    return replace(t, array=np.asarray(t.array) != 0, codes=None, scale=None) if isinstance(t, Known) else t


def compared(relation: Relation) -> Handler:
    return lambda c: c.truth(
        lambda walk, a, b: compare(walk, a, b, relation), c.tensor("self"), c.tensor("other")
    )


def unequal(c: Call) -> Any:
    return c.truth(
        lambda walk, a, b: logical_not(walk, compare(walk, a, b, Relation.EQ)),
        c.tensor("self"),
        c.tensor("other"),
    )


def arg(largest: bool) -> Handler:
    def rule(c: Call) -> Any:
        x = c.tensor("self")
        dim = c.get("dim")
        if dim is None:
            raise Refusal("looks for the index in all dimensions, the batch included", "name one: dim=1")
        axis, keep = axis_of(dim, len(x.shape)), bool(c.get("keepdim", False))
        together = c.walk.hosted.get(c.layer.reads[0])
        return c.exactly(argmax, x, axis=axis, largest=largest, keep=keep, together=together)

    return rule


def soft_max(c: Call) -> Any:
    """Softmax and its logarithm, which are left to the host."""
    x = c.tensor("self")
    computes_in(c, x)
    return c.exactly(softmax, x, axes=[axis_of(c.get("dim", -1), len(x.shape))])


# -- functions that become tables -----------------------------------------------------------------------------------


def curve(op: str) -> Handler:
    """A function of one tensor; `op` is what messages and tables call it."""
    return lambda c: c.table(op, c.tensor("self", "input"))


CURVES = (
    "acos acosh asin asinh atan atanh ceil celu cos cosh elu erf erfc exp exp2 expm1 floor frac gelu hardshrink "
    "hardsigmoid hardswish log log10 log1p log2 log_sigmoid mish reciprocal round rsqrt selu sigmoid sign silu sin "
    "sinh softplus softshrink sqrt tan tanh threshold trunc"
)
RELATIONS = {"eq": Relation.EQ, "lt": Relation.LT, "le": Relation.LE, "gt": Relation.GT, "ge": Relation.GE}

RULES: dict[str, Handler] = {
    "aten::linear": linear,
    **{f"aten::{name}": matrix_product for name in ("matmul", "mm", "bmm", "mv")},
    "aten::addmm": addmm,
    "aten::baddbmm": addmm,
    "aten::add": weighted("Add", kit.add),
    "aten::sub": weighted("Sub", kit.subtract),
    "aten::rsub": reversed_sub,
    "aten::mul": two("Mul", kit.multiply),
    "aten::div": div,
    "aten::neg": one("Neg", kit.negative),
    "aten::abs": one("Abs", kit.absolute),
    "aten::relu": one("Relu", kit.relu),
    "aten::minimum": extreme("Min", reductions.smallest),
    "aten::maximum": extreme("Max", reductions.largest),
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
    "aten::square": lambda c: c.pointwise("Mul", kit.multiply, *[c.tensor("self")] * 2),
    "aten::batch_norm": batch_norm,
    "aten::_native_batch_norm_legit_no_training": batch_norm,
    "aten::mean": reduced(reductions.mean),
    "aten::sum": reduced(reductions.summed),
    "aten::amax": reduced(reductions.largest),
    "aten::amin": reduced(reductions.smallest),
    "aten::max": extreme("Max", reductions.largest),
    "aten::min": extreme("Min", reductions.smallest),
    "aten::einsum": einstein_sum,
    "aten::cumsum": cumsum,
    "aten::ne": unequal,
    **{
        f"aten::{kind}_{word}": logical(word)
        for kind in ("bitwise", "logical")
        for word in ("and", "or", "xor", "not")
    },
    **{f"aten::__{word}__": logical(word) for word in ("and", "or", "xor")},
    "aten::argmax": arg(largest=True),
    "aten::argmin": arg(largest=False),
    **{f"aten::{name}": soft_max for name in ("softmax", "_softmax", "log_softmax", "_log_softmax")},
    **{f"aten::{name}": curve(name) for name in CURVES.split()},
    **{f"aten::{name}": compared(relation) for name, relation in RELATIONS.items()},
}
