"""Quantisers, as operators of a traced graph and as modules taken whole; and numbers rounded by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.affine import ROUNDINGS
from lutc.lowering.operands import axis_of
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Missing, Pending, Scaled, reach

from .call import Call
from .quantisers import Quantiser, along, meant, on_grid, quantised

Handler = Callable[[Call], Any]


def parameters(c: Call, shape: tuple[int, ...]) -> Quantiser:
    """The quantiser an operator states, its scales along a channel's dimension if it has several."""
    scale, zero = (_array(c.tensor(*names)) for names in (("scale", "scales"), ("zero_point", "zero_points")))
    lo, hi = (np.asarray(int(c.get(n))) for n in ("quant_min", "quant_max"))
    scale, zero = scale.astype(np.float32), np.asarray(zero, np.float64)
    axis = None if c.given.get("axis") is None else axis_of(c.get("axis"), len(shape))
    return Quantiser(along(scale, axis, len(shape)), along(zero, axis, len(shape)), lo, hi).checked()


def _array(t: Any) -> Any:
    if isinstance(t, Known):
        return np.asarray(t.array)
    raise Refusal(
        "has a scale or zero point that is computed from the data", "quantise statically, with fixed scales"
    )


def _fake(c: Call, q: Quantiser, x: Any) -> Any:
    c.state.quantisers[c.fx] = c.state.meanings[c.fx] = q
    return c.quantised(x, lambda t: meant(quantised(c.walk, t, q), q), lambda array: on_grid(array, q))


def fake_quantize(pair: bool = False) -> Handler:
    """`aten::fake_quantize_per_*_affine`: quantised, and at once a float again."""

    def rule(c: Call) -> Any:
        x = c.tensor("self")
        switch = c.given.get("fake_quant_enabled")
        if isinstance(switch, Known) and not switch.array.any():
            return (x, Missing()) if pair else x
        done = _fake(c, parameters(c, x.shape), x)
        return (done, Missing()) if pair else done

    return rule


def quantize(c: Call) -> Any:
    """`quantized_decomposed::quantize_per_*`: to integers."""
    x = c.tensor("input")
    q = parameters(c, x.shape)
    c.state.quantisers[c.fx] = q
    kind = str(c.given.get("dtype")).removeprefix("torch.")
    return c.quantised(
        x,
        lambda t: replace(quantised(c.walk, t, q), integer=kind),
        lambda array: Known(array.astype(np.int64)),
    )


def dequantize(c: Call) -> Any:
    """`quantized_decomposed::dequantize_per_*`: from integers back to floats."""
    x = c.tensor("input")
    q = parameters(c, x.shape)
    c.given.get("dtype")  # of the integers, whose range says the same
    c.state.meanings[c.fx] = q
    if isinstance(x, Scaled):
        return meant(x, q)
    if not isinstance(x, Known):
        raise Refusal("reads what is no tensor of integers", "the model is broken: export it again")
    codes = np.asarray(x.array).astype(np.int64) - q.zero.astype(np.int64)
    return Known((codes.astype(np.float32) * q.scale).astype(np.float32), codes, ex.exact(q.scale))


def leaf(c: Call) -> Any:
    """A module taken whole: a quantiser, or a layer of `lutc.nn`."""
    found = c.leaf
    if found is None:
        raise Refusal("stands for a module that is not there", "load the module itself, not the program")
    if found.layer is not None:
        from .layers import layer

        return layer(c, found.layer)
    assert found.what is not None
    x = c.tensor("x")
    return _fake(c, found.what(len(x.shape)).checked(), x)


def by_hand(word: str) -> Handler:
    """round, floor, ceil and trunc of data; a clamp behind says how far the integers of an input reach."""

    def rule(c: Call) -> Any:
        x = c.tensor("self")
        if isinstance(x, Curve):
            return c.table(c.fx.name, x)
        if c.get("decimals", 0):
            raise Refusal("rounds to decimals", "multiply, round, and divide")
        if not isinstance(x.value, Pending):
            lo, hi = (_rounded(e, word) for e in reach(x))
        elif ex.every(lambda v: v > -ex.INF, x.lo) and ex.every(lambda v: v < ex.INF, x.hi):
            lo, hi = (_rounded(e, word) for e in (x.lo, x.hi))
        else:
            lo, hi = _clamped(c)
        q = Quantiser(np.asarray(1.0), np.asarray(0.0), lo, hi, word, shifted=True)
        c.state.quantisers[c.fx] = q
        return quantised(c.walk, x, q)

    return rule


def _rounded(ends: ex.Exact, word: str) -> Any:
    done = ex.rounded_all(ends, ROUNDINGS[word])
    return np.array([float(e) for e in done.ravel().tolist()]).reshape(done.shape)


def _clamped(c: Call) -> tuple[Any, Any]:
    users = list(c.fx.users)
    target = getattr(users[0].target, "_schema", None) if len(users) == 1 else None
    if target is not None and target.name in ("aten::clamp", "aten::clip", "aten::hardtanh"):
        bounds = [v for v in users[0].args[1:3] if isinstance(v, int | float)]
        if len(bounds) == 2:
            return np.floor(bounds[0]), np.ceil(bounds[1])
    raise Refusal(
        "rounds an input that has no range: no clamp to two constants follows",
        "clamp what is rounded, use a quantiser, or give the input a format: --input-type",
    )


RULES: dict[str, Handler] = {
    **{f"aten::fake_quantize_per_{of}_affine": fake_quantize() for of in ("tensor", "channel")},
    **{f"aten::fake_quantize_per_{of}_affine_cachemask": fake_quantize(True) for of in ("tensor", "channel")},
    "aten::_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": fake_quantize(True),
    **{f"quantized_decomposed::quantize_per_{of}": quantize for of in ("tensor", "channel")},
    **{f"quantized_decomposed::dequantize_per_{of}": dequantize for of in ("tensor", "channel")},
    "lutc::leaf": leaf,
    **{
        f"aten::{name}": by_hand(word)
        for name, word in (("round", "ROUND"), ("floor", "FLOOR"), ("ceil", "CEIL"), ("trunc", "DOWN"))
    },
}
FOLDED = frozenset(name for name in RULES if "quantize" in name or name == "lutc::leaf")
