"""PyTorch: every constructor argument of every module and every argument of every operator that lutc reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from settings import Setting
from torch import nn

import lutc
from lutc.frontends.torch.lower import RULES

N = 6


def fake(x: torch.Tensor, scale: float = 0.25, lo: int = -20, hi: int = 20) -> torch.Tensor:
    return torch.fake_quantize_per_tensor_affine(x, scale, 0, lo, hi)


class Between(nn.Module):
    """A function between two quantisers; what is no float is given as it is."""

    def __init__(self, function: Callable[[torch.Tensor], Any], inner: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.inner = function, inner

    def forward(self, x: torch.Tensor) -> Any:
        y = self.function(fake(x))
        several = y if isinstance(y, tuple | list) else (y,)
        done = tuple(fake(v, 1 / 64, -(2**17), 2**17 - 1) if v.is_floating_point() else v for v in several)
        return done if isinstance(y, tuple | list) else done[0]


def setting(
    item: str, option: str, build: Callable[[], tuple[nn.Module, tuple[int, ...]]], refusal: str = ""
) -> Setting:
    """A module on samples of a shape."""

    def make() -> tuple[Callable[[], Any], Any, dict[str, Any]]:
        torch.manual_seed(0)
        model, shape = build()
        model.eval()
        rng = np.random.default_rng(0)
        x = torch.as_tensor(np.rint(rng.normal(0, 2, (N, *shape)) * 8) / 8, dtype=torch.float32)
        x[0] = 0
        with torch.no_grad():
            done = [model(x[i : i + 1]) for i in range(N)]
        several = [d if isinstance(d, tuple | list) else (d,) for d in done]
        right = [torch.cat([d[i].reshape(1, -1) for d in several]).numpy() for i in range(len(several[0]))]
        load = partial(lutc.load, model, example_inputs=x[:1])
        return load, right, {"x": x.double().numpy()}

    return Setting("torch", item, option, make, refusal)


# -- modules --------------------------------------------------------------------------------------------------------

LINE, PLANE, CUBE, ROW = (4, 6), (4, 6, 6), (2, 4, 4, 4), (6,)
FREE: Mapping[str, tuple[Any, ...]] = {
    "device": ("cpu",),
    "dtype": (torch.float32, torch.float64),
    "inplace": (True,),
}
HALF = (torch.float16,)


def _conv(rank: int, transposed: bool) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {
        "in_channels": (4,),
        "out_channels": (2, 4),
        "kernel_size": (1, 2, (2,) * rank),
        "stride": (1, 2, (2,) * rank),
        "padding": (0, 1, (1,) * rank) if transposed else (0, 1, (1,) * rank, "same", "valid"),
        "dilation": (1, 2),
        "groups": (1, 2),
        "bias": (True, False),
        "padding_mode": ("zeros",) if transposed else ("zeros", "reflect", "replicate", "circular"),
    }
    if transposed:
        found["output_padding"] = (0,)
    return found


POOL = {
    "kernel_size": (2, 3),
    "stride": (None, 1, 3),
    "padding": (0, 1),
    "ceil_mode": (False, True),
    "return_indices": (False,),
}
MAX = {**POOL, "dilation": (1, 2)}
AVG = {**POOL, "count_include_pad": (True, False), "divisor_override": (None, 3)}
NORM = {
    "num_features": (4,),
    "eps": (1e-5, 1e-3, 0.25),
    "momentum": (0.1, None),
    "affine": (True, False),
    "bias": (True, False),
    "track_running_stats": (True, False),
}
SIZES = {1: LINE, 2: PLANE, 3: (4, 4, 4, 4)}
DROP = {"p": (0.5, 0.0)}
PADS = {1: (1, (2, 0)), 2: (1, (1, 0, 2, 1)), 3: (1,)}

MODULES: dict[str, tuple[tuple[int, ...], Mapping[str, tuple[Any, ...]]]] = {
    "Linear": (ROW, {"in_features": (6,), "out_features": (3,), "bias": (True, False)}),
    **{f"Conv{n}d": (SIZES[n], _conv(n, False)) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": (SIZES[n], _conv(n, True)) for n in (1, 2)},
    **{f"BatchNorm{n}d": (SIZES[n], NORM) for n in (1, 2, 3)},
    **{f"MaxPool{n}d": (SIZES[n], MAX) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": (SIZES[n], AVG) for n in (1, 2, 3)},
    **{f"AdaptiveAvgPool{n}d": (SIZES[n], {"output_size": (1, 2, 3)}) for n in (1, 2, 3)},
    **{
        f"AdaptiveMaxPool{n}d": (SIZES[n], {"output_size": (1, 2, 3), "return_indices": (False,)})
        for n in (1, 2, 3)
    },
    **{
        f"{kind}Pad{n}d": (SIZES[n], {"padding": PADS[n]})
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2)
    },
    **{f"ConstantPad{n}d": (SIZES[n], {"padding": PADS[n], "value": (0.0, 0.5, -1)}) for n in (1, 2)},
    "Flatten": (PLANE, {"start_dim": (1, 2), "end_dim": (-1, 2)}),
    "Unflatten": (ROW, {"dim": (1,), "unflattened_size": ((2, 3), (3, 2))}),
    "Identity": (ROW, {}),
    "ReLU": (ROW, {}),
    "ReLU6": (ROW, {}),
    "LeakyReLU": (ROW, {"negative_slope": (0.01, 0.25, 0.0, -0.5)}),
    "PReLU": (LINE, {"num_parameters": (1, 4), "init": (0.25, 0.5)}),
    "Hardtanh": (
        ROW,
        {"min_val": (-1.0, 0.0), "max_val": (1.0, 2.0), "min_value": (None,), "max_value": (None,)},
    ),
    "ELU": (ROW, {"alpha": (1.0, 0.5)}),
    "CELU": (ROW, {"alpha": (1.0, 0.5)}),
    "SELU": (ROW, {}),
    "GELU": (ROW, {"approximate": ("none", "tanh")}),
    "Softplus": (ROW, {"beta": (1.0, 2.0), "threshold": (20.0, 1.0)}),
    "Softshrink": (ROW, {"lambd": (0.5, 1.0)}),
    "Hardshrink": (ROW, {"lambd": (0.5, 1.0)}),
    "Threshold": (ROW, {"threshold": (0.5, -1.0), "value": (0.25, -2.0)}),
    **{
        n: (ROW, {})
        for n in (
            "Sigmoid",
            "Tanh",
            "Hardsigmoid",
            "Hardswish",
            "SiLU",
            "Mish",
            "LogSigmoid",
            "Softsign",
            "Tanhshrink",
        )
    },
    **dict.fromkeys(
        ("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"), (PLANE, DROP)
    ),
    "Upsample": (
        PLANE,
        {
            "size": (None,),
            "scale_factor": (2, 3, 1.5),
            "mode": ("nearest",),
            "align_corners": (None,),
            "recompute_scale_factor": (None, True),
        },
    ),
    "UpsamplingNearest2d": (PLANE, {"size": (None, 12), "scale_factor": (None, 2)}),
    "PixelShuffle": (PLANE, {"upscale_factor": (2,)}),
    "PixelUnshuffle": (PLANE, {"downscale_factor": (2, 3)}),
    "ChannelShuffle": (PLANE, {"groups": (2, 4)}),
}
MAY_REFUSE = {
    ("Softsign", ""): "divides by data",
    ("ConvTranspose1d", "stride=2"): "outputs that no tap reaches",
    ("ConvTranspose1d", "stride=(2,)"): "outputs that no tap reaches",
    ("ConvTranspose2d", "stride=2"): "outputs that no tap reaches",
    ("ConvTranspose2d", "stride=(2, 2)"): "outputs that no tap reaches",
    ("AdaptiveAvgPool3d", "output_size=3"): "windows overlap",
    ("AdaptiveMaxPool3d", "output_size=3"): "windows overlap",
    ("AvgPool2d", "divisor_override=3"): "divides by a number of its own",
    ("AvgPool3d", "divisor_override=3"): "divides by a number of its own",
    **{(f"BatchNorm{n}d", "track_running_stats=False"): "keeps no statistics" for n in (1, 2, 3)},
    **{(m, f"dtype={d}"): "rounds at every step" for m in ("Linear", "Conv2d") for d in HALF},
}


def module(
    name: str, arguments: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[nn.Module, tuple[int, ...]]:
    made = getattr(nn, name)(**arguments)
    _gridded(made)
    double = arguments.get("dtype") is torch.float64
    return Between((lambda x: made(x.double()).float()) if double else made, made), shape


def _gridded(model: nn.Module) -> None:
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.ndim and value.is_floating_point():
                values = np.rint(rng.normal(0, 4, value.shape)) / 8
                value.copy_(torch.as_tensor(rng.uniform(0.5, 2, value.shape) if "var" in name else values))


def of_modules() -> Iterator[Setting]:
    for name, (shape, given) in MODULES.items():
        known = set(inspect.signature(getattr(nn, name).__init__).parameters) - {"self", "args", "kwargs"}
        values = {**FREE, **given}
        undeclared = known - set(values)
        if undeclared:
            raise AssertionError(f"nn.{name} has arguments without declared values: {sorted(undeclared)}")
        base = {a: v[0] for a, v in given.items() if a in known}
        for argument in [a for a in values if a in known]:
            for value in values[argument]:
                option = f"{argument}={value}"
                build = partial(module, name, {**base, argument: value}, shape)
                yield setting(name, option, build, MAY_REFUSE.get((name, option), ""))
        if not base:
            yield setting(name, "", partial(module, name, {}, shape), MAY_REFUSE.get((name, ""), ""))


# -- operators ------------------------------------------------------------------------------------------------------

# Values of an operator's arguments by their names; a tuple with a tensor's shape stands for a constant tensor.
SHAPE = (4, 6)
CONSTANT = torch.as_tensor(np.rint(np.random.default_rng(2).normal(0, 3, (1, *SHAPE))) / 2 + 0.25).float()
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "alpha": (1, 2, 0.5),
    "align_corners": (None,),
    "approximate": ("none", "tanh"),
    "beta": (1, 2),
    "chunks": (2, 4),
    "copy": (False, True),
    "correction": (1,),
    "decimals": (0,),
    "descending": (False,),
    "device": (None,),
    "diagonal": (0, 1, -1),
    "dim": (1, -1, 2, 0),
    "dim0": (1,),
    "dim1": (2, -1),
    "dims": ([0, 2, 1], [0, 1, 2]),
    "downscale_factor": (2,),
    "dtype": (None, torch.float64, torch.float16),
    "end": (4, 2, -1),
    "end_dim": (-1, 2),
    "exponent": (2, 3, 1, -1, 0.5),
    "groups": (2,),
    "half_to_float": (False,),
    "implicit": (False,),
    "index": (0, 2, -1),
    "input_scale": (1,),
    "k": (1, -1, 2),
    "keepdim": (False, True),
    "lambd": (0.5, 1),
    "layout": (None,),
    "length": (2,),
    "max": (1, 2.5),
    "max_val": (1, 2.5),
    "memory_format": (None, torch.contiguous_format),
    "min": (-1, 0.5),
    "min_val": (-1, -0.5),
    "negative_slope": (0.01, 0.5, -1),
    "non_blocking": (False, True),
    "offset": (0, 1),
    "other": (CONSTANT, 2, -0.5, 0),
    "pin_memory": (None, False),
    "rounding_mode": (None, "floor", "trunc"),
    "scale": (1, 2),
    "scales": (None, 2.0),
    "shifts": ([1], [2]),
    "size": ([-1, 4, 6],),
    "start": (0, 1, -2),
    "start_dim": (1,),
    "step": (1, 2),
    "threshold": (20, 0.5),
    "upscale_factor": (2,),
    "value": (0.25, 1, -2),
    "weight": (torch.tensor([0.25]), torch.tensor([0.5, 0.25, -1.0, 2.0])),
}
# What an operator needs otherwise: arguments that the others' values do not fit.
OWN: dict[str, dict[str, tuple[Any, ...]]] = {
    "flip": {"dims": ([1], [2], [1, 2], [0])},
    "roll": {"dims": ([1], [2], [0])},
    "chunk": {"chunks": (2,)},
    "view": {"size": ([-1, 24], [-1, 6, 4])},
    "reshape": {"shape": ([-1, 24], [-1, 6, 4])},
    "repeat": {"repeats": ([1, 2, 1], [1, 1, 3])},
    "tile": {"dims": ([1, 2, 1],)},
    "expand": {"size": ([-1, 4, 6],)},
    "split": {"split_size": (2, 3), "split_sizes": ([1, 3],)},
    "split_with_sizes": {"split_sizes": ([1, 3], [2, 2])},
    "unflatten": {"sizes": ([2, 2],)},
    "movedim": {"source": ([1],), "destination": ([2],)},
    "moveaxis": {"source": ([1],), "destination": ([2],)},
    "swapaxes": {"axis0": (1,), "axis1": (2,)},
    "repeat_interleave": {"repeats": (2,), "output_size": (None,)},
    "index_select": {"index": (torch.tensor([2, 0]),)},
    "constant_pad_nd": {"pad": ([1, 2], [0, 0, 2, 1], [-1, 1])},
    "pad": {
        "pad": ([1, 2], [0, 0, 2, 1]),
        "mode": ("constant", "reflect", "replicate", "circular"),
        "value": (None,),
    },
    "unfold": {"dimension": (1, 2), "size": (2,), "step": (1, 2)},
    "rot90": {"dims": ([1, 2],), "k": (1, 2, 3)},
    "full_like": {"fill_value": (2, 0.5)},
    "masked_fill": {"mask": (CONSTANT > 0,), "value": (0.25, -1)},
    "where": {"other": (CONSTANT,)},
    "celu": {"alpha": (1, 0.5)},
    "elu": {"alpha": (1, 0.5), "scale": (1, 2), "input_scale": (1, 2)},
    "div": {"other": (CONSTANT, 2, -0.5)},
    "softplus": {"beta": (1, 2)},
    "sum": {"dtype": (None, torch.float64, torch.float16, torch.int64)},
    "round": {"decimals": (0, 1)},
}
# Operators whose arguments take modules or several tensors: the modules' settings, and the tests, reach those.
ELSEWHERE = frozenset(
    """
    linear matmul mm bmm mv addmm baddbmm einsum batch_norm _native_batch_norm_legit_no_training conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d convolution cat stack copy gather take_along_dim index scatter
    index_put index_fill select_scatter slice_scatter diagonal_scatter new_full new_zeros new_ones fill type_as
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d
    max_pool1d_with_indices dropout feature_dropout feature_alpha_dropout alpha_dropout
    native_dropout channel_shuffle numpy_T t expand_as view_as reshape_as
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d pixel_shuffle pixel_unshuffle view_copy detach_ lift_fresh lift_fresh_copy
    _prelu_kernel reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d bitwise_and bitwise_or bitwise_xor
    bitwise_not logical_and logical_or logical_xor logical_not __and__ __or__ __xor__ where _to_copy to _unsafe_view
    full_like zeros_like ones_like contiguous softmax _softmax log_softmax _log_softmax diagonal rot90
    """.split()  # noqa: SIM905
)
REFUSED: dict[tuple[str, str], str] = {
    ("div", "rounding_mode=floor"): "rounds its quotient",
    ("div", "rounding_mode=trunc"): "rounds its quotient",
    ("round", "decimals=1"): "rounds to decimals",
    ("sum", "dtype=torch.int64"): "rounds what it sums",
    ("view", "dtype=torch.float64"): "reads bits as another type",
}
WHOLE = ("squeeze.default", "max.default", "min.default", "mean.default", "sum.default")  # of all dimensions
MIXES = ("dim=0", "dims=[0]")


# Where functions are numbers.
DOMAINS: dict[str, Callable[[torch.Tensor], Any]] = {
    **dict.fromkeys(("acos", "asin", "atanh"), lambda x: x * 0.125),
    **dict.fromkeys(
        ("acosh", "log", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "pow"), lambda x: x.abs() + 1
    ),
    "log1p": lambda x: x.abs(),
}


def applied(overload: Any, given: Mapping[str, Any]) -> tuple[nn.Module, tuple[int, ...]]:
    first = overload._schema.arguments[0].name
    domain = DOMAINS.get(overload._schema.name.removeprefix("aten::"), nn.Identity())

    def run(x: torch.Tensor) -> Any:
        function: Callable[..., Any] = overload
        return function(**{first: domain(x), **given})

    return Between(run), SHAPE


def of_operators() -> Iterator[Setting]:
    for rule in sorted(RULES):
        home, name = rule.split("::")
        if home != "aten" or name in ELSEWHERE or name.startswith(("fake_quantize", "_fake_quantize")):
            continue
        packet = getattr(torch.ops.aten, name)
        for word in packet.overloads():
            overload = getattr(packet, word)
            arguments = overload._schema.arguments[1:]
            if any(a.is_out or "Dimname" in str(a.type) for a in arguments) or _odd(overload):
                continue
            yield from _of_overload(f"{name}.{word}", name, overload, arguments)


def _odd(overload: Any) -> bool:
    """Overloads that no exported program has: of scalars, for scripts, and with names of dimensions."""
    schema = overload._schema
    first = schema.arguments[:1]
    return (
        not first
        or str(first[0].type) != "Tensor"
        or any(str(a.type) == "List[Tensor]" for a in schema.arguments)
    )


def _of_overload(item: str, name: str, overload: Any, arguments: Any) -> Iterator[Setting]:
    values = {a.name: OWN.get(name, {}).get(a.name, ARGUMENTS.get(a.name)) for a in arguments}
    undeclared = [a for a, v in values.items() if v is None]
    if undeclared:
        raise AssertionError(f"aten.{item} has arguments without declared values: {undeclared}")
    kinds = {a.name: str(a.type) for a in arguments}
    fit = {a: [v for v in vs or () if _fits(v, kinds[a])] for a, vs in values.items()}
    base = {a.name: fit[a.name][0] for a in arguments if not a.has_default_value() and fit[a.name]}
    mixes = "dim" in fit or item in WHOLE or name in ("flatten", "roll")
    yield setting(item, "", partial(applied, overload, base), "mixes samples" if mixes else "")
    if fit.get("dim"):
        base["dim"] = fit["dim"][0]
    for argument, several in fit.items():
        for value in several:
            option = f"{argument}={value if not isinstance(value, torch.Tensor) else 'tensor'}"
            refusal = REFUSED.get((name, option), "")
            if (
                item in WHOLE
                or (name == "flatten" and argument != "start_dim")
                or (name == "roll" and argument == "shifts")
            ):
                refusal = "mixes samples"
            if option in MIXES or option.endswith("float16"):
                refusal = "mixes samples, or rounds at every step"
            yield setting(item, option, partial(applied, overload, {**base, argument: value}), refusal)


def _fits(value: Any, kind: str) -> bool:
    if "List[int]" in kind:
        return isinstance(value, list | int) and not isinstance(value, bool)
    if "Tensor" in kind:
        return isinstance(value, torch.Tensor)
    if isinstance(value, torch.Tensor | list):
        return False
    return not (kind in ("int", "SymInt") and isinstance(value, float))


def settings() -> Iterator[Setting]:
    """All of them."""
    yield from of_modules()
    yield from of_operators()
