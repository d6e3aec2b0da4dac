"""Every attribute of every ONNX operator that lutc reads, in every operator set that has one, one at a time.

The expected answer is ONNX Runtime's where it runs the operator, else that of the standard's reference evaluator. What
has no fixed format gets a quantiser behind it, here and there. Batches are open (three samples), of one sample, and of
two samples that are data. Where the framework itself answers a batch otherwise than its samples one by one, lutc has
to refuse, and may.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_operators import DATA, FORMS, MAY_REFUSE, WITH, Form, values_of
from settings import Setting

from lutc.frontends.onnx import load_onnx
from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.model import OLDEST
from lutc.frontends.onnx.registry import STANDARD_RULES

QONNX = "qonnx.custom_op.general"
NEWEST = 24  # the newest that ONNX Runtime has in full; newer ones are tried with the reference evaluator
STEP, LEAST, MOST = 1 / 16, -2048, 2047
# Their results have no fixed format.
QUANTISED = CURVES | {
    "AveragePool",
    "BatchNormalization",
    "Div",
    "GlobalAveragePool",
    "LeakyRelu",
    "Mean",
    "Pow",
    "PRelu",
    "ReduceMean",
}
WINDOWS = (
    "AveragePool",
    "MaxPool",
    "Conv",
    "ConvTranspose",
    "ConvInteger",
    "QLinearConv",
    "QLinearAveragePool",
)
DIMS: dict[str, Any] = {"n": "n", "1": 1, "2": 2}
ort.set_default_logger_severity(4)


def settings() -> Iterator[Setting]:
    """All settings of the standard's operators."""
    for op in sorted({*STANDARD_RULES, *CURVES}):
        if op in ("Shape", "Size", "Constant"):
            continue
        for version in versions(op):
            schema = onnx.defs.get_schema(op, version, "")
            for form in FORMS.get(op, ()):
                if form.since <= version <= form.until:
                    yield from _settings(op, version, schema, form)
    yield from typed()
    yield from dialects()


def versions(op: str) -> list[int]:
    """The operator sets that gave an operator its versions, and the newest."""
    known = {
        s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op and s.domain == ""
    }
    first = max((v for v in known if v <= OLDEST), default=0)
    return sorted({max(v, OLDEST) for v in known if v >= first})


def _settings(op: str, version: int, schema: Any, form: Form) -> Iterator[Setting]:
    base = {k: v for k, v in form.attributes.items() if k in schema.attributes}
    if len(base) < len(form.attributes):
        return
    word = form.name or "plain"
    for batch in DIMS:
        yield _setting(op, version, form, base, batch, f"v{version} {word} batch {batch}")
    for name, attribute in schema.attributes.items():
        if name in form.attributes:
            continue
        for value in values_of(name, attribute):
            given = {**base, **WITH.get((op, name), {}), name: value}
            may = MAY_REFUSE.get((op, name), lambda v: "")(value)
            yield _setting(
                op,
                version,
                replace(form, refusal=form.refusal or may),
                given,
                "1",
                f"v{version} {word} {name}={value}",
            )
            yield _setting(
                op,
                version,
                replace(form, refusal=form.refusal or may),
                given,
                "n",
                f"v{version} {word} {name}={value} open",
            )
    for name in form.attributes:
        if name not in schema.attributes:
            continue
        if not schema.attributes[name].required:
            rest = {k: v for k, v in base.items() if k != name}
            yield _setting(op, version, form, rest, "n", f"v{version} {word} no {name}")
        for value in values_of(name, schema.attributes[name]):
            yield _setting(
                op, version, form, {**base, name: value}, "n", f"v{version} {word} {name}={value} open"
            )


def _setting(
    op: str, version: int, form: Form, attributes: dict[str, Any], batch: str, words: str
) -> Setting:
    def make() -> Any:
        return made(op, version, form, attributes, batch)

    return Setting("onnx", op, words, make, Lazy(op, version, form, attributes, batch))


class Lazy(str):
    """Why a setting may be refused, found out when it is asked: a batch that is not its samples one by one."""

    def __new__(cls, *args: Any) -> Lazy:
        made: Lazy = super().__new__(cls, "")
        made.args = args
        return made

    args: Any

    def __bool__(self) -> bool:
        op, version, form, attributes, batch = self.args
        if form.refusal or (batch == "2" and op in WINDOWS):
            return True
        return batch == "n" and _mixes(op, version, form, attributes)


def _data(form: Form, batch: str, seed: int = 0) -> list[Any]:
    count = 1 + sum(isinstance(c, str) for c in form.constants)
    rng = np.random.default_rng(seed)
    rows = 2 if batch == "2" else 3
    dtype = helper.tensor_dtype_to_np_dtype(form.kind)
    found = []
    for _ in range(count):
        numbers = rng.integers(-form.reach, form.reach + 1, (rows, *form.shape))
        if form.kind == TensorProto.BOOL:
            found.append(numbers > 0)
        elif dtype.kind in "iu":
            found.append((abs(numbers) if dtype.kind == "u" else numbers).astype(dtype))
        else:
            found.append((numbers / 4).astype(dtype))
    return found


def model(op: str, version: int, form: Form, attributes: dict[str, Any], batch: str, domain: str = "") -> Any:
    """A model of one node."""
    names, inputs, constants = ["x0"], [], []
    for i, c in enumerate(form.constants, 1):
        if c is None:
            names.append("")
        elif isinstance(c, str):
            names.append(f"x{i}")
        else:
            names.append(f"c{i}")
            constants.append(numpy_helper.from_array(np.asarray(c), f"c{i}"))
    for name in names:
        if name.startswith("x"):
            inputs.append(helper.make_tensor_value_info(name, form.kind, [DIMS[batch], *form.shape]))
    outputs = [f"y{i}" for i in range(form.outputs)]
    node = helper.make_node(op, names, outputs, domain=domain, **attributes)
    info = [helper.make_empty_tensor_value_info(n) for n in outputs]
    graph = helper.make_graph([node], "g", inputs, info, constants)
    opsets = [helper.make_opsetid("", version)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def runner(whole: Any) -> Callable[[dict[str, Any]], list[Any]]:
    """What answers: ONNX Runtime if it takes the model, else the reference evaluator."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as e:
        if "NOT_IMPLEMENTED" not in str(e) and "Opset" not in str(e) and "opset" not in str(e):
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = ReferenceEvaluator(whole)
        return lambda given: list(evaluator.run(None, given))
    return lambda given: list(session.run(None, given))


def _answers(run: Any, data: list[Any], names: list[str], batch: str) -> list[Any]:
    """One array an output."""
    with np.errstate(all="ignore"):
        if batch != "1":
            return [np.asarray(a) for a in run(dict(zip(names, data, strict=True)))]
        rows = [run({n: a[i : i + 1] for n, a in zip(names, data, strict=True)}) for i in range(len(data[0]))]
    return [np.concatenate([np.asarray(r[k]).reshape(1, -1) for r in rows]) for k in range(len(rows[0]))]


def _mixes(op: str, version: int, form: Form, attributes: dict[str, Any], domain: str = "") -> bool:
    """Whether the framework answers a batch otherwise than its samples one by one, or only the one of the two."""
    whole = model(op, version, form, attributes, "n", domain)
    names = [i.name for i in whole.graph.input]
    data = _data(form, "n")
    run = runner(whole)
    try:
        together = _answers(run, data, names, "n")
        alone = _answers(run, data, names, "1")
        pair = _answers(run, [a[:2] for a in data], names, "n")
    except Exception:
        return True
    return any(
        a.ndim == 0
        or a.shape[0] != 3
        or p.shape[:1] != (2,)
        or a.reshape(3, -1).shape != b.shape
        or not np.allclose(a.reshape(3, -1).astype(float), b.astype(float), rtol=1e-4, equal_nan=True)
        for a, b, p in zip(together, alone, pair, strict=True)
    )


def quantised(array: Any) -> Any:
    """What the quantiser behind an operator makes of its result."""
    y = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1e9, neginf=-1e9)
    return np.clip(np.rint(y / np.float32(STEP)), LEAST, MOST) * STEP


def made(op: str, version: int, form: Form, attributes: dict[str, Any], batch: str, domain: str = "") -> Any:
    """The model's loader, what the framework answers, and the inputs."""
    whole = model(op, version, form, attributes, batch, domain)
    names = [i.name for i in whole.graph.input]
    data = _data(form, batch)
    answers = _answers(runner(whole), data, names, batch)
    if op in ("Softmax", "LogSoftmax"):  # left to the host
        answers = [data[0]]
    mine = onnx.ModelProto()
    mine.CopyFrom(whole)
    if domain == "" and op in QUANTISED and answers[0].dtype.kind == "f":
        answers = [quantised(a) for a in answers]
        with_quantiser(mine)
    inputs: dict[str, Any] = {}
    for n, a in zip(names, data, strict=True):
        numbers = a.astype(np.int64) if a.dtype.kind in "iub" else a.astype(np.float64)
        inputs[n] = numbers[None] if batch == "2" else numbers

    def load() -> Any:
        design = load_onnx(mine, input_types="s6f2")
        known = {p.name for p in design.params}
        for n in list(inputs):
            if n not in known:
                del inputs[n]
        return design

    return load, answers, inputs


def with_quantiser(whole: Any) -> None:
    """A Quant of the QONNX dialect behind each output."""
    graph = whole.graph
    for output in graph.output:
        for name, value in (("q_s", STEP), ("q_z", 0.0), ("q_b", 12.0)):
            if name not in {c.name for c in graph.initializer}:
                graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        old = output.name
        graph.node.append(helper.make_node("Quant", [old, "q_s", "q_z", "q_b"], [f"{old}_q"], domain=QONNX))
        output.name = f"{old}_q"
    whole.opset_import.append(helper.make_opsetid(QONNX, 1))


# -- element types --------------------------------------------------------------------------------------------------

ARITHMETIC = {
    "Abs": (),
    "Neg": (),
    "Relu": (),
    "Sign": (),
    "Identity": (),
    "Add": (DATA,),
    "Sub": (DATA,),
    "Mul": (DATA,),
    "Max": (DATA,),
    "Min": (DATA,),
    "Div": (2,),
    "Mod": (3,),
    "Pow": (2,),
    "Clip": (-2, 2),
    "Add ": (3,),
    "Mul ": (3,),
    "Equal": (DATA,),
    "Less": (1,),
    "BitShift": (1,),
    "ReduceSum": (),
    "ReduceMean": (),
    "ReduceMax": (),
    "ReduceL1": (),
    "ReduceSumSquare": (),
    "Gemm": (),
    "MatMul": (),
    "Sum": (DATA,),
    "Mean": (DATA,),
    "MaxPool": (),
    "AveragePool": (),
    "CumSum": (),
    "LeakyRelu": (),
    "BatchNormalization": (),
    "ArgMax": (),
    "Tile": (),
    "Pad": (),
    "Concat": (DATA,),
}
TYPES = (
    "INT8",
    "UINT8",
    "INT16",
    "UINT16",
    "INT32",
    "INT64",
    "UINT32",
    "DOUBLE",
    "FLOAT16",
    "BFLOAT16",
    "BOOL",
)


def typed() -> Iterator[Setting]:
    """Operators on numbers of other types, at the ends of their ranges."""
    for op, constants in ARITHMETIC.items():
        for kind in TYPES:
            for version in (13, 21):
                yield Setting(
                    "onnx",
                    op.strip(),
                    f"v{version} of {kind} {constants}",
                    partial(_typed, op, constants, kind, version),
                    "numbers may wrap or round",
                )


def _typed(op: str, constants: Any, kind: str, version: int) -> Any:
    element = TensorProto.DataType.Value(kind)
    dtype = helper.tensor_dtype_to_np_dtype(element)
    fixed: list[Any] = [c if isinstance(c, str) else np.asarray(c).astype(dtype) for c in constants]
    shape: tuple[int, ...] = (2, 4)
    attributes: dict[str, Any] = {}
    if op in ("MatMul", "Gemm"):
        fixed, shape = [np.arange(12).reshape(4, 3).astype(dtype)], (4,)
    elif op == "BatchNormalization":
        fixed = [np.ones(2).astype(dtype)] * 4
    elif op == "CumSum":
        fixed = [np.array(2)]
    elif op == "Tile":
        fixed = [np.array([1, 1, 2])]
    elif op == "Pad":
        fixed = [np.array([0, 0, 0, 0, 0, 1])]
    elif op in ("MaxPool", "AveragePool"):
        attributes = {"kernel_shape": [2]}
    elif op == "Concat":
        attributes = {"axis": 1}
    elif op == "BitShift":
        attributes = {"direction": "LEFT"}
    form = Form(shape, tuple(fixed), attributes, kind=element)
    whole = model(op.strip(), version, form, attributes, "1")
    rng = np.random.default_rng(1)
    if dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        data = [
            rng.choice([least, most, most // 2 + 1, 3, 1, 0, most - 1], (4, *shape)).astype(dtype)
            for _ in range(2)
        ]
    elif kind == "BOOL":
        data = [rng.integers(0, 2, (4, *shape)).astype(bool) for _ in range(2)]
    else:
        data = [(rng.integers(-128, 128, (4, *shape)) / 4).astype(dtype) for _ in range(2)]
    names = [i.name for i in whole.graph.input]
    answers = _answers(runner(whole), data[: len(names)], names, "1")
    numbers = [a.astype(np.int64) if a.dtype.kind in "iub" else a.astype(np.float64) for a in data]
    inputs = dict(zip(names, numbers, strict=False))
    mine = onnx.ModelProto()
    mine.CopyFrom(whole)
    if op.strip() in QUANTISED and kind in ("DOUBLE", "FLOAT16", "BFLOAT16"):
        answers = [quantised(a) for a in answers]
        with_quantiser(mine)
    return (
        lambda: load_onnx(mine, input_types="s8f2"),
        [np.asarray(a).astype(np.float64) for a in answers],
        inputs,
    )


def dialects() -> Iterator[Setting]:
    """Operators of other domains."""
    import onnx_dialects

    yield from onnx_dialects.settings()
