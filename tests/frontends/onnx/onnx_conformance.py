"""The standard's own single-operator cases, for every operator there is a rule for, against its reference evaluator.

Data is rounded to eighths. A case's first input is data and the others are constants; for operators of several tensors
it is also run with every input as data. Operators whose results have no fixed format get a quantiser behind them, and
those that only make constants are added to data. `tools/onnxdoc` writes `ir_spec/onnx.md` from the outcome.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx
from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.model import QONNX
from lutc.frontends.onnx.reasons import REASONS
from lutc.frontends.onnx.registry import DOMAINS, STANDARD_RULES

PAGE = Path(__file__).parents[3] / "ir_spec" / "onnx.md"
# Means and slopes are no numbers of a fixed format either.
# fmt: off
QUANTISED = CURVES | {
    "AveragePool", "BatchNormalization", "Div", "LeakyRelu", "Mean", "Pow", "PRelu", "ReduceMean",
}
AS_GIVEN = {
    "BatchNormalization", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "Resize", "Upsample",
}
JOINS = {
    "Add", "And", "Concat", "Einsum", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "MatMul", "Max",
    "Mean", "Min", "Mul", "Or", "Sub", "Sum", "Where", "Xor",
}
CONSTANT = {"Constant", "ConstantOfShape", "EyeLike", "If", "Range", "Shape", "Size"}
# fmt: on
HOST = {"Softmax", "LogSoftmax"}
NUMBERS = {"float32", "float64", "bool", *(f"{u}int{n}" for u in ("", "u") for n in (2, 4, 8, 16, 32, 64))}


@dataclass(frozen=True)
class Case:
    """A model of one operator, its inputs, and what the reference evaluator makes of them."""

    op: str
    model: ModelProto
    data: tuple[Any, ...]
    want: Any


def eighths(array: Any) -> Any:
    return (np.round(array * 8) / 8).astype(array.dtype)


def cases() -> Iterator[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    claimed = {*STANDARD_RULES, *CURVES, *CONSTANT} - HOST
    for case in found:
        if case.model is None or case.data_sets is None:
            continue
        nodes = list(case.model.graph.node)
        if len(nodes) != 1 or nodes[0].domain or nodes[0].op_type not in claimed:
            continue
        given: list[Any] = [
            numpy_helper.to_array(a) if isinstance(a, TensorProto) else a for a in case.data_sets[0][0]
        ]
        if not all(isinstance(a, np.ndarray | np.generic) and a.dtype.name in NUMBERS for a in given):
            continue
        arrays = [np.asarray(a) for a in given]
        op = nodes[0].op_type
        if op in CONSTANT:
            yield from _checked(op, _made_constant(case.model, arrays), (np.array([0.5], np.float32),))
        elif arrays and arrays[0].size and np.isfinite(arrays[0].astype(np.float64)).all():
            yield from _data_cases(case.model, op, arrays)


def _data_cases(model: ModelProto, op: str, arrays: list[Any]) -> Iterator[Case]:
    # At 1 it is infinite, and the evaluator does not saturate that.
    reach = 0.875 if op == "Atanh" else 15
    x = arrays[0]
    data = np.clip(eighths(x), -reach, reach).astype(x.dtype) if x.dtype.kind == "f" else x
    if op not in AS_GIVEN:
        arrays = [eighths(a) if a.dtype.kind == "f" else a for a in arrays]
    arrays = [data, *arrays[1:]]
    for count in (1, len(arrays)) if op in JOINS and len(arrays) > 1 else (1,):
        yield from _checked(op, _model(model, op, arrays, count), tuple(arrays[:count]))


def _model(model: ModelProto, op: str, arrays: list[Any], count: int) -> ModelProto:
    """The case with its first `count` inputs as inputs and the others as constants."""
    nodes, names = list(model.graph.node), [i.name for i in model.graph.input]
    opset, output = max(model.opset_import[0].version, 7), model.graph.node[0].output[0]
    constants = [numpy_helper.from_array(a, n) for n, a in zip(names[count:], arrays[count:], strict=True)]
    if op in QUANTISED and (opset >= 13 or op == "Shrink") and arrays[0].dtype == np.float32:
        opset = max(opset, 21)
        constants += [
            numpy_helper.from_array(np.asarray(1 / 16, np.float32), "case_step"),
            numpy_helper.from_array(np.asarray(0, np.int16), "case_zero"),
        ]
        nodes.append(helper.make_node("QuantizeLinear", [output, "case_step", "case_zero"], ["case_codes"]))
        nodes.append(
            helper.make_node("DequantizeLinear", ["case_codes", "case_step", "case_zero"], ["case_result"])
        )
        output = "case_result"
    inputs = [_value(n, a) for n, a in zip(names[:count], arrays[:count], strict=True)]
    return _whole(nodes, inputs, output, constants, opset)


def _value(name: str, array: Any) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _made_constant(model: ModelProto, arrays: list[Any]) -> ModelProto:
    """The case with all inputs as constants, and its result added to data."""
    names = [i.name for i in model.graph.input]
    constants = [numpy_helper.from_array(a, n) for n, a in zip(names, arrays, strict=True)]
    nodes = [
        *model.graph.node,
        helper.make_node("Cast", [model.graph.node[0].output[0]], ["case_number"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["case_data", "case_number"], ["case_sum"]),
    ]
    inputs = [helper.make_tensor_value_info("case_data", TensorProto.FLOAT, [1])]
    return _whole(nodes, inputs, "case_sum", constants, model.opset_import[0].version)


def _whole(nodes: Any, inputs: Any, output: str, constants: Any, opset: int) -> ModelProto:
    graph = helper.make_graph(nodes, "case", inputs, [helper.make_empty_tensor_value_info(output)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _checked(op: str, model: ModelProto, data: tuple[Any, ...]) -> Iterator[Case]:
    """The case, if the reference evaluator can compute it and the result is numbers."""
    names = [i.name for i in model.graph.input]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            answer: Any = next(iter(ReferenceEvaluator(model).run(None, dict(zip(names, data, strict=True)))))
        except Exception:  # it raises whatever numpy raises
            return
    if not isinstance(answer, np.ndarray | np.generic):
        return
    try:
        numbers = np.asarray(answer).astype(np.float64)
    except (TypeError, ValueError):
        return
    if numbers.size and np.isfinite(numbers).all():
        yield Case(op, model, data, numbers if answer.dtype != np.float32 else numbers.astype(np.float32))


def outcome(case: Case) -> str:
    """`equal`, `differs`, or why it is refused."""
    try:
        design = load_onnx(case.model, input_types="s9f3")
    except LirError as e:
        return e.diagnostics[0].message
    data = [x.astype(np.int64) if x.dtype.kind not in "fb" else x for x in case.data]
    answer = design.run(*(x if x.ndim and x.shape[0] == 1 else x[None] for x in data))
    first = next(iter(answer.values())) if isinstance(answer, dict) else answer
    mine = np.array([float(v) for v in np.asarray(first).ravel()]).astype(case.want.dtype)
    return "equal" if mine.size == case.want.size and (mine == case.want.ravel()).all() else "differs"


def outcomes() -> dict[str, Counter[str]]:
    """For every operator how often each outcome came."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases():
        why = re.sub(r"casts data to \w+, which", "casts data to a type that", outcome(case))
        found[case.op][re.sub(r"with u?int\d+ numbers", "with integers", why)] += 1
    return found


HEAD = '''\
# The ONNX importer

<!-- Written by tools/onnxdoc from a run of tests/frontends/onnx/onnx_conformance.py. -->

`lutc compile model.onnx` takes the operators of this page, bit-exact, and refuses all others with a reason and a way
out. How they mean numbers is said in [meaning](meaning.md): scales, offsets and clips stay beside the data as exact
rational numbers, and only a quantiser rounds. Any operator of the standard whose inputs are constants is computed at
compile time by the standard's reference evaluator.

What no rule reads is refused by its name: an attribute that is not at the standard's default, an input, a result that
means training, an operator set that is not known. Local functions are written out, with the defaults of their
attributes and the operator sets they state themselves; recursion is refused, and so is what would become more than
131,072 layers. Integers that could wrap or would be rounded in the model, and floats of 16 bits that could round, are
refused by the range of the data. Where the model leaves open how many samples its first dimension counts, every layer
is run on batches and on their samples one by one: what mixes, moves or counts samples is refused.

A model that multiplies by floats and has no quantiser, no rounding and no short integers is refused as a whole: in one
message, with the ways to quantise it. Floats count as quantised if they are multiples of one number by integers of up
to 16 bits.

```python
import lutc
import numpy as np
import onnx.parser

model = onnx.parser.parse_model("""
<ir_version: 10, opset_import: ["": 21]>
leaky (float[1, 4] x) => (float[1, 4] y)
<float step = {{0.25}}, int8 zero = {{0}}, float slope = {{0.125}}>
{{
    q = QuantizeLinear(x, step, zero)
    d = DequantizeLinear(q, step, zero)
    positive = Greater(d, step)
    small = Mul(d, slope)
    y = Where(positive, d, small)
}}
""")
design = lutc.load(model)
assert design.run(np.array([[2.0, 0.25, -1.0, 99.0]])).tolist() == [[2.0, 0.03125, -0.125, 31.75]]
```

## The standard

The single-operator cases of the standard's own test suite, with data rounded to eighths: equal to the reference
evaluator number for number, or refused. Where several tensors meet, a case counts twice: once with constants beside
the first one, once with data for all. {total} cases: {equal} are equal, {refused} are refused, none differs.

| operator | cases | equal | refused | why refused |
|---|---|---|---|---|
'''
FORMS = """
Functions of one number, such as {curves}, need a quantiser in front of them and one behind,
and become truth tables; so does any expression of them between two quantisers. {host} as the
last layer are left to the host, with the quantisers behind them; inside of a network their parts need quantisers: Exp,
ReduceSum, Reciprocal and Mul, with a quantiser behind each of the first three, are two tables and exact arithmetic.

## Other domains

Tested in `tests/frontends/onnx/` against ONNX Runtime where it has the operator, else against the definition written
down in numpy.

| domain | operators |
|---|---|
"""
OWN = """
### lutc's own operators

`lutc.nn.export_onnx` writes a trained model as QONNX (`Quant`, and the standard's operators on quantised constants),
and in the domain `lutc`, version 1, what QONNX cannot say: formats and signs by element, overflow that wraps, layers
made of tables. For these three operators:

- A format is three integers: `fraction` f (-4096 to 4096), `width` w (sign bit included; 0 to 4096) and `signed` s
  (0 or 1), in three int64 inputs of that name and order. Its codes are the integers from -s * 2^(w-1) to
  2^(w-s) - 1; a code c means the number c * 2^-f. A width of 0 has the code 0 alone.
- The attribute `rounding` is `floor`, `ceil`, `toward-zero`, `away`, `nearest-half-up`, `nearest-half-down`,
  `nearest-half-even`, `nearest-half-away` or `nearest-half-zero`; `overflow` is `wrap` (modulo 2^w), `saturate` or
  `saturate-symmetric` (which keeps off the lowest code of a signed format).
- code(v) is v * 2^f rounded to an integer, then brought into the format's codes.

**Quantize**(x, fraction, width, signed): code(x) * 2^-f for every element; the formats broadcast to x, as numpy has it.

**LUTDense**(x, fraction, width, signed, table_fraction, codes): x is [..., n_in], the result [..., n_out]. The formats
and `table_fraction`, int64, are [n_in, n_out]: one for each edge from an input i to an output o. `codes` holds integers
of any type: the tables of all edges one after the other, row-major, each with 2^w entries, from the lowest key code to
the highest. With T_io the edge's table and g its `table_fraction`,

    y[..., o] = sum over i of T_io[code_io(x[..., i])] * 2^-g_io

A function of one number (`QFunction`, and exp and reciprocal in `QSoftmax`) is a LUTDense of one input and one output
at every element, between Unsqueeze and Squeeze.

**LUTConv**(x, fraction, width, signed, table_fraction, codes): x is [N, channels, size...], the formats are
[groups, n_in, n_out] and the result is [N, groups * n_out, positions...]. At every position a LUTDense per group reads
the patch of the group's channels, in the order (channel, kernel position); n_in is their number. The attributes
`kernel_shape`, `strides`, `dilations` and `pads` are those of the standard's Conv; padding is with zeros, which are
looked up like other numbers.
"""
REFUSED = """
## Known and refused

| operator | why | instead |
|---|---|---|
"""


def page(found: dict[str, Counter[str]]) -> str:
    total = sum(c.total() for c in found.values())
    equal = sum(c["equal"] for c in found.values())
    lines = [HEAD.format(total=total, equal=equal, refused=total - equal)]
    for op, counts in sorted(found.items()):
        reasons = sorted(set(counts) - {"equal"})
        refused = sum(counts[r] for r in reasons)
        why = "; ".join(reasons).replace("|", "\\|")
        lines.append(f"| {op} | {counts.total()} | {counts['equal']} | {refused or ''} | {why} |\n")
    lines.append(
        FORMS.format(curves="Exp, Gelu, Sigmoid and Tanh", host=" and ".join(sorted(HOST, reverse=True)))
    )
    for domain, rules in DOMAINS.items():
        if domain == "" or (domain in QONNX and domain != "qonnx.custom_op.general"):
            continue
        names = f"`{domain}`" + (" (also " + ", ".join(f"`{d}`" for d in sorted(QONNX - {domain})) + ")"
                                 if domain in QONNX else "")  # fmt: skip
        lines.append(f"| {names} | {', '.join(sorted(rules))} |\n")
    lines.append(OWN)
    lines.append(REFUSED)
    lines += [f"| {op} | {why} | {instead} |\n" for op, (why, instead) in sorted(REASONS.items())]
    return "".join(lines)
