"""The report's pictures, as SVG that takes its ink from the page."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from boostfocal.metrics.scores import ECE_BINS, against_rest, calibration_bins

from .contenders import CONTENDERS
from .judged import Metric
from .run import Result
from .summary import Summary

INK = "#010203"  # stands for the page's text colour
COLORS = dict(
    zip((contender.name for contender in CONTENDERS), ("#8a8f98", "#c98a1b", "#3f8fd2", "#d1495b"), strict=True)
)
STYLE: Any = {
    "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.spines.right": False, "axes.spines.top": False,
    "font.family": "sans-serif", "font.size": 10, "legend.frameon": False, "svg.fonttype": "none",
    "svg.hashsalt": "boostfocal", "text.color": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip

Array = NDArray[Any]


def precision_recall(results: Sequence[Result], labels: Array) -> str:
    """Mean precision at each recall over splits and classes, for each contender; one panel per engine."""
    from sklearn.metrics import precision_recall_curve

    recall_grid = np.linspace(0.01, 1, 100)  # at recall 0 precision is 1 by convention, which says nothing

    def draw(ax: Axes, own: Sequence[Result], contender: str) -> None:
        curves = []
        for one in (one for result in own for one in against_rest(labels[result.test], result.proba)):
            precision, recall, _ = precision_recall_curve(*one)
            # the best precision of all thresholds that reach a recall
            best = np.maximum.accumulate(precision)[::-1]
            curves.append(best[np.searchsorted(recall[::-1], recall_grid).clip(max=best.size - 1)])
        ax.plot(recall_grid, np.mean(curves, axis=0), color=COLORS[contender], label=contender)

    return _panels(results, draw, xlabel="recall", ylabel="precision")


def reliability(results: Sequence[Result], labels: Array) -> str:
    """Share of positives against probability, over the test rows of all splits and classes, in bins of equal size.

    The axes are logarithmic, since most probabilities of a rare class are small. Bins without a positive are
    not shown.
    """

    def draw(ax: Axes, own: Sequence[Result], contender: str) -> None:
        pairs = [one for result in own for one in against_rest(labels[result.test], result.proba)]
        truth, proba = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        mean, share, _ = calibration_bins(truth, proba, ECE_BINS)
        shown = (share > 0) & (mean > 0)
        ax.loglog(mean[shown], share[shown], color=COLORS[contender], marker="o", markersize=3.5, label=contender)
        ax.axline((0.1, 0.1), (1, 1), color=INK, linewidth=0.6, linestyle=(0, (4, 4)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_major_formatter("{x:g}")

    return _panels(results, draw, xlabel="probability", ylabel="share of positives")


def differences(summary: Summary, metric: Metric) -> str:
    """Difference in a metric from log loss, with its interval, for each engine and contender."""
    rows = [d for d in summary.differences if d.metric == metric.key]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 0.6 + 0.3 * len(rows)), layout="constrained")
        ax = figure.subplots()
        for y, row in enumerate(rows):
            color = COLORS[row.contender]
            ax.errorbar(row.mean, y, xerr=row.half_width, color=color, marker="o", markersize=6, linewidth=2)
        ax.axvline(0, color=INK, linewidth=0.6, linestyle=(0, (4, 4)))
        ax.set_yticks(range(len(rows)), [f"{row.engine}: {row.contender} − {row.reference}" for row in rows])
        ax.invert_yaxis()
        ax.set_xlabel(f"{metric.title}: {'right' if metric.greater_is_better else 'left'} of the line is better")
        return _svg(figure)


def _panels(results: Sequence[Result], draw: Any, *, xlabel: str, ylabel: str) -> str:
    engines = list(dict.fromkeys(result.engine for result in results))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.8 * len(engines), 3.6), layout="constrained")
        for i, ax in enumerate(figure.subplots(1, len(engines), squeeze=False)[0]):
            for contender in COLORS:
                draw(ax, [r for r in results if (r.engine, r.contender) == (engines[i], contender)], contender)
            ax.set_title(engines[i], fontsize=10)
            ax.set_xlabel(xlabel)
            ax.set_ylabel(ylabel)
            if i == 0:
                ax.legend(fontsize=8)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")
