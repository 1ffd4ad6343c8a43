"""Pictures of the benchmarks' results: each draws from the results' files and returns its figure."""

import re
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from results import rows

OURS, OTHERS, THIRD = "#00897b", "#9e9e9e", "#f4511e"
LABELS = {"xgboost": "XGBoost", "lightgbm": "LightGBM"}


def case() -> Figure:
    """Speed, runs that fail to learn, and calibration error: this package beside what else there is"""
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    speed(axes[0])
    failures(axes[1])
    calibration(axes[2])
    return figure


def speed(ax: Axes) -> None:
    """Nanoseconds a row of everyone's gradient and Hessian."""
    found = rows("kernels", "Binary, gamma 2, a million rows, one thread")
    wanted = {row["code"]: row["ns a row"] for row in found if "exact" not in row["code"]}
    float32 = {name.partition(", float32")[0]: ns for name, ns in wanted.items() if "float64" not in name}
    only64 = {name.partition(", float64")[0]: ns for name, ns in wanted.items() if "float64" in name}
    times = only64 | float32
    bars(ax, times, "{:.1f}", log=True)
    ax.set_title("Gradient and Hessian, ns a row (log scale)", loc="left", fontsize=10)


def failures(ax: Axes) -> None:
    """Share of runs that fail to learn, begun at the base rate."""
    found = rows("robustness", "Share that fails, by starting margin")
    shares = {re.sub("boostfocal, ([a-z]+)", r"\1 Hessian", row["objective"]): 100 * row["base rate"] for row in found}
    shares = {name.replace("expected Hessian", "boostfocal"): share for name, share in shares.items()}
    bars(ax, shares, "{:.0f} %")
    ax.set_title("Runs that fail, begun at the base rate", loc="left", fontsize=10)


def calibration(ax: Axes) -> None:
    """Calibration error on real tables."""
    found = rows("quality", "By calibration error", budget="tuned")
    names = list(dict.fromkeys(row["contender"] for row in found))
    means = {name: float(np.mean([row["mean"] for row in found if row["contender"] == name])) for name in names}
    means = {name.replace("focal loss", "boostfocal"): mean for name, mean in means.items() if "gamma" not in name}
    bars(ax, means, "{:.3f}")
    ax.set_title("Calibration error, tuned", loc="left", fontsize=10)


def bars(ax: Axes, values: dict[str, float], text: str, *, ours: str = "boostfocal", log: bool = False) -> None:
    """One bar each, the shortest on top, with its value."""
    ordered = sorted(values.items(), key=lambda item: item[1], reverse=True)
    names, lengths = zip(*ordered, strict=True)
    colours = [OURS if name.startswith(ours) else OTHERS for name in names]
    drawn = ax.barh(names, lengths, color=colours, height=0.7)
    ax.bar_label(drawn, [text.format(length) for length in lengths], padding=3, fontsize=8)
    if log:
        ax.set_xscale("log")
    ax.set_xlim(right=max(lengths) * (3 if log else 1.25) or 1)
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.set_xticks([])
    ax.minorticks_off()
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)


def kernel_sizes() -> Figure:
    """Nanoseconds a row against the number of rows"""
    found = rows("kernels", "Nanoseconds a row by size, gamma 2, one thread unless said")
    figure, ax = pyplot.subplots(figsize=(7, 4), layout="constrained")
    styles: dict[str, dict[str, Any]] = {
        "float32": {"color": OURS, "label": "boostfocal"},
        "float32, all threads": {"color": OURS, "linestyle": "--", "label": "boostfocal, all threads"},
        "float64": {"color": OURS, "linestyle": ":", "label": "boostfocal, float64"},
        "plain copy": {"color": OTHERS, "linestyle": "--", "label": "plain copy"},
        "scikit-learn, log loss": {"color": THIRD, "label": "scikit-learn's log loss"},
        "careful NumPy": {"color": THIRD, "linestyle": "--", "label": "careful NumPy"},
        "gbdtCBL": {"color": THIRD, "linestyle": ":", "label": "gbdtCBL"},
    }
    for name, style in styles.items():
        points = [(row["rows"], row[name]) for row in found if row.get(name) is not None]
        if points:
            ax.loglog(*zip(*points, strict=True), marker="o", markersize=3, **style)
    ax.set(xlabel="rows", ylabel="ns a row")
    ax.legend(frameon=False, fontsize=8, ncols=2)
    _plain(ax)
    return figure


def training_ratio() -> Figure:
    """Training time with the objective, of that with the built-in loss, with quartiles"""
    found = rows("training", "Whole training, equal trees")
    figure, ax = pyplot.subplots(figsize=(7, 3.4), layout="constrained")
    for number, row in enumerate(reversed(found)):
        low, high = row["ours / built-in"] - row["lower quartile"], row["upper quartile"] - row["ours / built-in"]
        colour = OURS if row["engine"] == "XGBoost" else THIRD
        ax.errorbar(row["ours / built-in"], number, xerr=[[max(low, 0)], [max(high, 0)]], fmt="o", color=colour)
    names = [
        f"{row['engine']}, {row['rows']:,} rows, {row['threads']} thread{'s' * (row['threads'] > 1)}" for row in found
    ]
    ax.set_yticks(range(len(found)), names[::-1], fontsize=8)
    ax.axvline(1, color=OTHERS, linewidth=0.8)
    ax.set_xlabel("training time / built-in log loss's")
    _plain(ax)
    return figure


def robustness_starts() -> Figure:
    """Share of runs that fail to learn, by objective and starting margin"""
    return _heat("Share that fails, by starting margin")


def robustness_gammas() -> Figure:
    """Share of runs that fail to learn, by objective and gamma"""
    return _heat("Share that fails, by gamma")


def _heat(title: str) -> Figure:
    found = rows("robustness", title)
    columns = [name for name in found[0] if name != "objective"]
    shares = np.array([[np.nan if row[name] is None else row[name] for name in columns] for row in found])
    figure, ax = pyplot.subplots(figsize=(7, 0.36 * len(found) + 0.9), layout="constrained")
    colours = np.empty((*shares.shape, 4))
    colours[:] = to_rgba(THIRD)
    colours[..., 3] = 0.75 * np.nan_to_num(shares)  # what lies under it shows through, be it light or dark
    ax.imshow(colours, aspect="auto")
    for i, j in np.ndindex(shares.shape):
        if np.isfinite(shares[i, j]):
            ax.text(j, i, f"{100 * shares[i, j]:.0f} %", ha="center", va="center", fontsize=8)
    ax.set_xticks(range(len(columns)), columns, fontsize=8)
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(found)), [row["objective"] for row in found], fontsize=8)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure


def quality_differences() -> Figure:
    """Average precision minus log loss's, tuned, with 95 % intervals, by table and engine"""
    found = rows("quality", "Tuned, by table")
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 0.42 * len(found) / 2 + 1.2), sharey=True, layout="constrained")
    tables = list(dict.fromkeys(row["table"] for row in found))
    for ax, engine in zip(axes, LABELS, strict=True):
        for row in found:
            if row["engine"] == engine:
                y = -tables.index(row["table"])
                for shift, column, colour, label in (
                    (0.13, "AP, focal loss − log loss", OURS, "focal loss"),
                    (-0.13, "AP, gamma 0 − log loss", THIRD, "gamma 0"),
                ):
                    mean, reach = (float(part) for part in row[column].split(" ± "))
                    first = row["table"] == tables[0]
                    ax.errorbar(mean, y + shift, xerr=reach, fmt="o", markersize=4, color=colour, label=label * first)
        ax.axvline(0, color=OTHERS, linewidth=0.8)
        ax.set_title(LABELS[engine], loc="left", fontsize=10)
        ax.set_xlabel("average precision − log loss's", fontsize=9)
        _plain(ax)
    axes[0].set_yticks([-i for i in range(len(tables))], tables, fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure


def quality_log_loss() -> Figure:
    """Log loss of what each contender calls a probability, tuned, mean over tables and engines"""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    for ax, title, heading in (
        (axes[0], "By log loss", "as the contenders give them"),
        (axes[1], "By log loss of the posterior", "with the posterior of their loss"),
    ):
        found = rows("quality", title, budget="tuned")
        names = list(dict.fromkeys(row["contender"] for row in found))
        means = {name: float(np.mean([row["mean"] for row in found if row["contender"] == name])) for name in names}
        bars(ax, means, "{:.3f}", ours="focal loss")
        ax.set_title(f"Log loss, {heading}", loc="left", fontsize=10)
    return figure


def costs_savings() -> Figure:
    """Share of the best constant decision's cost that is saved, mean over tables, by training and decision"""
    found = rows("costs", "Savings over tables")
    names = list(dict.fromkeys(row["trained by"] for row in found))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for ax, engine in zip(axes, LABELS, strict=True):
        for decision, colour, above in (("at least cost", OURS, 5), ("at 0.5", OTHERS, -11)):
            means = {
                row["trained by"]: row["mean savings"]
                for row in found
                if (row["engine"], row["decided"]) == (engine, decision)
            }
            places = [-names.index(name) for name in means]
            ax.plot(list(means.values()), places, "o", color=colour, label=f"decided {decision}" * (ax is axes[0]))
            for mean, place in zip(means.values(), places, strict=True):
                ax.annotate(
                    f"{mean:.2f}", (mean, place), (0, above), textcoords="offset points", ha="center", fontsize=7
                )
        ax.axvline(0, color=OTHERS, linewidth=0.8)
        ax.set_title(LABELS[engine], loc="left", fontsize=10)
        ax.set_xlabel("savings, mean over tables", fontsize=9)
        ax.margins(x=0.12, y=0.18)
        _plain(ax)
    axes[0].set_yticks([-i for i in range(len(names))], names, fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure


def _plain(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=8)
