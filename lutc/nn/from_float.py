"""From a float model of `torch.nn` to layers of `lutc.nn` with the same weights, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lutc.diagnostics import error
from lutc.files.foreign import first_line
from lutc.lowering.refusals import Refusal, Refusals

from .floats import functions, moves, pools, sums
from .floats import weights as weighted
from .floats.ranges import narrowed, observed, start
from .floats.run import walked
from .floats.trace import checked, traced
from .floats.walk import Result, Walk, Widths
from .graph import INPUT, Graph, Move, QAffine
from .layers import Options, QBatchNorm, _Affine
from .quantizer import Quantizer
from .ranges import trace_ranges
from .to_design import evaluating, port_of

RULES = {**weighted.RULES, **functions.RULES, **sums.RULES, **pools.RULES, **moves.RULES}
SAMPLES = 256  # of the data that run at once
ROUNDS = 4  # in which formats may lose bits after the point, while ranges grow by what is rounded before them
# Of the largest number: what constants that were rounded may change, and what float32 may.
CLOSE = {torch.float64: 1e-6, torch.float32: 1e-3}
_OURS = ("shape", "integer", "fraction", "total", "signed")  # options that the conversion sets itself


def convert(
    module: Any,
    data: Any,
    *,
    bits: int = 8,
    weight_bits: int | None = None,
    quantizers: Options | None = None,
    weights: Options | None = None,
) -> Graph:
    """A float model as layers of `lutc.nn` with the same weights and trained bit widths.

    The module is traced by `torch.export`, so its own ``forward`` may be any program of layers and functions that
    computes one tensor from one, sample by sample. It is left as it was. The result is a `Graph`, in training or
    evaluation mode as the module is. Its layers have the names of the modules they come from, with an underscore for
    every dot and ``layer_`` before a leading digit: ``layers.0.conv`` becomes ``layers_0_conv``, and ``0.conv``
    becomes ``layer_0_conv``. What is no module's is called by its operator behind the name of the module that calls
    it. A second layer of one name ends in ``_2``, and quantisers between layers in ``_quantizer``.

    - `data`: what to take ranges from: a tensor or array [samples, ...], or an iterable of them, or of tuples that
      begin with one (a DataLoader). Later inputs beyond these ranges wrap, until training or `trace_ranges` has seen
      them.
    - `bits`: width of activations, sign included; each format has what its range needs before the point, and the
      rest after it. Keys of tables and softmax have 16 at most.
    - `weight_bits`: width of the widest weights, as many as of activations by default. Weights of one output have a
      common step, relative to the inputs they meet.
    - `quantizers`, `weights`: further options of the quantisers (`Quantizer`) of activations and of weights, such as
      ``{"overflow": "saturate"}``.

    Dropout stays, and is active in training. Batch norms stay layers of their own (`QBatchNorm`) and are not folded:
    training goes on with the statistics of batches, and every float weight can be given back. LayerNorm becomes means,
    products and a table of the reciprocal square root.

    While nothing is quantised, the result has to compute what the module does on the data. With quantisers, its error
    halves with each bit, as far as no table is concerned.

    Raises LirError listing everything in the module that has no translation, and ValueError for bad options.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> x = torch.randn(256, 4)
    >>> model = nn.convert(module, x, bits=12)
    >>> bool((model.eval()(x) - module(x)).abs().max() < 0.01)
    True
    >>> _ = module.load_state_dict(nn.to_float(model))
    """
    widths = _widths(bits, weight_bits, quantizers, weights)
    if not isinstance(module, nn.Module):
        raise error(f"a {type(module).__name__} is no torch.nn.Module", help="convert(module, data)")
    wrong = Refusals()
    refused = checked(module, wrong)
    batches = _batches(data, module)
    first = batches[0]
    with torch.random.fork_rng(
        devices=[]
    ):  # weights are drawn before they are copied, which is nobody's business
        walk = Walk(
            traced(module, torch.cat([first, first])[: max(2, len(first))], wrong, refused), widths, wrong
        )
        result = walked(walk, RULES)
        if isinstance(result, Result):
            _finish(walk, result)
        wrong.check()
        model = _graph(walk, module, tuple(first.shape[1:]))
    _look(model, walk, batches, widths)
    like = next(module.parameters(), first)
    return model.train(module.training).to(like.device)


def _widths(
    bits: int, weight_bits: int | None, quantizers: Options | None, weights: Options | None
) -> Widths:
    both = bits, bits if weight_bits is None else weight_bits
    for word, n in zip(("bits", "weight_bits"), both, strict=True):
        if type(n) is not int or not 2 <= n <= 24:
            raise ValueError(f"{word} is a whole number from 2 to 24, not {n!r}")
    for word, options in (("quantizers", quantizers), ("weights", weights)):
        taken = sorted(set(options or {}) & set(_OURS))
        if taken:
            raise ValueError(f"{word} cannot set {', '.join(taken)}, which follow from bits and the data")
        try:
            Quantizer(**(options or {}))
        except TypeError as e:
            raise ValueError(f"{word}: {e}") from None
    return Widths(*both, dict(quantizers or {}), dict(weights or {}))


def _batches(data: Any, module: nn.Module) -> list[Tensor]:
    """The data in batches on the CPU, of the module's float type. Raises LirError for what is none."""
    kinds = (p.dtype for p in module.parameters() if p.dtype in (torch.float32, torch.float64))
    dtype = next(kinds, torch.float32)
    help = "give convert(module, data) a tensor [samples, ...], or an iterable of batches"
    try:
        several = [data] if isinstance(data, Tensor) or hasattr(data, "__array__") else list(data)
        firsts = [b[0] if isinstance(b, tuple | list) and not _numbers(b) else b for b in several]
        tensors = [torch.as_tensor(b).detach().cpu() for b in firsts]
        if any(t.is_complex() for t in tensors):
            raise TypeError("they are complex")
        found = [t.to(dtype) for t in tensors]
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as e:
        raise error(f"the data are no tensors: {first_line(e)}", help=help) from None
    if not found or any(b.dim() < 2 for b in found) or not sum(b.numel() for b in found):
        raise error("the data have no samples, or samples without an axis or elements", help=help)
    if len({b.shape[1:] for b in found}) > 1:
        raise error("the batches of the data differ in shape", help=help)
    if not all(torch.isfinite(b).all() for b in found):
        raise error("the data hold numbers that are not finite", help="leave those samples away")
    return [b[i : i + SAMPLES] for b in found for i in range(0, len(b), SAMPLES)]


def _numbers(batch: Any) -> bool:
    return bool(batch) and not isinstance(batch[0], Tensor) and not hasattr(batch[0], "__array__")


def _finish(walk: Walk, result: Result) -> None:
    """Leave away what the result is not made of, so that it comes last."""
    if result.name == INPUT:
        result = walk.layer("output", Move("reshape", *result.shape), [result], result.shape)
    needed = {result.name}
    for name in reversed(list(walk.reads)):
        if name in needed:
            needed.update(walk.reads[name])
        else:
            del walk.reads[name], walk.layers[name]


def _graph(walk: Walk, module: nn.Module, shape: tuple[int, ...]) -> Graph:
    """The layers put together, with a quantiser in front if none reads the input, and all of the module's state."""
    layers, reads = walk.layers, walk.reads
    try:
        port_of([("", Graph(layers, reads, shape=shape))], shape)
    except Refusal:
        name = walk.names.take("input_quantizer")
        layers = {name: walk.widths.quantizer(shape), **layers}
        replaced = {n: tuple(name if r == INPUT else r for r in read) for n, read in reads.items()}
        reads = {name: (INPUT,), **replaced}
    walk.layers, walk.reads = layers, reads
    state = walk.traced.state
    owners: dict[int, str] = {}
    there = {k for k, parts in walk.held.items() if all(p.split(".")[0] in layers for p in parts)}
    walk.held = {k: walk.held[k] for k in there}
    for key, value in state.items():
        first = owners.setdefault(id(value), key)
        if first not in walk.held:
            walk.keep(first, value)
    floats = {k: (walk.held[owners[id(v)]], tuple(v.shape)) for k, v in state.items()}
    model = Graph(walk.layers, walk.reads, shape=shape, floats=floats)
    given = module.state_dict(keep_vars=True)
    for key, (parts, _) in floats.items():
        for part in parts:
            home, _, name = part.rpartition(".")
            own = getattr(model.get_submodule(home), name)
            if isinstance(own, nn.Parameter):
                own.requires_grad_(given[key].requires_grad)
    return model


def _look(model: Graph, walk: Walk, batches: list[Tensor], widths: Widths) -> None:
    """Compare the model, quantising nothing, with the module it was made of; then give its quantisers their formats."""
    own, dtype = walk.traced.float.double(), torch.float64
    with torch.no_grad(), observed(model.double()) as seen:
        try:
            own(batches[0].to(dtype, copy=True))
        except RuntimeError:  # it makes tensors of its own type
            dtype = batches[0].dtype
            own.to(dtype)
        for batch in batches:
            x = batch.to(dtype)
            mine, theirs = model(x), own(x.clone())  # which may change what it is given
            if not torch.isfinite(theirs).all():
                raise error(
                    "computes numbers that are not finite on the data",
                    where=type(own).__name__,
                    help="leave those samples away, or keep what it divides by, or takes roots of, away from 0",
                )
            most = CLOSE[dtype] * float(theirs.abs().max()) + 1e-9
            if mine.shape != theirs.shape or not (mine - theirs).abs().max() <= most:  # NaN is not either
                wrong = "the layers made of it do not compute what it does, so it is not converted"
                help = "this is a mistake in lutc: please report the model"
                if not torch.equal(own(x.clone()), theirs):
                    wrong = "computes something else of the same data when it is called again"
                    help = "let its forward keep nothing, and draw nothing in evaluation"
                raise error(wrong, where=type(own).__name__, help=help)
    model.to(batches[0].dtype)
    start(model, seen, widths.data_bits, widths.weight_bits)
    trace_ranges(model, batches)
    for _ in range(ROUNDS):
        if not narrowed(seen, widths.data_bits):
            break
        trace_ranges(model, batches)


def to_float(model: nn.Module, *, quantised: bool = False) -> dict[str, Tensor]:
    """The state_dict of the float model that `convert` made this one of, with the weights as they are now.

    It loads into that model by ``load_state_dict``. What was not trained is what it was, bit for bit and in its own
    type, as long as the model's float type is the one it was made with. If ``quantised``, weights and biases are
    those that hardware has, and a batch norm's are such that its gain and shift are, as near as the float type comes.

    Raises LirError for a model that `convert` has not made.
    """
    if not isinstance(model, Graph) or model.floats is None:
        raise error(
            f"this {type(model).__name__} was not made by lutc.nn.convert, and has no float form",
            where=type(model).__name__,
            help="give to_float the model that convert returned, or the part of a larger one that is it",
        )
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if quantised:
        for name, layer in model.named_modules(remove_duplicate=False):
            state.update({f"{name}.{word}": value for word, value in _hardware(layer).items()})
    found = {}
    for key, (parts, shape) in model.floats.items():
        values = [state[p] for p in parts]
        found[key] = (values[0] if len(values) == 1 else torch.cat(values)).reshape(shape)
    return found


@torch.no_grad()
def _hardware(layer: nn.Module) -> dict[str, Tensor]:
    """A layer's weights as hardware has them, by name."""
    made: dict[str, Tensor | None] = {}
    with evaluating(layer):
        if isinstance(layer, _Affine):
            made["weight"], made["bias"] = layer.quantised()
        elif isinstance(layer, QAffine):
            made = {name: layer.quantised(name) for name in layer.names}
        elif isinstance(layer, QBatchNorm):
            gain, shift = layer.exact()
            made["gamma"] = gain * torch.sqrt(layer.running_var.double() + layer.eps)
            made["beta"] = shift + layer.running_mean.double() * gain
    like = next(layer.parameters(), torch.zeros(()))
    return {name: v.to(like.dtype) for name, v in made.items() if v is not None}
