"""Export to ONNX: from rows to labels, class probabilities and margins, without this package."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ..posterior import Posterior
from .symbols import Graph, Symbol
from .trees import Ensemble

OPSETS = {"": 18, "ai.onnx.ml": 5}
"""Of ONNX 1.16 and ONNX Runtime 1.20."""

IR_VERSION = 9
FLOATS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def model(
    ensemble: Ensemble,
    posterior: Posterior,
    labels: NDArray[Any],
    n_features: int,
    costs: NDArray[np.float64] | None,
    missing: float,
    input_type: str,
) -> onnx.ModelProto:
    """A graph with the input "X" and the outputs "label", "probabilities" and "margin"."""
    if input_type not in FLOATS:
        raise ValueError(f'input_type must be "float32" or "float64", got {input_type!r}')
    graph = Graph()
    tree_type = helper.np_dtype_to_tensor_dtype(np.dtype(ensemble.precision))
    features = graph.emit("Cast", "X", to=tree_type)
    if not np.isnan(missing):
        value, nan = (graph.constant(np.array(number, ensemble.precision)) for number in (missing, np.nan))
        features = graph.emit("Where", graph.emit("Equal", features, value), nan, features)
    categories = ensemble.categories(n_features)
    if categories.any():  # to pandas and the engines a negative code is a missing category
        negative = graph.emit("Less", features, graph.constant(np.zeros((), ensemble.precision)))
        no_category = graph.emit("And", negative, graph.constant(categories))
        nan = graph.constant(np.array(np.nan, ensemble.precision))
        features = graph.emit("Where", no_category, nan, features)
    sums = ensemble.emit(graph, features)
    several = ensemble.start.size > 1
    if not several:
        sums = graph.emit("Squeeze", sums, graph.constant(np.array([1])))
    margin = Symbol(
        graph, graph.emit("Cast", sums, to=TensorProto.DOUBLE), "f", ensemble.start.size if several else None
    )
    if ensemble.start.any():
        margin = margin + (ensemble.start if several else ensemble.start[0])
    proba = posterior.probabilities(margin)
    weighed = proba if costs is None else proba * costs
    best: Any = np.argmax(weighed, axis=-1)
    kind = labels.dtype.kind
    names = (
        labels.astype(str).astype(object) if kind in "UO" else labels.astype(np.float64 if kind == "f" else np.int64)
    )
    graph.emit("Gather", graph.constant(names), best.name, name="label")
    graph.emit("Cast", proba.name, name="probabilities", to=TensorProto.FLOAT)
    graph.emit("Identity", margin.name, name="margin")
    n, k = "n", posterior.n_classes
    label_type = helper.np_dtype_to_tensor_dtype(names.dtype) if kind not in "UO" else TensorProto.STRING
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "boostfocal",
            [helper.make_tensor_value_info("X", FLOATS[input_type], [n, n_features])],
            [
                helper.make_tensor_value_info("label", label_type, [n]),
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [n, k]),
                helper.make_tensor_value_info("margin", TensorProto.DOUBLE, [n, k] if several else [n]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="boostfocal",
    )
