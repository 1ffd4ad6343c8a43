"""Symbols that NumPy's functions treat as arrays, and that record what is done with them as an ONNX graph.

So the posterior's own code writes the posterior in a graph. Numbers are float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from onnx import NodeProto, TensorProto, helper, numpy_helper

KINDS = {"f": np.float64, "i": np.int64, "b": np.bool_}


class Graph:
    """Nodes and constants, in the order of their creation."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def emit(self, operator: str, *inputs: str, name: str | None = None, domain: str = "", **attributes: Any) -> str:
        output = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output


class Symbol(NDArrayOperatorsMixin):
    """A value of the graph: of kind "f" (float64), "i" or "b", with a number of columns if it has two dimensions."""

    def __init__(self, graph: Graph, name: str, kind: str = "f", columns: int | None = None) -> None:
        self.graph, self.name, self.kind, self.columns = graph, name, kind, columns

    @property
    def shape(self) -> tuple[Any, ...]:
        return (None,) if self.columns is None else (None, self.columns)

    def __getitem__(self, index: Any) -> "Symbol":
        if index != (..., np.newaxis):
            raise NotImplementedError(f"index {index!r}")
        axes = self.graph.constant(np.array([-1]))
        return Symbol(self.graph, self.graph.emit("Unsqueeze", self.name, axes), self.kind, 1)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or ufunc.__name__ not in UFUNCS:
            return NotImplemented
        operation = UFUNCS[ufunc.__name__]
        if callable(operation):
            return operation(*inputs)
        operator, kind = operation
        return _apply(operator, inputs, kind)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        return FUNCTIONS[function.__name__](*inputs, **options) if function.__name__ in FUNCTIONS else NotImplemented


def _apply(operator: str, inputs: Any, kind: str | None = None, **attributes: Any) -> Symbol:
    """A node whose inputs have one kind; some of them may be numbers or arrays."""
    symbols = [value for value in inputs if isinstance(value, Symbol)]
    graph, common = symbols[-1].graph, symbols[-1].kind
    names = [v.name if isinstance(v, Symbol) else graph.constant(np.asarray(v, KINDS[common])) for v in inputs]
    columns = [v.columns if isinstance(v, Symbol) else (np.shape(v) or (None,))[-1] for v in inputs]
    width = max((c for c in columns if c is not None), default=None)
    return Symbol(graph, graph.emit(operator, *names, **attributes), kind or common, width)


def _where(condition: Any, one: Any, other: Any) -> Symbol:
    graph = condition.graph
    names = [v.name if isinstance(v, Symbol) else graph.constant(np.asarray(v, np.float64)) for v in (one, other)]
    columns = [v.columns for v in (condition, one, other) if isinstance(v, Symbol) and v.columns is not None]
    return Symbol(graph, graph.emit("Where", condition.name, *names), "f", max(columns, default=None))


def _log1p(x: Any) -> Any:
    """log1p from log, without its cancellation: the rounding of 1 + x is taken back."""
    total: Any = 1 + x
    return np.log(total) - ((total - 1) - x) / total


def _reduced(operator: str) -> Callable[..., Symbol]:
    def reduce(x: Symbol, axis: int, keepdims: bool = False, where: Any = True) -> Symbol:
        value = x if where is True else _where(where, x, 0.0)
        axes = x.graph.constant(np.array([axis]))
        return Symbol(
            x.graph, x.graph.emit(operator, value.name, axes, keepdims=int(keepdims)), "f", 1 if keepdims else None
        )

    return reduce


def _argmax(x: Symbol, axis: int) -> Symbol:
    return Symbol(x.graph, x.graph.emit("ArgMax", x.name, axis=axis, keepdims=0), "i")


def _take_along_axis(x: Symbol, indices: Symbol, axis: int) -> Symbol:
    return Symbol(x.graph, x.graph.emit("GatherElements", x.name, indices.name, axis=axis), x.kind, indices.columns)


def _stack(values: list[Symbol], axis: int) -> Symbol:
    graph = values[0].graph
    columns = [value[..., np.newaxis].name for value in values]
    return Symbol(graph, graph.emit("Concat", *columns, axis=axis), "f", len(values))


UFUNCS: dict[str, Any] = {
    "add": ("Add", None), "subtract": ("Sub", None), "multiply": ("Mul", None), "divide": ("Div", None),
    "power": ("Pow", None), "negative": ("Neg", None), "absolute": ("Abs", None), "exp": ("Exp", None),
    "log": ("Log", None), "maximum": ("Max", None), "minimum": ("Min", None), "invert": ("Not", None),
    "equal": ("Equal", "b"), "greater": ("Greater", "b"), "greater_equal": ("GreaterOrEqual", "b"),
    "less": ("Less", "b"), "isinf": ("IsInf", "b"),
    "log1p": _log1p,
    "expit": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where, "sum": _reduced("ReduceSum"), "max": _reduced("ReduceMax"), "amax": _reduced("ReduceMax"),
    "argmax": _argmax, "take_along_axis": _take_along_axis, "stack": _stack,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
}  # fmt: skip
