"""ONNX Runtime, the package qonnx and the standard's reference evaluator, running a model by themselves.

They are given the file's own graph, functions and all, with one change: softmaxes and quantisers that the design
leaves to the host pass on what they read, so that scores are compared with scores.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lutc.lowering.compare import CannotRun

from .doubled import doubled, with_versions
from .functions import all_nodes
from .model import QONNX, OnnxModel
from .registry import MICROSOFT
from .trees import DOMAIN as TREES

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

AT_ONCE = 3  # samples of a batch, where the model leaves its length open

Run = Callable[[dict[str, Any]], list[Any]]


@dataclass(frozen=True)
class OnnxFramework:
    """What runs a model: `proto`, with the design's ports by the names of the model's inputs.

    `name` says which package does it, `start` makes a function from arrays by name to the outputs. `flat` is the
    model without functions, for the reference evaluator, which knows no defaults of their attributes. `undefined` are
    tensors that may hold NaN: a sample for which one does is answered with NaN. `tables` are tensors that the design
    looks up in tables made of floats.
    """

    name: str
    proto: ModelProto
    flat: ModelProto
    ports: Mapping[str, str]
    start: Callable[[ModelProto], Run]
    undefined: Sequence[str] = ()
    tables: Collection[str] = ()

    def run(self, inputs: Mapping[str, NDArray[Any]], double: bool) -> Sequence[NDArray[Any]]:
        """See `lutc.lowering.compare.Framework`."""
        if not double:
            return self._answers(self.proto, self.start, inputs)
        if self.flat is not self.proto:  # it is lutc that took the functions apart: does it mean the same?
            both = (self._answers(p, self.start, inputs) for p in (self.proto, self.flat))
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*both, strict=True)):
                raise CannotRun("without its functions the model gives other numbers")
        return self._answers(self.flat, self._in_doubles, inputs)

    def _in_doubles(self, proto: ModelProto) -> Run:
        once = _reference(doubled(proto, self.tables))
        return lambda arrays: once(
            {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in arrays.items()}
        )

    def _answers(
        self, proto: ModelProto, start: Callable[[ModelProto], Run], inputs: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        count = len(proto.graph.output)
        proto = _with_outputs(proto, self.undefined)
        kinds = [_kind(value, self.ports) for value in proto.graph.input if not _is_constant(proto, value)]
        rows = len(next(iter(inputs.values()))) if inputs else 1
        try:
            once = start(proto)
            step = AT_ONCE if all(k.open for k in kinds) else 1
            if rows % step:
                raise CannotRun("its samples do not come in threes")
            parts = [
                once({k.name: k.take(inputs, i, min(i + step, rows)) for k in kinds})
                for i in range(0, rows, step)
            ]
        except CannotRun:
            raise
        except Exception as e:  # whatever a runtime raises at what it does not know
            raise CannotRun((str(e) or type(e).__name__).strip().splitlines()[0]) from None
        found = [_joined([p[i] for p in parts], rows) for i in range(len(proto.graph.output))]
        lost = [np.isnan(a.astype(np.float64)).any(axis=1) for a in found[count:]]
        nowhere = np.any(lost, axis=0) if lost else np.zeros(rows, bool)
        return [np.where(nowhere[:, None], np.nan, a) for a in found[:count]] if lost else found


@dataclass(frozen=True)
class _Kind:
    """An input of the model: its name, dimensions, element type; `open` if its first dimension has any length."""

    name: str
    port: str | None
    dims: tuple[int, ...]
    dtype: Any
    open: bool

    def take(self, inputs: Mapping[str, NDArray[Any]], first: int, last: int) -> NDArray[Any]:
        """Samples as the model takes them."""
        count = last - first
        shape = (count, *self.dims[1:]) if self.open else self.dims
        if self.port is None:  # nothing reads it
            return np.zeros(shape, self.dtype)
        return inputs[self.port][first:last].reshape(shape).astype(self.dtype)


def _with_outputs(proto: ModelProto, names: Sequence[str]) -> ModelProto:
    """The model with more of its tensors as outputs."""
    from onnx.helper import make_empty_tensor_value_info

    if not names:
        return proto
    twin = copy.deepcopy(proto)
    twin.graph.output.extend(make_empty_tensor_value_info(n) for n in names)
    return twin


def _is_constant(proto: ModelProto, value: Any) -> bool:
    return any(t.name == value.name for t in proto.graph.initializer)


def _kind(value: Any, ports: Mapping[str, str]) -> _Kind:
    from onnx.helper import tensor_dtype_to_np_dtype

    tensor = value.type.tensor_type
    lengths = [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]
    return _Kind(
        value.name,
        ports.get(value.name),
        tuple(n or 1 for n in lengths),
        tensor_dtype_to_np_dtype(tensor.elem_type),
        bool(lengths) and lengths[0] is None,
    )


def _joined(parts: Sequence[Any], rows: int) -> NDArray[Any]:
    """Answers to some samples each as one array, batch first."""
    arrays = [np.asarray(p) for p in parts]
    if len(arrays) == rows:
        return np.stack([a.reshape(-1) for a in arrays])
    return np.concatenate([a.reshape(min(AT_ONCE, rows - i * AT_ONCE), -1) for i, a in enumerate(arrays)])


def framework(
    model: OnnxModel,
    ports: Mapping[str, str],
    hosted: Collection[str],
    undefined: Sequence[str],
    tables: Collection[str],
    rewritten: Mapping[str, Callable[[Any], None]],
) -> OnnxFramework | str:
    """Who can run this model here; else why nobody can."""
    assert model.proto is not None
    written = _written_out(model)
    proto, flat = (_as_here(p, rewritten) for p in (model.proto, written))
    if proto is None or flat is None:
        return "its trees stand inside of a function"
    domains = {n.domain for n in _all_nodes(proto)} - {"", "ai.onnx", *(f.domain for f in proto.functions)}
    dialect = any(map(_is_dialect, domains))
    rest = {d for d in domains if not _is_dialect(d)} - {MICROSOFT, TREES}
    if rest:
        return f"no package is known that runs the operators of {', '.join(sorted(rest))}"
    package = "qonnx" if dialect else "onnxruntime"
    if importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed"
    bare, simple = _left_out(proto, hosted), _left_out(flat, hosted)
    if bare is None or simple is None:
        return "what it leaves to the host stands inside of a function"
    if not dialect:
        version = importlib.import_module("onnxruntime").__version__
        return OnnxFramework(f"ONNX Runtime {version}", bare, simple, ports, _runtime, undefined, tables)
    from importlib.metadata import version as version_of

    return OnnxFramework(f"qonnx {version_of('qonnx')}", simple, simple, ports, _reference, undefined, tables)


def _written_out(model: OnnxModel) -> ModelProto:
    """The model without functions, as lutc reads it."""
    from onnx.helper import make_opsetid

    assert model.proto is not None
    if not model.proto.functions:
        return model.proto
    twin = copy.deepcopy(model.proto)
    del twin.functions[:], twin.graph.node[:], twin.opset_import[:]
    for node in model.layers:
        made = twin.graph.node.add()
        made.CopyFrom(node.proto)
        made.name, made.domain = node.name, node.domain
        made.input[:], made.output[:] = node.inputs, node.outputs
    # A node of another operator set has no place in a model: what then comes out differs, and is not used.
    versions = {node.domain: node.version for node in model.layers} | {"": model.opset}
    twin.opset_import.extend(make_opsetid(d, v) for d, v in sorted(versions.items()))
    return twin


def _is_dialect(domain: str) -> bool:
    return domain in QONNX or domain.startswith("qonnx.")


def _all_nodes(proto: ModelProto) -> list[NodeProto]:
    """Every node, those of functions and of subgraphs included."""
    return list(all_nodes([*proto.graph.node, *(n for f in proto.functions for n in f.node)]))


def _as_here(proto: ModelProto, rewritten: Mapping[str, Callable[[Any], None]]) -> ModelProto | None:
    """The model with some nodes, named by an output, rewritten; None if one of them is not in its graph."""
    if not rewritten:
        return proto
    twin = copy.deepcopy(proto)
    makers = {name: node for node in twin.graph.node for name in node.output}
    if not rewritten.keys() <= makers.keys():
        return None
    for name, rewrite in rewritten.items():
        rewrite(makers[name])
    return twin


def _left_out(proto: ModelProto, hosted: Collection[str]) -> ModelProto | None:
    """The model in which nodes that are left to the host do nothing; None if one of them is not in its graph."""
    from onnx.helper import make_node

    if not hosted:
        return proto
    twin = copy.deepcopy(proto)
    made = {name for node in twin.graph.node for name in node.output}
    if not made.issuperset(hosted):
        return None
    for node in twin.graph.node:
        behind = bool(set(node.input) & set(hosted))
        rounds = node.op_type in ("QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant")
        if set(node.output) & set(hosted) and (rounds if behind else True):
            node.CopyFrom(make_node("Identity", list(node.input[:1]), list(node.output[:1]), name=node.name))
    for value in twin.graph.output:
        if value.name in hosted and not value.type.HasField("tensor_type"):
            value.ClearField("type")  # of scores by the names of classes
    return twin


def _runtime(proto: ModelProto) -> Run:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda arrays: list(session.run(None, arrays))


def _reference(proto: ModelProto) -> Run:
    """The standard's reference evaluator; operators of the QONNX dialect are computed by qonnx's own code."""
    from onnx.reference import ReferenceEvaluator

    kinds = {(n.domain, n.op_type) for n in _all_nodes(proto) if n.domain not in ("", "ai.onnx")}
    proto = with_versions(proto)
    operators = [_operator(*k) for k in sorted(kinds)]
    operators.append(_batch_norm())
    kinds_used = {n.op_type for n in _all_nodes(proto)}
    operators += [make(proto) for kind, make in _LINEAR.items() if kind in kinds_used]
    evaluator = ReferenceEvaluator(proto, new_ops=operators)

    def run(arrays: dict[str, Any]) -> list[Any]:
        with np.errstate(all="ignore"):
            return list(evaluator.run(None, arrays))

    return run


def _batch_norm() -> Any:
    """BatchNormalization as it is for inference: below operator set 14 the evaluator computes that of training."""
    from onnx.reference.op_run import OpRun

    def _run(
        self: Any, x: Any, scale: Any, b: Any, mean: Any, var: Any, epsilon: Any = 1e-5, **options: Any
    ) -> Any:
        if len(self.onnx_node.output) > 1 or options.get("training_mode"):
            raise CannotRun("a BatchNormalization is in training mode")
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        over = np.sqrt(var + x.dtype.type(np.float32(epsilon)))
        return (((x - mean.reshape(shape)) / over.reshape(shape)) * scale.reshape(shape) + b.reshape(shape),)

    return type("BatchNormalization", (OpRun,), {"op_domain": "", "_run": _run})


def _quantize_linear(proto: ModelProto) -> Any:
    """The evaluator's QuantizeLinear, given no numbers that overflow its 32-bit integers before it saturates."""
    base, known = _evaluators("QuantizeLinear", _version(proto))

    def _run(self: Any, x: Any, scale: Any, *rest: Any, **options: Any) -> Any:
        most = 2.0**30 * float(np.abs(scale).min())
        given = {k: v for k, v in options.items() if k in known and v is not None}
        return base._run(self, np.clip(x, -most, most).astype(x.dtype), scale, *rest, **given)

    return type("QuantizeLinear", (base,), {"op_domain": "", "_run": _run})


def _dequantize_linear(proto: ModelProto) -> Any:
    """The evaluator's DequantizeLinear, which it lacks below operator set 19, where it means the same."""
    base, known = _evaluators("DequantizeLinear", max(_version(proto), 19))

    def _run(self: Any, *arrays: Any, **options: Any) -> Any:
        given = {k: v for k, v in options.items() if k in known and v is not None}
        codes, scale = arrays[:2]
        if codes.dtype == np.int32 and scale.dtype == np.float64 and (scale.size == 1 or codes.ndim == 1):
            # The evaluator's way is by float32, which does not hold all of them.
            zero = arrays[2] if len(arrays) > 2 and arrays[2] is not None else 0
            return ((codes.astype(np.float64) - zero) * (scale.reshape(()) if scale.size == 1 else scale),)
        return base._run(self, *arrays, **given)

    return type("DequantizeLinear", (base,), {"op_domain": "", "_run": _run})


_LINEAR = {"QuantizeLinear": _quantize_linear, "DequantizeLinear": _dequantize_linear}


def _version(proto: ModelProto) -> int:
    return max(int(o.version) for o in proto.opset_import if o.domain in ("", "ai.onnx"))


def _evaluators(kind: str, version: int) -> tuple[Any, Any]:
    """The evaluator's class for an operator, and the names of what it takes."""
    from onnx.reference.ops import load_op

    base: Any = load_op("", kind, version)
    return base, inspect.signature(base._run).parameters


def _operator(domain: str, kind: str) -> Any:
    """An operator for the reference evaluator that asks qonnx."""
    if not _is_dialect(domain):
        raise CannotRun(f"no code at hand computes {kind} of {domain} in double precision")
    from onnx.reference.op_run import OpRun

    def _run(self: Any, *arrays: Any, **attributes: Any) -> tuple[Any, ...]:
        node = copy.deepcopy(self.onnx_node)
        node.domain = domain if domain.startswith("qonnx.") else "qonnx.custom_op.general"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _by_qonnx(node, arrays)

    return type(kind, (OpRun,), {"op_domain": domain, "_run": _run})


def _by_qonnx(node: Any, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """What qonnx computes. It rounds results to float32; of quantisers, what they are made of does not."""
    op = importlib.import_module("qonnx.custom_op.registry").getCustomOp(node)
    if arrays[0].dtype == np.float64 and node.op_type in ("Quant", "IntQuant"):
        modes = (op.get_nodeattr(name) for name in ("signed", "narrow", "rounding_mode"))
        return (importlib.import_module("qonnx.custom_op.general.intquant").int_quant(*arrays, *modes),)
    if arrays[0].dtype == np.float64 and node.op_type == "BipolarQuant":
        return (importlib.import_module("qonnx.custom_op.general.bipolar_quant").binary_quant(*arrays),)
    context = dict(zip(node.input, arrays, strict=False))
    op.execute_node(context, None)
    return tuple(context[name] for name in node.output)
