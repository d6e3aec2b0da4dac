"""From a trained model to the IR: the design computes what ``model.eval()`` computes, number for number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lutc.diagnostics import error
from lutc.ir.graph import Design, Value
from lutc.lowering.compare import not_compared
from lutc.lowering.refusals import Refusal, Refusals
from lutc.types import Fixed, Overflow, Rounding, Type, uniform

from . import rules_attention, rules_conv, rules_einsum, rules_graph  # noqa: F401 - they add their rules
from .attention import QAttention, QSoftmax
from .function import QFunction
from .graph import INPUT, Graph, Move
from .joins import _Branches
from .known import HELP, hooked_globally, oddity
from .layers import QAdd, QConcat, QLinear, _Affine
from .look import check_runs, looked_at
from .lut import LUTDense
from .lutconv import _LUTConv
from .quantizer import Quantizer, flat
from .rules import Exporter, chain, lower, unknown, untranslated


def export(
    model: nn.Module, shape: tuple[int, ...] | None = None, *, name: str = "model", compare: bool = True
) -> Design:
    """The design of a trained model, equal to ``model.eval()`` on float64 inputs.

    ``shape`` is the input's without the batch; it may be left out if the model begins with a layer that tells it.
    The model is left as it was.  Unless ``compare`` is false, a copy runs on a few samples, and the design has to give
    the same.  The input port rounds down to one bit more than the first layer's finest input has,
    which cannot change what that layer reads.  Raises LirError listing every layer that cannot be translated.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> model = torch.nn.Sequential(nn.LUTDense(4, 3), nn.LUTDense(3, 2)).eval()
    >>> design = nn.export(model)
    >>> x = torch.rand(5, 4, dtype=torch.float64)
    >>> bool((design.run(x.numpy()) == model(x).numpy()).all())
    True
    """
    stages = list(chain(model, ""))
    if hook := hooked_globally():
        raise error(f"torch calls {hook} for every module (a global forward hook)", help=HELP)
    wrong = Refusals()
    for where, layer in stages:
        for part in unknown(layer):
            wrong.add(where or "model", untranslated(part), HELP if oddity(part) else _HELP)
        for kind, held in (("parameter", layer.named_parameters()), ("buffer", layer.named_buffers())):
            for own, value in held:
                if value.is_meta:
                    reason = f"its {kind} {own!r} is on the device 'meta', where tensors hold no numbers"
                    wrong.add(where or "model", reason, "load its state on a device that holds numbers")
                elif value.layout is not torch.strided or value.is_complex():
                    reason = f"its {kind} {own!r} is no plain tensor of real numbers"
                    wrong.add(where or "model", reason, "put one in its place")
                elif not torch.isfinite(value).all():
                    reason = f"its {kind} {own!r} holds numbers that are not finite"
                    wrong.add(where or "model", reason, _TRAIN)
        if any(isinstance(part, Quantizer) and part.tracing for part in layer.modules()):
            reason = "its ranges are being traced, and what it computes follows the data until that ends"
            wrong.add(where or "model", reason, "export it after nn.trace_ranges, or what nn.traced gives")
    wrong.check()
    with evaluating(model), torch.no_grad():
        try:
            design = _export(stages, shape, name)
        except (
            AttributeError,
            IndexError,
            RuntimeError,
            TypeError,
        ):  # of parameters exchanged for others, perhaps
            check_runs(model, port_of(stages, shape)[0].shape, name)
            raise
        return looked_at(model, design) if compare else not_compared(design, "as it was asked")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards as it was."""
    was = {m: m.training for m in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for m, training in was.items():
            m.training = training


_TRAIN = "its training has diverged: go back to an earlier checkpoint, or lower the learning rate"
_HELP = "use the layers of lutc.nn, and nn.Sequential, Flatten, MaxPool, ReLU or Dropout around them"


def _export(stages: list[tuple[str, nn.Module]], shape: tuple[int, ...] | None, name: str) -> Design:
    b, wrong = Exporter(name), Refusals()
    x: Value
    with wrong.at("input"):
        kind, overflow = port_of(stages, shape)
        x = b.input("x", kind, round=Rounding.FLOOR, overflow=overflow)
    wrong.check()
    for where, layer in stages:
        with wrong.at(where or "model"), b.origin(where or None):
            x = lower(layer, b, x)
        wrong.check()
    b.output("y", x)
    return b.design()


# -- the input port -------------------------------------------------------------------------------------------------


def _readers(layer: nn.Module) -> list[tuple[Quantizer, nn.Module]]:
    """The quantisers that read a layer's input."""
    if isinstance(layer, QAdd | QConcat | _Branches):
        firsts = [next(chain(branch, ""), ("", nn.Identity()))[1] for branch in layer.branches]
        return [r for first in firsts for r in _readers(first)]
    if isinstance(layer, Graph):
        return _graph_readers(layer)
    if isinstance(layer, Quantizer):
        return [(layer, layer)]
    if isinstance(layer, _LUTConv):
        return [(core.input_quantizer, layer) for core in layer.cores]  # type: ignore[misc]
    if isinstance(layer, LUTDense | _Affine | QFunction | QSoftmax):
        return [(layer.input_quantizer, layer)]
    if isinstance(layer, QAttention):
        return [(part.input_quantizer, layer) for part in (layer.query, layer.key, layer.value)]
    raise Refusal(
        f"the model begins with {type(layer).__name__}, which does not quantise its input",
        "put a Quantizer first",
    )


_PASSES = nn.Flatten | nn.Identity | nn.Dropout | nn.Dropout1d | nn.Dropout2d


def _graph_readers(graph: Graph) -> list[tuple[Quantizer, nn.Module]]:
    """Those of the layers that read the input as it is, or after it was moved about."""
    moved, found = {INPUT}, []
    for name, layer, read in graph.steps:
        if moved & set(read):
            if isinstance(layer, Move | _PASSES):
                moved.add(name)
            else:
                found += _readers(layer)
    if name in moved:
        raise Refusal("nothing quantises the input", "put a Quantizer first")
    return found


def port_of(stages: list[tuple[str, nn.Module]], shape: tuple[int, ...] | None) -> tuple[Type, Overflow]:
    """The type of the port that layers in a chain read, which rounds down, and what it does beyond its range."""
    while stages and isinstance(stages[0][1], _PASSES):
        stages = stages[1:]
    if not stages:
        raise Refusal("the model has no layers")
    readers = _readers(stages[0][1])
    first = readers[0][1]
    if shape is None:
        if isinstance(stages[0][1], Graph):
            shape = stages[0][1].shape
        elif isinstance(first, LUTDense | QLinear):
            shape = (first.n_in,)
        elif isinstance(first, Quantizer) and first.shape and 1 not in first.shape:
            shape = first.shape
        if shape is None:
            raise Refusal("the input's shape is not known", "give shape=(...), without the batch")
    modes = {q.overflow is Overflow.WRAP for q, _ in readers}
    if len(modes) > 1:
        raise Refusal("readers of the input wrap and saturate", "put one Quantizer before them")
    wraps = modes.pop()
    finest, widest = -(1 << 20), -(1 << 20)
    for q, _ in readers:
        f = q.formats()
        live = flat(f.width) > 0
        if not live.any():
            continue
        if q.rounding is Rounding.HALF_EVEN:
            raise Refusal(
                "the input is rounded half to even, which a port cannot prepare exactly",
                "use nearest-half-up or floor for the first layer",
            )
        finest = max(finest, int(flat(f.frac)[live].max()) + (q.rounding is Rounding.HALF_UP))
        widest = max(widest, int((flat(f.width) - flat(f.signed) - flat(f.frac))[live].max()))
    if finest + widest < 0:
        finest, widest = 0, 0  # nothing is read
    # one bit more than any reader's range, and the sign: a value that rounds up to the range's end still has its code
    return uniform(
        shape, Fixed(True, widest + finest + 2, finest)
    ), Overflow.WRAP if wraps else Overflow.SATURATE
