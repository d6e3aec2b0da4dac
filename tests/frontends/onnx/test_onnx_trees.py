"""Ensembles of decision trees, against ONNX Runtime: random ones on all their inputs, and refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx
from lutc.types import Fixed

ML = "ai.onnx.ml"
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
Columns = dict[str, list[Any]]
STUMP: Columns = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0, 0, 0],
    "nodes_values": [0.25, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
}


def model(
    op: str, outputs: list[tuple[str, int]], features: int, /, version: Any = 3, **attributes: Any
) -> ModelProto:
    node = helper.make_node(op, ["x"], [name for name, _ in outputs], name="forest", domain=ML, **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])
    results = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs]
    for result in results:
        result.type.tensor_type.shape.Clear()
    graph = helper.make_graph(
        [node], "forest", [x], [helper.make_empty_tensor_value_info(n) for n, _ in outputs]
    )
    sets = [helper.make_opsetid("", 18), helper.make_opsetid(ML, version)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9)


def random_trees(
    rng: Any, features: int, trees: int, depth: int, modes: list[str]
) -> tuple[Columns, list[tuple[int, int]]]:
    """Columns of nodes with random questions, some asked again below, and the (tree, node) of every leaf."""
    nodes: Columns = {
        n: [] for n in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    leaves = []

    def grow(tree: int, left: int, count: list[int]) -> int:
        at = count[0]
        count[0] += 1
        place = len(nodes["treeids"])
        leaf = left == 0 or rng.random() < 0.2
        row = (
            tree,
            at,
            int(rng.integers(features)),
            float(rng.integers(-9, 9)) / 4,
            "LEAF" if leaf else str(rng.choice(modes)),
            0,
            0,
        )
        for name, value in zip(nodes, row, strict=True):
            nodes[name].append(value)
        if leaf:
            leaves.append((tree, at))
        else:
            nodes["truenodeids"][place] = grow(tree, left - 1, count)
            nodes["falsenodeids"][place] = grow(tree, left - 1, count)
        return at

    for tree in range(trees):
        grow(tree, depth, [0])
    return {f"nodes_{k}": v for k, v in nodes.items()}, leaves


def all_inputs(features: int) -> Any:
    """Every input of the format s4f1."""
    return np.array(list(itertools.product(np.arange(-8, 8) / 2, repeat=features)), np.float32)


def check(proto: ModelProto, features: int, **options: Any) -> None:
    design = load_onnx(proto, input_types="s4f1", **options)
    assert design.compared.endswith("equal")
    x = all_inputs(features)
    answers = design.run(x)
    found = list(answers.values()) if isinstance(answers, dict) else [answers]
    wanted = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    for mine, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(
            np.asarray(mine, float).reshape(len(x), -1), np.asarray(theirs, float).reshape(len(x), -1)
        )


@pytest.mark.parametrize("seed", range(12))
def test_random_regressors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = int(rng.integers(1, 4))
    nodes, leaves = random_trees(
        rng, 3, int(rng.integers(3, 7)), 4, MODES if seed % 2 else [MODES[seed // 2 % 6]]
    )
    votes = [
        (t, n, int(k)) for t, n in leaves for k in rng.permutation(targets)[: rng.integers(1, targets + 1)]
    ]
    base = {"base_values": [0.25, -3.0, 1.5][:targets]} if seed % 3 == 0 else {}
    proto = model(
        "TreeEnsembleRegressor", [("y", 1)], 3, n_targets=targets, **nodes, **base,
        target_treeids=[t for t, _, _ in votes], target_nodeids=[n for _, n, _ in votes],
        target_ids=[k for _, _, k in votes], target_weights=(rng.integers(-20, 20, len(votes)) / 8).tolist(),
    )  # fmt: skip
    check(proto, 3)


@pytest.mark.parametrize("labels", [[0, 1, 2], [5, -1, 7, 12]])
@pytest.mark.parametrize("seed", range(3))
def test_random_classifiers(seed: int, labels: list[int]) -> None:
    rng = np.random.default_rng(seed)
    nodes, leaves = random_trees(rng, 3, 4, 3, MODES[:2])
    votes = [(t, n, k) for t, n in leaves for k in range(len(labels))]
    proto = model(
        "TreeEnsembleClassifier", [("label", 7), ("scores", 1)], 3, classlabels_int64s=labels, **nodes,
        class_treeids=[t for t, _, _ in votes], class_nodeids=[n for _, n, _ in votes],
        class_ids=[k for _, _, k in votes], class_weights=(rng.integers(-20, 20, len(votes)) / 8).tolist(),
    )  # fmt: skip
    check(proto, 3)


@pytest.mark.parametrize("base", [None, 0.25, -0.5])
@pytest.mark.parametrize("least", [0, -16])
@pytest.mark.parametrize("words", [False, True])
def test_two_classes(least: int, base: float | None, words: bool) -> None:
    """One class gets the votes: its score is held against a half, or against 0 where some vote is below 0."""
    rng = np.random.default_rng(least + 50)
    nodes, leaves = random_trees(rng, 3, 5, 3, MODES[:1])
    labels = {"classlabels_strings": ["no", "yes"]} if words else {"classlabels_int64s": [3, 8]}
    proto = model(
        "TreeEnsembleClassifier", [("label", 7), ("scores", 1)], 3, **labels, **nodes,
        class_treeids=[t for t, _ in leaves], class_nodeids=[n for _, n in leaves], class_ids=[0] * len(leaves),
        class_weights=(rng.integers(least, 16, len(leaves)) / 32).tolist(),
        **({} if base is None else {"base_values": [base]}),
    )  # fmt: skip
    if not words:
        check(proto, 3)
        return
    design = load_onnx(proto, input_types="s4f1")
    x = all_inputs(3)
    label, scores = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    found = design.run(x)
    assert np.array_equal(found["label"].ravel(), (np.asarray(label) == "yes").ravel())
    assert np.array_equal(found["scores"], scores)
    assert any("no, yes" in note for note in design.notes)


def test_tree_ensemble_of_version_5() -> None:
    rng = np.random.default_rng(5)
    attributes = {
        "n_targets": 2, "aggregate_function": 1, "post_transform": 0, "tree_roots": [0, 2],
        "nodes_featureids": [0, 1, 2], "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, [3], [0, 3, 1]),
        "nodes_splits": helper.make_tensor("s", TensorProto.FLOAT, [3], [0.5, -1.0, 2.5]),
        "nodes_truenodeids": [1, 0, 3], "nodes_trueleafs": [0, 1, 1], "nodes_falsenodeids": [1, 2, 0],
        "nodes_falseleafs": [1, 1, 1],
        "leaf_targetids": [0, 1, 0, 1],
        "leaf_weights": helper.make_tensor("w", TensorProto.FLOAT, [4], (rng.integers(-9, 9, 4) / 4).tolist()),
    }  # fmt: skip
    check(model("TreeEnsemble", [("y", 1)], 3, version=5, **attributes), 3)


def two_leaves(values: list[float] = [0.1, 0.2], **more: Any) -> ModelProto:  # noqa: B006
    attributes = {
        **STUMP,
        "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
        "target_weights": values, "n_targets": 1,
    }  # fmt: skip
    return model("TreeEnsembleRegressor", [("y", 1)], 1, **{**attributes, **more})


def test_leaves_are_rounded_as_the_user_says_and_the_bound_holds() -> None:
    with pytest.raises(LirError, match=r"has leaves that take .* bits") as told:
        load_onnx(two_leaves(), input_types="s4f1")
    assert "--leaf-type" in str(told.value)
    design = load_onnx(two_leaves(), input_types="s4f1", leaf_type=Fixed(False, 4, 4))
    assert design.compared.endswith("equal")
    assert design.run([[0.0], [1.0]]).ravel().tolist() == [0.125, 0.1875]
    (note,) = [n for n in design.notes if "leaf-type" in n]
    assert float(note.split()[-1]) >= 0.025


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes_truenodeids": [0, 0, 0]}, "circle"),
        ({"nodes_truenodeids": [7, 0, 0]}, "a node 7, which its tree does not have"),
        ({"nodes_modes": ["BRANCH_LIKE", "LEAF", "LEAF"]}, "mode 'BRANCH_LIKE'"),
        ({"nodes_values": [0.25]}, "unequal lengths"),
        ({"nodes_values": [float("nan"), 0.0, 0.0]}, "no number"),
        ({"nodes_featureids": [4, 0, 0]}, "feature 4 of data with 1"),
        ({"target_weights": [float("inf"), 0.0]}, "not finite"),
        ({"target_ids": [0, 3]}, "target 3 of 1"),
        ({"aggregate_function": "MAX"}, "takes the MAX"),
        ({"base_values": [1.0, 2.0]}, "2 base values for 1 targets"),
        ({"target_weights": [0.5, 0.5]}, "always answers the same"),
        ({"nodes_nodeids": [0, 1, 1]}, "twice"),
    ],
)
def test_broken_trees_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(LirError) as told:
        load_onnx(two_leaves(**{"values": [0.25, 0.5], **change}), input_types="s4f1", compare=False)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("votes", "labels", "base", "said"),
    [
        ([(0, 0.5), (1, 0.25)], [0, 1], None, "every runtime decides"),
        ([(1, 0.5)], [0, 1], None, "second class alone"),
        ([(0, 0.5), (1, 0.25)], [0, 1], [0.0, 1.0], "in different ways"),
        ([(0, -0.5)], [0, 1, 2], None, "every runtime decides"),
        ([(0, 0.5)], [4], None, "1 classes"),
    ],
)
def test_what_runtimes_differ_about_is_refused(votes: Any, labels: list[int], base: Any, said: str) -> None:
    leaves = [(leaf, k, w * leaf) for leaf in (1, 2) for k, w in votes]
    attributes = {
        **STUMP,
        "class_treeids": [0] * len(leaves), "class_nodeids": [n for n, _, _ in leaves],
        "class_ids": [k for _, k, _ in leaves], "class_weights": [w for _, _, w in leaves],
        "classlabels_int64s": labels,
        **({} if base is None else {"base_values": base}),
    }  # fmt: skip
    with pytest.raises(LirError) as told:
        load_onnx(model("TreeEnsembleClassifier", [("l", 7), ("s", 1)], 1, **attributes), input_types="s4f1")
    assert said in str(told.value)


def test_leaf_type_without_trees_is_an_error() -> None:
    from onnx_models import Graph

    g = Graph()
    g.output(g.qdq(g.input(["n", 4]), 0.25))
    with pytest.raises(LirError, match="has no decision trees"):
        load_onnx(g.model(), leaf_type=Fixed(True, 8, 4))


def test_data_without_a_format_is_refused_with_the_option() -> None:
    with pytest.raises(LirError, match="--input-type x="):
        load_onnx(two_leaves([0.25, 0.5]))
