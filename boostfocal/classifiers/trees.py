"""The trees of either engine's booster, as ONNX nodes."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from .symbols import Graph

LESS_OR_EQUAL, LESS, MEMBER = 0, 1, 6
"""Modes of a node of ONNX's TreeEnsemble: which values go to its true branch."""


@dataclass
class Node:
    """A split. A branch is a node, or the value of a leaf."""

    feature: int
    mode: int
    threshold: float
    members: list[float]
    missing_to_true: bool
    true: "Node | float"
    false: "Node | float"


@dataclass
class Ensemble:
    """Trees whose sum, added to `start`, is the margin of each class, in the engine's own precision."""

    precision: type
    start: NDArray[np.float64]
    trees: list[tuple[int, Node | float]] = field(default_factory=list)
    """The class of each tree, and its root."""

    def categories(self, n_features: int) -> NDArray[np.bool_]:
        """Which features are split by membership."""
        found = np.zeros(n_features, bool)
        open_ = [root for _, root in self.trees]
        while open_:
            node = open_.pop()
            if isinstance(node, Node):
                found[node.feature] |= node.mode == MEMBER
                open_ += [node.true, node.false]
        return found

    def emit(self, graph: Graph, features: str) -> str:
        """Sums of the trees, of shape (n, number of classes), as a node of the graph."""
        columns: dict[str, list[Any]] = {
            name: []
            for name in (
                "featureids",
                "modes",
                "splits",
                "truenodeids",
                "trueleafs",
                "falsenodeids",
                "falseleafs",
                "missing",
            )
        }
        members: list[float] = []
        targets: list[int] = []
        weights: list[float] = []
        roots = []
        for target, tree in self.trees:
            root = tree if isinstance(tree, Node) else Node(0, LESS, 0.0, [], True, tree, tree)
            roots.append(len(columns["modes"]))
            open_: list[tuple[Node, str | None, int]] = [(root, None, 0)]
            while open_:
                node, branch, parent = open_.pop()
                number = len(columns["modes"])
                if branch:
                    columns[branch][parent] = number
                if node.mode == MEMBER:
                    members += [*node.members, np.nan]
                for name, value in (
                    ("featureids", node.feature), ("modes", node.mode), ("splits", node.threshold),
                    ("missing", int(node.missing_to_true)), ("truenodeids", 0), ("falsenodeids", 0),
                    ("trueleafs", 0), ("falseleafs", 0),
                ):  # fmt: skip
                    columns[name].append(value)
                for side, child in (("false", node.false), ("true", node.true)):
                    if isinstance(child, Node):
                        open_.append((child, f"{side}nodeids", number))
                    else:
                        if len(weights) == number + 1:
                            # the leaf would have the next node's number, and that node may be the other branch:
                            # ONNX Runtime (1.21 to 1.23 at least) takes a node for a leaf if both branches have one
                            # number
                            targets.append(0)
                            weights.append(0.0)
                        columns[f"{side}leafs"][number], columns[f"{side}nodeids"][number] = 1, len(weights)
                        targets.append(target)
                        weights.append(child)

        def tensor(values: Any) -> Any:
            return numpy_helper.from_array(np.array(values, self.precision))

        attributes: dict[str, Any] = {
            "n_targets": self.start.size, "aggregate_function": 1, "post_transform": 0, "tree_roots": roots,
            "nodes_featureids": columns["featureids"], "nodes_splits": tensor(columns["splits"]),
            "nodes_modes": numpy_helper.from_array(np.array(columns["modes"], np.uint8)),
            "nodes_truenodeids": columns["truenodeids"], "nodes_trueleafs": columns["trueleafs"],
            "nodes_falsenodeids": columns["falsenodeids"], "nodes_falseleafs": columns["falseleafs"],
            "nodes_missing_value_tracks_true": columns["missing"],
            "leaf_targetids": targets, "leaf_weights": tensor(weights),
        }  # fmt: skip
        if members:
            attributes["membership_values"] = tensor(members)
        return graph.emit("TreeEnsemble", features, domain="ai.onnx.ml", **attributes)


def of_xgboost(booster: Any, rounds: int | None) -> Ensemble:
    """Trees of an XGBoost booster's first rounds (None: all), whose numbers are float32.

    Raises
    ------
    ValueError
        For a booster without trees.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    gradient_booster = learner["gradient_booster"]
    weights = gradient_booster.get("weight_drop")  # of dart, below XGBoost 3.4
    gradient_booster = gradient_booster.get("gbtree", gradient_booster)
    if gradient_booster["name"] != "gbtree":
        raise ValueError(f"booster must be of trees to be exported, got {gradient_booster['name']!r}")
    stored = gradient_booster["model"]
    weights = stored.get("weight_drop", weights)
    start = np.atleast_1d(np.array(json.loads(learner["learner_model_param"]["base_score"]), np.float32))
    ensemble = Ensemble(np.float32, start.astype(np.float64))
    count = stored["iteration_indptr"][-1 if rounds is None else rounds]
    for number, (tree, target) in enumerate(zip(stored["trees"][:count], stored["tree_info"][:count], strict=True)):
        scale = weights[number] if weights else 1.0
        ensemble.trees.append((target, _xgboost_root(tree, scale)))
    return ensemble


def _members(tree: dict[str, Any]) -> dict[int, list[float]]:
    """The categories of each categorical split."""
    found = {}
    for node, first, size in zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
    ):
        found[node] = [float(value) for value in tree["categories"][first : first + size]]
    return found


def _xgboost_root(tree: dict[str, Any], scale: float) -> Node | float:
    """Build a tree from its leaves up: children have larger numbers than their parents."""
    members = _members(tree)
    built: list[Node | float] = [0.0] * len(tree["left_children"])
    for i in reversed(range(len(built))):
        left, right = tree["left_children"][i], tree["right_children"][i]
        condition, default_left = tree["split_conditions"][i], bool(tree["default_left"][i])
        if left == -1:
            built[i] = float(np.float32(condition) * np.float32(scale))
        elif tree["split_type"][i] == 1:  # the categories that are listed go right
            feature = tree["split_indices"][i]
            built[i] = Node(feature, MEMBER, 0.0, members[i], not default_left, built[right], built[left])
        else:
            feature = tree["split_indices"][i]
            built[i] = Node(feature, LESS, condition, [], default_left, built[left], built[right])
    return built[0]


def of_lightgbm(booster: Any, n_classes: int) -> Ensemble:
    """Trees of a LightGBM booster, up to its best iteration, in float64.

    Raises
    ------
    ValueError
        For trees that a graph cannot express: linear ones, and those of zero_as_missing.
    """
    ensemble = Ensemble(np.float64, np.zeros(n_classes))
    for tree in booster.dump_model()["tree_info"]:
        structure = tree["tree_structure"]
        ensemble.trees.append((tree["tree_index"] % n_classes, _lightgbm_node(structure)))
    return ensemble


def _lightgbm_node(node: dict[str, Any]) -> Node | float:
    if "split_feature" not in node:
        if "leaf_const" in node:
            raise ValueError("linear_tree must be off for a model to be exported: ONNX has no linear trees")
        return float(node["leaf_value"])
    branches = _lightgbm_node(node["left_child"]), _lightgbm_node(node["right_child"])
    feature, missing = node["split_feature"], node["missing_type"]
    if node["decision_type"] == "==":
        return Node(feature, MEMBER, 0.0, [float(c) for c in node["threshold"].split("||")], False, *branches)
    if missing == "Zero":
        raise ValueError("zero_as_missing must be off for a model to be exported: ONNX takes NaN alone for missing")
    threshold = float(node["threshold"])
    missing_to_true = node["default_left"] if missing == "NaN" else threshold >= 0  # "None": NaN is taken for 0
    return Node(feature, LESS_OR_EQUAL, threshold, [], bool(missing_to_true), *branches)
