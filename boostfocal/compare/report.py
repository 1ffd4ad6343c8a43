"""The output of a comparison: tables for the terminal, JSON, and a page."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import joblib
import numpy as np
from jinja2 import Environment, StrictUndefined
from rich import box
from rich.markup import escape
from rich.table import Table as TerminalTable

from boostfocal.metrics.scores import ECE_BINS

from . import splits
from .columns import CATEGORY, NUMBER
from .judged import SELECTION_METRICS, Metric
from .run import Options, Result
from .splits import Design, Split
from .summary import Difference, Summary, as_json
from .table import Table
from .terminal import escaped


def environment() -> dict[str, str]:
    """What the metrics depend on besides the data."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {joblib.cpu_count()} CPUs"}
    for package in ("boostfocal", "xgboost", "xgboost-cpu", "lightgbm", "scikit-learn", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def terminal_tables(summary: Summary, options: Options, width: int = 80) -> list[TerminalTable]:
    """The means, and the differences in the metric judged by and in the others; as many columns as fit."""
    judged = SELECTION_METRICS[options.select]
    best = _best(summary)
    means: list[tuple[str, list[str]]] = []
    for engine in summary.engines:
        means.append((engine, []))
        for row in (row for row in summary.rows if row.engine == engine):
            cells = [
                _bold(row.metrics[s.key], when=best[engine, s.key] == row.metrics[s.key])
                for s in summary.metrics
            ]  # fmt: skip
            means.append((f" {row.contender}", [*cells, f"{row.fit_seconds:.2f}"]))
    headings = [*map(_heading, summary.metrics), "fit, s"]
    kept = [metric.key for metric in summary.metrics].index(judged.key)
    pair = [judged, *(metric for metric in _paired(summary) if metric.key != judged.key)]
    paired: list[tuple[str, list[str]]] = []
    for engine in summary.engines:
        paired.append((engine, []))
        for d in (d for d in summary.differences if (d.engine, d.metric) == (engine, judged.key)):
            cells = [span(summary.difference(engine, d.contender, d.reference, metric.key)) for metric in pair]
            paired.append((f" {d.contender} − {d.reference}", cells))
    return [
        _table(f"Means over {summary.n_splits} splits", headings, means, kept, width),
        _table("Paired differences ± corrected 95 % interval", list(map(_heading, pair)), paired, 0, width),
    ]


def columns_table(table: Table, roles: Mapping[str, str], dropped: Sequence[str]) -> TerminalTable:
    """The use of each column; `roles` has the option of those that are not features."""
    used = {name: "a category" if kind == CATEGORY else f"a {kind}" if kind == NUMBER else f"left out: {kind}"
            for name, kind in table.becomes.items()}  # fmt: skip
    shown = dict(roles) | dict.fromkeys(dropped, "--drop") | used
    found = TerminalTable("column", "becomes", box=box.SIMPLE_HEAD, show_edge=False)
    for name, becomes in shown.items():
        found.add_row(escape(escaped(name)), escape(becomes))
    return found


def splits_table(table: Table, parts: list[Split]) -> TerminalTable:
    """Rows and positives of each split, and their times."""
    timed = ["from", "to"] if table.time is not None else []
    counted = "positive" if table.binary else "classes"
    found = TerminalTable("split", "part", "rows", counted, *timed, box=box.SIMPLE_HEAD, show_edge=False)
    for split in splits.describe(table, parts):
        for part in ("train", "test"):
            of = split[part]
            count = of["positive"] if table.binary else ", ".join(f"{k} {v:,}" for k, v in of["classes"].items())
            found.add_row(*(escape(str(cell)) for cell in (split["split"], part, of["rows"], count)),
                          *(str(of[name]) for name in timed))  # fmt: skip
    return found


def _paired(summary: Summary) -> list[Metric]:
    """The metrics whose differences are shown first: those that may choose, and savings."""
    return [metric for metric in summary.metrics if metric.key in (*SELECTION_METRICS, "savings")]


def _table(title: str, headings: list[str], rows: list[tuple[str, list[str]]], kept: int, width: int) -> TerminalTable:
    """Rows under headings; a row without cells is a heading, too. If need be, the last columns but `kept` go."""
    sizes = [
        max(len(text) for text in (headings[i], *(_plain(cells[i]) for _, cells in rows if cells)))
        for i in range(len(headings))
    ]
    labels = max(len(label) for label, _ in rows)
    shown = list(range(len(headings)))
    while len(shown) > 1 and labels + sum(1 + sizes[i] for i in shown) > width:
        shown.remove(next(i for i in reversed(shown) if i != kept))
    table = TerminalTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("", no_wrap=labels + 1 + sizes[shown[0]] <= width, overflow="fold")
    for i in shown:
        table.add_column(headings[i], justify="right", no_wrap=True, min_width=sizes[i])
    for label, cells in rows:
        table.add_row(*([label, *(cells[i] for i in shown)] if cells else [f"[bold]{label}[/]"]))
    return table


def _plain(cell: str) -> str:
    return cell.removeprefix("[bold]").removesuffix("[/]")


def _heading(metric: Metric) -> str:
    return f"{metric.short}{'↑' if metric.greater_is_better else '↓'}"


def _bold(value: float, *, when: bool) -> str:
    return f"[bold]{value:.4f}[/]" if when else f"{value:.4f}"


def span(difference: Difference) -> str:
    """The mean and half the interval's width."""
    if difference.half_width is None:
        return f"{difference.mean:+.4f}"
    return f"{difference.mean:+.4f} ± {difference.half_width:.4f}"


@dataclass(frozen=True)
class Comparison:
    """All that a report tells of."""

    table: Table
    design: Design
    splits: list[Split]
    options: Options
    results: list[Result]
    summary: Summary
    code: str


def to_json(compared: Comparison) -> str:
    """Everything but the predictions, as JSON."""
    content: dict[str, Any] = {
        "environment": environment(),
        "table": describe(compared.table),
        "design": asdict(compared.design) | {"kind": compared.design.kind},
        "splits": splits.describe(compared.table, compared.splits),
        "options": asdict(compared.options),
        "summary": as_json(compared.summary),
        "winner_code": compared.code,
        "results": [
            {name: value for name, value in vars(result).items() if name not in ("test", "proba")}
            for result in compared.results
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def to_html(compared: Comparison) -> str:
    """One self-contained page."""
    from . import charts  # it takes long to import

    table, results, summary = compared.table, compared.results, compared.summary
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = page.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        table=describe(table),
        notes=table.notes,
        summary=summary,
        best=_best(summary),
        span=span,
        design=compared.design,
        splits=splits.describe(table, compared.splits),
        options=compared.options,
        ece_bins=ECE_BINS,
        environment=environment(),
        code=compared.code,
        precision_recall=charts.precision_recall(results, table.labels),
        reliability=charts.reliability(results, table.labels),
        differences=[(metric.title, charts.differences(summary, metric)) for metric in _paired(summary)],
        settings=_settings(results),
    )


def describe(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "rows": int(table.labels.size),
        "target": table.target,
        "outcome": table.outcome,
        "classes": dict(
            zip(table.values, np.bincount(table.labels, minlength=len(table.values)).tolist(), strict=True)
        ),
        "positive": table.positive if table.binary else None,
        "features": int(table.features.shape[1]),
        "categorical": len(table.categorical),
        "columns": dict(table.becomes),
        "notes": table.notes,
    }


def _settings(results: list[Result]) -> list[dict[str, Any]]:
    def shown(values: Any) -> str:
        return ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())

    return [
        {
            "split": result.split + 1, "engine": result.engine, "contender": result.contender, "rounds": result.rounds,
            "parameters": shown({**result.hyperparameters, **result.parameters}),
        }
        for result in results
    ]  # fmt: skip


def _best(summary: Summary) -> dict[tuple[str, str], float]:
    result: dict[tuple[str, str], float] = {}
    for row in summary.rows:
        for metric in summary.metrics:
            here = [other.metrics[metric.key] for other in summary.rows if other.engine == row.engine]
            result[row.engine, metric.key] = max(here) if metric.greater_is_better else min(here)
    return result
