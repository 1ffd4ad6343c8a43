"""Figures of the benchmarks, from the files that the benchmarks wrote, for the pages and the README."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = {"xgboost": "XGBoost", "xgboost-cpu": "XGBoost", "lightgbm": "LightGBM", "numpy": "NumPy", "numba": "Numba"}


@cache
def load(benchmark: str) -> dict[str, Any]:
    """What a benchmark wrote."""
    return json.loads((RESULTS / f"{benchmark}.json").read_text(encoding="utf-8"))


def rows(benchmark: str, title: str, **where: Any) -> list[dict[str, Any]]:
    """The rows of a table, of which the named columns have the given value, or one of the given values.

    Raises
    ------
    KeyError
        If the benchmark has no such table.
    """
    tables = load(benchmark)["tables"]
    if title not in tables:
        raise KeyError(f"title must be one of {', '.join(map(repr, tables))}, got {title!r}")
    return [row for row in tables[title] if all(_is(row[column], value) for column, value in where.items())]


def _is(cell: Any, wanted: Any) -> bool:
    return cell in wanted if isinstance(wanted, (list, tuple)) else cell == wanted


def table(
    benchmark: str, title: str, columns: Iterable[str] | Mapping[str, str] = (), text: str = "", **where: Any
) -> str:
    """A table as Markdown: all columns or some, under other names if `columns` is a mapping."""
    found = rows(benchmark, title, **where)
    shown = columns if isinstance(columns, Mapping) else {name: name for name in columns or found[0]}
    text = text or load(benchmark)["formats"][title]
    lines = ["| " + " | ".join(shown.values()) + " |"]
    lines.append("| " + " | ".join("--:" if _is_figure(found, name) else "---" for name in shown) + " |")
    lines += ["| " + " | ".join(_cell(row[name], text) for name in shown) + " |" for row in found]
    return "\n".join(lines)


def _is_figure(found: list[dict[str, Any]], name: str) -> bool:
    return any(isinstance(row[name], (int, float)) or " ± " in str(row[name]) for row in found)


def _cell(value: Any, text: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return text.format(value)
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace(" ± ", "\u00a0±\u00a0")  # no line ends before an interval


def cell(benchmark: str, title: str, column: str, text: str = "", **where: Any) -> str:
    """The one cell of a table."""
    (row,) = rows(benchmark, title, **where)
    return _cell(row[column], text or load(benchmark)["formats"][title])


def span(benchmark: str, title: str, column: str, text: str = "", **where: Any) -> str:
    """The least and the largest of a column; once, where they read the same."""
    values = [row[column] for row in rows(benchmark, title, **where)]
    text = text or load(benchmark)["formats"][title]
    least, largest = _cell(min(values), text), _cell(max(values), text)
    return least if least == largest else f"{least} to {largest}"


def count(benchmark: str, title: str) -> str:
    """How many rows a table has."""
    return str(len(rows(benchmark, title)))


def value(benchmark: str, name: str, text: str = "{:.3g}") -> str:
    """A single figure."""
    return text.format(load(benchmark)["values"][name])


def targets(benchmark: str) -> str:
    """What the benchmark demands, and what it found."""
    lines = ["| | found | demanded | |", "| --- | --: | --: | --- |"]
    for target in load(benchmark)["targets"]:
        met = "met" if target["met"] else "**missed**"
        lines.append(f"| {target['name']} | {target['value']:.3g} | {target['bound']} | {met} |")
    return "\n".join(lines)


def target(benchmark: str, name: str, text: str = "{:.3g}") -> str:
    """What a benchmark found of something it demands; `name` may be its beginning."""
    (found,) = (one for one in load(benchmark)["targets"] if one["name"].startswith(name))
    return text.format(found["value"])


def measured(benchmark: str, command: str = "") -> str:
    """Where the figures come from: the command, the machine and the versions."""
    found = load(benchmark)
    versions = found["versions"]
    engines = [f"{PACKAGES[name]} {number}" for name, number in versions.items() if name in PACKAGES]
    machine = found["machine"]
    command = command or f"python benchmarks/{benchmark}.py"
    named = ", ".join(dict.fromkeys(engines))
    where = f"{machine['cores']} cores of an {machine['cpu']}"
    where = f"an {machine['gpu']} with {where}" if "gpu" in machine else where
    return f"Printed by `{command}` on {where}: Python {versions['python']}, {named}."


def version(package: str) -> str:
    """That of a package that the benchmarks compare with."""
    return str(load("kernels")["versions"][package])


OURS_AND_THEIRS = ("boostfocal", "imbalance-xgboost", "imlightgbm", "gbdtCBL", "bokbokbok")


def peers(benchmark: str, title: str, column: str, text: str, worst: bool = True, **where: Any) -> str:
    """Cells of a table's row: a figure of this package as it is by default, and of the published ones.

    Of several for one package, as it works on both engines, the largest, or the least unless `worst`.
    """
    found = rows(benchmark, title, **where)
    by = next(iter(found[0]))
    by = by if isinstance(found[0][by], str) else list(found[0])[1]
    cells = []
    for name in OURS_AND_THEIRS:
        values = [row[column] for row in found if row[by].startswith(name) and "exact" not in row[by]]
        cells.append(text.format((max if worst else min)(values)))
    return " | ".join(cells)


def output(name: str) -> str:
    """What a command printed."""
    return (RESULTS / name).read_text(encoding="utf-8").rstrip()


MACROS: tuple[Callable[..., str], ...] = (
    table,
    cell,
    count,
    span,
    value,
    targets,
    target,
    measured,
    version,
    peers,
    output,
)


def define_env(env: Any) -> None:
    """The macros of the pages."""
    for macro in MACROS:
        env.macro(macro)
