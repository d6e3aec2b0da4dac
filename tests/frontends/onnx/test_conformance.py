"""The standard's own single-operator cases, for every operator there is a rule for, against its reference evaluator.

Each case's first input is data (rounded to eighths), its other inputs are constants; operators whose results have no
fixed format get a quantiser behind them. `conformance.md` is the outcome; to write it anew, run

    python tests/frontends/onnx/test_conformance.py
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx
from lutc.frontends.onnx.curve import CURVES
from lutc.frontends.onnx.table import STANDARD_RULES

TABLE = Path(__file__).with_name("conformance.md")
# Means and slopes are no numbers of a fixed format either.
QUANTISED = CURVES | {
    "AveragePool",
    "BatchNormalization",
    "Div",
    "LeakyRelu",
    "Mean",
    "Pow",
    "PRelu",
    "ReduceMean",
}
AS_GIVEN = {"BatchNormalization", "DequantizeLinear", "QuantizeLinear", "Resize", "Upsample"}
# Left to the host: what a circuit gives are the scores before.
HOST = {"Softmax", "LogSoftmax"}


def eighths(array: Any) -> Any:
    return (np.round(array * 8) / 8).astype(np.float32)


def case_model(case: Any) -> tuple[ModelProto, Any] | None:
    """A case as a model with one input, and the input; None if it is none of ours or has no float data."""
    nodes = list(case.model.graph.node) if case.model else []
    if len(nodes) != 1 or nodes[0].domain or nodes[0].op_type not in {*STANDARD_RULES, *CURVES} - HOST:
        return None
    (node,) = nodes
    given, _ = case.data_sets[0]
    arrays = [numpy_helper.to_array(a) if isinstance(a, TensorProto) else a for a in given]
    if not isinstance(arrays[0], np.ndarray | np.generic) or arrays[0].dtype != np.float32:
        return None
    if not np.isfinite(arrays[0]).all() or not arrays[0].size:
        return None
    names = [i.name for i in case.model.graph.input]
    reach = (
        0.875 if node.op_type == "Atanh" else 15
    )  # at 1 it is infinite, and the evaluator does not saturate that
    x = np.clip(eighths(arrays[0]), -reach, reach)
    if node.op_type not in AS_GIVEN:
        arrays = [eighths(a) if a.dtype == np.float32 else a for a in arrays]
    constants = [
        numpy_helper.from_array(np.asarray(a), n) for n, a in zip(names[1:], arrays[1:], strict=True)
    ]
    opset, output = case.model.opset_import[0].version, node.output[0]
    if node.op_type in QUANTISED and opset >= 13:
        opset = max(opset, 21)
        constants += [
            numpy_helper.from_array(np.asarray(1 / 16, np.float32), "step"),
            numpy_helper.from_array(np.asarray(0, np.int16), "zero"),
        ]
        nodes.append(helper.make_node("QuantizeLinear", [output, "step", "zero"], ["quantised"]))
        nodes.append(helper.make_node("DequantizeLinear", ["quantised", "step", "zero"], ["result"]))
        output = "result"
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, x.shape)],
        [helper.make_empty_tensor_value_info(output)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), x


def reference(model: ModelProto, x: Any) -> Any:
    """What the standard's evaluator computes; None where it cannot, or where that is not a number."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            answer: Any = next(iter(ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})))
        except Exception:  # it raises whatever numpy raises
            return None
    return np.asarray(answer).astype(np.float32)


def outcome(model: ModelProto, x: Any, want: Any) -> str:
    """`equal`, `differs`, or why it is refused."""
    try:
        design = load_onnx(model, input_types="s9f3")
    except LirError as e:
        return e.diagnostics[0].message
    batch = x if x.ndim and x.shape[0] == 1 else x[None]
    answer = design.run(batch)
    first = next(iter(answer.values())) if isinstance(answer, dict) else answer
    mine = np.array([float(v) for v in np.asarray(first).ravel()]).astype(np.float32)
    return "equal" if mine.size == want.size and (mine == want.ravel()).all() else "differs"


def run() -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        made = case_model(case)
        want = reference(*made) if made else None
        if made and want is not None and not np.isnan(want).any():
            found[made[0].graph.node[0].op_type][outcome(*made, want)] += 1
    return found


def table(found: dict[str, Counter[str]]) -> str:
    lines = [
        "# Operators of the ONNX standard",
        "",
        "Single-operator cases of the standard's own test suite with float data, by `test_conformance.py`: equal to",
        "the standard's reference evaluator number for number, or refused.",
        "",
        "| operator | cases | equal | refused | why refused |",
        "|---|---|---|---|---|",
    ]
    for op, counts in sorted(found.items()):
        reasons = sorted(set(counts) - {"equal"})
        refused = sum(counts[r] for r in reasons)
        lines.append(
            f"| {op} | {counts.total()} | {counts['equal']} | {refused or ''} | {'; '.join(reasons)} |"
        )
    return "\n".join(lines) + "\n"


def test_every_case_is_equal_or_refused() -> None:
    found = run()
    assert not [op for op, counts in found.items() if counts["differs"]]
    assert sum(c["equal"] for c in found.values()) > 250
    assert table(found) == TABLE.read_text(), f"run {Path(__file__).name} to write {TABLE.name} anew"


if __name__ == "__main__":
    TABLE.write_text(table(run()))
