"""Ensembles of decision trees of the domain ai.onnx.ml, as skl2onnx and onnxmltools write them.

Where the standard leaves open what a classifier answers (two classes of which both get votes, classes that no leaf
reached votes for), runtimes differ; such models are refused if the answer is used. The others are as ONNX Runtime
computes them. What turns scores into probabilities is left to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.ir.ops.logic import Relation
from lutc.lowering import exact as ex
from lutc.lowering import logic as kit
from lutc.lowering import trees as forest
from lutc.lowering.gather import rows
from lutc.lowering.model import Role
from lutc.lowering.operands import BROKEN, computed
from lutc.lowering.refusals import Refusal
from lutc.lowering.scores import argmax
from lutc.lowering.tensors import Known, Scaled, Tensor
from lutc.lowering.trees import Ensemble, Leaves, Split, Tree
from lutc.lowering.unread import FREE
from lutc.lowering.walk import Walk

from .model import Node, array_of, import_onnx
from .rule import Inputs, Rule, needed, rule

DOMAIN = "ai.onnx.ml"
NEWEST_ML = 5
LEAF = "LEAF"
RELATIONS = {
    "BRANCH_LEQ": Relation.LE,
    "BRANCH_LT": Relation.LT,
    "BRANCH_GTE": Relation.GE,
    "BRANCH_GT": Relation.GT,
    "BRANCH_EQ": Relation.EQ,
    "BRANCH_NEQ": Relation.NE,
}
MODES = tuple(RELATIONS)  # in the order of TreeEnsemble's numbers
MEMBER = 6
_NODES = ("falsenodeids", "featureids", "modes", "nodeids", "treeids", "truenodeids", "values")
# Attributes with the values at which they may be left unread: ports hold no NaN, and hit rates say how often.
_SHARED: dict[str, Any] = {
    **{f"nodes_{n}": None for n in (*_NODES, "values_as_tensor")},
    "nodes_hitrates": FREE,
    "nodes_hitrates_as_tensor": FREE,
    "nodes_missing_value_tracks_true": FREE,
    **dict.fromkeys(("base_values", "base_values_as_tensor")),
    "post_transform": "NONE",
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "TreeEnsembleRegressor": {
        **_SHARED,
        **{f"target_{n}": None for n in ("ids", "nodeids", "treeids", "weights", "weights_as_tensor")},
        "n_targets": None,
        "aggregate_function": "SUM",
    },
    "TreeEnsembleClassifier": {
        **_SHARED,
        **{f"class_{n}": None for n in ("ids", "nodeids", "treeids", "weights", "weights_as_tensor")},
        **dict.fromkeys(("classlabels_int64s", "classlabels_strings")),
    },
    "TreeEnsemble": {
        "aggregate_function": 1,
        "post_transform": 0,
        "nodes_hitrates": FREE,
        "nodes_missing_value_tracks_true": FREE,
        **dict.fromkeys(
            (
                "leaf_targetids", "leaf_weights", "membership_values", "n_targets", "nodes_falseleafs",
                "nodes_falsenodeids", "nodes_featureids", "nodes_modes", "nodes_splits", "nodes_trueleafs",
                "nodes_truenodeids", "tree_roots",
            )
        ),
    },
    "ZipMap": {"classlabels_int64s": FREE, "classlabels_strings": FREE},
}  # fmt: skip


# -- reading ----------------------------------------------------------------------------------------------------------


def _numbers(node: Node, name: str) -> list[float]:
    """Floats of an attribute, or of its form as a tensor."""
    tensor = node.get(f"{name}_as_tensor", None)
    return [float(v) for v in (node.get(name, ()) if tensor is None else np.asarray(tensor).ravel())]


def _same_length(**columns: Sequence[Any]) -> None:
    lengths = {name: len(c) for name, c in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise Refusal(f"has attributes of unequal lengths: {said}", BROKEN)


def _ensemble(node: Node, prefix: str, targets: int) -> Ensemble:
    """The trees of a regressor or classifier, whose votes' attributes begin with `prefix`."""
    ids, treeids, features = (node.get(f"nodes_{n}", ()) for n in ("nodeids", "treeids", "featureids"))
    modes, yes, no = (node.get(f"nodes_{n}", ()) for n in ("modes", "truenodeids", "falsenodeids"))
    modes = [m.decode() if isinstance(m, bytes) else m for m in modes]
    values = _numbers(node, "nodes_values")
    _same_length(
        nodes_nodeids=ids, nodes_treeids=treeids, nodes_featureids=features, nodes_modes=modes,
        nodes_truenodeids=yes, nodes_falsenodeids=no, nodes_values=values,
    )  # fmt: skip
    weights = _numbers(node, f"{prefix}_weights")
    votes = [node.get(f"{prefix}_{n}", ()) for n in ("treeids", "nodeids", "ids")]
    _same_length(**{f"{prefix}_weights": weights},
                 **{f"{prefix}_{n}": v for n, v in zip(("treeids", "nodeids", "ids"), votes, strict=True)})  # fmt: skip
    leaf_votes: dict[tuple[int, int], dict[int, float]] = {}
    for tree, at, target, weight in zip(*votes, weights, strict=True):
        if not 0 <= target < targets:
            raise Refusal(f"votes for target {target} of {targets}", BROKEN)
        mine = leaf_votes.setdefault((tree, at), {})
        mine[target] = mine.get(target, 0.0) + weight
    members: dict[int, list[int]] = {}
    for i, tree in enumerate(treeids):
        members.setdefault(tree, []).append(i)
    found = []
    for tree, mine_ in members.items():
        names = {ids[i]: i for i in mine_}
        if len(names) != len(mine_):
            raise Refusal(f"names a node of tree {tree} twice", BROKEN)
        leaves = {ids[i]: n for n, i in enumerate(i for i in mine_ if modes[i] == LEAF)}
        splits = {ids[i]: n for n, i in enumerate(i for i in mine_ if modes[i] != LEAF)}

        def place(at: int, leaves: Mapping[int, int] = leaves, splits: Mapping[int, int] = splits) -> int:
            if at in leaves:
                return ~leaves[at]
            if at not in splits:
                raise Refusal(f"leads to a node {at}, which its tree does not have", BROKEN)
            return splits[at]

        rows_ = [
            Split(features[i], _relation(modes[i]), values[i], place(yes[i]), place(no[i]))
            for i in mine_
            if modes[i] != LEAF
        ]
        found.append(
            Tree(tuple(rows_), tuple(leaf_votes.get((tree, at), {}) for at in leaves), place(ids[mine_[0]]))
        )
    return Ensemble(targets, tuple(found), tuple(_numbers(node, "base_values")))


def _relation(mode: str) -> Relation:
    if mode not in RELATIONS:
        raise Refusal(f"has a node of mode {mode!r}", "known are " + ", ".join((*RELATIONS, LEAF)))
    return RELATIONS[mode]


def _ensemble_5(node: Node) -> Ensemble:
    """The trees of a TreeEnsemble: splits and leaves stand apart."""
    targets = int(node.get("n_targets", 1))
    columns = {
        n: list(node.get(n, ()))
        for n in (
            "nodes_featureids", "nodes_truenodeids", "nodes_trueleafs", "nodes_falsenodeids", "nodes_falseleafs",
        )
    }  # fmt: skip
    modes = np.asarray(node.get("nodes_modes", ())).ravel().tolist()
    values = np.asarray(node.get("nodes_splits", ())).ravel().astype(np.float64).tolist()
    _same_length(**columns, nodes_modes=modes, nodes_splits=values)
    weights = np.asarray(node.get("leaf_weights", ())).ravel().astype(np.float64).tolist()
    at = list(node.get("leaf_targetids", ()))
    _same_length(leaf_targetids=at, leaf_weights=weights)
    if any(not 0 <= t < targets for t in at):
        raise Refusal(f"votes for target {next(t for t in at if not 0 <= t < targets)} of {targets}", BROKEN)
    bad = [m for m in modes if not 0 <= m < len(MODES)]
    if bad:
        if MEMBER in bad:
            raise Refusal("asks whether a feature is among several numbers", "write it as BRANCH_EQ splits")
        raise Refusal(f"has a node of mode {bad[0]}", f"modes are 0 to {len(MODES) - 1}")
    splits = tuple(
        Split(f, RELATIONS[MODES[m]], v, ~y if yl else y, ~n if nl else n)
        for f, m, v, y, yl, n, nl in zip(
            columns["nodes_featureids"], modes, values, columns["nodes_truenodeids"],
            columns["nodes_trueleafs"], columns["nodes_falsenodeids"], columns["nodes_falseleafs"], strict=True,
        )
    )  # fmt: skip
    leaves = tuple({t: w} for t, w in zip(at, weights, strict=True))
    roots = list(node.get("tree_roots", ()))
    trees = [Tree(*_reachable(splits, leaves, root)) for root in roots]
    return Ensemble(targets, tuple(trees))


def _reachable(
    splits: Sequence[Split], leaves: Sequence[Mapping[int, float]], root: int
) -> tuple[tuple[Split, ...], tuple[Mapping[int, float], ...], int]:
    """One tree of several that stand in one list."""
    place: dict[int, int] = {}
    mine: list[Split] = []
    ends: list[Mapping[int, float]] = []
    stack = [root]
    while stack:
        at = stack.pop()
        if at in place:
            continue
        if not -len(leaves) <= at < len(splits):
            raise Refusal("leads to a node or a leaf that it does not have", BROKEN)
        if at < 0:
            place[at] = ~len(ends)
            ends.append(leaves[~at])
        else:
            place[at] = len(mine)
            mine.append(splits[at])
            stack += [splits[at].no, splits[at].yes]
    return tuple(replace(s, yes=place[s.yes], no=place[s.no]) for s in mine), tuple(ends), place[root]


# -- rules ------------------------------------------------------------------------------------------------------------


def _sums(walk: Walk, node: Node, t: Scaled, ensemble: Ensemble) -> tuple[Scaled, Leaves]:
    """The sums of leaves, rounded as the user said; the model is compared with its leaves rounded alike."""
    done, leaves = forest.sums(walk, t, ensemble)
    walk.rewritten[node.outputs[0] or node.outputs[-1]] = _rounded(leaves)
    return done, leaves


def _rounded(leaves: Leaves) -> Callable[[Any], None]:
    """How the node is given to the model's own framework: with its leaves rounded, and scores as they are."""
    names = ("target_weights", "class_weights", "base_values", "leaf_weights")
    known = {name + end for name in names for end in ("", "_as_tensor")}

    def rewrite(proto: Any) -> None:
        onnx = import_onnx()
        for a in proto.attribute:
            if a.name in known and a.floats:
                a.floats[:] = [leaves.number(v) for v in a.floats]
            elif a.name in known and a.HasField("t"):
                array = array_of(onnx, a.t, proto.name)
                done = np.array([leaves.number(v) for v in array.ravel().tolist()], array.dtype)
                a.t.CopyFrom(onnx.numpy_helper.from_array(done.reshape(array.shape), a.t.name))
            elif a.name == "post_transform":
                a.CopyFrom(onnx.helper.make_attribute(a.name, "NONE" if a.s else 0))
            elif a.name == "classlabels_strings":  # numbers in the place of words
                count = len(a.strings)
                a.CopyFrom(onnx.helper.make_attribute("classlabels_int64s", list(range(count))))

    return rewrite


def _host(walk: Walk, node: Node, transform: Any, at: int) -> None:
    """Leave what makes probabilities of scores to the host. Raises Refusal if other layers read them."""
    name = {0: "NONE", 1: "SOFTMAX", 2: "LOGISTIC", 3: "SOFTMAX_ZERO", 4: "PROBIT"}.get(transform, transform)
    output = node.outputs[at] if at < len(node.outputs) else ""
    if name == "NONE" or not output:
        return
    if name not in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"):
        raise Refusal(f"has the transformation {name!r}", BROKEN)
    behind = [output]
    while behind:  # the order of scores stays, wherever they are moved
        for reader in walk.consumers.get(behind.pop(), ()):
            if reader.role is Role.MOVES or reader.kind == "ZipMap":
                behind += reader.outputs
            elif reader.role is not Role.CHOOSES:
                raise Refusal(
                    f"makes probabilities of its scores ({name}), which {reader.label} reads",
                    "end the model with the scores, or compute from scores: post_transform NONE",
                )
    walk.note(f"{node.label} leaves {name} to the host: its outputs are the scores before it")


def regressor(walk: Walk, node: Node, inputs: Inputs) -> Scaled:
    t = computed(needed(inputs, 0))
    ensemble = _ensemble(node, "target", int(node.get("n_targets", 1)))
    aggregate = node.get("aggregate_function", "SUM")
    return _aggregated(walk, node, t, ensemble, aggregate)


def ensemble(walk: Walk, node: Node, inputs: Inputs) -> Scaled:
    """TreeEnsemble, the one operator of version 5."""
    names = {0: "AVERAGE", 1: "SUM", 2: "MIN", 3: "MAX"}
    number = node.get("aggregate_function", 1)
    found = _ensemble_5(node)
    return _aggregated(walk, node, computed(needed(inputs, 0)), found, names.get(number, str(number)))


def _aggregated(walk: Walk, node: Node, t: Scaled, found: Ensemble, aggregate: str) -> Scaled:
    if aggregate not in ("SUM", "AVERAGE"):
        raise Refusal(f"takes the {aggregate} of its trees", "sums and averages are taken")
    if aggregate == "AVERAGE" and any(found.base):
        raise Refusal("averages trees beside base values", "add the base values to the leaves")
    _host(walk, node, node.get("post_transform", 0), 0)
    done, _ = _sums(walk, node, t, found)
    return done.times(ex.number(1) / len(found.trees)) if aggregate == "AVERAGE" else done


def classifier(walk: Walk, node: Node, inputs: Inputs) -> tuple[Tensor | None, ...]:
    t = computed(needed(inputs, 0))
    words, numbers = node.get("classlabels_strings", ()), node.get("classlabels_int64s", ())
    labels = list(range(len(words))) if words else [int(n) for n in numbers]
    if len(labels) < 2:
        raise Refusal(f"has {len(labels)} classes", "a classifier chooses between two or more")
    found = _ensemble(node, "class", len(labels))
    _host(walk, node, node.get("post_transform", "NONE"), 1)
    named = bool(node.outputs[0]) and (
        node.outputs[0] in walk.consumers or node.outputs[0] in walk.model.outputs
    )
    if words and named:
        said = ", ".join(w.decode() if isinstance(w, bytes) else w for w in words[:4])
        walk.note(
            f"{node.label} names classes by their numbers, in the order {said}" + ", ..." * (len(words) > 4)
        )
    voted = {c for tree in found.trees for leaf in tree.leaves for c in leaf}
    if len(labels) == 2 and len(voted) == 1:
        return _two(walk, node, t, found, labels, voted.pop())
    if len(labels) == 2 and found.base:  # whichever of the two they are for
        raise Refusal("has base values beside votes for both of its classes, which runtimes add up in different ways",
                      "vote for one class, as skl2onnx does, or leave the base values away")  # fmt: skip
    scores, _ = _sums(walk, node, t, found)
    label: Tensor | None = None
    if named:
        _check_label(found, len(labels))
        index = argmax(walk, scores, 1, keep=False)
        label = index
        if labels != list(range(len(labels))):
            made = rows(walk, node.op, Known(np.asarray(labels, np.int64)), index, 0)
            label = replace(made, integer="int64") if isinstance(made, Scaled) else None
    return label, scores


def _check_label(found: Ensemble, classes: int) -> None:
    """Raise Refusal where runtimes differ about the class that is named."""
    if classes == 2:
        raise Refusal(
            "votes for both of its two classes, and which of them its label names, every runtime decides for itself",
            "use its scores alone, or an exporter that votes for one class, as skl2onnx does",
        )
    always = {c for c in range(classes) for t in found.trees if all(c in leaf for leaf in t.leaves)}
    positive = all(w >= 0 for w in found.leaves()) and any(
        all(sum(leaf.values()) > 0 for leaf in t.leaves) for t in found.trees
    )
    if len(always) < classes and not found.base and not positive:
        raise Refusal(
            "has classes that some of its inputs give no vote to, beside scores below 0: whether such a class has the "
            "score 0 or none, every runtime decides for itself",
            "give every leaf a vote for every class, if it is 0",
        )


def _two(
    walk: Walk, node: Node, t: Scaled, found: Ensemble, labels: Sequence[int], voted: int
) -> tuple[Tensor | None, ...]:
    """Two classes of which one is voted for: its score against a half, or against 0 if scores may be negative."""
    if voted != 0 or (any(found.base[1:])):
        raise Refusal(
            "votes for its second class alone, or has a base value for it, which runtimes read in different ways",
            "export it with an exporter that votes for class 0, as skl2onnx does",
        )
    one = replace(found, targets=1, base=found.base[:1])
    score, leaves = _sums(walk, node, t, one)
    # ONNX Runtime looks at the weights as they stand in the file; here that is after rounding, on both sides.
    positive = all(leaves.code(w) >= 0 for w in one.leaves())
    limit = Known(np.float32(0.5 if positive else 0))
    above = kit.against(walk, score, limit, Relation.GT)
    flat = walk.reshape(replace(above, integer="bool"), (1,))
    chosen = kit.where(
        walk, flat, Known(np.array([labels[1]], np.int64)), Known(np.array([labels[0]], np.int64))
    )
    both = walk.broadcast(score, (1, 2))
    first = ex.number(1 if positive else 0)
    signs = np.array([[-1, 1]], dtype=object) * ex.number(1)
    base = ex.choose(np.array([[True, False]]), first, ex.number(0))
    return replace(chosen, integer="int64"), both.times(signs).plus(base)


def zip_map(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Scores with names to them: the host's."""
    t = computed(needed(inputs, 0))
    walk.note(
        f"{node.label} is left to the host: its output is the scores without names, in the order of the classes"
    )
    walk.hosted.setdefault(node.outputs[0], None)
    return t


RULES: dict[str, Rule] = {
    "TreeEnsembleRegressor": rule(regressor),
    "TreeEnsembleClassifier": rule(classifier),
    "TreeEnsemble": rule(ensemble),
    "ZipMap": rule(zip_map),
}
