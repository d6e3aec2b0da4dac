"""From a module or a file to a graph of ATen operators for one sample, with its constants."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from lutc.diagnostics import LirError, error
from lutc.lowering.model import Input

from . import brevitas
from .archive import SAVE, harmless
from .leaves import Leaf, opened
from .odd import refuse_odd
from .own import Own

FLOATS = {torch.float32: "float", torch.float64: "double"}
NAMES = {
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.int16: "int16",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.bool: "bool",
}


@dataclass(frozen=True, eq=False)
class Traced:
    """A graph whose first dimension counts samples: the `nodes` its outputs need, and its placeholders, in order.

    `constants` go by the names of their placeholders.

    `leaves` are modules that the graph calls as a whole. `dtype` is the float type the model computes in. `own` is the
    model itself, which nothing has touched: it is what the design is compared with.
    """

    name: str
    nodes: tuple[fx.Node, ...]
    inputs: tuple[Input, ...]
    outputs: Mapping[str, Any]
    constants: Mapping[str, torch.Tensor]
    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    own: Own | None = None

    @property
    def dtype(self) -> torch.dtype:
        kinds = {i.dtype for i in self.inputs} | {FLOATS.get(c.dtype) for c in self.constants.values()}
        return torch.float64 if "double" in kinds and "float" not in kinds else torch.float32

    def kind(self, item: Input) -> torch.dtype:
        """The type of an input."""
        found = {name: kind for kind, name in (*FLOATS.items(), *NAMES.items())}.get(item.dtype)
        return found or torch.float32


def read(source: str | Path | ExportedProgram) -> Traced:
    """A program of `torch.export`, in a file or in memory. Raises LirError for anything else."""
    if isinstance(source, ExportedProgram):
        return _traced(source, "model", own=source.module())
    path = Path(source)
    _register_quantised_operators()
    try:
        program = program_in(harmless(path))
        return _traced(program, path.stem, own=program.module())
    except LirError:
        raise
    except Exception as e:  # torch raises whatever its archive reader and its schemas raise
        raise error(
            f"is no program of torch.export that can be read: {first_line(e)}", where=str(path), help=SAVE
        ) from None


def program_in(archive: io.BytesIO) -> ExportedProgram:
    """The program of an archive that was checked. What PyTorch logs of a damaged one would be said twice."""
    with quiet("torch.export"):
        return torch.export.load(archive)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without PyTorch's warnings, and without what its logger of that name and those below it tell."""
    log = logging.getLogger(name)
    level, disabled = log.level, log.disabled
    log.setLevel(logging.ERROR)
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        log.disabled = disabled


def traced(model: nn.Module, example: Any) -> Traced:
    """A module in evaluation mode as it computes one sample; `example` is what it may be called with.

    Raises LirError if `torch.export` cannot follow it, or for modules that are not what their class says.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile, which computes the same
    name = type(model).__name__
    refuse_odd(model)
    if example is None:
        raise error(
            "a PyTorch module says nothing of the shape of its inputs",
            where=name,
            help="show one call: lutc.load(model, example_inputs=torch.zeros(1, 16))",
        )
    args, kwargs = arguments(model, example)
    _register_quantised_operators()
    untouched = copied(model)
    try:
        with torch.no_grad():
            untouched(*args, **kwargs)
    except Exception as e:  # whatever the user's module raises
        raise error(
            f"the model fails on the first sample of the example inputs: {first_line(e)}",
            where=name,
            help="example inputs count samples in their first dimension, and one alone must do",
        ) from None
    try:
        with torch.no_grad(), opened(model, args, kwargs, brevitas.prepare) as leaves:
            program = torch.export.export(model, args, kwargs or None, strict=False)
    except LirError:
        raise
    except (
        Exception
    ) as e:  # the module's own code runs inside, and torch has no error class of its own for this
        raise error(
            f"torch.export cannot follow it: {first_line(e)}",
            where=name,
            help="example inputs count samples in their first dimension; what runs must not depend on the data",
        ) from None
    return _traced(program, name, leaves, batched=True, own=untouched)


@contextmanager
def evaluated(model: nn.Module) -> Iterator[nn.Module]:
    """A copy in evaluation mode, for some quantisers change for good when they are first run in it."""
    twin = copied(model).cpu()
    was = {m: m.training for m in twin.modules()}
    try:
        yield twin.eval()
    finally:
        for module, training in was.items():
            module.training = training


def copied(model: nn.Module) -> nn.Module:
    """A copy, or the module itself: some keep what they computed last, which cannot be copied."""
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError):
        return model


def _register_quantised_operators() -> None:
    """Operators called quantized_decomposed come into being when this module is imported, as long as torch has it."""
    try:
        import torch.ao.quantization.fx._decomposed  # noqa: F401
    except ImportError:
        return


def arguments(model: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments, cut to the first sample, floats of the type the model computes in."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)

    def cut(value: Any) -> Any:
        found = torch.as_tensor(value)
        if found.ndim < 1 or not len(found):
            raise error("an example input has no sample in it", help="its first dimension counts samples")
        return found[:1].detach().cpu().to(dtype if found.is_floating_point() else None, copy=True)

    if isinstance(example, Mapping):
        return (), {k: cut(v) for k, v in example.items()}
    several = example if isinstance(example, tuple | list) else (example,)
    return tuple(cut(v) for v in several), {}


def first_line(e: BaseException) -> str:
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return (lines[0] if lines else type(e).__name__).rstrip(". ")


def _traced(
    program: ExportedProgram,
    name: str,
    leaves: Mapping[str, Leaf] | None = None,
    batched: bool = False,
    own: nn.Module | None = None,
) -> Traced:
    if any(_writes(n) for n in program.graph.nodes):
        program = program.run_decompositions({})  # without operators that change a tensor in place
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
        raise error(
            f"changes {changed[0]!r} while it runs, so its answer is no function of its input",
            where=name,
            help="export model.eval(), without observers or running statistics",
        )
    places = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    stored = {**program.state_dict, **program.constants}
    constants = {node: stored[target].detach().cpu() for node, target in places.items() if target in stored}
    for node, target in signature.inputs_to_lifted_tensor_constants.items():
        constants[node] = program.constants[target].detach().cpu()
    graph = _without_detours(program.graph)
    inputs = []
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in signature.user_inputs:
            inputs.append(_input(node, batched))
    (end,) = (n for n in graph.nodes if n.op == "output")
    outputs = dict(zip(_names(program, len(end.args[0])), end.args[0], strict=True))
    self = None if own is None else Own(own, program.call_spec.in_spec, program.example_inputs)
    return Traced(name, _needed(graph, end), tuple(inputs), outputs, constants, leaves or {}, self)


def _names(program: ExportedProgram, count: int) -> list[str]:
    """The names of the outputs: the keys of a dict, else y, or y0, y1 ..."""
    spec = program.call_spec.out_spec
    if spec is not None and spec.type is dict and len(spec.context) == count:
        return [str(key) for key in spec.context]
    return ["y"] if count == 1 else [f"y{i}" for i in range(count)]


def _without_detours(graph: fx.Graph) -> fx.Graph:
    """A copy in which `y + (r - y)` is `r`: how straight-through estimators pass gradients around a rounding.

    What `y[:, places] = v` writes is `v`, too: PyTorch takes dimensions of length 1 off its front, one sample's among
    them, only to broadcast it again.
    """
    whole, graph = graph, copy.deepcopy(graph)
    for node, old in zip(graph.nodes, whole.nodes, strict=True):
        node.name = old.name  # a copy avoids Python's own words, such as input
    for node in graph.nodes:
        if _calls(node, "aten::index_put") and len(node.args) > 2 and _shortened(node.args[2]):
            whole_value, places = node.args[2].args[0], [p for p in node.args[1] if p is not None]
            spread = max((len(_shape(p) or ()) for p in places), default=0)
            if len(_shape(whole_value)) <= len(_shape(node)) - len(places) + spread:
                node.update_arg(2, whole_value)
        if _calls(node, "aten::add") and len(node.args) == 2 and not node.kwargs:
            for y, other in (node.args, node.args[::-1]):
                while isinstance(other, fx.Node) and _calls(
                    other, "aten::detach", "aten::alias", "aten::clone"
                ):
                    other = other.args[0]
                if not (isinstance(other, fx.Node) and _calls(other, "aten::sub") and not other.kwargs):
                    continue
                found = other.args[0]
                if other.args[1:] == (y,) and isinstance(found, fx.Node) and _shape(found) == _shape(node):
                    node.replace_all_uses_with(found)
    return graph


def _shortened(node: Any) -> bool:
    """Whether it is another tensor without dimensions of length 1 at its front."""
    if not (isinstance(node, fx.Node) and _calls(node, "aten::view") and isinstance(node.args[0], fx.Node)):
        return False
    long, short = _shape(node.args[0]), _shape(node)
    if long is None or short is None or len(long) <= len(short):
        return False
    extra = len(long) - len(short)
    return tuple(long[extra:]) == tuple(short) and all(n == 1 for n in long[:extra])


def _shape(node: fx.Node) -> Any:
    value = node.meta.get("val")
    return value.shape if isinstance(value, torch.Tensor) else None


def _calls(node: fx.Node, *names: str) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name in names


def _writes(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(a.alias_info and a.alias_info.is_write for a in schema.arguments)


def _needed(graph: fx.Graph, end: fx.Node) -> tuple[fx.Node, ...]:
    """The placeholders, and the nodes that the outputs stand on."""
    needed = {end}
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return tuple(n for n in graph.nodes if n.op == "placeholder" or (n in needed and n is not end))


def _input(node: fx.Node, batched: bool) -> Input:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return Input(node.name, "nothing", ())
    lengths: list[Any] = list(value.shape)
    dims: list[int | None] = [n if isinstance(n, int) else None for n in lengths]
    if batched and dims:
        dims[0] = None
    kind = FLOATS.get(value.dtype) or NAMES.get(value.dtype) or str(value.dtype).removeprefix("torch.")
    return Input(node.name, kind, tuple(dims))
