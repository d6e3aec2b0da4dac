"""A float module as a graph of ATen operators, for `lutc.nn.convert`; and what no graph of it would tell."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune

from lutc.diagnostics import error
from lutc.files.foreign import first_line
from lutc.lowering.refusals import Refusals
from lutc.nn.known import HELP, hooked_globally, oddity
from lutc.nn.quantizer import Layer

FLOATS = (torch.float32, torch.float64)


@torch.library.custom_op(
    "lutc::attention", mutates_args=(), schema="(Tensor x, str name) -> (Tensor, Tensor)"
)
def attention(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Stands for a MultiheadAttention in a traced graph, and for the weights it also gives; nothing runs it."""
    raise NotImplementedError(name)


@attention.register_fake
def _attention_shapes(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(x.shape[0], x.shape[1], x.shape[1])


@dataclass(frozen=True, eq=False)
class Traced:
    """The nodes of a module in evaluation mode, from the `input` to the `output`; the batch is the first dimension.

    `stored` has, by the names of placeholders, the tensor and the key of the module's state_dict (None where it has
    none). `float` is the copy that was traced, in evaluation mode; `state` is its state_dict. `refused` are names of
    modules about which everything has been said.
    """

    nodes: tuple[fx.Node, ...]
    input: fx.Node
    output: fx.Node
    stored: Mapping[str, tuple[Tensor, str | None]]
    float: nn.Module
    state: Mapping[str, Tensor]
    refused: frozenset[str]


def module_of(node: fx.Node) -> tuple[str, str]:
    """The innermost module that a node comes from: its name and class."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = next((s for s in reversed(stack) if not str(s[0]).startswith("_empty_nn")), ("", ""))
    return path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"


def where_of(node: fx.Node) -> tuple[str, str]:
    """What messages call a node: the module's name and class or, in a user's own, the call's."""
    path, kind = module_of(node)
    if path and kind.startswith("torch.nn."):
        return path, kind.rsplit(".", 1)[-1]
    name = getattr(node.target, "__name__", str(node.target)).split(".")[0].rstrip("_")
    return (f"{path}.{node.name}" if path else node.name), name


LAYER = (
    "is a layer of lutc.nn already",
    "train a model of lutc.nn's layers as it is; of a mixed one, convert each float part, and put all parts into an "
    "nn.Sequential",
)


def checked(module: nn.Module, wrong: Refusals) -> set[str]:
    """Note what is refused before anything is traced; the names of the modules it stands at."""
    if isinstance(module, torch.jit.ScriptModule):
        help = "convert the module that was scripted or traced, before torch.jit"
        raise error("is a TorchScript module, which hides its layers", where=type(module).__name__, help=help)
    if hook := hooked_globally():
        wrong.add("model", f"torch calls {hook} for every module (a global forward hook)", HELP)
    refused: set[str] = set()
    inner = ""
    for name, part in module.named_modules():
        if inner and name.startswith(inner):
            continue  # of a layer of lutc.nn
        inner = f"{name}." if isinstance(part, Layer) else ""
        if isinstance(part, Layer) and not name:
            wrong.add("model", *LAYER)
            wrong.check()
        said = _reason(part)
        if said is not None:
            wrong.add(f"{name or 'model'} ({type(part).__name__})", *said)
            refused.add(name)
    if any(map(is_lazy, module.state_dict(keep_vars=True).values())):
        wrong.check()
    kinds = {p.dtype for p in module.parameters() if p.is_floating_point() or p.is_complex()}
    if kinds - set(FLOATS):
        found = ", ".join(sorted(str(k).removeprefix("torch.") for k in kinds - set(FLOATS)))
        wrong.add(
            "model", f"has parameters of type {found}", "give its float32 form: convert(module.float())"
        )
    elif len(kinds) > 1:
        wrong.add("model", "has parameters of several float types", "make them one: module.float()")
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            wrong.add(
                name, f"is a {type(value).__name__} in its state", "convert the part that has tensors alone"
            )
    for name, value in module.named_parameters():
        if not torch.isfinite(value).all():
            wrong.add(name, "holds numbers that are not finite", "go back to an earlier checkpoint")
    return refused


def _reason(part: nn.Module) -> tuple[str, str] | None:
    if isinstance(part, Layer):
        return LAYER
    if any(p is not None and is_lazy(p) for p in part._parameters.values()):
        return "is lazy: its parameters are not made before it is first called", "run the module on data once"
    if "parametrizations" in part._modules:
        name = next(iter(part.parametrizations))  # type: ignore[arg-type]
        return (
            f"has a parametrized {name}, which is computed anew at every call",
            f'make it a plain one: torch.nn.utils.parametrize.remove_parametrizations(layer, "{name}")',
        )
    for hook in part._forward_pre_hooks.values():
        kind = type(hook).__name__
        if kind in ("WeightNorm", "SpectralNorm"):
            remove = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}[kind]
            reason = f"has a weight that {kind} computes anew at every call"
            return reason, f"make it a plain one: torch.nn.utils.{remove}(layer)"
        if isinstance(hook, prune.BasePruningMethod):
            name = hook._tensor_name
            reason = f"has a {name} that is pruned anew at every call"
            return reason, f'make it a plain one: torch.nn.utils.prune.remove(layer, "{name}")'
    odd = oddity(part)
    if odd is not None:
        return odd, "take it off before converting, or write it into the forward of a module around the layer"
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        if part.running_mean is None:
            return (
                "keeps no statistics (track_running_stats=False), so it normalises by those of the batch",
                "train it with track_running_stats=True",
            )
        if part.momentum is None:
            return (
                "averages its statistics over all batches (momentum=None)",
                "set its momentum to a number such as 0.1; lutc.nn.settle_norms makes such a mean at any time",
            )
    if isinstance(part, nn.RNNBase):
        return (
            "is recurrent",
            "lutc.nn has no recurrent layers: use convolutions or attention over the positions",
        )
    if isinstance(part, nn.MultiheadAttention):
        return _attention_reason(part)
    return None


def _attention_reason(part: nn.MultiheadAttention) -> tuple[str, str] | None:
    if not part.batch_first:
        return "has the batch as its second dimension", "make it with batch_first=True"
    if part.bias_k is not None or part.add_zero_attn:
        return "adds keys and values of its own", "make it without add_bias_kv and add_zero_attn"
    if not part._qkv_same_embed_dim:
        return "takes keys or values of another width (kdim, vdim)", "make it without kdim and vdim"
    return None


def traced(module: nn.Module, example: Tensor, wrong: Refusals, refused: set[str]) -> Traced:
    """The module as a graph, on an example of two samples or more. Raises LirError if it cannot be traced."""
    name = type(module).__name__
    try:
        twin = _twin(module)
    except (RuntimeError, TypeError) as e:
        wrong.check()
        help = "convert it as it is made, before it has computed anything that it keeps"
        raise error(f"cannot be copied: {first_line(e)}", where=name, help=help) from None
    try:
        with torch.no_grad():
            given = twin(example)
    except Exception as e:  # whatever the user's module raises
        wrong.check()  # perhaps for that very reason
        help = "its forward is given one tensor, whose first dimension counts samples"
        raise error(f"fails on the data: {first_line(e)}", where=name, help=help) from None
    if not isinstance(given, Tensor):
        help = "return one tensor: leave the others away, or join them with torch.cat"
        wrong.add(
            "output", f"is a {type(given).__name__}, and a model of lutc.nn has one tensor for it", help
        )
        wrong.check()
    try:
        with torch.enable_grad(), warnings.catch_warnings(), _opened(twin, wrong):
            warnings.simplefilter("ignore")
            batch = torch.export.Dim("batch")
            shapes: Any = ({0: batch},)
            if next(iter(signature(twin.forward).parameters.values())).kind is Parameter.VAR_POSITIONAL:
                shapes = (shapes,)
            program = torch.export.export(twin, (example,), dynamic_shapes=shapes, strict=False)
    except (
        Exception
    ) as e:  # the module's own code runs inside, and torch has no error class of its own for this
        wrong.check()
        help = (
            "its forward takes one tensor of any number of samples (x.shape[0], for len(x) is that of the example), "
            "and what runs must not depend on the data"
        )
        raise error(f"torch.export cannot follow it: {first_line(e)}", where=name, help=help) from None
    about = program.graph_signature
    inputs = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in about.user_inputs]
    (end,) = (n for n in program.graph.nodes if n.op == "output")
    state = twin.state_dict(keep_vars=True)
    owner: dict[int, str] = {}
    for key, value in state.items():
        owner.setdefault(id(value), key)
    stored: dict[str, tuple[Tensor, str | None]] = {}
    for node, target in {**about.inputs_to_parameters, **about.inputs_to_buffers}.items():
        value = state[target] if target in state else twin.get_buffer(target)
        stored[node] = value, owner.get(id(value))
    for node, target in about.inputs_to_lifted_tensor_constants.items():
        stored[node] = program.constants[target], None
    nodes = tuple(n for n in program.graph.nodes if n.op == "call_function")
    return Traced(nodes, inputs[0], end.args[0][0], stored, twin, state, frozenset(refused))


def _twin(module: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode."""
    twin = copy.deepcopy(module).cpu().eval()
    for p in twin.parameters():
        p.requires_grad_(p.is_floating_point())  # a frozen TransformerEncoderLayer would run as one operator
    return twin


@contextmanager
def _opened(twin: nn.Module, wrong: Refusals) -> Iterator[None]:
    """With one operator in the place of every MultiheadAttention."""
    found = [(name, m) for name, m in twin.named_modules() if type(m) is nn.MultiheadAttention]
    for name, part in found:
        part.forward = partial(_attend, name, wrong)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for _, part in found:
            del part.forward


def _attend(
    name: str,
    wrong: Refusals,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    label = f"{name or 'model'} (MultiheadAttention)"
    if query is not key or key is not value:
        help = "lutc.nn has self-attention: give it the same tensor three times"
        wrong.add(label, "reads keys or values from another tensor than its queries", help)
    if key_padding_mask is not None or attn_mask is not None or is_causal:
        wrong.add(label, "is given a mask", "leave the mask away: all positions are seen")
    if query.dim() != 3:
        wrong.add(label, f"reads {query.dim()} dimensions", "give it [batch, positions, features]")
        return query, None
    found, weights = torch.ops.lutc.attention(query, name)
    return found, weights if need_weights else None
